//! The code of a vector by itself, without an index: around the origin, under the squared Euclidean distance.

use super::{Around, Encoder, Factors, code_bytes, ex_bytes, unpack_ex};
use crate::{
    error::Result, ivf::encode::check_bits, kernel::Kernels, metric::Family, rotate::Rotation,
    vectors::Vectors,
};

/// A code with its factors: all that the estimator needs of a vector.
///
/// With `q'` a query rotated by the same seed, and `z` the code read as a vector (`u_i - (2^bits - 1) / 2`, where bit
/// `i` of the planes, the first plane on top, is the number `u_i`)
///
/// ```text
/// |v - q|^2 = f_add + |q'|^2 + f_rescale * <z, q'>    within    epsilon * f_error * |q'|
/// ```
///
/// and from `|v - q|^2 = |v|^2 + |q|^2 - 2 <v, q>` the inner product, too.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// One plane for each bit of a dimension, the first one on top: `padded_dim / 8` bytes each, dimension `i` in bit
    /// `i % 8` of byte `i / 8`.
    pub code: Vec<u8>,
    /// The length of the vector.
    pub norm: f32,
    /// The factors for all bits.
    pub factors: Factors,
}

/// Codes one vector after the other in the same buffers.
#[derive(Clone, Debug)]
pub struct Quantizer {
    kernels: Kernels,
    rotation: Rotation,
    encoder: Encoder,
    ex: u32,
    origin: Vec<f32>,
    rotated: Vec<f32>,
    ex_code: Vec<u8>,
    values: Vec<u8>,
}

impl Quantizer {
    /// For vectors of `dim` elements, rotated by `seed`.
    ///
    /// # Errors
    /// [`crate::Error::InvalidParameter`] for `bits` other than 1 to 9, or where the CPU cannot be used.
    pub fn new(dim: usize, bits: u32, seed: u64) -> Result<Self> {
        check_bits(bits)?;
        let (kernels, rotation, ex) = (Kernels::detect()?, Rotation::new(dim, seed), bits - 1);
        let padded = rotation.padded_dim();
        Ok(Self {
            kernels,
            encoder: Encoder::new(kernels, padded, bits),
            ex,
            origin: vec![0.0; padded],
            rotated: vec![0.0; padded],
            ex_code: vec![0; ex_bytes(padded, ex)],
            values: vec![0; padded],
            rotation,
        })
    }

    /// The bytes of a code.
    pub fn code_bytes(&self) -> usize {
        code_bytes(self.origin.len()) * (self.ex as usize + 1)
    }

    /// Codes a row of a column, which is not null.
    ///
    /// # Errors
    /// [`crate::Error::InvalidVector`] for NaN, infinity, and a vector so long that its square leaves the range of `f32`.
    pub fn quantize(&mut self, vectors: &Vectors, row: usize) -> Result<Quantized> {
        vectors.check_finite(row..row + 1)?;
        vectors.check_lengths(row..row + 1)?;
        let mut vector = vec![0.0; vectors.dim()];
        vectors.copy_row(row, &mut vector);
        self.rotation.rotate(self.kernels, &vector, &mut self.rotated);
        let around = Around { family: Family::L2, centroid: &self.origin, shifted: &self.origin };
        let mut code = vec![0; self.code_bytes()];
        let plane = code_bytes(self.origin.len());
        let coded = self.encoder.encode(around, &self.rotated, &mut code[..plane], &mut self.ex_code);
        let moments = if self.ex == 0 { coded.filter } else { coded.full };
        unpack_ex(&self.ex_code, self.ex, &mut self.values);
        for (at, plane) in code.chunks_exact_mut(plane).skip(1).enumerate() {
            let shift = self.ex - 1 - at as u32;
            for (byte, values) in plane.iter_mut().zip(self.values.as_chunks::<8>().0) {
                *byte = (0..8).fold(0, |byte, bit| byte | (values[bit] >> shift & 1) << bit);
            }
        }
        let norm = self.kernels.dot(&vector, &vector).sqrt();
        Ok(Quantized { code, norm, factors: moments.factors() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn rows(rows: usize, dim: usize, seed: u64) -> Vectors {
        let mut random = SplitMix64::new(seed);
        let values: Vec<f32> = (0..rows * dim).map(|_| random.unit_f64() as f32 - 0.5).collect();
        Vectors::from_f32("v", dim, values.into()).unwrap()
    }

    /// `<z, q'>` from the planes alone.
    fn along(code: &[u8], bits: u32, query: &[f32]) -> f64 {
        let plane = query.len() / 8;
        let bit = |plane_at: usize, at: usize| u32::from(code[plane_at * plane + at / 8] >> (at % 8) & 1);
        let number =
            |at: usize| (0..bits as usize).fold(0, |number, plane_at| number << 1 | bit(plane_at, at));
        let middle = f64::from((1_u32 << bits) - 1) / 2.0;
        query.iter().enumerate().map(|(at, &q)| (f64::from(number(at)) - middle) * f64::from(q)).sum()
    }

    #[test]
    fn distances_come_back_within_the_bound() {
        for (dim, bits) in [(3, 1), (100, 1), (128, 1), (100, 2), (384, 4), (128, 7), (64, 9)] {
            let (table, queries) = (rows(40, dim, 1), rows(40, dim, 2));
            let mut quantizer = Quantizer::new(dim, bits, 7).unwrap();
            let (rotation, kernels) = (Rotation::new(dim, 7), Kernels::detect().unwrap());
            let (mut scratch, mut out) = (vec![0.0; dim], vec![0.0; rotation.padded_dim()]);
            let mut missed = 0;
            for row in 0..table.len() {
                let Quantized { code, norm, factors } = quantizer.quantize(&table, row).unwrap();
                assert_eq!(code.len(), quantizer.code_bytes());
                rotation.rotate(kernels, queries.row(row, &mut scratch), &mut out);
                let squared: f64 = out.iter().map(|&q| f64::from(q) * f64::from(q)).sum();
                let estimate = f64::from(factors.f_add)
                    + squared
                    + f64::from(factors.f_rescale) * along(&code, bits, &out);
                let (mut a, mut b) = (vec![0.0; dim], vec![0.0; dim]);
                let (v, q) = (table.row(row, &mut a), queries.row(row, &mut b));
                let truth = f64::from(kernels.l2sq(v, q));
                assert!((norm - kernels.dot(v, v).sqrt()).abs() < 1e-6);
                let bound = 3.0 * f64::from(factors.f_error) * squared.sqrt() + 1e-5;
                missed += usize::from((estimate - truth).abs() > bound);
            }
            assert!(missed <= 1, "{dim} dimensions, {bits} bits: {missed} of 40 beyond three deviations");
        }
    }

    #[test]
    fn the_origin_has_a_code_that_says_nothing() {
        let table = Vectors::from_f32("v", 4, vec![0.0; 4].into()).unwrap();
        let coded = Quantizer::new(4, 1, 0).unwrap().quantize(&table, 0).unwrap();
        assert_eq!((coded.norm, coded.factors), (0.0, Factors::default()));
    }

    #[test]
    fn bad_vectors_and_bits_are_refused() {
        let bad = Vectors::from_f32("v", 2, vec![f32::NAN, 0.0].into()).unwrap();
        let error = Quantizer::new(2, 1, 0).unwrap().quantize(&bad, 0).unwrap_err().to_string();
        assert_eq!(error, "v, row 0: element 0 is NaN, expected a finite number");
        let error = Quantizer::new(2, 10, 0).unwrap_err().to_string();
        assert_eq!(error, "bits: expected 1 to 9, got 10");
    }
}
