//! All rows within a radius.
//!
//! How far to look is asked of the calibration, which knows what it takes to find the k nearest: the search is made for
//! more and more of them until it finds fewer rows than it was made for. Then what was found are the nearest, all of
//! them that lie within the radius, with the recall that was asked for.

use std::sync::Arc;

use super::{
    DEFAULT_RECALL, Effort, Index, SearchParams, VectorsKept,
    reach::{Breadth, Reach},
    scan,
    sink::{Sink, Survivor},
};
use crate::{
    distance::Prepared,
    error::{Error, Result},
    filter::Filter,
    hits::Hits,
    metric::Metric,
    monitor::{Monitor, Phase},
    pool::Pool,
    recall::epsilon_for,
    topk::Candidate,
    vectors::Vectors,
};

/// The number of rows that the first look is made for.
const FIRST_LOOK: usize = 100;

impl Index {
    /// All rows whose distance to a query is at most `radius`, best first, ties by id; a null query has none. Distances
    /// are exact. [`Effort::Exact`] compares every row; [`Effort::Recall`] finds that share of them on average.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a radius that is not a number and for an index that keeps codes only; otherwise
    /// as [`Index::search`].
    pub fn within(
        &self,
        queries: &Vectors,
        radius: f32,
        effort: Effort,
        filter: Option<&Arc<Filter>>,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        check_radius(radius)?;
        self.check_queries(queries, 1, pool, monitor)?;
        if self.vectors_kept() == VectorsKept::None {
            let expected = "an index that stores or borrows its vectors";
            return Err(Error::invalid_parameter("within", expected, "one that holds codes only"));
        }
        // Rows at the very edge have nothing to spare, unlike the nearest ones that epsilon is measured on.
        let recall = if let Effort::Recall(recall) = effort { recall } else { DEFAULT_RECALL };
        // A quarter of what may be lost is lost by the bound, the rest by lists.
        let epsilon = Some(epsilon_for(1.0 - (1.0 - recall) / 4.0));
        let params = SearchParams { effort, epsilon, filter: filter.cloned(), ..SearchParams::default() };
        // Parameters are checked before the first query.
        self.reach(&params, FIRST_LOOK.min(self.len()))?;
        let rows = pool.map(queries.len(), |row| {
            if monitor.interrupted() {
                return Err(Error::Interrupted);
            }
            let found =
                if queries.is_null(row) { None } else { Some(self.near(queries, row, radius, &params)?) };
            monitor.advance(Phase::Search, 1, queries.len());
            Ok(found)
        })?;
        Ok(Hits::new(self.id_type(), self.metric(), true, &rows))
    }

    fn near(
        &self,
        queries: &Vectors,
        row: usize,
        radius: f32,
        params: &SearchParams,
    ) -> Result<Vec<Candidate<'_>>> {
        let nlist = self.router().nlist();
        let mut depth = FIRST_LOOK.min(self.len());
        loop {
            let asked = self.reach(params, depth)?;
            let everything = Reach {
                breadth: Breadth::Nprobe(nlist),
                lists: nlist,
                enough: 0,
                allowed: 0.0,
                epsilon: 0.0,
            };
            let reach = asked.unwrap_or(everything);
            let all = reach.breadth == Breadth::Nprobe(nlist) || !matches!(params.effort, Effort::Recall(_));
            let ball = |_, vector: &[f32]| Ball::new(self, vector, radius, asked.is_some());
            let found = scan::run(self, queries, &[row], reach, params.filter.as_deref(), ball);
            let mut found = found.into_iter().flatten().next().map_or_else(Vec::new, |(ball, _)| ball.found);
            if all || found.len() < depth || depth == self.len() {
                found.sort_unstable();
                return Ok(found);
            }
            depth = found.len().saturating_mul(2).min(self.len());
        }
    }
}

/// Refuses a radius that says nothing.
///
/// # Errors
/// [`Error::InvalidParameter`].
pub(crate) fn check_radius(radius: f32) -> Result<()> {
    if radius.is_nan() {
        return Err(Error::invalid_parameter("radius", "a number", radius.to_string()));
    }
    Ok(())
}

/// The value of the metric's family that a distance stands for, with room for rounding.
fn family_value(metric: Metric, distance: f32) -> f32 {
    match metric {
        Metric::L2Sq | Metric::Ip => distance,
        Metric::L2 => {
            let squared = distance * distance * (1.0 + 4.0 * f32::EPSILON);
            if distance < 0.0 { -squared } else { squared }
        }
        Metric::Cosine => distance - 1.0 + 2.0 * f32::EPSILON,
    }
}

/// Keeps every row within the radius.
struct Ball<'a> {
    index: &'a Index,
    query: Prepared,
    radius: f32,
    /// Rows whose bound is above this are dropped: infinite where all rows are to be compared.
    limit: f32,
    pending: Vec<Survivor<'a>>,
    found: Vec<Candidate<'a>>,
}

impl<'a> Ball<'a> {
    fn new(index: &'a Index, vector: &[f32], radius: f32, bounded: bool) -> Self {
        let metric = index.metric();
        let limit = if bounded { family_value(metric, radius) } else { f32::INFINITY };
        let query = Prepared::new(index.router().kernels(), metric, vector);
        Self { index, query, radius, limit, pending: Vec::new(), found: Vec::new() }
    }
}

impl<'a> Sink<'a> for Ball<'a> {
    fn limit(&self) -> f32 {
        self.limit
    }

    fn is_full(&self) -> bool {
        true
    }

    fn offer(&mut self, survivor: Survivor<'a>) {
        self.pending.push(survivor);
    }

    fn finish(&mut self, scratch: &mut [f32]) {
        for Survivor { segment, slot, .. } in self.pending.drain(..) {
            let Some(value) = self.index.value_of(&self.query, segment, slot, scratch) else { continue };
            if self.index.metric().finish(value) <= self.radius {
                self.found.push(Candidate { value, id: segment.id(slot) });
            }
        }
    }
}
