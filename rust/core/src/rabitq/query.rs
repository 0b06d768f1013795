//! A query made ready for FastScan: a table of subset sums in six bits.

use crate::kernel::Kernels;

/// The largest table entry. Four of them add up inside a byte, which is what makes the scan fast; with eight bits
/// the sums would have to be widened after every look-up.
const LARGEST: f32 = 63.0;

/// The rotated and shifted query as FastScan reads it, one table for all lists. Here `q'` is the query less the mean of
/// the centroids: the step of the table is as wide as the numbers are large.
///
/// For each group of four dimensions and each of the 16 patterns of four bits, the table holds the sum of the query's
/// coordinates where the bit is set, above the smallest such sum of the group, in steps of `delta`. So for a code `u`
///
/// ```text
/// <u - 1/2, q'> = delta * (sum of entries) + shift +- lut_sigma
/// ```
///
/// where `shift` is the sum of the smallest sums less `sum(q') / 2`. The smallest sum of a group is that of its negative
/// coordinates, `(q - |q|) / 2` each, so that `shift` is just `-sum |q'| / 2`.
///
/// One step for all groups lets the sums be plain integers. Six bits cost 0.3 % of precision where a query of
/// four bits per coordinate (RaBitQ, section 3.3) costs 6 % with the same scan.
#[derive(Clone, Debug, Default)]
pub struct Query {
    lut: Vec<u8>,
    delta: f32,
    shift: f32,
    lut_sigma: f32,
}

impl Query {
    /// The table of `rotated`, `padded_dim` numbers.
    pub fn new(kernels: Kernels, rotated: &[f32]) -> Self {
        let mut query = Self::default();
        query.prepare(kernels, rotated);
        query
    }

    /// Makes this the table of another query, in the same memory.
    pub fn prepare(&mut self, kernels: Kernels, rotated: &[f32]) {
        debug_assert!(rotated.len().is_multiple_of(64));
        let (widest, total) = group_widths(rotated);
        self.shift = -0.5 * total;
        self.delta = widest / LARGEST;
        // A step too small to be divided by is as good as none: it changes distances by less than 1e-37.
        let mut per_step = 1.0 / self.delta;
        if !per_step.is_finite() {
            (self.delta, per_step) = (0.0, 0.0);
        }
        self.lut_sigma = self.delta * (rotated.len() as f32 / (4.0 * 12.0)).sqrt();
        self.lut.resize(rotated.len() * 4, 0);
        kernels.subset_sums(rotated, per_step, &mut self.lut);
    }

    /// 16 entries of at most 63 for each group of four dimensions.
    pub fn lut(&self) -> &[u8] {
        &self.lut
    }

    /// The value of one step of a table entry; 0 for a query of zeros.
    pub fn delta(&self) -> f32 {
        self.delta
    }

    /// What is added to `delta * sum` to get `<u - 1/2, q'>`.
    pub fn shift(&self) -> f32 {
        self.shift
    }

    /// The standard deviation of the error that rounding the entries makes in `<u - 1/2, q'>`: a rounded entry is off
    /// by `delta / sqrt(12)`, and there are `D / 4` of them.
    pub fn lut_sigma(&self) -> f32 {
        self.lut_sigma
    }
}

/// The largest distance between two subset sums of one group (the sum of its magnitudes), and the sum of all of them.
///
/// The sum runs in 16 lanes folded in order, the same on every machine.
fn group_widths(rotated: &[f32]) -> (f32, f32) {
    let mut widest = [0.0_f32; 16];
    let mut totals = [0.0_f32; 16];
    for block in rotated.as_chunks::<64>().0 {
        for (group, values) in block.as_chunks::<4>().0.iter().enumerate() {
            let [a, b, c, d] = values.map(f32::abs);
            let width = (a + b) + (c + d);
            widest[group] = widest[group].max(width);
            totals[group] += width;
        }
    }
    (widest.into_iter().fold(0.0, f32::max), totals.into_iter().sum())
}
