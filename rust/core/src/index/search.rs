//! Searching a batch of queries.

use super::{
    Index, VectorsKept,
    build::check_values,
    reach::{DEFAULT_RECALL, Effort, Reach},
    scan,
    sink::{Estimates, Rerank},
};
use crate::{
    error::{Error, Result},
    exact::{self, check_k},
    hits::Hits,
    monitor::{Monitor, Phase},
    pool::Pool,
    topk::Candidate,
    vectors::Vectors,
};

/// Queries answered by one task, at most: their tables and lists stay in the second-level cache.
const QUERIES_PER_TASK: usize = 256;
/// Tasks per thread, so that no thread is left waiting for the last one.
const TASKS_PER_THREAD: usize = 4;

/// What is asked of an index.
#[derive(Clone, Copy, Debug)]
pub struct SearchParams {
    /// The number of neighbours; an index with fewer rows returns all of them.
    pub k: usize,
    /// How hard to look.
    pub effort: Effort,
    /// How many standard deviations of the estimate's error a row must be beyond the k-th best to be dropped. `None`
    /// follows the recall asked for.
    pub epsilon: Option<f32>,
}

impl Default for SearchParams {
    fn default() -> Self {
        Self { k: 10, effort: Effort::Recall(DEFAULT_RECALL), epsilon: None }
    }
}

impl Index {
    /// The nearest rows of each query, best first, ties by id; every query gets `min(k, len)` of them, a null query
    /// none.
    ///
    /// With vectors at hand (borrowed or stored) the distances are exact: codes and their error bound only decide
    /// which rows are worth looking at. Without them the distances are the codes' estimates.
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
        self.check_queries(queries, params.k, pool, monitor)?;
        let k = params.k.min(self.len());
        let has_vectors = self.vectors_kept() != VectorsKept::None;
        let Some(reach) = self.reach(params.effort, params.epsilon, k)? else {
            if !has_vectors {
                let expected = "an index that stores or borrows its vectors";
                return Err(Error::invalid_parameter("exact search", expected, "one that holds codes only"));
            }
            return exact::search(self, queries, self.metric(), k, self.router().kernels(), pool, monitor);
        };
        let each = queries.len().div_ceil(pool.threads() * TASKS_PER_THREAD).clamp(1, QUERIES_PER_TASK);
        let tasks = queries.len().div_ceil(each);
        let rows = pool.map(tasks, |task| {
            if monitor.interrupted() {
                return Err(Error::Interrupted);
            }
            let span = task * each..((task + 1) * each).min(queries.len());
            let found = self.answer(queries, span, k, reach, has_vectors);
            monitor.advance(Phase::Search, 1, tasks);
            Ok(found)
        })?;
        let rows: Vec<_> = rows.into_iter().flatten().collect();
        Ok(Hits::new(self.id_type(), self.metric(), has_vectors, &rows))
    }

    fn answer(
        &self,
        queries: &Vectors,
        rows: std::ops::Range<usize>,
        k: usize,
        reach: Reach,
        has_vectors: bool,
    ) -> Vec<Option<Vec<Candidate<'_>>>> {
        if has_vectors {
            let found = scan::run(self, queries, rows, reach, |vector| Rerank::new(self, vector, k));
            found.into_iter().map(|sink| sink.map(Rerank::into_sorted)).collect()
        } else {
            let found = scan::run(self, queries, rows, reach, |_| Estimates::new(k));
            found.into_iter().map(|sink| sink.map(Estimates::into_sorted)).collect()
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
