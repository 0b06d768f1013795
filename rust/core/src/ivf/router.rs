//! Centroids, and which of them are near a vector.

use std::sync::Arc;

pub use super::bytes::KeyScratch;
use super::{
    centroids::Centroids, codes::Codes, groups::Regions, hierarchy, kmeans::Trainer, project::Projection,
};
use crate::{
    error::{Error, Result},
    kernel::Kernels,
    metric::Metric,
    monitor::Monitor,
    pool::Pool,
    rabitq::Query,
    rotate::Rotation,
    vectors::Vectors,
};

/// Rows per centroid that training looks at.
pub const SAMPLE_PER_LIST: usize = 64;
/// From this many lists on, neighbouring ones form groups, and rows are assigned through codes; so are the nearest of a
/// query found, unless all are ranked by bytes.
const GROUPED_FROM: usize = 256;
/// From this many lists on, all lists are ranked by bytes, unless those would fill more than the second cache.
const BYTES_FROM: usize = 16;
const BYTES_UP_TO: usize = 1 << 20;
/// Codes pay as long as no more than one in so many lists is asked for.
const CODED_SHARE: usize = 8;

/// Where a vector goes: a rotation and the centroids in the rotated space.
#[derive(Clone, Debug)]
pub struct Router {
    projection: Projection,
    centroids: Arc<Centroids>,
    /// Neighbouring ones together, if they are many.
    regions: Option<Arc<Regions>>,
    /// What finds the nearest of so many centroids that it takes long to rank all of them.
    codes: Option<Arc<Codes>>,
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
    /// A router from learned centroids, `padded_dim` numbers each, which are rounded ([`Centroids::learned`]).
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when they are not a whole number of rotated vectors, at least one.
    pub fn new(metric: Metric, rotation: Rotation, centroids: &[f32], kernels: Kernels) -> Result<Self> {
        let padded = rotation.padded_dim();
        if centroids.is_empty() || !centroids.len().is_multiple_of(padded) {
            let expected = format!("a positive multiple of {padded} values");
            return Err(Error::invalid_parameter("centroids", expected, centroids.len().to_string()));
        }
        Ok(Self::of(metric, rotation, Centroids::learned(kernels, centroids, padded)))
    }

    /// A router from centroids that have `padded_dim` numbers each.
    pub(crate) fn of(metric: Metric, rotation: Rotation, centroids: Centroids) -> Self {
        let is_grouped = centroids.nlist() >= GROUPED_FROM;
        let regions = is_grouped.then(|| Arc::new(Regions::new(&centroids, &rotation)));
        let is_coded = is_grouped && !ranks_by_bytes(&centroids);
        let codes = is_coded.then(|| Arc::new(Codes::new(&centroids)));
        Self { projection: Projection { metric, rotation }, centroids: Arc::new(centroids), regions, codes }
    }

    /// The distance to be searched by.
    pub fn metric(&self) -> Metric {
        self.projection.metric
    }

    /// The kernels this router was made with.
    pub fn kernels(&self) -> Kernels {
        self.centroids.kernels()
    }

    /// The rotation.
    pub fn rotation(&self) -> &Rotation {
        &self.projection.rotation
    }

    /// Elements of a vector outside.
    pub fn dim(&self) -> usize {
        self.rotation().dim()
    }

    /// Elements of a rotated vector.
    pub fn padded_dim(&self) -> usize {
        self.rotation().padded_dim()
    }

    /// The number of lists.
    pub fn nlist(&self) -> usize {
        self.centroids.nlist()
    }

    /// The centroids of all lists, rotated.
    pub fn centroids(&self) -> &Centroids {
        &self.centroids
    }

    /// One centroid, rotated.
    pub fn centroid(&self, list: usize) -> Vec<f32> {
        let mut centroid = vec![0.0; self.padded_dim()];
        self.centroids.write(list, &mut centroid);
        centroid
    }

    /// The mean of the centroids, which queries are shifted by before they meet a code.
    pub fn centre(&self) -> &[f32] {
        self.centroids.mean()
    }

    /// A rotated vector less [`Router::centre`].
    pub fn shift(&self, rotated: &[f32], out: &mut [f32]) {
        for ((out, value), centre) in out.iter_mut().zip(rotated).zip(self.centre()) {
            *out = value - centre;
        }
    }

    /// Brings a vector into the space of the centroids: unit length if the metric asks for it, then rotated.
    /// `scratch` holds `dim` values, `out` takes `padded_dim`.
    pub fn project(&self, vector: &[f32], scratch: &mut Vec<f32>, out: &mut [f32]) {
        self.projection.one(self.kernels(), vector, scratch, out);
    }

    /// Codes of the centroids, made if there are none: where the lists are many enough to be grouped.
    pub(super) fn codes(&self) -> Option<Arc<Codes>> {
        let coded = || self.has_regions().then(|| Arc::new(Codes::new(&self.centroids)));
        self.codes.clone().or_else(coded)
    }

    /// Whether the lists are many enough to be grouped by where they are.
    pub fn has_regions(&self) -> bool {
        self.regions.is_some()
    }

