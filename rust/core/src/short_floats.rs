//! Floats in three bytes.

use std::ops::Range;

use arrow_buffer::Buffer;

/// Bytes of each number.
pub(crate) const SHORT_BYTES: usize = 3;
/// What rounding to three bytes changes a number by at most, as a share of it: 16 of its bits are left.
pub(crate) const SHORT_ROUNDING: f64 = 1.0 / (1 << 16) as f64;

/// Numbers in single precision without the last byte of their fraction, the lowest byte first.
///
/// A half float would do for codes of few bits. Those of nine are more precise than one: with 11 significant bits the
/// estimate's error would grow by about a tenth, as reckoned from the two roundings.
#[derive(Clone, Debug, PartialEq)]
pub struct ShortFloats(Buffer);

impl ShortFloats {
    /// Numbers that were written by [`push_short`].
    pub(crate) fn from_bytes(bytes: Buffer) -> Self {
        Self(bytes)
    }

    /// All of them, as they lie.
    pub(crate) fn bytes(&self) -> &Buffer {
        &self.0
    }

    /// One of them; `None` beyond the last.
    pub(crate) fn get(&self, at: usize) -> Option<f32> {
        self.0.as_chunks().0.get(at).copied().map(widened)
    }

    /// Some of them, where they lie.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        Self(self.0.slice_with_length(range.start * SHORT_BYTES, range.len() * SHORT_BYTES))
    }

    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = f32> {
        self.0.as_chunks().0.iter().copied().map(widened)
    }
}

/// The nearest number of three bytes; what is finite stays finite.
pub(crate) fn short(value: f32) -> f32 {
    const LAST: u32 = 0xFF;
    let cut = |bits: u32| f32::from_bits(bits & !LAST);
    let nearest = cut(value.to_bits().wrapping_add(LAST.div_ceil(2)));
    if nearest.is_finite() { nearest } else { cut(value.to_bits()) }
}

/// Writes a number, rounded by [`short`].
pub(crate) fn push_short(bytes: &mut Vec<u8>, value: f32) {
    bytes.extend_from_slice(&short(value).to_le_bytes()[1..]);
}

fn widened([low, middle, high]: [u8; SHORT_BYTES]) -> f32 {
    f32::from_le_bytes([0, low, middle, high])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_stays_finite() {
        for value in [f32::MAX, f32::MIN] {
            assert!(short(value).is_finite() && short(value) / value > 0.99998);
        }
        let one = ShortFloats::from_bytes(vec![0_u8; 3].into());
        assert_eq!((one.get(0), one.get(1)), (Some(0.0), None));
    }

    proptest! {
        #[test]
        fn rounding_is_to_the_nearest_and_once(values in prop::collection::vec(-1e30_f32..1e30, 1..40)) {
            let mut bytes = Vec::new();
            for &value in &values {
                push_short(&mut bytes, value);
            }
            let floats = ShortFloats::from_bytes(bytes.into());
            prop_assert_eq!(floats.bytes().len(), 3 * values.len());
            for (at, &value) in values.iter().enumerate() {
                let kept = floats.get(at).unwrap();
                let off = (f64::from(kept) - f64::from(value)).abs();
                prop_assert!(off <= SHORT_ROUNDING * f64::from(value).abs(), "{} {}", value, kept);
                prop_assert_eq!((short(kept), short(value)), (kept, kept));
            }
            let middle = values.len() / 2..values.len();
            prop_assert!(floats.slice(middle.clone()).iter().eq(floats.iter().skip(middle.start)));
        }
    }
}
