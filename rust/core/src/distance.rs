//! Exact distances between two vectors: the one place where a metric becomes arithmetic.
//!
//! Every exact number that leaves the crate (exact search, rerank, the pairwise operator) comes from
//! [`Prepared::value`], so equal questions have bit-equal answers whichever way they were asked.

use half::f16;

use crate::{
    kernel::Kernels,
    metric::{Family, Metric},
};

/// A query as the metric wants it: of unit length for cosine, untouched otherwise.
#[derive(Clone, Debug)]
pub struct Prepared {
    metric: Metric,
    query: Vec<f32>,
}

impl Prepared {
    /// Prepares a query of finite values.
    pub fn new(kernels: Kernels, metric: Metric, query: &[f32]) -> Self {
        let mut prepared = query.to_vec();
        if metric.normalises() {
            normalise(kernels, &mut prepared);
        }
        Self { metric, query: prepared }
    }

    /// The query's values after preparation.
    pub fn values(&self) -> &[f32] {
        &self.query
    }

    /// The family's value for one vector, which is given as it lies (cosine divides by its length here).
    pub fn value(&self, kernels: Kernels, vector: &[f32]) -> f32 {
        match self.metric.family() {
            Family::L2 => kernels.l2sq(&self.query, vector),
            Family::Ip => {
                Self::value_of_dot(kernels.dot(&self.query, vector), self.metric.scale_of(kernels, vector))
            }
        }
    }

    /// [`Prepared::value`] for half floats as they lie: the same bits as for the widened vector. `None` for cosine,
    /// which needs the vector's length, too, and with it the widened vector.
    pub fn value_of_half(&self, kernels: Kernels, vector: &[f16]) -> Option<f32> {
        match self.metric.family() {
            Family::L2 => Some(kernels.l2sq_f16(&self.query, vector)),
            Family::Ip if self.metric.normalises() => None,
            Family::Ip => Some(Self::value_of_dot(kernels.dot_f16(&self.query, vector), 1.0)),
        }
    }

    /// The same for [`Family::Ip`] from an inner product and the vector's [`Metric::scale_of`].
    pub fn value_of_dot(dot: f32, scale: f64) -> f32 {
        (-f64::from(dot) * scale) as f32
    }

    /// The user's distance to one vector.
    pub fn distance(&self, kernels: Kernels, vector: &[f32]) -> f32 {
        self.metric.finish(self.value(kernels, vector))
    }
}

impl Metric {
    /// What the inner product with a vector is multiplied by: one over its length for cosine, 1 otherwise.
    pub fn scale_of(self, kernels: Kernels, vector: &[f32]) -> f64 {
        if self.normalises() { inverse_norm(kernels, vector) } else { 1.0 }
    }
}

/// Scales a vector to unit length. One that has no length stays zero: its cosine with anything is then 0.
pub fn normalise(kernels: Kernels, vector: &mut [f32]) {
    // Squares of values beyond 1e19 overflow and below 1e-19 vanish: bring the largest to 1 first, exactly, by a
    // power of two. Ordinary vectors pass through this unchanged in direction to the last bit.
    let largest = vector.iter().fold(0.0_f32, |max, value| max.max(value.abs()));
    if largest == 0.0 {
        return;
    }
    if !(1e-15..1e15).contains(&largest) {
        for value in vector.iter_mut() {
            *value /= largest;
        }
    }
    let scale = inverse_norm(kernels, vector) as f32;
    for value in vector {
        *value *= scale;
    }
}

/// One over the Euclidean length, 0 for a zero vector. In `f64`, where no vector of `f32` is too short for it.
pub fn inverse_norm(kernels: Kernels, vector: &[f32]) -> f64 {
    let squared = kernels.dot(vector, vector);
    if squared.is_normal() { 1.0 / f64::from(squared).sqrt() } else { careful_inverse_norm(vector) }
}

/// The same where the plain sum of squares over- or underflows.
#[cold]
fn careful_inverse_norm(vector: &[f32]) -> f64 {
    let squared: f64 = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    if squared == 0.0 { 0.0 } else { 1.0 / squared.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(metric: Metric, a: &[f32], b: &[f32]) -> f32 {
        let kernels = Kernels::detect().unwrap();
        Prepared::new(kernels, metric, a).distance(kernels, b)
    }

    fn close(actual: f32, expected: f32) {
        assert!(
            (actual - expected).abs() <= 1e-6 * expected.abs().max(1.0),
            "got {actual}, expected {expected}"
        );
    }

    #[test]
    fn the_four_metrics_by_hand() {
        let (a, b) = ([3.0, 4.0], [0.0, 8.0]);
        close(distance(Metric::L2Sq, &a, &b), 25.0);
        close(distance(Metric::L2, &a, &b), 5.0);
        close(distance(Metric::Cosine, &a, &b), 0.2);
        close(distance(Metric::Ip, &a, &b), -32.0);
    }

    #[test]
    fn a_zero_vector_is_at_cosine_distance_one_from_everything() {
        for (a, b) in [([0.0, 0.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 0.0]), ([0.0, 0.0], [0.0, 0.0])] {
            close(distance(Metric::Cosine, &a, &b), 1.0);
        }
    }

    #[test]
    fn cosine_survives_extreme_lengths() {
        for scale in [1e-40_f32, 1e-30, 1e-10, 1e10, 1e30, 1e37] {
            close(distance(Metric::Cosine, &[3.0 * scale, 4.0 * scale], &[0.0, 8.0]), 0.2);
            close(distance(Metric::Cosine, &[0.0, 8.0], &[3.0 * scale, 4.0 * scale]), 0.2);
        }
    }
}
