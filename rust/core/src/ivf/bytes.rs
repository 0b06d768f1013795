//! Ranking all lists of a query by whole numbers: a fraction of the work of ranking them exactly.
//!
//! Centroids are bytes already, less the mean `m` of all ([`Centroids`]); the query, less `m`, is rounded too. With
//! `c = m + c'` and `q = m + q'`
//!
//! ```text
//! <q, c> = <q, m> + <m, c'> + <q', c'>
//! ```
//!
//! where the first term is one number per query, the second one per list, and only the third is of rounded numbers. In 7
//! bits a rotated vector keeps its coordinates up to a step of about its length by `16 sqrt(D)`, so that the third
//! term is off by about a thousandth of the lengths' product: lists in question are much farther apart. What is computed
//! from the distance to a list needs it exactly; so the keys of the lists that are looked into are computed anew.

use super::centroids::{Centroids, MIDDLE};
use crate::{
    metric::Family,
    steps::{step, whole},
};

/// The largest number a query's coordinate becomes, see [`crate::kernel::Kernels::byte_dots`].
const STEPS: f32 = 63.0;

/// Room for the keys of one tile of queries after the other.
#[derive(Debug, Default)]
pub struct KeyScratch {
    queries: Vec<i8>,
    /// The step of each query.
    steps: Vec<f32>,
    dots: Vec<i32>,
}

impl Centroids {
    /// The keys of all lists for several queries, nearly those of [`Centroids::key`]. `shifted` are the queries less the
    /// mean of the centroids.
    pub(super) fn nearly_keys(
        &self,
        family: Family,
        queries: &[f32],
        shifted: &[f32],
        scratch: &mut KeyScratch,
        keys: &mut Vec<f32>,
    ) {
        let (dim, nlist) = (self.dim(), self.nlist());
        let count = queries.len() / dim;
        let KeyScratch { queries: bytes, steps, dots } = scratch;
        bytes.clear();
        steps.clear();
        for shifted in shifted.chunks_exact(dim) {
            let (step, per_step) = step(shifted, STEPS);
            steps.push(step);
            bytes.extend(shifted.iter().map(|value| whole(*value, per_step) as i8));
        }
        dots.resize(count * nlist, 0);
        self.kernels().byte_dots_tile(bytes, self.bytes(), dim, dots);
        let (list_steps, along_mean) = self.beyond();
        keys.clear();
        for (at, dots) in dots.chunks_exact(nlist).enumerate() {
            let span = at * dim..(at + 1) * dim;
            let along = self.along_mean(&queries[span.clone()]);
            let middle = MIDDLE * bytes[span].iter().map(|&value| i32::from(value)).sum::<i32>();
            let step = steps[at];
            let of_lists = dots.iter().zip(list_steps).zip(along_mean).map(|((dot, of_list), along_mean)| {
                -along_mean - along - (step * of_list) * (dot - middle) as f32
            });
            match family {
                Family::L2 => keys.extend(of_lists.zip(self.half_norms()).map(|(key, norm)| norm + key)),
                Family::Ip => keys.extend(of_lists),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kernel::Kernels, random::SplitMix64};

    fn gaussian(random: &mut SplitMix64) -> f32 {
        let (u, v) = (1.0 - random.unit_f64(), random.unit_f64());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    fn length(values: &[f32]) -> f32 {
        values.iter().map(|value| value * value).sum::<f32>().sqrt()
    }

    #[test]
    fn keys_are_nearly_exact_and_the_same_on_all_levels() {
        let mut random = SplitMix64::new(3);
        for dim in [64, 128, 384, 1024] {
            for far in [0.0_f32, 50.0] {
                let lists = 41;
                let values: Vec<f32> = (0..lists * dim).map(|_| far + gaussian(&mut random)).collect();
                let query: Vec<f32> = (0..dim).map(|_| far + gaussian(&mut random)).collect();
                for family in [Family::L2, Family::Ip] {
                    let mut found = Vec::new();
                    for kernels in Kernels::available() {
                        let centroids = Centroids::learned(kernels, &values, dim);
                        let mean = centroids.mean();
                        let shifted: Vec<f32> =
                            query.iter().zip(mean).map(|(value, mean)| value - mean).collect();
                        let (mut scratch, mut keys) = (KeyScratch::default(), Vec::new());
                        centroids.nearly_keys(family, &query, &shifted, &mut scratch, &mut keys);
                        let along = centroids.along_mean(&query);
                        let mut beyond = vec![0.0; dim];
                        for (list, key) in keys.iter().enumerate() {
                            let exact = centroids.key(&query, along, list, family);
                            centroids.write_beyond(list, &mut beyond);
                            let lengths = length(&shifted) * length(&beyond);
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
        let centroids = Centroids::learned(kernels, &[2.0; 64 * 3], 64);
        let (mut scratch, mut keys) = (KeyScratch::default(), Vec::new());
        for query in [[0.0; 64], [2.0; 64]] {
            let shifted = query.map(|value| value - 2.0);
            centroids.nearly_keys(Family::Ip, &query, &shifted, &mut scratch, &mut keys);
            assert_eq!(keys, [-64.0 * 2.0 * query[0]; 3]);
        }
    }
}