    /// The group of lists that a vector is nearest to; groups near each other have numbers near each other. Without
    /// groups ([`Router::has_regions`]) it is always the first.
    pub fn region(&self, vector: &[f32], dots: &mut Vec<f32>) -> u32 {
        let (kernels, normalises) = (self.kernels(), self.metric().normalises());
        let length = if normalises { kernels.dot(vector, vector).sqrt() } else { 1.0 };
        let scale = if length > 0.0 { 1.0 / length } else { 1.0 };
        self.regions.as_ref().map_or(0, |regions| regions.nearest(kernels, vector, scale, dots))
    }

    /// Half the squared length of a centroid.
    pub fn half_norm(&self, list: usize) -> f32 {
        self.centroids.half_norms()[list]
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
        let (dim, nlist) = (self.padded_dim(), self.nlist());
        let along: Vec<f32> =
            queries.chunks_exact(dim).map(|query| self.centroids.along_mean(query)).collect();
        for list in 0..nlist {
            let queries = queries.chunks_exact(dim).zip(&along);
            for ((query, &along), keys) in queries.zip(out.chunks_exact_mut(nlist)) {
                keys[list] = self.centroids.key(query, along, list, self.metric().family());
            }
        }
    }

    /// Nearly the keys of [`Router::keys_tile`], by bytes, of several queries and the same shifted ([`Router::shift`]): good for
    /// ranking lists, where that is quick ([`Router::ranks_by_bytes`]).
    pub fn nearly_keys_tile(
        &self,
        queries: &[f32],
        shifted: &[f32],
        scratch: &mut KeyScratch,
        keys: &mut Vec<f32>,
    ) {
        self.centroids.nearly_keys(self.metric().family(), queries, shifted, scratch, keys);
    }

    /// Whether all lists are best ranked by bytes: they are many, and stay in the second cache.
    pub fn ranks_by_bytes(&self) -> bool {
        ranks_by_bytes(&self.centroids)
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
            return codes.nearest(&self.centroids, self.metric().family(), query, lut, wanted, found);
        }
        self.keys(query, found);
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        found.truncate(wanted);
    }

    /// Bytes of memory that the router holds besides what is stored of the centroids.
    pub fn bytes(&self) -> usize {
        let regions = self.regions.as_ref().map_or(0, |regions| regions.bytes());
        self.centroids.derived_bytes() + regions + self.codes.as_ref().map_or(0, |codes| codes.bytes())
    }
}

fn ranks_by_bytes(centroids: &Centroids) -> bool {
    centroids.nlist() >= BYTES_FROM && centroids.nlist() * centroids.dim() <= BYTES_UP_TO
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
    let projection = Projection { metric: params.metric, rotation };
    let projected = projection.rows(kernels, sample, &rows, pool)?;
    let nlist = params.nlist.min(rows.len());
    let trainer = Trainer { kernels, dim: padded, pool, monitor };
    let centroids = hierarchy::train(trainer, &projected, nlist, params.seed)?;
    Router::new(params.metric, projection.rotation, &centroids, kernels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ivf::{assign::Assigner, groups::Groups},
        monitor::Unwatched,
        random::SplitMix64,
    };
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
        router.projection.rows(router.kernels(), vectors, &rows, &Pool::Inline).unwrap()
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
    fn the_region_of_a_vector_is_that_of_its_projection() {
        let vectors = column(GROUPED_FROM * 2, 70);
        for metric in [Metric::L2Sq, Metric::Ip, Metric::Cosine] {
            let router = trained(&vectors, metric, GROUPED_FROM + 40);
            let groups = Groups::new(router.centroids());
            let (mut scratch, mut dots, mut met) = (vec![0.0; 70], Vec::new(), 0);
            let rows = projected(&router, &vectors);
            for (row, projected) in rows.chunks_exact(router.padded_dim()).enumerate() {
                let keys = groups.means.chunks_exact(projected.len()).zip(0_u32..);
                let key = |(mean, group)| (router.kernels().l2sq(projected, mean), group);
                let nearest = keys.map(key).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1;
                met += usize::from(router.region(vectors.row(row, &mut scratch), &mut dots) == nearest);
            }
            // All but those that are about as near to two.
            assert!(met * 100 >= 99 * vectors.len(), "{metric}: {met}");
        }
    }

    #[test]
    fn with_many_lists_levels_do_not_change_what_is_found() {
        let vectors = column(GROUPED_FROM * 2, 64);
        let router = trained(&vectors, Metric::L2Sq, GROUPED_FROM + 5);
        let rows = projected(&router, &vectors);
        let found = |kernels| {
            let router =
                Router::new(Metric::L2Sq, router.rotation().clone(), &router.centroids().all(), kernels)
                    .unwrap();
            let mut nearest = Vec::new();
            router.nearest(&rows[..64], &Query::new(kernels, &rows[..64]), 9, &mut nearest);
            (
                Assigner::new(&router).assign(&rows),
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
            let lists = Assigner::new(&router).assign(&projected);
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
