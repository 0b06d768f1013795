//! Searching a batch of queries.

use std::sync::Arc;

use super::{
    Index, VectorsKept,
    build::check_values,
    filtered::Allowed,
    reach::{DEFAULT_RECALL, Effort, Reach},
    rerank::Rerank,
    scan,
    shared::SharedBounds,
    sink::Estimates,
};
use crate::{
    error::{Error, Result},
    exact::{self, check_k},
    filter::Filter,
    hits::Hits,
    monitor::{Monitor, Phase},
    pool::Pool,
    topk::Candidate,
    vectors::Vectors,
};

/// Queries answered by one task, at most: their tables and lists stay in the second-level cache.
const QUERIES_PER_TASK: usize = 256;
/// Tasks per thread, so that no thread is left waiting for the last one.
const TASKS_PER_THREAD: usize = 2;

/// What is asked of an index.
#[derive(Clone, Debug)]
pub struct SearchParams {
    /// The number of neighbours; an index with fewer rows returns all of them.
    pub k: usize,
    /// How hard to look.
    pub effort: Effort,
    /// How many standard deviations of the estimate's error a row must be beyond the k-th best to be dropped. `None`
    /// follows the recall asked for.
    pub epsilon: Option<f32>,
    /// The rows that may be returned; `None` allows all of them.
    pub filter: Option<Arc<Filter>>,
    /// Whether distances are exact where the index has vectors. False gives the codes' estimates all the same.
    pub rerank: bool,
}

impl Default for SearchParams {
    fn default() -> Self {
        Self { k: 10, effort: Effort::Recall(DEFAULT_RECALL), epsilon: None, filter: None, rerank: true }
    }
}

impl Index {
    /// The nearest rows of each query, best first, ties by id; every query gets `min(k, len)` of them, a null query
    /// none.
    ///
    /// With vectors at hand (borrowed or stored) the distances are exact: codes and their error bound only decide
    /// which rows are worth looking at. Without them, or without `rerank`, the distances are the codes' estimates.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] for queries of another width, [`Error::InvalidVector`] for NaN or infinity,
    /// [`Error::InvalidParameter`] for parameters out of range, [`Error::Interrupted`] when the monitor says so.
    pub fn search(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        self.search_sharing(queries, params, None, pool, monitor)
    }

    /// The same beside searches of other indexes, of which together the `params.k` best are wanted: rows that cannot be
    /// among them are left out, so that there may be fewer than `k`. When each of the searches ends depends on the
    /// others; all of them must succeed for their answers to be whole.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn search_sharing(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        bounds: Option<&SharedBounds>,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        self.check_queries(queries, params.k, pool, monitor)?;
        let filter = params.filter.as_deref();
        let k = params.k.min(filter.map_or(self.len(), |filter| filter.count().min(self.len())));
        // Fewer rows than are wanted say nothing about the farthest of those.
        let shared = bounds.filter(|_| k == params.k);
        if k == 0 {
            return Ok(self.no_hits(queries));
        }
        let has_vectors = self.vectors_kept() != VectorsKept::None;
        let reranks = self.reranks(params);
        let Some(reach) = self.reach(params, k)? else {
            if !has_vectors {
                let expected = "an index that stores or borrows its vectors";
                return Err(Error::invalid_parameter("exact search", expected, "one that holds codes only"));
            }
            return self.search_rows(filter, queries, k, pool, monitor);
        };
        if let Some(filter) = filter.filter(|filter| reranks && self.is_sparse(filter, k)) {
            return self.search_rows(Some(filter), queries, k, pool, monitor);
        }
        let each = queries.len().div_ceil(pool.threads() * TASKS_PER_THREAD).clamp(1, QUERIES_PER_TASK);
        let tasks = queries.len().div_ceil(each);
        let order = self.by_region(queries, pool)?;
        let rows = pool.map(tasks, |task| {
            if monitor.interrupted() {
                return Err(Error::Interrupted);
            }
            let rows = &order[task * each..((task + 1) * each).min(queries.len())];
            let found = if reranks {
                self.reranked(queries, rows, k, reach, filter, shared)
            } else {
                self.estimated(queries, rows, k, reach, filter)
            };
            monitor.advance(Phase::Search, 1, tasks);
            Ok(found)
        })?;
        let mut answers = vec![None; queries.len()];
        order.into_iter().zip(rows.into_iter().flatten()).for_each(|(row, found)| answers[row] = found);
        Ok(Hits::new(self.id_type(), self.metric(), reranks, &answers))
    }

    /// Whether a search ends with exact distances.
    pub(super) fn reranks(&self, params: &SearchParams) -> bool {
        params.rerank && self.vectors_kept() != VectorsKept::None
    }

    fn reranked(
        &self,
        queries: &Vectors,
        rows: &[usize],
        k: usize,
        reach: Reach,
        filter: Option<&Filter>,
        bounds: Option<&SharedBounds>,
    ) -> Vec<Option<Vec<Candidate<'_>>>> {
        let sink = |row: usize, vector: &[f32]| {
            Rerank::new(self, vector, k).sharing(bounds.and_then(|bounds| bounds.of(row)))
        };
        let found = scan::run(self, queries, rows, reach, filter, sink);
        found.into_iter().map(|sink| sink.map(|(sink, _)| sink.into_sorted())).collect()
    }

    fn estimated(
        &self,
        queries: &Vectors,
        rows: &[usize],
        k: usize,
        reach: Reach,
        filter: Option<&Filter>,
    ) -> Vec<Option<Vec<Candidate<'_>>>> {
        let found = scan::run(self, queries, rows, reach, filter, |_, _| Estimates::new(k));
        found.into_iter().map(|sink| sink.map(|(sink, _)| sink.into_sorted())).collect()
    }

    /// Compares every row that is allowed with every query.
    fn search_rows(
        &self,
        filter: Option<&Filter>,
        queries: &Vectors,
        k: usize,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        let (metric, kernels) = (self.metric(), self.router().kernels());
        match filter {
            Some(filter) => {
                exact::search(&Allowed::new(self, filter), queries, metric, k, kernels, pool, monitor)
            }
            None => exact::search(self, queries, metric, k, kernels, pool, monitor),
        }
    }

    /// Refuses queries that cannot be meant.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub(super) fn check_queries(
        &self,
        queries: &Vectors,
        k: usize,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        check_k(k)?;
        queries.expect_dim("the index", self.dim())?;
        check_values(queries, self.metric(), pool, monitor)
    }
}
