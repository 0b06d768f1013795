//! All rows within a radius.
//!
//! How far to look is asked of the calibration, which knows what it takes to find the k nearest: the search is made for
//! more and more of them until it finds fewer rows than it was made for. Then what was found are the nearest, all of
//! them that lie within the radius, with the recall that was asked for.

use std::sync::Arc;

use super::{
    Effort, Index, SearchParams, VectorsKept,
    probe::{Probe, Reach, Sink, check_queries},
};
use crate::{
    distance::Prepared,
    error::{Error, Result},
    filter::Filter,
    hits::Hits,
    kernel::Kernels,
    metric::Metric,
    monitor::{Monitor, Phase},
    pool::Pool,
    segment::Segment,
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
        check_queries(self, queries, 1, pool, monitor)?;
        if self.vectors_kept() == VectorsKept::None {
            let expected = "an index that stores or borrows its vectors";
            return Err(Error::invalid_parameter("within", expected, "one that holds codes only"));
        }
        let params = SearchParams { effort, filter: filter.cloned(), ..SearchParams::default() };
        // Parameters are checked before the first query.
        self.reach(&params, FIRST_LOOK.min(self.len()))?;
        let rows = pool.map(queries.len(), |row| {
            if monitor.interrupted() {
                return Err(Error::Interrupted);
            }
            let mut widened = vec![0.0; queries.dim()];
            let found = if queries.is_null(row) {
                None
            } else {
                Some(self.near(queries.row(row, &mut widened), radius, &params)?)
            };
            monitor.advance(Phase::Search, 1, queries.len());
            Ok(found)
        })?;
        Ok(Hits::new(self.id_type(), self.metric(), true, &rows))
    }

    fn near(&self, query: &[f32], radius: f32, params: &SearchParams) -> Result<Vec<Candidate<'_>>> {
        let kernels = self.router().kernels();
        let mut depth = FIRST_LOOK.min(self.len());
        loop {
            let asked = self.reach(params, depth)?;
            let everything = Reach { nprobe: self.router().nlist(), epsilon: 0.0 };
            let reach = asked.unwrap_or(everything);
            let mut sink = Ball {
                index: self,
                kernels,
                query: Prepared::new(kernels, self.metric(), query),
                radius,
                limit: family_value(self.metric(), radius),
                bounded: asked.is_some(),
                scratch: vec![0.0; self.dim()],
                found: Vec::new(),
            };
            Probe::new(self, params.filter.as_deref()).run(query, reach, &mut sink);
            let found = sink.found.len();
            let all = reach.nprobe >= self.router().nlist() || !matches!(params.effort, Effort::Recall(_));
            if all || found < depth {
                let mut found = sink.found;
                found.sort_unstable();
                return Ok(found);
            }
            depth = found.saturating_mul(2).min(self.len());
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
    kernels: Kernels,
    query: Prepared,
    radius: f32,
    limit: f32,
    /// Whether rows may be dropped by their bound; an exact search looks at all of them.
    bounded: bool,
    scratch: Vec<f32>,
    found: Vec<Candidate<'a>>,
}

impl<'a> Sink<'a> for Ball<'a> {
    fn limit(&self) -> f32 {
        if self.bounded { self.limit } else { f32::INFINITY }
    }

    fn is_full(&self) -> bool {
        true
    }

    fn offer(&mut self, segment: &'a Segment, slot: usize, _estimate: f32, _lower: f32) {
        let Some(vector) = self.index.vector_of(segment, slot, &mut self.scratch) else { return };
        let value = self.query.value(self.kernels, vector);
        if self.index.metric().finish(value) <= self.radius {
            self.found.push(Candidate { value, id: segment.id(slot) });
        }
    }
}
