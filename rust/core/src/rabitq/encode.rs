//! From a residual to a code and its factors.

use crate::{kernel::Kernels, metric::Family};

/// The three numbers kept beside a code.
///
/// With `n = norm(r)`, `z = u - 1/2`, `a = <r, z>`, `b = <P c, z>` and
/// `g = sqrt((n^2 |z|^2 / a^2 - 1) / (D - 1))`:
///
/// | | [`Family::L2`] | [`Family::Ip`] |
/// |---|---|---|
/// | `f_add` | `n^2 + 2 n^2 b / a` | `n^2 b / a - <r, P c>` |
/// | `f_rescale` | `-2 n^2 / a` | `-n^2 / a` |
/// | `f_error` | `2 n g` | `n g` |
///
/// Both follow from `<r, x>` being estimated by `n^2 <z, x> / a` for `x = q' - P c`, where the distance is
/// `n^2 + |x|^2 - 2 <r, x>` for L2 and `-<c, q> - <r, P c> - <r, x>` for the inner product, and from Theorem 3.2 of the
/// RaBitQ paper, by which that estimate is off by `n |x| g` as one standard deviation.
///
/// A residual of zero has no direction: all three are 0, and the distance is `g_add`, exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Factors {
    /// The part of the estimate that is the same for every query.
    pub f_add: f32,
    /// What an inner product with the code is multiplied by.
    pub f_rescale: f32,
    /// One standard deviation of the error, per unit of distance between query and centroid.
    pub f_error: f32,
}

/// Encodes `residual`, that is `P(o) - P(c)`, as one bit per dimension: set where the coordinate is above 0.
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
    debug_assert_eq!((rotated_centroid.len(), code.len()), (residual.len(), residual.len() / 8));
    scratch.clear();
    scratch.extend(residual.iter().map(|&value| if value > 0.0 { 0.5_f32 } else { -0.5 }));
    for (byte, values) in code.iter_mut().zip(residual.as_chunks::<8>().0) {
        *byte = (0..8).fold(0, |byte, bit| byte | u8::from(values[bit] > 0.0) << bit);
    }
    let squared_norm = f64::from(kernels.dot(residual, residual));
    let along_code = f64::from(kernels.dot(residual, scratch));
    let centroid_along_code = f64::from(kernels.dot(rotated_centroid, scratch));
    let along_centroid = f64::from(kernels.dot(residual, rotated_centroid));
    if squared_norm <= 0.0 || along_code <= 0.0 {
        return Factors::default();
    }
    let dim = residual.len() as f64;
    let scale = squared_norm / along_code;
    let spread = (scale * (dim / 4.0) / along_code - 1.0).max(0.0) / (dim - 1.0);
    let (f_add, times) = match family {
        Family::L2 => (squared_norm + 2.0 * scale * centroid_along_code, 2.0),
        Family::Ip => (scale * centroid_along_code - along_centroid, 1.0),
    };
    Factors {
        f_add: f_add as f32,
        f_rescale: (-times * scale) as f32,
        f_error: (times * (squared_norm * spread).sqrt()) as f32,
    }
}

/// How well the code points along the residual: `<o_bar, o>`, the cosine of the angle between them; 0 when there is no
/// residual. Between `1/sqrt(D)` and 1, close to `sqrt(2 / pi) = 0.798` after a random rotation.
pub fn cosine_quality(residual: &[f32]) -> f32 {
    let sum: f64 = residual.iter().map(|&value| f64::from(value.abs())).sum();
    let squares: f64 = residual.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    if squares > 0.0 { (sum / (squares * residual.len() as f64).sqrt()) as f32 } else { 0.0 }
}
