//! Numbers for the lists such that near lists have near numbers.
//!
//! Centroids are cut in two along the direction in which they spread most, and each half again, until no more than one
//! group is left. Every group is a run of [`GROUP`] numbers, and so is every half above it, but for the very last.

use super::kmeans::row;
use crate::kernel::Kernels;

/// Centroids per group.
pub(super) const GROUP: usize = crate::rabitq::BLOCK;
/// Steps towards the direction of the largest spread.
const POWER_STEPS: usize = 4;

/// The centroids in their new order.
pub(super) fn near_to_near(kernels: Kernels, centroids: &[f32], dim: usize) -> Vec<f32> {
    let mut order: Vec<u32> = (0..(centroids.len() / dim) as u32).collect();
    halve(kernels, centroids, dim, &mut order);
    order.iter().flat_map(|&list| row(centroids, dim, list)).copied().collect()
}

fn halve(kernels: Kernels, centroids: &[f32], dim: usize, lists: &mut [u32]) {
    if lists.len() <= GROUP {
        return;
    }
    let axis = widest(kernels, centroids, dim, lists);
    let mut along: Vec<(f32, u32)> =
        lists.iter().map(|&list| (kernels.dot(row(centroids, dim, list), &axis), list)).collect();
    along.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (list, (_, sorted)) in lists.iter_mut().zip(along) {
        *list = sorted;
    }
    let (left, right) = lists.split_at_mut(lists.len().div_ceil(GROUP) / 2 * GROUP);
    halve(kernels, centroids, dim, left);
    halve(kernels, centroids, dim, right);
}

/// About the direction of the largest spread: a few steps of the power method from the one furthest from the mean.
fn widest(kernels: Kernels, centroids: &[f32], dim: usize, lists: &[u32]) -> Vec<f32> {
    let own: Vec<f32> = lists.iter().flat_map(|&list| row(centroids, dim, list)).copied().collect();
    let mean = mean(&own, dim);
    let mut axis = vec![0.0; dim];
    let mut furthest = 0.0;
    for centroid in own.chunks_exact(dim) {
        let squared = kernels.l2sq(centroid, &mean);
        if squared > furthest {
            furthest = squared;
            axis.iter_mut().zip(centroid.iter().zip(&mean)).for_each(|(axis, (value, mean))| {
                *axis = value - mean;
            });
        }
    }
    for _ in 0..POWER_STEPS {
        let squared = kernels.dot(&axis, &axis);
        if !(squared > 0.0 && squared.is_finite()) {
            break;
        }
        let scale = 1.0 / f64::from(squared).sqrt();
        for value in &mut axis {
            *value = (f64::from(*value) * scale) as f32;
        }
        let offset = kernels.dot(&mean, &axis);
        let mut sum = vec![0.0_f64; dim];
        for centroid in own.chunks_exact(dim) {
            let along = f64::from(kernels.dot(centroid, &axis) - offset);
            sum.iter_mut().zip(centroid.iter().zip(&mean)).for_each(|(sum, (value, mean))| {
                *sum += along * f64::from(value - mean);
            });
        }
        let longest = sum.iter().fold(0.0_f64, |longest, value| longest.max(value.abs()));
        if longest <= 0.0 {
            break;
        }
        axis.iter_mut().zip(sum).for_each(|(axis, sum)| *axis = (sum / longest) as f32);
    }
    axis
}

/// The mean of some rows.
pub(super) fn mean(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; dim];
    for row in rows.chunks_exact(dim) {
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let scale = 1.0 / (rows.len() / dim).max(1) as f64;
    sum.into_iter().map(|sum| (sum * scale) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_runs_of_near_centroids() {
        let kernels = Kernels::detect().unwrap();
        // Points on a line in a scrambled order come out sorted, group by group.
        let count = 5 * GROUP + 3;
        let scrambled: Vec<f32> = (0..count).flat_map(|at| [(at * 61 % count) as f32, 1.0]).collect();
        let ordered = near_to_near(kernels, &scrambled, 2);
        let mut places: Vec<f32> = ordered.chunks_exact(2).map(|point| point[0]).collect();
        for group in places.chunks_mut(GROUP) {
            group.sort_by(f32::total_cmp);
        }
        let rising: Vec<f32> = (0..count).map(|at| at as f32).collect();
        let falls = places.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(places == rising || falls > 0 && falls <= count / GROUP);
        places.sort_by(f32::total_cmp);
        assert_eq!(places, rising);
    }

    #[test]
    fn equal_centroids_keep_their_order() {
        let kernels = Kernels::detect().unwrap();
        assert_eq!(near_to_near(kernels, &[2.5; 3 * 100], 3), [2.5; 3 * 100]);
        assert_eq!(near_to_near(kernels, &[0.0; 70], 1), [0.0; 70]);
    }
}
