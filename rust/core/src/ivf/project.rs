//! The way of a vector into the space of the centroids.

use std::sync::{Mutex, PoisonError};

use crate::{
    distance::normalise, error::Result, kernel::Kernels, metric::Metric, pool::Pool, rotate::Rotation,
    vectors::Vectors,
};

/// Rows projected by one task.
const TILE: usize = 256;

/// Unit length if the metric asks for it, then rotated.
#[derive(Clone, Debug)]
pub(super) struct Projection {
    pub(super) metric: Metric,
    pub(super) rotation: Rotation,
}

impl Projection {
    /// Projects one vector; see [`super::router::Router::project`].
    pub(super) fn one(&self, kernels: Kernels, vector: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        if self.metric.normalises() {
            scratch.clear();
            scratch.extend_from_slice(vector);
            normalise(kernels, scratch);
            self.rotation.rotate(kernels, scratch, out);
        } else {
            self.rotation.rotate(kernels, vector, out);
        }
    }

    /// Some rows of a column, projected, one after the other.
    pub(super) fn rows(
        &self,
        kernels: Kernels,
        vectors: &Vectors,
        rows: &[usize],
        pool: &Pool,
    ) -> Result<Vec<f32>> {
        let padded = self.rotation.padded_dim();
        let mut projected = vec![0.0; rows.len() * padded];
        // Each task writes to its own place: tiles that are put together afterwards would be in memory twice.
        let places: Vec<Mutex<&mut [f32]>> = projected.chunks_mut(TILE * padded).map(Mutex::new).collect();
        pool.map(places.len(), |tile| {
            let mut place = places[tile].lock().unwrap_or_else(PoisonError::into_inner);
            let (mut widened, mut scratch) = (vec![0.0; vectors.dim()], Vec::new());
            for (&row, target) in rows[tile * TILE..].iter().zip(place.chunks_exact_mut(padded)) {
                self.one(kernels, vectors.row(row, &mut widened), &mut scratch, target);
            }
            Ok(())
        })?;
        drop(places);
        Ok(projected)
    }
}
