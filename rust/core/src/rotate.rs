//! The seeded rotation that every vector passes before it is encoded.
//!
//! A code of one bit per dimension is only as good as the spread of its input: RaBitQ (Gao and Long, SIGMOD 2024,
//! section 3.1) needs a random rotation. A dense one costs `dim^2`; this one, a Hadamard transform with random signs
//! interleaved with steps of a Kac walk, costs `dim * log2(dim)` and stores only its seed.
//!
//! Vectors of `dim` numbers are padded with zeros to `padded_dim = D`, the next multiple of 64. `N` is the largest
//! power of two `<= D`. Four rounds `r = 0..4` follow, each made of
//!
//! 1. factors: coordinate `i` is multiplied by `+-1`, and by `1/sqrt(N)` when the transform of this round covers it;
//!    in the last round also by 1/2 when `N != D` (what two unscaled Kac steps add up to),
//! 2. transform: the unscaled Walsh-Hadamard transform of the first `N` coordinates (rounds 0, 2) or of the last
//!    `N` (rounds 1, 3),
//! 3. Kac step, only in rounds 1 and 3 and when `N != D`: `(x_i, x_{i+D/2})` becomes
//!    `(x_i + x_{i+D/2}, x_i - x_{i+D/2})`.
//!
//! The signs come from [`SplitMix64`] started with the seed: word `w` of round `r` is output number `r * D/64 + w`
//! (from 0), and bit `b` of it (from the least significant) belongs to coordinate `64 w + b`; a set bit is a minus.
//!
//! A Kac step in every round, as the RaBitQ library has it, mixes less: a lone coordinate beyond `N` is moved by the step of
//! round 0 to where the transform of round 1 does not reach, and so on, until at `D` = 1984 two coordinates are left with
//! a quarter of their length each (kurtosis 18 where a gaussian has 3). Transforms of both ends first, then the step:
//! no kurtosis above 3.1 in the mean at any `D` tried, and half the steps.
//!
//! Every step is a symmetric matrix, so the inverse of the rotation is the same steps in reverse order.

use crate::{kernel::Kernels, random::SplitMix64};

/// The name of this rotation in files.
pub const KIND: &str = "fht-kac";

/// The version of the generator and of the steps above. A change of either must raise it.
pub const GENERATOR_VERSION: u32 = 1;

const ROUNDS: usize = 4;

/// A rotation of `dim` numbers into `padded_dim` numbers; lengths, angles and inner products stay what they were.
#[derive(Clone, Debug)]
pub struct Rotation {
    dim: usize,
    padded_dim: usize,
    /// `N`: how many coordinates a transform covers.
    span: usize,
    seed: u64,
    /// `ROUNDS` rows of `padded_dim` factors: signs and scales in one, since both are multiplications.
    factors: Vec<f32>,
}

impl Rotation {
    /// The rotation that `seed` stands for.
    pub fn new(dim: usize, seed: u64) -> Self {
        let padded_dim = padded_dim(dim);
        let span = 1 << padded_dim.ilog2();
        let mut rotation = Self { dim, padded_dim, span, seed, factors: vec![1.0; ROUNDS * padded_dim] };
        rotation.draw_signs();
        rotation.scale_factors();
        rotation
    }

    fn draw_signs(&mut self) {
        let mut random = SplitMix64::new(self.seed);
        for signs in self.factors.chunks_exact_mut(64) {
            let word = random.next_u64();
            for (bit, sign) in signs.iter_mut().enumerate() {
                *sign = if word >> bit & 1 == 1 { -1.0 } else { 1.0 };
            }
        }
    }

    fn scale_factors(&mut self) {
        let scale = 1.0 / (self.span as f32).sqrt();
        for round in 0..ROUNDS {
            let start = round * self.padded_dim + self.start(round);
            self.factors[start..start + self.span].iter_mut().for_each(|factor| *factor *= scale);
        }
        if self.walks() {
            let last = (ROUNDS - 1) * self.padded_dim;
            self.factors[last..].iter_mut().for_each(|factor| *factor *= 0.5);
        }
    }

    /// The length of the vectors that go in.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The length of the vectors that come out: `dim` rounded up to a multiple of 64, at least 64.
    pub fn padded_dim(&self) -> usize {
        self.padded_dim
    }

