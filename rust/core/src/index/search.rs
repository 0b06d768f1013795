//! Searching a batch of queries.

use std::sync::Arc;

use super::{
    Index, VectorsKept,
    filtered::Allowed,
    probe::{Probe, Reach, Sink, check_queries},
};
use crate::{
    distance::Prepared,
    error::{Error, Result},
    exact,
    filter::Filter,
    hits::Hits,
    kernel::Kernels,
    monitor::{Monitor, Phase},
    pool::Pool,
    recall::epsilon_for,
    segment::Segment,
    topk::{Candidate, TopK},
    vectors::Vectors,
};

/// Queries answered by one task.
const QUERIES_PER_TASK: usize = 16;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// As hard as it takes to find this share of the true neighbours, as measured when the index was built.
    Recall(f64),
    /// In this many lists.
    Nprobe(usize),
    /// At every row.
    Exact,
}

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
}

impl Default for SearchParams {
    fn default() -> Self {
        Self { k: 10, effort: Effort::Recall(DEFAULT_RECALL), epsilon: None, filter: None }
    }
}

/// The recall aimed at when none is asked for.
pub const DEFAULT_RECALL: f64 = 0.99;

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
        check_queries(self, queries, params.k, pool, monitor)?;
        let filter = params.filter.as_deref();
        let k = params.k.min(self.len()).min(filter.map_or(usize::MAX, Filter::count));
        if k == 0 {
            return Ok(self.no_hits(queries));
        }
        let has_vectors = self.vectors_kept() != VectorsKept::None;
        let Some(reach) = self.reach(params, k)? else {
            if !has_vectors {
                let expected = "an index that stores or borrows its vectors";
                return Err(Error::invalid_parameter("exact search", expected, "one that holds codes only"));
            }
            return self.search_rows(filter, queries, k, pool, monitor);
        };
        if let Some(filter) = filter.filter(|filter| has_vectors && self.is_sparse(filter, reach.nprobe, k)) {
            return self.search_rows(Some(filter), queries, k, pool, monitor);
        }
        let tasks = queries.len().div_ceil(QUERIES_PER_TASK);
        let rows = pool.map(tasks, |task| {
            if monitor.interrupted() {
                return Err(Error::Interrupted);
            }
            let span = task * QUERIES_PER_TASK..((task + 1) * QUERIES_PER_TASK).min(queries.len());
            let mut searcher = Searcher::new(self, k, reach, filter);
            let found: Vec<_> = span.map(|row| searcher.answer(queries, row)).collect();
            monitor.advance(Phase::Search, 1, tasks);
            Ok(found)
        })?;
        let rows: Vec<_> = rows.into_iter().flatten().collect();
        Ok(Hits::new(self.id_type(), self.metric(), has_vectors, &rows))
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

    /// Turns what the user asked for into what the scan needs; `None` is an exact search.
    pub(super) fn reach(&self, params: &SearchParams, k: usize) -> Result<Option<Reach>> {
        let nlist = self.router().nlist();
        let (nprobe, recall) = match params.effort {
            Effort::Exact => return Ok(None),
            Effort::Recall(recall) if !(recall > 0.0 && recall <= 1.0) => {
                return Err(Error::invalid_parameter("recall", "above 0, at most 1", recall.to_string()));
            }
            Effort::Recall(1.0) if self.vectors_kept() != VectorsKept::None => return Ok(None),
            Effort::Recall(recall) => {
                let filter = params.filter.as_deref();
                let nprobe = filter.map_or_else(
                    || self.calibration().nprobe(k, recall, nlist),
                    |filter| self.nprobe_behind(filter, k, recall),
                );
                (nprobe, recall)
            }
            Effort::Nprobe(0) => return Err(Error::invalid_parameter("nprobe", "at least 1", "0")),
            Effort::Nprobe(nprobe) => (nprobe.min(nlist), DEFAULT_RECALL),
        };
        let epsilon = params.epsilon.unwrap_or_else(|| epsilon_for(recall));
        if !(epsilon.is_finite() && epsilon >= 0.0) {
            return Err(Error::invalid_parameter(
                "epsilon",
                "a finite number, at least 0",
                epsilon.to_string(),
            ));
        }
        Ok(Some(Reach { nprobe, epsilon }))
    }
}

/// Answers one query after the other with the same buffers.
struct Searcher<'a, 'f> {
    index: &'a Index,
    k: usize,
    reach: Reach,
    probe: Probe<'a, 'f>,
    widened: Vec<f32>,
    scratch: Vec<f32>,
}

impl<'a, 'f> Searcher<'a, 'f> {
    fn new(index: &'a Index, k: usize, reach: Reach, filter: Option<&'f Filter>) -> Self {
        let zeros = vec![0.0; index.dim()];
        Self { index, k, reach, probe: Probe::new(index, filter), widened: zeros.clone(), scratch: zeros }
    }

    fn answer(&mut self, queries: &Vectors, row: usize) -> Option<Vec<Candidate<'a>>> {
        if queries.is_null(row) {
            return None;
        }
        let vector = queries.row(row, &mut self.widened);
        let best = TopK::new(self.k);
        if self.index.vectors_kept() == VectorsKept::None {
            let mut sink = Estimates { best };
            self.probe.run(vector, self.reach, &mut sink);
            return Some(sink.best.into_sorted());
        }
        let kernels = self.index.router().kernels();
        let query = Prepared::new(kernels, self.index.metric(), vector);
        let mut sink = Rerank { index: self.index, kernels, query, scratch: &mut self.scratch, best };
        self.probe.run(vector, self.reach, &mut sink);
        Some(sink.best.into_sorted())
    }
}

/// Computes the exact distance of every survivor at once: the heap holds exact values, so its limit is one, too.
struct Rerank<'a, 's> {
    index: &'a Index,
    kernels: Kernels,
    query: Prepared,
    scratch: &'s mut [f32],
    best: TopK<'a>,
}

impl<'a> Sink<'a> for Rerank<'a, '_> {
    fn limit(&self) -> f32 {
        self.best.limit()
    }

    fn is_full(&self) -> bool {
        self.best.is_full()
    }

    fn offer(&mut self, segment: &'a Segment, slot: usize, _estimate: f32, _lower: f32) {
        let Some(vector) = self.index.vector_of(segment, slot, self.scratch) else { return };
        let value = self.query.value(self.kernels, vector);
        if value <= self.best.limit() {
            self.best.push(Candidate { value, id: segment.id(slot) });
        }
    }
}

/// Ranks by the estimate: all there is when only codes are kept.
struct Estimates<'a> {
    best: TopK<'a>,
}

impl<'a> Sink<'a> for Estimates<'a> {
    fn limit(&self) -> f32 {
        self.best.limit()
    }

    fn is_full(&self) -> bool {
        self.best.is_full()
    }

    fn offer(&mut self, segment: &'a Segment, slot: usize, estimate: f32, _lower: f32) {
        if estimate <= self.best.limit() {
            self.best.push(Candidate { value: estimate, id: segment.id(slot) });
        }
    }
}
