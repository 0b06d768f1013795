//! Building: check, train, encode, calibrate.

use super::Index;
use crate::{
    error::{Error, Result},
    filter::Filter,
    ids::Ids,
    ivf::{
        encode::{check_bits, encode_table},
        router::{RouterParams, SAMPLE_PER_LIST, train_router},
    },
    kernel::Kernels,
    metric::Metric,
    monitor::{Monitor, Phase},
    pool::Pool,
    vectors::Vectors,
};

/// Rows whose values are checked by one task.
const ROWS_PER_CHECK: usize = 8 * 1024;

/// One row in so many is learned from at most: rows that are learned from are copied.
const LEARNED_SHARE: usize = 6;
/// Unless there are no more than so many rows,
const LEARNED_WHOLE: usize = 1 << 16;
/// or lists would have fewer rows than this to be the mean of.
const LEARNED_PER_LIST: usize = 32;

/// How an index is built.
#[derive(Clone, Copy, Debug)]
pub struct BuildParams {
    /// The distance to search by.
    pub metric: Metric,
    /// The number of lists; `None` takes [`default_nlist`].
    pub nlist: Option<usize>,
    /// Fixes everything that is drawn by lot: same data and seed, same codes.
    pub seed: u64,
    /// Bits per dimension of the codes, 1 to 9. One is enough where vectors are at hand; more give better distances
    /// without them, and fewer looks at vectors with them.
    pub bits: u32,
}

impl Default for BuildParams {
    fn default() -> Self {
        Self { metric: Metric::default(), nlist: None, seed: 0, bits: 1 }
    }
}

/// The number of lists for a number of rows: twice the square root, but never fewer than 64 rows per list.
///
/// The more lists there are, the fewer rows a search looks at for the same recall; but training takes as many times
/// longer, and ranking the lists begins to cost more than it spares.
pub fn default_nlist(rows: usize) -> usize {
    ((4.0 * rows as f64).sqrt() as usize).min(rows / 64).max(1)
}

impl Index {
    /// Builds an index that borrows `vectors` for exact distances. Null rows are left out; the others keep their row
    /// numbers. Deterministic: neither the number of threads nor the SIMD level changes a bit of it.
    ///
    /// # Errors
    /// [`Error::EmptyIndex`] when no row holds a vector, [`Error::InvalidVector`] for NaN or infinity,
    /// [`Error::InvalidParameter`] for impossible parameters, [`Error::Interrupted`] when the monitor says so.
    pub fn build(
        vectors: Vectors,
        ids: Option<&Ids>,
        params: &BuildParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        check_bits(params.bits)?;
        let kernels = Kernels::detect()?;
        let rows = vectors.len() - vectors.null_count();
        if rows == 0 {
            return Err(Error::EmptyIndex(format!("{} has no vector that is not null", vectors.column())));
        }
        check_ids(ids, &vectors)?;
        check_values(&vectors, params.metric, pool, monitor)?;
        let nlist = params.nlist.unwrap_or_else(|| default_nlist(rows));
        let router = RouterParams { metric: params.metric, nlist, seed: params.seed };
        let router = train_router(&to_learn_from(&vectors, &router), router, kernels, pool, monitor)?;
        let segment = encode_table(&vectors, ids, params.bits, &router, pool, monitor)?;
        let mut index = Self::merge(router, vec![segment])?;
        index.null_count = vectors.null_count();
        index.calibrate(vectors, pool, monitor)?;
        Ok(index)
    }
}

/// The rows that centroids are learned from: all of a small table, for training draws as many as it needs.
fn to_learn_from(vectors: &Vectors, params: &RouterParams) -> Vectors {
    let rows = vectors.len() - vectors.null_count();
    let most = (rows / LEARNED_SHARE).max(LEARNED_WHOLE).max(params.nlist.saturating_mul(LEARNED_PER_LIST));
    if rows <= most || params.nlist.saturating_mul(SAMPLE_PER_LIST) <= most {
        return vectors.clone();
    }
    let drawn = vectors.sample_rows(most, params.seed).into_iter().map(|row| row as u64);
    vectors.only(&Filter::from_rows(drawn, vectors.len() as u64))
}

pub(super) fn check_ids(ids: Option<&Ids>, vectors: &Vectors) -> Result<()> {
    match ids {
        Some(ids) if ids.len() != vectors.len() => Err(Error::invalid_parameter(
            "ids",
            format!("one id per vector ({})", vectors.len()),
            format!("{} ids", ids.len()),
        )),
        _ => Ok(()),
    }
}

/// Refuses the first row that holds NaN or infinity, or is too long for the metric.
///
/// # Errors
/// [`Error::InvalidVector`] naming it, [`Error::Interrupted`] when the monitor says so.
pub fn check_values(vectors: &Vectors, metric: Metric, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let tasks = vectors.len().div_ceil(ROWS_PER_CHECK);
    pool.map(tasks, |task| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let rows = task * ROWS_PER_CHECK..((task + 1) * ROWS_PER_CHECK).min(vectors.len());
        vectors.check_finite(rows.clone())?;
        if !metric.normalises() {
            vectors.check_lengths(rows)?;
        }
        monitor.advance(Phase::Check, 1, tasks);
        Ok(())
    })?;
    Ok(())
}
