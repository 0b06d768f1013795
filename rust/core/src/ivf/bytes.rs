//! Centroids in bytes, to rank all lists of a query by whole numbers: a quarter of the memory to read, and a fraction of
//! the work.
//!
//! What is rounded is small: centroids and query less the mean `m` of all centroids. With `c = m + c'` and `q = m + q'`
//!
//! ```text
//! <q, c> = <q, m> + <m, c'> + <q', c'>
//! ```
//!
//! where the first term is one number per query, the second one per list, and only the third is of rounded numbers. In 8
//! and 7 bits a rotated vector keeps its coordinates up to a step of about its length by `16 sqrt(D)`, so that the third
//! term is off by about a thousandth of the lengths' product: lists in question are much farther apart. What is computed
//! from the distance to a list needs it exactly; so the keys of the lists that are looked into are computed anew.

use super::codes::Centroids;
use crate::metric::Family;

/// The largest number a query's coordinate becomes, see [`crate::kernel::Kernels::byte_dots`].
const QUERY_STEPS: f32 = 63.0;
/// The same for a centroid's, which lies around this number, too, so that none is negative.
const CENTROID_STEPS: f32 = 127.0;
const MIDDLE: i32 = 128;

/// All centroids less their mean, row after row.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    values: Vec<u8>,
    /// The step of each centroid.
    steps: Vec<f32>,
    /// What is added to `-<q, m> - <q', c'>` for the key of each list: of inner products, and of squared distances.
    adds_ip: Vec<f32>,
    adds_l2: Vec<f32>,
}

/// Room for the keys of one tile of queries after the other.
#[derive(Debug, Default)]
pub struct KeyScratch {
    queries: Vec<i8>,
    /// The step of each query.
    steps: Vec<f32>,
    dots: Vec<i32>,
}

impl Bytes {
    pub(super) fn new(centroids: Centroids<'_>) -> Self {
        let Centroids { kernels, dim, values, half_norms, centre } = centroids;
        let mut bytes = Self {
            values: Vec::with_capacity(values.len()),
            steps: Vec::with_capacity(half_norms.len()),
            adds_ip: Vec::with_capacity(half_norms.len()),
            adds_l2: Vec::with_capacity(half_norms.len()),
        };
        let mut shifted = vec![0.0; dim];
        for (centroid, half_norm) in values.chunks_exact(dim).zip(half_norms) {
            let pairs = shifted.iter_mut().zip(centroid).zip(centre);
            pairs.for_each(|((shifted, value), centre)| *shifted = value - centre);
            let (step, per_step) = step(&shifted, CENTROID_STEPS);
            bytes.steps.push(step);
            bytes.values.extend(shifted.iter().map(|value| (whole(*value, per_step) + MIDDLE) as u8));
            let along_centre = kernels.dot(centre, &shifted);
            bytes.adds_ip.push(-along_centre);
            bytes.adds_l2.push(half_norm - along_centre);
        }
        bytes
    }

    /// The keys of all lists for several queries, nearly those of [`super::router::Router::keys_tile`]. `shifted` are the
    /// queries less the mean of the centroids.
    pub(super) fn keys_tile(
        &self,
        centroids: Centroids<'_>,
        family: Family,
        queries: &[f32],
        shifted: &[f32],
        scratch: &mut KeyScratch,
        keys: &mut Vec<f32>,
    ) {
        let (dim, lists) = (centroids.dim, self.steps.len());
        let count = queries.len() / dim;
        let KeyScratch { queries: bytes, steps, dots } = scratch;
        bytes.clear();
        steps.clear();
        for shifted in shifted.chunks_exact(dim) {
            let (step, per_step) = step(shifted, QUERY_STEPS);
            steps.push(step);
            bytes.extend(shifted.iter().map(|value| whole(*value, per_step) as i8));
        }
        dots.resize(count * lists, 0);
        centroids.kernels.byte_dots_tile(bytes, &self.values, dim, dots);
        let adds = match family {
            Family::L2 => &self.adds_l2,
            Family::Ip => &self.adds_ip,
        };
        keys.clear();
        for (at, dots) in dots.chunks_exact(lists).enumerate() {
            let span = at * dim..(at + 1) * dim;
            let along_centre = centroids.kernels.dot(&queries[span.clone()], centroids.centre);
            let middle = MIDDLE * bytes[span].iter().map(|&value| i32::from(value)).sum::<i32>();
            let step = steps[at];
            let of_lists = dots.iter().zip(&self.steps).zip(adds);
            keys.extend(of_lists.map(|((dot, of_list), add)| {
                (add - along_centre) - (step * of_list) * (dot - middle) as f32
            }));
        }
    }

