//! The one source of chance: a seeded generator whose output never changes.
//!
//! Rotations and samples are drawn from it, so it is part of the file format: a file stores a seed, and every
//! version that reads the file must draw the same numbers from it.

/// The increment of the state: 2^64 divided by the golden ratio, made odd.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014, figure 17).
///
/// The state is a counter and the output is a bijection of it: every 64-bit word appears once per period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// A uniform number in `0..n`; 0 when `n` is 0.
    ///
    /// Lemire, "Fast random integer generation in an interval" (TOMACS 2019): the few products that would favour
    /// some results are drawn again, so no result is likelier than another.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let rejected = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= rejected {
                return (product >> 64) as u64;
            }
        }
    }

    /// A uniform number in `0.0..1.0`: the high 53 bits, so that every value is exact.
    pub fn unit_f64(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * STEP
    }

    /// An independent generator, the same for the same `stream`; this generator does not move.
    ///
    /// Streams let parts of one job (a list, a thread, a round) draw without depending on the order in which they
    /// run. The stream number passes through the mixer before it meets the state, since neighbouring
    /// states would give the same sequence shifted by a step.
    #[must_use]
    pub fn fork(&self, stream: u64) -> Self {
        Self { state: mix(self.state ^ mix(stream.wrapping_add(GOLDEN_GAMMA))) }
    }
}

/// Variant 13 of Stafford's mixers, the one the paper chose.
fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vectors() {
        let mut random = SplitMix64::new(0);
        let words = [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        assert_eq!(words, std::array::from_fn(|_| random.next_u64()));
    }

    #[test]
    fn below_is_in_range_and_even() {
        let mut random = SplitMix64::new(7);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 500), "{counts:?}");
        let huge = (1 << 63) + 1;
        assert!((0..1000).all(|_| random.below(huge) < huge));
    }

    #[test]
    fn unit_stays_below_one() {
        let mut random = SplitMix64::new(9);
        let values: Vec<f64> = (0..20_000).map(|_| random.unit_f64()).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }

    #[test]
    fn forks_are_repeatable_and_differ() {
        let random = SplitMix64::new(3);
        let mut firsts: Vec<u64> = (0..1000).map(|stream| random.fork(stream).next_u64()).collect();
        assert_eq!(firsts[5], random.fork(5).next_u64());
        firsts.push(random.clone().next_u64());
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), 1001);
    }
}
