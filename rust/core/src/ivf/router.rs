//! Centroids, and which of them are near a vector.

use arrow_buffer::ScalarBuffer;

use super::kmeans;
use crate::{
    distance::normalise,
    error::{Error, Result},
    kernel::Kernels,
    metric::{Family, Metric},
    monitor::Monitor,
    pool::Pool,
    rotate::Rotation,
    vectors::Vectors,
};

/// Rows per centroid that training looks at.
const SAMPLE_PER_LIST: usize = 64;

/// Where a vector goes: a rotation and the centroids in the rotated space.
#[derive(Clone, Debug)]
pub struct Router {
    metric: Metric,
    rotation: Rotation,
    /// `nlist * padded_dim` values.
    centroids: ScalarBuffer<f32>,
    /// Half the squared length of each centroid.
    half_norms: Vec<f32>,
    /// The mean of the centroids.
    centre: Vec<f32>,
    kernels: Kernels,
}

/// How a router is trained.
#[derive(Clone, Copy, Debug)]
pub struct RouterParams {
    /// The distance to be searched by.
    pub metric: Metric,
    /// The number of lists.
    pub nlist: usize,
    /// Fixes the rotation, the sample and the first centroids.
    pub seed: u64,
}

impl Router {
    /// A router from stored centroids.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the centroids are not a whole number of rotated vectors, at least one.
    pub fn new(
        metric: Metric,
        rotation: Rotation,
        centroids: ScalarBuffer<f32>,
        kernels: Kernels,
    ) -> Result<Self> {
        let padded = rotation.padded_dim();
        if centroids.is_empty() || !centroids.len().is_multiple_of(padded) {
            let expected = format!("a positive multiple of {padded} values");
            return Err(Error::invalid_parameter("centroids", expected, centroids.len().to_string()));
        }
        let half_norms =
            centroids.chunks_exact(padded).map(|centroid| 0.5 * kernels.dot(centroid, centroid)).collect();
        let centre = centre_of(&centroids, padded);
        Ok(Self { metric, rotation, centroids, half_norms, centre, kernels })
    }

    /// The distance to be searched by.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The kernels this router was made with.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The rotation.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// Elements of a vector outside.
    pub fn dim(&self) -> usize {
        self.rotation.dim()
    }

    /// Elements of a rotated vector.
    pub fn padded_dim(&self) -> usize {
        self.rotation.padded_dim()
    }

    /// The number of lists.
    pub fn nlist(&self) -> usize {
        self.half_norms.len()
    }

    /// All centroids, rotated, list after list.
    pub fn centroids(&self) -> &ScalarBuffer<f32> {
        &self.centroids
    }

    /// One centroid, rotated.
    pub fn centroid(&self, list: usize) -> &[f32] {
        let padded = self.padded_dim();
        &self.centroids[list * padded..(list + 1) * padded]
    }

    /// The mean of the centroids, which queries are shifted by before they meet a code.
    pub fn centre(&self) -> &[f32] {
        &self.centre
    }

    /// A rotated vector less [`Router::centre`].
    pub fn shift(&self, rotated: &[f32], out: &mut [f32]) {
        for ((out, value), centre) in out.iter_mut().zip(rotated).zip(&self.centre) {
            *out = value - centre;
        }
    }

    /// Brings a vector into the space of the centroids: unit length if the metric asks for it, then rotated.
    /// `scratch` holds `dim` values, `out` takes `padded_dim`.
    pub fn project(&self, vector: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        if self.metric.normalises() {
            scratch.clear();
            scratch.extend_from_slice(vector);
            normalise(self.kernels, scratch);
            self.rotation.rotate(self.kernels, scratch, out);
        } else {
            self.rotation.rotate(self.kernels, vector, out);
        }
    }

    /// The list of each of several projected rows: the centroid nearest by Euclidean distance, the first of equals.
    pub fn assign(&self, rows: &[f32]) -> Vec<u32> {
        kmeans::assign(self.kernels, rows, &self.centroids, &self.half_norms, self.padded_dim())
    }

    /// All lists with a key that sorts the most promising first, for one projected query.
    ///
    /// The key is the squared distance to the centroid (less the query's own length, which is the same for all) or,
    /// for inner products, minus the inner product with it: the mean value of the list's rows.
    pub fn keys(&self, query: &[f32], keys: &mut Vec<(f32, u32)>) {
        let mut dots = vec![0.0; self.nlist()];
        self.kernels.dots(query, &self.centroids, &mut dots);
        keys.clear();
        keys.extend(dots.iter().zip(&self.half_norms).zip(0_u32..).map(|((dot, half_norm), list)| {
            let key = match self.metric.family() {
                Family::L2 => half_norm - dot,
                Family::Ip => -dot,
            };
            (key, list)
        }));
    }
}

/// The mean of some rows, added up in their order in `f64`.
fn centre_of(rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; dim];
    for row in rows.chunks_exact(dim) {
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let count = (rows.len() / dim) as f64;
    sum.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// Learns a router from a sample of vectors, which are only read.
///
/// Pure: the same sample, parameters and seed give the same router on every machine and with any number of threads.
///
/// # Errors
/// [`Error::EmptyIndex`] without a single vector, [`Error::InvalidParameter`] for an `nlist` of 0,
/// [`Error::Interrupted`] when the monitor says so.
pub fn train_router(
    sample: &Vectors,
    params: RouterParams,
    kernels: Kernels,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Router> {
    if params.nlist == 0 {
        return Err(Error::invalid_parameter("nlist", "at least 1", "0"));
    }
    let rows = sample.sample_rows(params.nlist.saturating_mul(SAMPLE_PER_LIST), params.seed);
    if rows.is_empty() {
        return Err(Error::EmptyIndex(format!("{} has no vector that is not null", sample.column())));
    }
    let rotation = Rotation::new(sample.dim(), params.seed);
    let padded = rotation.padded_dim();
    // A router without lists only projects; it becomes whole once the centroids are known.
    let blank = Router {
        metric: params.metric,
        rotation,
        centroids: ScalarBuffer::default(),
        half_norms: vec![],
        centre: vec![],
        kernels,
    };
    let projected = project_rows(&blank, sample, &rows, pool)?;
    let nlist = params.nlist.min(rows.len());
    let centroids = kmeans::train(kernels, &projected, padded, nlist, params.seed, pool, monitor)?;
    Router::new(params.metric, blank.rotation, ScalarBuffer::from(centroids), kernels)
}

fn project_rows(router: &Router, vectors: &Vectors, rows: &[usize], pool: &Pool) -> Result<Vec<f32>> {
    const TILE: usize = 256;
    let padded = router.padded_dim();
    let tiles = pool.map(rows.len().div_ceil(TILE), |tile| {
        let rows = &rows[tile * TILE..((tile + 1) * TILE).min(rows.len())];
        let mut out = vec![0.0; rows.len() * padded];
        let (mut widened, mut scratch) = (vec![0.0; vectors.dim()], Vec::new());
        for (&row, target) in rows.iter().zip(out.chunks_exact_mut(padded)) {
            router.project(vectors.row(row, &mut widened), &mut scratch, target);
        }
        Ok(out)
    })?;
    Ok(tiles.concat())
}
