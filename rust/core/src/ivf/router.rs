//! Centroids, and which of them are near a vector.

use std::sync::{Arc, Mutex, PoisonError};

use arrow_buffer::ScalarBuffer;

pub use super::bytes::KeyScratch;
use super::{
    bytes::Bytes,
    codes::{Centroids, Codes},
    hierarchy,
    kmeans::{self, Trainer, half_norms},
};
use crate::{
    distance::normalise,
    error::{Error, Result},
    kernel::Kernels,
    key::Key,
    metric::{Family, Metric},
    monitor::Monitor,
    pool::Pool,
    rabitq::Query,
    rotate::Rotation,
    vectors::Vectors,
};

/// Rows per centroid that training looks at.
pub const SAMPLE_PER_LIST: usize = 64;
/// From this many lists on, finding the nearest goes through codes of the centroids.
const CODED_FROM: usize = 256;
/// From this many lists on, all lists are ranked by bytes, unless those would fill more than the second cache.
const BYTES_FROM: usize = 16;
const BYTES_UP_TO: usize = 1 << 20;
/// Codes pay as long as no more than one in so many lists is asked for.
const CODED_SHARE: usize = 8;

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
    /// What finds the nearest of many centroids.
    codes: Option<Arc<Codes>>,
    /// What ranks all of them.
    bytes: Option<Arc<Bytes>>,
    kernels: Kernels,
}

