//! The factors of a block in half floats, rounded so that no bound gets tighter.
//!
//! Each kind of factor has one scale per block, the power of two that brings the largest of its 32 numbers to between
//! 2^14 and 2^15. Half floats have 11 significant bits, so every number keeps them down to 2^-28 of the largest.
//!
//! - `f_rescale` is rounded to the nearest. [`Moments`] gives the `f_add` and `f_error` that go with it.
//! - `f_add` is rounded down: estimates and lower bounds are lowered by less than a part in 1024 of it, never raised.
//! - `f_error` is rounded up.
//!
//! So whatever a lower bound of `f32` factors keeps, that of half floats keeps, too. An upper bound may be
//! lower than it should be by what `f_add` lost, at most [`HalfFactors::add_step`].

use std::ops::RangeInclusive;

use half::f16;

use super::{BLOCK, Factors, HalfFactors, Moments};

/// The largest of 32 numbers is brought to this exponent.
const TOP_EXPONENT: i32 = 14;
/// The smallest scale: any half float times it is exact, subnormal or not.
const LEAST_EXPONENT: i32 = -125;
/// The largest scale: any half float times it is finite.
const MOST_EXPONENT: i32 = 112;

/// The factors of a block, as a segment keeps them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfBlock {
    /// `f_add` of each lane; lanes without a code hold 0 here and below.
    pub f_add: [u16; BLOCK],
    /// `f_rescale` of each lane.
    pub f_rescale: [u16; BLOCK],
    /// `f_error` of each lane.
    pub f_error: [u16; BLOCK],
    /// The scales of `f_add`, `f_rescale` and `f_error`.
    pub scale: [f32; 3],
}

impl HalfBlock {
    /// The factors of up to 32 codes.
    pub fn new(moments: &[Moments]) -> Self {
        debug_assert!(moments.len() <= BLOCK);
        let (halves, scale) = halves(&moments.iter().map(|moments| moments.rescale() as f32), nearest);
        let mut rounded = [Factors::default(); BLOCK];
        for ((factors, half), moments) in rounded.iter_mut().zip(halves).zip(moments) {
            factors.f_rescale = value(half, scale);
            factors.f_add = moments.f_add(f64::from(factors.f_rescale)) as f32;
            factors.f_error = moments.f_error(f64::from(factors.f_rescale)) as f32;
        }
        Self::repack(&rounded)
    }

    /// The factors of up to 32 codes that were rounded before: those of codes that move to another block. Exact,
    /// unless a number is smaller than 2^-28 of the largest one.
    pub fn repack(factors: &[Factors]) -> Self {
        debug_assert!(factors.len() <= BLOCK);
        let (f_add, add) = halves(&factors.iter().map(|factors| factors.f_add), down);
        let (f_rescale, rescale) = halves(&factors.iter().map(|factors| factors.f_rescale), nearest);
        let (f_error, error) = halves(&factors.iter().map(|factors| factors.f_error), up);
        Self { f_add, f_rescale, f_error, scale: [add, rescale, error] }
    }

    /// The same, lent to a kernel.
    pub fn lend(&self) -> HalfFactors<'_> {
        HalfFactors {
            f_add: &self.f_add,
            f_rescale: &self.f_rescale,
            f_error: &self.f_error,
            scale: self.scale,
        }
    }
}

impl HalfFactors<'_> {
    /// The factors of one lane.
    pub fn lane(&self, lane: usize) -> Factors {
        let [add, rescale, error] = self.scale;
        Factors {
            f_add: value(self.f_add[lane], add),
            f_rescale: value(self.f_rescale[lane], rescale),
            f_error: value(self.f_error[lane], error),
        }
    }

    /// What rounding took from any `f_add` of the block, at most: a step between half floats at 2^14 and above.
    pub fn add_step(&self) -> f32 {
        16.0 * self.scale[0]
    }
}

/// A scale in the byte that a segment keeps of it: the exponent that stands in the float.
pub(crate) fn scale_byte(scale: f32) -> u8 {
    (scale.to_bits() >> (f32::MANTISSA_DIGITS - 1)) as u8
}

/// The scale that a byte stands for.
pub(crate) fn scale_of(byte: u8) -> f32 {
    f32::from_bits(u32::from(byte) << (f32::MANTISSA_DIGITS - 1))
}

/// The bytes of scales that [`HalfBlock`] makes.
pub(crate) const SCALE_BYTES: RangeInclusive<u8> =
    (LEAST_EXPONENT + f32::MAX_EXP - 1) as u8..=(MOST_EXPONENT + f32::MAX_EXP - 1) as u8;

/// Up to 32 numbers as half floats, and their scale. Numbers that were rounded like this before stay what they are, and so
/// does their scale: it is that of the largest number after rounding.
fn halves(values: &(impl Iterator<Item = f32> + Clone), round: fn(f32) -> u16) -> ([u16; BLOCK], f32) {
    let scale = scale_for(values.clone());
    let rounded = |scale: f32| {
        let mut halves = [0; BLOCK];
        halves.iter_mut().zip(values.clone()).for_each(|(half, value)| *half = round(value / scale));
        halves
    };
    let halves = rounded(scale);
    let again = scale_for(halves.iter().map(|&half| value(half, scale)));
    (if again > scale { rounded(again) } else { halves }, again.max(scale))
}

