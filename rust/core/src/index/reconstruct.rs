//! From a code back to a vector.

use super::Index;
use crate::{
    metric::Family,
    rabitq::{BLOCK, Factors, code_bytes, unpack, unpack_ex},
    segment::Segment,
};

impl Index {
    /// The vector that the code in `slot` of a segment stands for: the centroid plus the best multiple of the code,
    /// rotated back. For cosine it is near the vector scaled to unit length. `None` where there is no such row.
    ///
    /// Its error falls to about half with each bit.
    pub fn reconstruct(&self, segment: usize, slot: usize) -> Option<Vec<f32>> {
        self.decode(self.segments().get(segment)?, slot)
    }

    /// The same for a segment of an index with the same router.
    pub(crate) fn decode(&self, segment: &Segment, slot: usize) -> Option<Vec<f32>> {
        let (block, lane) = (slot / BLOCK, slot % BLOCK);
        if lane >= usize::from(*segment.count.get(block)?) {
            return None;
        }
        let router = self.router();
        let code = code_of(segment, slot, router.padded_dim());
        let factors = match segment.ex(slot, router.padded_dim()) {
            Some(row) => row.factors,
            None => segment.factors(block)?.lane(lane),
        };
        let scale = scale_of(router.metric().family(), &factors, &code) as f32;
        let centroid = router.centroid(segment.list_id[block] as usize);
        let rotated: Vec<f32> = centroid.iter().zip(&code).map(|(centre, z)| centre + scale * z).collect();
        let mut vector = vec![0.0; self.dim()];
        router.rotation().unrotate(router.kernels(), &rotated, &mut vector);
        Some(vector)
    }
}

/// A code read as a vector, `z`.
fn code_of(segment: &Segment, slot: usize, padded_dim: usize) -> Vec<f32> {
    let mut first = vec![0; code_bytes(padded_dim)];
    unpack(segment.code(slot / BLOCK, padded_dim), slot % BLOCK, padded_dim, &mut first);
    let mut values = vec![0; padded_dim];
    let ex = segment.ex(slot, padded_dim).map_or(0, |row| {
        unpack_ex(row.code, row.ex, &mut values);
        row.ex
    });
    let middle = ((2_u32 << ex) - 1) as f32 / 2.0;
    let bit = |at: usize| u32::from(first[at / 8] >> (at % 8) & 1);
    values
        .iter()
        .enumerate()
        .map(|(at, &value)| ((bit(at) << ex) + u32::from(value)) as f32 - middle)
        .collect()
}

/// What `z` is multiplied by to come nearest to the residual: `a / |z|^2` in the terms of [`Factors`].
///
/// The factors tell `s = n^2 / a` and `e = n g`. From `g^2 (D - 1) = n^2 |z|^2 / a^2 - 1` follows that the squared cosine
/// of the angle between residual and code is `1 - e^2 (D - 1) / (s^2 |z|^2)`, and `a / |z|^2` is `s` times that.
fn scale_of(family: Family, factors: &Factors, code: &[f32]) -> f64 {
    let times = match family {
        Family::L2 => 2.0,
        Family::Ip => 1.0,
    };
    let (s, e) = (-f64::from(factors.f_rescale) / times, f64::from(factors.f_error) / times);
    let squares: f64 = code.iter().map(|&z| f64::from(z) * f64::from(z)).sum();
    if s <= 0.0 {
        return 0.0;
    }
    s * (1.0 - e * e * (code.len() as f64 - 1.0) / (s * s * squares)).max(0.0)
}