/// Where a row belongs, and where it could.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Assigned {
    /// The nearest list.
    pub(super) list: u32,
    /// The one after it.
    pub(super) next: u32,
    /// How much farther that is: half the difference of the squared distances.
    pub(super) farther: f32,
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
        let half_norms = half_norms(kernels, &centroids, padded);
        let centre = centre_of(&centroids, padded);
        let mut router =
            Self { metric, rotation, centroids, half_norms, centre, codes: None, bytes: None, kernels };
        if router.nlist() >= CODED_FROM {
            router.codes = Some(Arc::new(Codes::new(router.all())));
        }
        if router.nlist() >= BYTES_FROM && router.centroids.len() <= BYTES_UP_TO {
            router.bytes = Some(Arc::new(Bytes::new(router.all())));
        }
        Ok(router)
    }

    fn all(&self) -> Centroids<'_> {
        let (kernels, dim) = (self.kernels, self.padded_dim());
        let (values, half_norms, centre) = (&self.centroids, &self.half_norms, &self.centre);
        Centroids { kernels, dim, values, half_norms, centre }
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

    /// Asks for the memory of one centroid before it is needed.
    pub fn fetch_centroid(&self, list: usize) {
        let bytes = self.padded_dim() * size_of::<f32>();
        self.kernels.prefetch(&self.centroids.inner()[list * bytes..(list + 1) * bytes]);
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
    ///
    /// With many lists, a row in a few hundred goes to one that is not the nearest but nearly so.
    pub fn assign(&self, rows: &[f32]) -> Vec<u32> {
        match &self.codes {
            Some(codes) => codes.assign(self.all(), rows),
            None => kmeans::assign(self.kernels, rows, &self.centroids, &self.half_norms, self.padded_dim()),
        }
    }

    /// The list of each of several projected rows, as [`Router::assign`] finds it, and the next nearest one.
    pub(super) fn assign_twice(&self, rows: &[f32]) -> Vec<Assigned> {
        let both = |a: Key, b: Key| {
            let (near, next) = (a.min(b), a.max(b));
            Assigned { list: near.number(), next: next.number(), farther: next.value() - near.value() }
        };
        if self.nlist() == 1 {
            return vec![Assigned { list: 0, next: 0, farther: 0.0 }; rows.len() / self.padded_dim()];
        }
        if let Some(codes) = &self.codes {
            let found = codes.nearest_of_each(self.all(), rows, 2);
            return found.as_chunks().0.iter().map(|&[a, b]| both(a, b)).collect();
        }
        let mut dots = vec![0.0; self.nlist()];
        let nearest = rows.chunks_exact(self.padded_dim()).map(|row| {
            self.kernels.dots_tile(row, &self.centroids, self.padded_dim(), &mut dots);
            let keys = self.half_norms.iter().zip(&dots).zip(0_u32..);
            let mut keys = keys.map(|((norm, dot), list)| Key::new(norm - dot, list));
            let first = [keys.next(), keys.next()].map(|key| key.unwrap_or(Key::new(f32::INFINITY, 0)));
            let (near, next) = keys
                .fold((first[0].min(first[1]), first[0].max(first[1])), |(near, next), key| {
                    (near.min(key), next.min(near.max(key)))
                });
            both(near, next)
        });
        nearest.collect()
    }

    /// Whether the lists are many enough to be grouped by where they are.
    pub fn has_regions(&self) -> bool {
        self.codes.is_some()
    }

    /// The group of lists that a projected vector is nearest to; groups near each other have numbers near each other.
    /// Without groups ([`Router::has_regions`]) it is always the first.
    pub fn region(&self, projected: &[f32], dots: &mut Vec<f32>) -> u32 {
        self.codes.as_ref().map_or(0, |codes| codes.nearest_group(self.kernels, projected, dots))
    }

    /// Half the squared length of a centroid.
    pub fn half_norm(&self, list: usize) -> f32 {
        self.half_norms[list]
    }

    /// A key for each list that sorts the most promising first, for several projected queries: `nlist` keys each.
    ///
    /// The key is half the squared distance to the centroid (less half the query's own, which is the same for all) or,
    /// for inner products, minus the inner product with it: the mean value of the list's rows.
    pub fn keys(&self, query: &[f32], keys: &mut Vec<(f32, u32)>) {
        let mut values = vec![0.0; self.nlist()];
        self.keys_tile(query, &mut values);
        keys.clear();
        keys.extend(values.into_iter().zip(0..));
    }

    /// The keys of several projected queries, `nlist` for each: those of [`Router::keys`], to the last bit.
    pub fn keys_tile(&self, queries: &[f32], out: &mut [f32]) {
        self.kernels.dots_tile(queries, &self.centroids, self.padded_dim(), out);
        for keys in out.chunks_exact_mut(self.nlist()) {
            match self.metric.family() {
                Family::L2 => {
                    keys.iter_mut().zip(&self.half_norms).for_each(|(key, norm)| *key = norm - *key);
                }
                Family::Ip => {
                    for key in keys {
                        *key = -*key;
                    }
                }
            }
        }
    }

    /// Nearly the keys of [`Router::keys_tile`], by bytes, of several queries and the same shifted ([`Router::shift`]): good for
    /// ranking lists. Without bytes ([`Router::has_bytes`]) the keys are left alone.
    pub fn nearly_keys_tile(
        &self,
        queries: &[f32],
        shifted: &[f32],
        scratch: &mut KeyScratch,
        keys: &mut Vec<f32>,
    ) {
        if let Some(bytes) = &self.bytes {
            bytes.keys_tile(self.all(), self.metric.family(), queries, shifted, scratch, keys);
        }
    }

    /// Whether lists can be ranked by bytes.
    pub fn has_bytes(&self) -> bool {
        self.bytes.is_some()
    }

    /// The key of one list, as in [`Router::keys`].
    pub fn key(&self, query: &[f32], list: usize) -> f32 {
        self.all().key(query, list, self.metric.family())
    }

    /// Whether [`Router::nearest`] is the way to find so many lists of one query.
    pub fn finds_by_code(&self, wanted: usize) -> bool {
        self.codes.is_some() && wanted <= self.nlist() / CODED_SHARE
    }

    /// The `wanted` lists with the smallest keys (as in [`Router::keys`]), sorted, ties by number. `lut` is the table
    /// of the query, shifted ([`Router::shift`]).
    ///
    /// With many lists and few wanted, they are found through codes of the centroids: the keys are exact, but once in
    /// a while a list far down in the order is missed and the next one stands in its place.
    pub fn nearest(&self, query: &[f32], lut: &Query, wanted: usize, found: &mut Vec<(f32, u32)>) {
        let wanted = wanted.clamp(1, self.nlist());
        if let Some(codes) = self.codes.as_ref().filter(|_| self.finds_by_code(wanted)) {
            return codes.nearest(self.all(), self.metric.family(), query, lut, wanted, found);
        }
        self.keys(query, found);
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(wanted);
    }

    /// Bytes of memory that the router holds besides the centroids.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.half_norms[..])
            + size_of_val(&self.centre[..])
            + self.codes.as_ref().map_or(0, |codes| codes.bytes())
            + self.bytes.as_ref().map_or(0, |bytes| bytes.bytes())
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
        codes: None,
        bytes: None,
        kernels,
    };
    let projected = project_rows(&blank, sample, &rows, pool)?;
    let nlist = params.nlist.min(rows.len());
    let trainer = Trainer { kernels, dim: padded, pool, monitor };
    let centroids = hierarchy::train(trainer, &projected, nlist, params.seed)?;
    Router::new(params.metric, blank.rotation, ScalarBuffer::from(centroids), kernels)
}

