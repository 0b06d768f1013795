//! Questions besides "the k nearest": a radius, the graph of all rows, one neighbour after the other, codes read back.

use std::{collections::HashSet, sync::Arc};

use super::{
    delta::Recent,
    snapshot::{Place, Snapshot},
};
use crate::{
    error::{Error, Result},
    exact,
    filter::Filter,
    hits::Hits,
    ids::{Id, Ids, OwnedId},
    index::{Effort, SearchParams, check_radius},
    monitor::Monitor,
    pool::Pool,
    topk::Candidate,
    vectors::Vectors,
};

/// Rows that ask for their neighbours at once: their vectors are copied.
const ROWS_AT_ONCE: usize = 4096;

impl Snapshot {
    /// All rows within a radius: as [`crate::Index::within`].
    ///
    /// # Errors
    /// As [`crate::Index::within`].
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
        let allowed = self.allowed(filter);
        let found = self.index.within(queries, radius, effort, allowed.as_ref(), pool, monitor)?;
        let Some(allowed) = allowed.filter(|_| self.recent > 0) else { return Ok(found) };
        let recent = Recent { delta: &self.delta, allowed: &allowed, id_type: self.id_type() };
        let (metric, kernels) = (self.index.metric(), self.index.router().kernels());
        let near = exact::search(&recent, queries, metric, self.delta.len(), kernels, pool, monitor)?;
        Ok(found.merge(&near.up_to(radius), usize::MAX))
    }

    /// The `params.k` nearest other rows of each row, in the order of [`Snapshot::ids`]. Rows with an equal vector are
    /// neighbours, the row itself is none.
    ///
    /// # Errors
    /// As [`Snapshot::search`]; [`Error::InvalidParameter`] when the index keeps codes only.
    pub fn neighbours(&self, params: &SearchParams, pool: &Pool, monitor: &dyn Monitor) -> Result<Hits> {
        let dim = self.index.dim();
        exact::check_k(params.k)?;
        let ask = SearchParams { k: params.k.saturating_add(1), ..params.clone() };
        let mut parts = Vec::new();
        for places in self.places().chunks(ROWS_AT_ONCE) {
            let mut values = vec![0.0; places.len() * dim];
            for (&(_, place), target) in places.iter().zip(values.chunks_exact_mut(dim)) {
                if !self.vector(place, target) {
                    let expected = "an index that stores or borrows its vectors";
                    return Err(Error::invalid_parameter(
                        "neighbours",
                        expected,
                        "one that holds codes only",
                    ));
                }
            }
            let own = Ids::collect(self.id_type(), places.iter().map(|&(_, place)| self.id(place)));
            let rows = Vectors::from_f32("rows", dim, values.into())?;
            parts.push(self.search(&rows, &ask, pool, monitor)?.without_own(&own, params.k));
        }
        Ok(Hits::concat(&parts).unwrap_or_else(|| Hits::new(self.id_type(), self.index.metric(), true, &[])))
    }

    /// The vectors of the rows with these ids, one after the other: as they were given where they are kept, read back
    /// from their codes otherwise (under cosine, of unit length then).
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id that no row has.
    pub fn reconstruct(&self, ids: &Ids) -> Result<Vec<f32>> {
        let dim = self.index.dim();
        let mut values = vec![0.0; ids.len() * dim];
        for (at, target) in values.chunks_exact_mut(dim).enumerate() {
            let id = ids.get(at);
            let place = self.find(id).ok_or_else(|| Error::UnknownId { id: id.to_string() })?;
            match place {
                Place::Sealed(part, slot) if !self.vector(place, target) => {
                    if let Some(vector) = self.index.decode(&self.parts[part].segment, slot) {
                        target.copy_from_slice(&vector);
                    }
                }
                Place::Recent(_) => {
                    self.vector(place, target);
                }
                Place::Sealed(..) => {}
            }
        }
        Ok(values)
    }
}

/// The neighbours of one query, a few at a time, as far as anybody wants to see. Each row comes once, and all of them
/// in the end; within a batch the nearest come first.
#[derive(Debug)]
pub struct Nearest {
    snapshot: Arc<Snapshot>,
    query: Vectors,
    params: SearchParams,
    given: HashSet<OwnedId>,
    /// What was found and not given yet, nearest last.
    waiting: Vec<(f32, OwnedId)>,
    exact: bool,
    asked: usize,
}

impl Nearest {
    /// The neighbours of the first row of `query` among the rows of one state of an index.
    pub fn new(snapshot: Arc<Snapshot>, query: Vectors, params: SearchParams) -> Self {
        Self { snapshot, query, params, given: HashSet::new(), waiting: Vec::new(), exact: true, asked: 0 }
    }

    /// The next `count` neighbours; fewer at the end, none after it. Looks for twice as many as before whenever it runs
    /// out, and leaves out those that were given already.
    ///
    /// # Errors
    /// As [`Snapshot::search`].
    pub fn next(&mut self, count: usize, pool: &Pool, monitor: &dyn Monitor) -> Result<Hits> {
        exact::check_k(count)?;
        while self.waiting.len() < count && self.asked < self.snapshot.len() {
            let wanted = (self.asked * 2).max(self.given.len() + count);
            self.look(wanted.min(self.snapshot.len()), pool, monitor)?;
        }
        let keep = self.waiting.len().saturating_sub(count);
        let next = self.waiting.split_off(keep);
        let candidates: Vec<Candidate<'_>> =
            next.iter().rev().map(|(value, id)| Candidate { value: *value, id: id.as_id() }).collect();
        let hits = Hits::from_distances(self.snapshot.id_type(), self.exact, &candidates);
        self.given.extend(next.into_iter().map(|(_, id)| id));
        Ok(hits)
    }

    fn look(&mut self, wanted: usize, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
        let params = SearchParams { k: wanted, ..self.params.clone() };
        let hits = self.snapshot.search(&self.query, &params, pool, monitor)?;
        self.exact = hits.is_exact();
        self.asked = wanted;
        let fresh = |at: usize| {
            let id: OwnedId = Id::into(hits.ids().get(at));
            (!self.given.contains(&id)).then_some((hits.distances()[at], id))
        };
        self.waiting = (0..hits.len()).rev().filter_map(fresh).collect();
        Ok(())
    }
}
