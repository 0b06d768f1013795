//! From a code back to a vector, as near as the code remembers it.

use crate::metric::Family;

/// The rotated vector that a code stands for, `P(c) + s z` with `z = u - 1/2`: the one whose inner products with all
/// queries are those that the estimator gives.
///
/// `code` is as [`super::encode()`] writes it, `rotated_centroid` and `out` are `padded_dim` numbers.
pub fn decode(family: Family, code: &[u8], f_rescale: f32, rotated_centroid: &[f32], out: &mut [f32]) {
    let scale = match family {
        Family::L2 => -0.5 * f_rescale,
        Family::Ip => -f_rescale,
    };
    for (at, (value, centre)) in out.iter_mut().zip(rotated_centroid).enumerate() {
        let is_set = code[at / 8] >> (at % 8) & 1 == 1;
        *value = centre + if is_set { 0.5 * scale } else { -0.5 * scale };
    }
}