/// The power of two that brings the largest of some numbers to between 2^14 and 2^15.
fn scale_for(values: impl Iterator<Item = f32>) -> f32 {
    let largest = values.fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let exponent = (largest.to_bits() >> (f32::MANTISSA_DIGITS - 1)) as i32 - (f32::MAX_EXP - 1);
    power_of_two((exponent - TOP_EXPONENT).clamp(LEAST_EXPONENT, MOST_EXPONENT))
}

fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + f32::MAX_EXP - 1) as u32) << (f32::MANTISSA_DIGITS - 1))
}

fn value(half: u16, scale: f32) -> f32 {
    f16::from_bits(half).to_f32() * scale
}

fn nearest(value: f32) -> u16 {
    let largest = f16::MAX.to_f32();
    f16::from_f32(value.clamp(-largest, largest)).to_bits()
}

/// The largest half float that is not above.
fn down(value: f32) -> u16 {
    let bits = nearest(value);
    if f16::from_bits(bits).to_f32() <= value {
        return bits;
    }
    match bits {
        0 => f16::NEG_ZERO.to_bits() + 1,
        positive if positive < f16::NEG_ZERO.to_bits() => positive - 1,
        negative => negative + u16::from(negative < f16::MIN.to_bits()),
    }
}

/// The smallest half float that is not below.
fn up(value: f32) -> u16 {
    let bits = down(-value);
    if bits == 0 { 0 } else { bits ^ f16::NEG_ZERO.to_bits() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_where_it_says() {
        let values =
            [0.0_f32, -0.0, 1e-9, -1e-9, 6e-8, 1.0, 1.0001, -1.0001, 2047.5, -2048.9, 65504.0, -65504.0];
        for value in values {
            let [below, above] = [down(value), up(value)].map(|bits| f16::from_bits(bits).to_f32());
            assert!(below <= value && value <= above, "{below} {value} {above}");
            assert!(above - below <= (value.abs() / 1024.0).max(6e-8), "{below} {value} {above}");
        }
        assert_eq!((down(65519.0), up(65519.0)), (f16::MAX.to_bits(), f16::MAX.to_bits()));
    }

    #[test]
    fn scales_fit_any_magnitude() {
        for value in [0.0, 1e-45, 1e-38, 1e-30, 1.0, 3.0, 1e15, 1e30, f32::MAX] {
            let scale = scale_for([value, 0.0].into_iter());
            let byte = scale_byte(scale);
            assert!(SCALE_BYTES.contains(&byte) && scale_of(byte).to_bits() == scale.to_bits());
            let ratio = value / scale;
            assert!(ratio < 65_536.0 && (ratio >= 16_384.0 || value < 1e-30), "{value} {scale}");
        }
        let ends = [SCALE_BYTES.start(), SCALE_BYTES.end()].map(|&byte| scale_of(byte));
        let expected = [LEAST_EXPONENT, MOST_EXPONENT].map(power_of_two);
        assert_eq!(ends.map(f32::to_bits), expected.map(f32::to_bits));
    }

    /// The largest number of a block may be rounded to the next power of two, which asks for the next scale.
    #[test]
    fn the_scale_is_that_of_the_rounded_numbers() {
        let edge = 1.0 - 1.0 / 16_384.0;
        let factors = [
            Factors { f_add: -edge, f_rescale: -edge, f_error: edge },
            Factors { f_add: 0.3, f_rescale: -0.3, f_error: 0.3 },
        ];
        let block = HalfBlock::repack(&factors);
        let once: Vec<Factors> = (0..2).map(|lane| block.lend().lane(lane)).collect();
        assert_eq!(once[0], Factors { f_add: -1.0, f_rescale: -1.0, f_error: 1.0 });
        assert_eq!(HalfBlock::repack(&once), block);
        assert!((once[1].f_rescale + 0.3).abs() < 2e-4);
        assert_eq!(block.scale.map(f32::to_bits), [(1.0_f32 / 16_384.0).to_bits(); 3]);
    }

    #[test]
    fn what_was_rounded_once_is_not_rounded_again() {
        let factors: Vec<Factors> = (1..=32)
            .map(|i| {
                let x = i as f32 * 1.000_37;
                Factors { f_add: x - 13.0, f_rescale: -x.sqrt(), f_error: 0.01 * x }
            })
            .collect();
        let block = HalfBlock::repack(&factors);
        let once: Vec<Factors> = (0..BLOCK).map(|lane| block.lend().lane(lane)).collect();
        assert_eq!(HalfBlock::repack(&once), block);
        for (rounded, factors) in once.iter().zip(&factors) {
            assert!(rounded.f_add <= factors.f_add && rounded.f_error >= factors.f_error);
            assert!(factors.f_add - rounded.f_add <= block.lend().add_step());
        }
    }
}