fn project_rows(router: &Router, vectors: &Vectors, rows: &[usize], pool: &Pool) -> Result<Vec<f32>> {
    const TILE: usize = 256;
    let padded = router.padded_dim();
    let mut projected = vec![0.0; rows.len() * padded];
    // Each task writes to its own place: tiles that are put together afterwards would be in memory twice.
    let places: Vec<Mutex<&mut [f32]>> = projected.chunks_mut(TILE * padded).map(Mutex::new).collect();
    pool.map(places.len(), |tile| {
        let mut place = places[tile].lock().unwrap_or_else(PoisonError::into_inner);
        let (mut widened, mut scratch) = (vec![0.0; vectors.dim()], Vec::new());
        for (&row, target) in rows[tile * TILE..].iter().zip(place.chunks_exact_mut(padded)) {
            router.project(vectors.row(row, &mut widened), &mut scratch, target);
        }
        Ok(())
    })?;
    drop(places);
    Ok(projected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{monitor::Unwatched, random::SplitMix64};
    use proptest::prelude::*;

    fn column(rows: usize, dim: usize) -> Vectors {
        let mut random = SplitMix64::new(2);
        let values: Vec<f32> = (0..rows * dim).map(|_| (random.unit_f64() - 0.3) as f32).collect();
        Vectors::from_f32("embedding", dim, values.into()).unwrap()
    }

    fn trained(vectors: &Vectors, metric: Metric, nlist: usize) -> Router {
        let params = RouterParams { metric, nlist, seed: 0 };
        train_router(vectors, params, Kernels::detect().unwrap(), &Pool::Inline, &Unwatched).unwrap()
    }

    fn projected(router: &Router, vectors: &Vectors) -> Vec<f32> {
        let rows: Vec<usize> = (0..vectors.len()).collect();
        project_rows(router, vectors, &rows, &Pool::Inline).unwrap()
    }

    #[test]
    fn a_tile_of_queries_has_the_keys_of_single_ones() {
        let vectors = column(300, 70);
        for metric in [Metric::L2Sq, Metric::Ip, Metric::Cosine] {
            let router = trained(&vectors, metric, 17);
            let queries = projected(&router, &vectors);
            let mut tile = vec![0.0; 300 * 17];
            router.keys_tile(&queries, &mut tile);
            let mut keys = Vec::new();
            for (query, tile) in queries.chunks_exact(router.padded_dim()).zip(tile.chunks_exact(17)) {
                router.keys(query, &mut keys);
                assert!(keys.iter().map(|key| key.0.to_bits()).eq(tile.iter().map(|key| key.to_bits())));
            }
        }
    }

    #[test]
    fn the_list_after_the_nearest_is_known() {
        for (rows, nlist) in [(40, 1), (40, 2), (300, 17), (CODED_FROM * 2, CODED_FROM + 5)] {
            let vectors = column(rows, 40);
            let router = trained(&vectors, Metric::Cosine, nlist);
            let projected = projected(&router, &vectors);
            let twice = router.assign_twice(&projected);
            let lists: Vec<u32> = twice.iter().map(|row| row.list).collect();
            assert_eq!(lists, router.assign(&projected));
            let mut met = 0;
            for (row, found) in projected.chunks_exact(router.padded_dim()).zip(&twice) {
                let mut keys: Vec<(f32, u32)> = (0..nlist as u32)
                    .map(|list| (router.all().key(row, list as usize, Family::L2), list))
                    .collect();
                keys.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let next = keys.get(1).unwrap_or(&keys[0]);
                met += usize::from((found.next, found.farther) == (next.1, next.0 - keys[0].0));
            }
            assert!(met * 100 >= 99 * rows, "{met} of {rows}");
        }
    }

    #[test]
    fn with_many_lists_levels_do_not_change_what_is_found() {
        let vectors = column(CODED_FROM * 2, 64);
        let router = trained(&vectors, Metric::L2Sq, CODED_FROM + 5);
        let rows = projected(&router, &vectors);
        let found = |kernels| {
            let router =
                Router::new(Metric::L2Sq, router.rotation.clone(), router.centroids.clone(), kernels)
                    .unwrap();
            let mut nearest = Vec::new();
            router.nearest(&rows[..64], &Query::new(kernels, &rows[..64]), 9, &mut nearest);
            (
                router.assign(&rows),
                nearest.into_iter().map(|key| (key.0.to_bits(), key.1)).collect::<Vec<_>>(),
            )
        };
        let reference = found(router.kernels());
        for kernels in Kernels::available() {
            assert_eq!(found(kernels), reference);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_shape_routes(rows in 1_usize..400, dim in 1_usize..130, nlist in 1_usize..400, wanted in 1_usize..60) {
            let vectors = column(rows, dim);
            let router = trained(&vectors, Metric::L2Sq, nlist);
            prop_assert_eq!(router.nlist(), nlist.min(rows));
            let projected = projected(&router, &vectors);
            let lists = router.assign(&projected);
            prop_assert!(lists.len() == rows && lists.iter().all(|&list| (list as usize) < router.nlist()));
            let query = &projected[..router.padded_dim()];
            let (mut found, mut all) = (Vec::new(), Vec::new());
            router.nearest(query, &Query::new(router.kernels(), query), wanted, &mut found);
            router.keys(query, &mut all);
            prop_assert_eq!(found.len(), wanted.min(router.nlist()));
            prop_assert!(found.is_sorted_by(|a, b| (a.0, a.1) < (b.0, b.1)));
            prop_assert!(found.iter().all(|key| all[key.1 as usize] == *key));
        }
    }
}