    /// The seed this rotation was made from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Rotates `vector` (`dim` numbers) into `out` (`padded_dim` numbers).
    ///
    /// Other lengths are a mistake of the caller: a shorter vector counts as zero where it ends, a longer one is cut,
    /// an `out` that is too short stays as it is.
    pub fn rotate(&self, kernels: Kernels, vector: &[f32], out: &mut [f32]) {
        debug_assert_eq!((vector.len(), out.len()), (self.dim, self.padded_dim));
        let Some(out) = out.get_mut(..self.padded_dim) else { return };
        let used = vector.len().min(self.dim);
        out[..used].copy_from_slice(&vector[..used]);
        out[used..].fill(0.0);
        for round in 0..ROUNDS {
            kernels.multiply(out, self.factors(round));
            kernels.hadamard(&mut out[self.start(round)..][..self.span]);
            self.walk(kernels, round, out);
        }
    }

    /// Undoes [`Rotation::rotate`]: `rotated` (`padded_dim` numbers) into `out` (`dim` numbers).
    ///
    /// Allocates one buffer; this is the way back for people who look into an index, not a step of a search.
    pub fn unrotate(&self, kernels: Kernels, rotated: &[f32], out: &mut [f32]) {
        debug_assert_eq!((rotated.len(), out.len()), (self.padded_dim, self.dim));
        let mut vector = vec![0.0; self.padded_dim];
        let used = rotated.len().min(self.padded_dim);
        vector[..used].copy_from_slice(&rotated[..used]);
        for round in (0..ROUNDS).rev() {
            self.walk(kernels, round, &mut vector);
            kernels.hadamard(&mut vector[self.start(round)..][..self.span]);
            kernels.multiply(&mut vector, self.factors(round));
        }
        for (target, &value) in out.iter_mut().zip(&vector) {
            *target = value;
        }
    }

    /// Where the transform of `round` begins: windows at both ends, so that all coordinates are reached.
    fn start(&self, round: usize) -> usize {
        if round.is_multiple_of(2) { 0 } else { self.padded_dim - self.span }
    }

    fn factors(&self, round: usize) -> &[f32] {
        &self.factors[round * self.padded_dim..][..self.padded_dim]
    }

    fn walks(&self) -> bool {
        self.span != self.padded_dim
    }

    fn walk(&self, kernels: Kernels, round: usize, vector: &mut [f32]) {
        if self.walks() && !round.is_multiple_of(2) {
            let (left, right) = vector.split_at_mut(self.padded_dim / 2);
            kernels.butterfly(left, right);
        }
    }
}