    /// Bytes of memory it holds.
    pub(super) fn bytes(&self) -> usize {
        self.values.len() + (self.steps.len() + self.adds_ip.len() + self.adds_l2.len()) * size_of::<f32>()
    }
}

/// The width of a step, so that the largest number is `steps` of them, and one over it; 0 for zeros.
fn step(values: &[f32], steps: f32) -> (f32, f32) {
    let mut largest = [0.0_f32; 16];
    let (blocks, rest) = values.as_chunks::<16>();
    for block in blocks {
        for (largest, value) in largest.iter_mut().zip(block) {
            *largest = largest.max(value.abs());
        }
    }
    let largest = largest.iter().chain(rest).fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let per_step = steps / largest;
    if per_step.is_finite() { (largest / steps, per_step) } else { (0.0, 0.0) }
}

/// The nearest whole number of steps.
fn whole(value: f32, per_step: f32) -> i32 {
    // Adding 1.5 * 2^23 leaves the number in the low bits, rounded to even, on every machine and without a call.
    const SHIFT: f32 = 12_582_912.0;
    (value * per_step + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ivf::kmeans::half_norms, kernel::Kernels, random::SplitMix64};

    fn gaussian(random: &mut SplitMix64) -> f32 {
        let (u, v) = (1.0 - random.unit_f64(), random.unit_f64());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    #[test]
    fn keys_are_nearly_exact_and_the_same_on_all_levels() {
        let mut random = SplitMix64::new(3);
        for dim in [64, 128, 384, 1024] {
            for far in [0.0_f32, 50.0] {
                let lists = 41;
                let values: Vec<f32> = (0..lists * dim).map(|_| far + gaussian(&mut random)).collect();
                let query: Vec<f32> = (0..dim).map(|_| far + gaussian(&mut random)).collect();
                let centre: Vec<f32> = (0..dim)
                    .map(|at| values.iter().skip(at).step_by(dim).sum::<f32>() / lists as f32)
                    .collect();
                let shifted: Vec<f32> = query.iter().zip(&centre).map(|(value, mean)| value - mean).collect();
                let length = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>().sqrt();
                for family in [Family::L2, Family::Ip] {
                    let mut found = Vec::new();
                    for kernels in Kernels::available() {
                        let half_norms = half_norms(kernels, &values, dim);
                        let centroids = Centroids {
                            kernels,
                            dim,
                            values: &values,
                            half_norms: &half_norms,
                            centre: &centre,
                        };
                        let (mut scratch, mut keys) = (KeyScratch::default(), Vec::new());
                        let bytes = Bytes::new(centroids);
                        bytes.keys_tile(centroids, family, &query, &shifted, &mut scratch, &mut keys);
                        for (list, key) in keys.iter().enumerate() {
                            let exact = centroids.key(&query, list, family);
                            let lengths = length(&shifted)
                                * length(
                                    &values[list * dim..(list + 1) * dim]
                                        .iter()
                                        .zip(&centre)
                                        .map(|(value, mean)| value - mean)
                                        .collect::<Vec<_>>(),
                                );
                            let rounding = 1e-6 * (exact.abs() + far * far * dim as f32);
                            let off = (key - exact).abs();
                            assert!(
                                off < 0.006 * lengths + rounding,
                                "{dim} {far} {list}: {off} of {lengths}"
                            );
                        }
                        found.push(keys.iter().map(|key| key.to_bits()).collect::<Vec<_>>());
                    }
                    assert!(found.iter().all(|keys| *keys == found[0]));
                }
            }
        }
    }

    #[test]
    fn equal_centroids_and_queries_of_zeros_have_keys() {
        let kernels = Kernels::detect().unwrap();
        let (values, centre) = (vec![2.0; 64 * 3], vec![2.0; 64]);
        let half_norms = half_norms(kernels, &values, 64);
        let centroids =
            Centroids { kernels, dim: 64, values: &values, half_norms: &half_norms, centre: &centre };
        let bytes = Bytes::new(centroids);
        let (mut scratch, mut keys) = (KeyScratch::default(), Vec::new());
        for query in [[0.0; 64], [2.0; 64]] {
            let shifted = query.map(|value| value - 2.0);
            bytes.keys_tile(centroids, Family::Ip, &query, &shifted, &mut scratch, &mut keys);
            assert_eq!(keys, [-64.0 * 2.0 * query[0]; 3]);
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        for (value, expected) in [(0.4, 0), (0.6, 1), (-0.6, -1), (-63.0, -63), (127.0, 127), (1.5, 2)] {
            assert_eq!(whole(value, 1.0), expected, "{value}");
        }
    }
}
