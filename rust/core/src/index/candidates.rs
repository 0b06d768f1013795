//! The two halves of a search apart: candidates with bounds here, their exact distances where the vectors are.
//!
//! For tables whose codes and vectors lie on different machines: each shard sends its [`Bounded`] rows, whoever holds
//! the vectors reranks them, and [`crate::topk::merge_topk`] makes one answer of all.

use super::{
    Index, SearchParams,
    reach::{Breadth, Reach},
    scan,
    sink::{Sink, Survivor},
};
use crate::{
    distance::Prepared,
    error::Result,
    ids::Id,
    kernel::Kernels,
    metric::Metric,
    monitor::Unwatched,
    pool::Pool,
    recall::epsilon_for,
    topk::{Candidate, TopK},
    vectors::Vectors,
};

/// A row that may be among the nearest, as far as its code can tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded<'a> {
    /// The row number in the column that was coded.
    pub row: u64,
    /// The row's id.
    pub id: Id<'a>,
    /// The estimated value of the metric's family.
    pub estimate: f32,
    /// The value is above this but for the chance that epsilon leaves.
    pub lower: f32,
    /// The value is below this but for the same chance.
    pub upper: f32,
}

impl Index {
    /// For each query the rows whose lower bound does not exceed the k-th smallest upper bound, in no order.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn candidates(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        pool: &Pool,
    ) -> Result<Vec<Vec<Bounded<'_>>>> {
        self.check_queries(queries, params.k, pool, &Unwatched)?;
        let filter = params.filter.as_deref();
        let k = params.k.min(filter.map_or(self.len(), |filter| filter.count().min(self.len())));
        let lists = self.router().nlist();
        let everywhere = Reach {
            breadth: Breadth::Nprobe(lists),
            lists,
            enough: 0,
            allowed: 0.0,
            epsilon: epsilon_for(1.0),
        };
        let reach = self.reach(params, k)?.unwrap_or(everywhere);
        let found = pool.map(queries.len(), |row| {
            Ok(scan::run(self, queries, &[row], reach, filter, |_, _| Bounds::new(k)))
        })?;
        Ok(found
            .into_iter()
            .flatten()
            .map(|sink| sink.map_or_else(Vec::new, |(sink, _)| sink.into_rows()))
            .collect())
    }
}

/// Keeps every row that is still possible; the limit is the k-th smallest upper bound.
struct Bounds<'a> {
    uppers: TopK<'a>,
    rows: Vec<Bounded<'a>>,
}

impl<'a> Bounds<'a> {
    fn new(k: usize) -> Self {
        Self { uppers: TopK::new(k), rows: Vec::new() }
    }

    fn into_rows(mut self) -> Vec<Bounded<'a>> {
        let limit = self.uppers.limit();
        self.rows.retain(|bounded| bounded.lower <= limit);
        self.rows
    }
}

impl<'a> Sink<'a> for Bounds<'a> {
    fn limit(&self) -> f32 {
        self.uppers.limit()
    }

    fn is_full(&self) -> bool {
        self.uppers.is_full()
    }

    fn offer(&mut self, survivor: Survivor<'a>) {
        let Survivor { segment, slot, estimate, lower, upper, .. } = survivor;
        let id = segment.id(slot);
        self.uppers.push(Candidate { value: upper, id });
        self.rows.push(Bounded { row: segment.row(slot), id, estimate, lower, upper });
    }
}

/// The `k` best of one query's candidates by exact distance, best first.
///
/// `vectors` is the column that was coded, `query` one vector as wide as it. Looks at the most promising candidates
/// first and stops when no lower bound can beat the k-th exact value.
pub fn rerank<'a>(
    mut candidates: Vec<Bounded<'a>>,
    vectors: &Vectors,
    query: &[f32],
    metric: Metric,
    k: usize,
    kernels: Kernels,
) -> Vec<Candidate<'a>> {
    candidates.sort_unstable_by(|a, b| a.lower.total_cmp(&b.lower).then_with(|| a.id.cmp(&b.id)));
    let query = Prepared::new(kernels, metric, query);
    let (mut best, mut scratch) = (TopK::new(k), vec![0.0; vectors.dim()]);
    for candidate in candidates {
        if candidate.lower > best.limit() {
            break;
        }
        let value = query.value(kernels, vectors.row(candidate.row as usize, &mut scratch));
        best.push(Candidate { value, id: candidate.id });
    }
    best.into_sorted()
}
