//! From a residual to a code of one bit per dimension.

use super::{Around, Factors, Moments};
use crate::{kernel::Kernels, metric::Family};

/// Encodes `residual`, that is `P(o) - P(c)`, as one bit per dimension: set where the coordinate is above 0. The factors
/// are for queries that are not shifted.
///
/// `residual` and `rotated_centroid` are `padded_dim` numbers; `code` is `padded_dim / 8` bytes, dimension `i` in
/// byte `i / 8`, bit `i % 8`. `scratch` is a buffer to use again for the next vector.
pub fn encode(
    kernels: Kernels,
    family: Family,
    residual: &[f32],
    rotated_centroid: &[f32],
    scratch: &mut Vec<f32>,
    code: &mut [u8],
) -> Factors {
    let around = Around { family, centroid: rotated_centroid, shifted: rotated_centroid };
    encode_bits(kernels, around, residual, scratch, code).factors()
}

/// The same around a centroid and a shift, with what factors of any precision are made of.
pub fn encode_bits(
    kernels: Kernels,
    around: Around<'_>,
    residual: &[f32],
    scratch: &mut Vec<f32>,
    code: &mut [u8],
) -> Moments {
    debug_assert_eq!((around.centroid.len(), code.len()), (residual.len(), residual.len() / 8));
    scratch.clear();
    scratch.extend(residual.iter().map(|&value| if value > 0.0 { 0.5_f32 } else { -0.5 }));
    for (byte, values) in code.iter_mut().zip(residual.as_chunks::<8>().0) {
        *byte = (0..8).fold(0, |byte, bit| byte | u8::from(values[bit] > 0.0) << bit);
    }
    Moments::new(kernels, around, residual, scratch, residual.len() as f64 / 4.0, None)
}

/// How well the code points along the residual: `<o_bar, o>`, the cosine of the angle between them; 0 when there is no
/// residual. Between `1/sqrt(D)` and 1, close to `sqrt(2 / pi) = 0.798` after a random rotation.
pub fn cosine_quality(residual: &[f32]) -> f32 {
    let sum: f64 = residual.iter().map(|&value| f64::from(value.abs())).sum();
    let squares: f64 = residual.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    if squares > 0.0 { (sum / (squares * residual.len() as f64).sqrt()) as f32 } else { 0.0 }
}
