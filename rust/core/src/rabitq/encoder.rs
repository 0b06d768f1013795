//! From a residual to a code of one to nine bits per dimension.

use super::{Around, MAX_BITS, Moments, encode_bits, ex_bytes, levels, pack_ex};
use crate::kernel::Kernels;

/// Encodes one residual after the other in the same buffers.
///
/// A code of `bits` bits is the code of one bit, which a scan reads, and a value of `ex = bits - 1` bits per dimension
/// beside it. Both together are the number `u_i = 2^ex x_i + e_i`, and the code read as a vector is
/// `z = u - (2^bits - 1) / 2`: the sign of the coordinate, which is that of the first bit, times a level of 1/2, 3/2, ..
/// (Extended RaBitQ, Gao et al., arXiv 2409.09913). A coordinate of 0 counts as negative in both parts.
#[derive(Clone, Debug)]
pub struct Encoder {
    kernels: Kernels,
    ex: u32,
    magnitudes: Vec<f32>,
    levels: Vec<f32>,
    /// The code of one bit, then that of all bits, read as a vector.
    code: Vec<f32>,
    values: Vec<u8>,
}

/// What the factors of a code follow from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Coded {
    /// Of the first bit by itself.
    pub filter: Moments,
    /// Of all bits; of no meaning where one is all there is.
    pub full: Moments,
}

impl Encoder {
    /// An encoder of `bits` bits per dimension, 1 to [`MAX_BITS`].
    pub fn new(kernels: Kernels, padded_dim: usize, bits: u32) -> Self {
        debug_assert!((1..=MAX_BITS).contains(&bits) && padded_dim.is_multiple_of(64));
        let ex = bits.clamp(1, MAX_BITS) - 1;
        let len = if ex == 0 { 0 } else { padded_dim };
        Self {
            kernels,
            ex,
            magnitudes: vec![0.0; len],
            levels: vec![0.0; len],
            code: Vec::with_capacity(padded_dim),
            values: vec![0; len],
        }
    }

    /// Encodes `residual`: its first bits into `code` (`padded_dim / 8` bytes), the others into `ex_code`
    /// ([`ex_bytes`]).
    pub fn encode(
        &mut self,
        around: Around<'_>,
        residual: &[f32],
        code: &mut [u8],
        ex_code: &mut [u8],
    ) -> Coded {
        debug_assert_eq!(ex_code.len(), ex_bytes(residual.len(), self.ex));
        let filter = encode_bits(self.kernels, around, residual, &mut self.code, code);
        if self.ex == 0 {
            return Coded { filter, full: Moments::default() };
        }
        for (magnitude, value) in self.magnitudes.iter_mut().zip(residual) {
            *magnitude = value.abs();
        }
        levels::choose(&self.magnitudes, self.ex, &mut self.levels);
        let half = (1_u32 << self.ex) as f32;
        let levels = self.levels.iter().zip(residual);
        for (((level, &value), target), byte) in levels.zip(&mut self.code).zip(&mut self.values) {
            *target = if value > 0.0 { *level } else { -level };
            let number = half - 0.5 + *target;
            *byte = (if value > 0.0 { number - half } else { number }) as u8;
        }
        pack_ex(&self.values, self.ex, ex_code);
        Coded { filter, full: self.moments(around, residual) }
    }

    fn moments(&mut self, around: Around<'_>, residual: &[f32]) -> Moments {
        let squares = f64::from(self.kernels.dot(&self.code, &self.code));
        let scale = f64::from(self.kernels.dot(residual, &self.code)) / squares;
        // The difference of two numbers that are nearly equal would know little of the error.
        let nearest = &mut self.levels;
        nearest.iter_mut().zip(&self.code).for_each(|(nearest, z)| *nearest = scale as f32 * z);
        let error = f64::from(self.kernels.l2sq(residual, nearest));
        Moments::new(self.kernels, around, residual, &self.code, squares, Some(error))
    }
}
