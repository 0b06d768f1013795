//! What a search does for each query, counted.

use super::{
    Index, SearchParams,
    reach::{Breadth, Effort, Reach},
    rerank::Rerank,
    scan::{self, Tally},
    sink::Estimates,
};
use crate::{error::Result, monitor::Unwatched, pool::Pool, vectors::Vectors};

/// What one query costs, and whether its target can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained {
    /// Lists looked into.
    pub lists: usize,
    /// Codes scanned: rows of these lists that a filter allows. All rows where the search compares without codes.
    pub codes: usize,
    /// Rows that the error bound could not drop.
    pub survivors: usize,
    /// Rows whose exact distance was computed.
    pub reranked: usize,
    /// Whether the recall asked for was met when the index measured itself, and the query is no farther from the lists
    /// than the rows are. Exact searches meet every target; searches by `nprobe` have none.
    pub on_target: bool,
}

impl Index {
    /// Answers like [`Index::search`], and tells for each query what it took; `None` for a null query.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn explain(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        pool: &Pool,
    ) -> Result<Vec<Option<Explained>>> {
        self.check_queries(queries, params.k, pool, &Unwatched)?;
        let allowed = params.filter.as_deref().map_or(self.len(), |filter| filter.count().min(self.len()));
        let k = params.k.min(allowed);
        let compares = Explained { codes: 0, reranked: allowed, on_target: true, ..Explained::default() };
        let by_scan = if k == 0 { None } else { self.reach(params, k)? };
        let sparse =
            params.filter.as_deref().is_some_and(|filter| self.reranks(params) && self.is_sparse(filter, k));
        let Some(reach) = by_scan.filter(|_| !sparse) else {
            let each = |row| (!queries.is_null(row)).then_some(compares);
            return Ok((0..queries.len()).map(each).collect());
        };
        let measured = match params.effort {
            Effort::Recall(_) => matches!(reach.breadth, Breadth::Spread { .. }),
            Effort::Nprobe(_) | Effort::Exact => false,
        };
        pool.map(queries.len(), |row| Ok(self.explain_one(queries, row, k, reach, measured, params)))
    }

    fn explain_one(
        &self,
        queries: &Vectors,
        row: usize,
        k: usize,
        reach: Reach,
        measured: bool,
        params: &SearchParams,
    ) -> Option<Explained> {
        let filter = params.filter.as_deref();
        let told = |tally: Tally, survivors: usize, reranked: usize| Explained {
            lists: tally.lists,
            codes: tally.codes,
            survivors,
            reranked,
            on_target: tally.lists == self.router().nlist() || (measured && self.is_usual(queries, row)),
        };
        if !self.reranks(params) {
            let found = scan::run(self, queries, &[row], reach, filter, |_, _| Estimates::new(k));
            let (sink, tally) = found.into_iter().next()??;
            return Some(told(tally, sink.survived, 0));
        }
        let found = scan::run(self, queries, &[row], reach, filter, |_, vector| Rerank::new(self, vector, k));
        let (sink, tally) = found.into_iter().next()??;
        Some(told(tally, sink.survived, sink.compared))
    }

    /// Whether a query is no farther from its nearest list than the rows are.
    fn is_usual(&self, queries: &Vectors, row: usize) -> bool {
        let (router, usual) = (self.router(), self.calibration().usual());
        if usual <= 0.0 {
            return true;
        }
        let (mut widened, mut scaled) = (vec![0.0; queries.dim()], Vec::new());
        let mut rotated = vec![0.0; router.padded_dim()];
        router.project(queries.row(row, &mut widened), &mut scaled, &mut rotated);
        let mut keys = Vec::new();
        router.keys(&rotated, &mut keys);
        let nearest = keys.iter().map(|key| key.0).fold(f32::INFINITY, f32::min);
        let squared_norm = router.kernels().dot(&rotated, &rotated);
        super::reach::farness(router.metric().family(), nearest, squared_norm) <= usual
    }
}