/// The length of a rotated vector of `dim` numbers: the next multiple of 64, at least 64.
pub fn padded_dim(dim: usize) -> usize {
    dim.max(1).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: [usize; 17] = [1, 2, 3, 5, 31, 63, 64, 65, 100, 127, 128, 192, 384, 768, 1000, 1536, 3072];

    fn kernels() -> Kernels {
        Kernels::available().last().unwrap()
    }

    fn vector(dim: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        (0..dim).map(|_| (random.unit_f64() - 0.5) as f32).collect()
    }

    fn rotated(rotation: &Rotation, vector: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; rotation.padded_dim()];
        rotation.rotate(kernels(), vector, &mut out);
        out
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    }

    #[test]
    fn lengths_and_angles_stay() {
        for dim in DIMS.into_iter().chain([65_535]) {
            let rotation = Rotation::new(dim, 42);
            assert_eq!((rotation.dim(), rotation.padded_dim()), (dim, dim.div_ceil(64) * 64));
            let (a, b) = (vector(dim, 1), vector(dim, 2));
            let (ra, rb) = (rotated(&rotation, &a), rotated(&rotation, &b));
            let scale = dot(&a, &a).sqrt() * dot(&b, &b).sqrt();
            assert!((dot(&ra, &ra) / dot(&a, &a) - 1.0).abs() < 1e-5, "{dim}");
            assert!((dot(&rb, &rb) / dot(&b, &b) - 1.0).abs() < 1e-5, "{dim}");
            assert!((dot(&ra, &rb) - dot(&a, &b)).abs() < 1e-5 * scale, "{dim}");
        }
    }

    /// Columns of the matrix itself: unit length, at right angles.
    #[test]
    fn the_matrix_is_orthogonal() {
        for dim in [1, 5, 64, 65, 192] {
            let rotation = Rotation::new(dim, 7);
            let columns: Vec<Vec<f32>> = (0..dim)
                .map(|i| rotated(&rotation, &(0..dim).map(|j| f32::from(i == j)).collect::<Vec<_>>()))
                .collect();
            for (i, a) in columns.iter().enumerate() {
                for (j, b) in columns.iter().enumerate() {
                    let expected = f64::from(i == j);
                    assert!((dot(a, b) - expected).abs() < 1e-5, "{dim}: {i} {j}");
                }
            }
        }
    }

    #[test]
    fn unrotate_goes_back() {
        for dim in DIMS {
            let rotation = Rotation::new(dim, 3);
            let before = vector(dim, 4);
            let mut after = vec![f32::NAN; dim];
            rotation.unrotate(kernels(), &rotated(&rotation, &before), &mut after);
            let apart = before.iter().zip(&after).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{dim}: {apart}");
        }
    }

    #[test]
    fn rotation_is_linear() {
        for dim in DIMS {
            let rotation = Rotation::new(dim, 5);
            let (a, b) = (vector(dim, 6), vector(dim, 7));
            let sum: Vec<f32> = a.iter().zip(&b).map(|(x, y)| 2.0 * x - y).collect();
            let (ra, rb, rsum) = (rotated(&rotation, &a), rotated(&rotation, &b), rotated(&rotation, &sum));
            for ((x, y), found) in ra.iter().zip(&rb).zip(rsum) {
                assert!((2.0 * x - y - found).abs() < 1e-5, "{dim}");
            }
        }
    }

    #[test]
    fn seeds_decide_and_levels_do_not() {
        for dim in DIMS {
            let input = vector(dim, 8);
            let first = rotated(&Rotation::new(dim, 9), &input);
            assert_ne!(first, rotated(&Rotation::new(dim, 10), &input), "{dim}");
            for kernels in Kernels::available() {
                let mut again = vec![f32::NAN; first.len()];
                Rotation::new(dim, 9).rotate(kernels, &input, &mut again);
                let same = first.iter().zip(&again).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{dim} {kernels:?}");
            }
        }
    }

    /// One coordinate alone is the worst input of a code of signs, wherever it is. After rotation it must look like a
    /// gaussian: kurtosis 3 (within what a finite number of signs allows), no coordinate that stands out.
    #[test]
    fn one_hot_spreads() {
        const HOTS: usize = 24;
        const SEEDS: u64 = 8;
        for dim in [192, 320, 384, 448, 768, 896, 960, 1000, 1536, 1984, 3072] {
            let mut total = 0.0;
            for (hot, seed) in (0..HOTS).flat_map(|hot| (0..SEEDS).map(move |seed| (hot, seed))) {
                let rotation = Rotation::new(dim, seed * 7919 + 1);
                let one_hot: Vec<f32> = (0..dim).map(|i| f32::from(i == hot * dim / HOTS)).collect();
                let spread = rotated(&rotation, &one_hot);
                let kurtosis =
                    spread.iter().map(|&value| f64::from(value).powi(4)).sum::<f64>() * spread.len() as f64;
                assert!(kurtosis < 5.5, "{dim}, {hot}: {kurtosis}");
                total += kurtosis;
            }
            let mean = total / (HOTS as f64 * SEEDS as f64);
            assert!((mean - 3.0).abs() < 0.15, "{dim}: {mean}");
        }
    }

    /// Bits from a second implementation of the text above (in Python): a change here is a change of the file format.
    #[test]
    fn version_1_is_frozen() {
        let digest = |values: &[f32]| {
            values.iter().fold(0_u64, |digest, value| digest.rotate_left(7) ^ u64::from(value.to_bits()))
        };
        let short = rotated(&Rotation::new(3, 42), &[1.0, 2.0, 3.0]);
        assert_eq!(digest(&short), 0x2199_E148_F370_AAE0);
        let long = rotated(&Rotation::new(100, 42), &vector(100, 1));
        assert_eq!(digest(&long), 0xD4BD_20A2_02ED_536F);
    }
}
