//! Distances from all bits of a code where a scan has summed up the first ones already.

use super::{ListTerms, Query, Refined, refine::ROUNDING};
use crate::{
    kernel::Kernels,
    segment::Segment,
    short_floats::SHORT_ROUNDING,
    steps::{step, whole},
};

/// The largest whole number that a query's coordinate becomes: with values of up to seven bits, and with those of eight,
/// see [`Kernels::ex_dot`].
const STEPS: [f32; 2] = [127.0, 63.0];

/// One query, made ready for the bits behind the first.
///
/// With `u = 2^ex b + e`, where a scan found `<b - 1/2, q'> = delta * sum + shift`, see [`Query`],
///
/// ```text
/// <u - (2^bits - 1) / 2, q'> = 2^ex <b - 1/2, q'> + <e - (2^ex - 1) / 2, q'>
/// ```
///
/// The first bits lie over all lines of their block: this way it is not read once more, and the further bits of a row
/// lie side by side. They are multiplied with the query in whole numbers.
///
/// The price is a third error besides that of the code: what rounding made of the table and of the query. An entry of the
/// table is off by `delta / sqrt(12)` and there are `D / 4`; a coordinate of the query is off by `step / sqrt(12)`, which
/// counts `|e - (2^ex - 1) / 2|` times, at most `2^ex / 2`, and there are `D`. So the standard deviation of the sum is at
/// most `2^ex sqrt(D / 48) sqrt(delta^2 + step^2)`, about a twentieth of that of the first bits' estimate: less than that of
/// five bits. Where estimates are the answer they come from a [`Refiner`](super::Refiner), which makes no such error.
#[derive(Clone, Debug, Default)]
pub struct FurtherBits {
    query: Vec<i8>,
    step: f32,
    /// `2^ex delta`.
    per_sum: f32,
    /// What does not depend on a code: `2^ex shift` less the middle of the values times the rounded query.
    constant: f32,
    /// The square of `epsilon` standard deviations of what rounding does.
    squared_slack: f32,
    epsilon: f32,
}

impl FurtherBits {
    /// For a query that is rotated and shifted as for [`Query`], its table, codes of `1 + ex` bits, and bounds of
    /// `epsilon` standard deviations.
    pub fn new(shifted: &[f32], query: &Query, ex: u32, epsilon: f32) -> Self {
        let (step, per_step) = step(shifted, STEPS[usize::from(ex > 7)]);
        let bytes: Vec<i8> = shifted.iter().map(|&value| whole(value, per_step) as i8).collect();
        let total: i32 = bytes.iter().map(|&value| i32::from(value)).sum();
        let twofold = (1_u32 << ex) as f32;
        let sigma = twofold * (query.lut_sigma().powi(2) + step * step * shifted.len() as f32 / 48.0).sqrt();
        Self {
            query: bytes,
            step,
            per_sum: twofold * query.delta(),
            constant: twofold * query.shift() - (twofold - 1.0) / 2.0 * step * total as f32,
            squared_slack: (epsilon * sigma).powi(2),
            epsilon,
        }
    }

    /// The distance of the row in `slot`, whose list has the terms `list` and of whose first bits a scan has found `sum`;
    /// `None` where there is but one bit.
    pub fn refine(
        &self,
        kernels: Kernels,
        segment: &Segment,
        slot: usize,
        list: ListTerms,
        sum: u32,
    ) -> Option<Refined> {
        let row = segment.ex(slot, self.query.len())?;
        let whole = kernels.ex_dot(&self.query, row.code, row.ex);
        let inner = self.per_sum * sum as f32 + self.constant + self.step * whole as f32;
        let (f_add, f_rescale) = (row.factors.f_add, row.factors.f_rescale);
        let along = f_rescale * inner;
        let estimate = f_add + list.g_add + along;
        // Two independent errors, of the code and of rounding, and the rounding of this very sum.
        let of_code = self.epsilon * row.factors.f_error * list.g_error;
        let error = (of_code * of_code + f_rescale * f_rescale * self.squared_slack).sqrt();
        let rounding = ROUNDING as f32 * (f_add.abs() + list.g_add.abs() + along.abs())
            + SHORT_ROUNDING as f32 * f_add.abs();
        Some(Refined { estimate, lower: estimate - error - rounding })
    }
}
