//! What becomes of the rows that a scan could not rule out.
//!
//! One loop scans ([`super::scan`]); exact answers, estimates and candidates with bounds are sinks of it.

use super::{Index, shared::Bound};
use crate::{
    distance::Prepared,
    key::Key,
    segment::Segment,
    topk::{Candidate, TopK},
};

/// Room for rounding, as a share of the numbers that a bound is added up from: rows that are equal to the k-th best but
/// for the last bits must reach the exact comparison, where ties are decided.
pub(super) const ROUNDING: f32 = 1e-5;

/// How many survivors ahead of the one being compared a vector is fetched from memory.
const AHEAD: usize = 4;

/// A row that survived the scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survivor<'a> {
    pub(super) segment: &'a Segment,
    pub(super) slot: usize,
    pub(super) estimate: f32,
    /// The lower bound, with room for rounding taken off.
    pub(super) lower: f32,
}

/// Takes what the scan of one query could not rule out.
pub(super) trait Sink<'a> {
    /// A row whose lower bound is above this cannot matter any more.
    fn limit(&self) -> f32;
    /// Whether enough rows were found to stop after the lists that were asked for.
    fn is_full(&self) -> bool;
    /// One row that survived.
    fn offer(&mut self, survivor: Survivor<'a>);
    /// The end of a round: a time to look closer at what was offered. `scratch` holds a vector.
    fn settle(&mut self, _scratch: &mut [f32]) {}
}

/// A limit with room for the rounding of whatever is compared with it.
pub(super) fn roomy(limit: f32) -> f32 {
    limit + limit.abs() * ROUNDING
}

/// Computes the exact distances of the survivors of each round, so that the limit in the next is an exact distance.
pub(super) struct Rerank<'a, 'b> {
    index: &'a Index,
    /// What other searches know, and are told.
    bound: Option<Bound<'b>>,
    query: Prepared,
    best: TopK<'a>,
    pending: Vec<Survivor<'a>>,
    /// The lower bounds of those, to be sorted in their place: they are several times as small.
    order: Vec<Key>,
    /// How many rows survived the scan, and how many of these were compared.
    pub(super) survived: usize,
    pub(super) compared: usize,
}

impl<'a, 'b> Rerank<'a, 'b> {
    pub(super) fn new(index: &'a Index, vector: &[f32], k: usize) -> Self {
        let query = Prepared::new(index.router().kernels(), index.metric(), vector);
        let best = TopK::new(k);
        Self {
            index,
            bound: None,
            query,
            best,
            pending: Vec::new(),
            order: Vec::new(),
            survived: 0,
            compared: 0,
        }
    }

    /// The same, sharing a bound with other searches.
    pub(super) fn sharing(self, bound: Option<Bound<'b>>) -> Self {
        Self { bound, ..self }
    }

    pub(super) fn into_sorted(self) -> Vec<Candidate<'a>> {
        self.bound.inspect(|bound| bound.count(self.compared));
        self.best.into_sorted()
    }
}

impl<'a> Sink<'a> for Rerank<'a, '_> {
    fn limit(&self) -> f32 {
        let own = self.best.limit();
        self.bound.map_or(own, |bound| own.min(bound.limit()))
    }

    /// Also when others have found enough rows that are nearer than what is left here.
    fn is_full(&self) -> bool {
        self.best.is_full() || self.bound.is_some_and(|bound| bound.limit() < f32::INFINITY)
    }

    fn offer(&mut self, survivor: Survivor<'a>) {
        self.pending.push(survivor);
    }

    /// In the order of the lower bounds, so that the first row beyond the limit ends it: no order compares fewer rows.
    fn settle(&mut self, scratch: &mut [f32]) {
        self.survived += self.pending.len();
        self.order.clear();
        self.order.extend(self.pending.iter().zip(0..).map(|(survivor, at)| Key::new(survivor.lower, at)));
        self.order.sort_unstable();
        let survivor = |key: &Key| self.pending[key.number() as usize];
        let prefetch = |key: &Key| {
            let next = survivor(key);
            self.index.prefetch(next.segment, next.slot);
        };
        self.order.iter().take(AHEAD).for_each(prefetch);
        for (at, key) in self.order.iter().enumerate() {
            if key.value() > roomy(self.limit()) {
                break;
            }
            self.order.get(at + AHEAD).iter().copied().for_each(prefetch);
            let Survivor { segment, slot, .. } = survivor(key);
            self.compared += 1;
            let Some(value) = self.index.value_of(&self.query, segment, slot, scratch) else { continue };
            if value <= self.limit() {
                self.best.push(Candidate { value, id: segment.id(slot) });
            }
        }
        if self.best.is_full() {
            self.bound.inspect(|bound| bound.lower(self.best.limit()));
        }
        self.pending.clear();
    }
}

/// Ranks by the estimate: all there is when only codes are kept.
pub(super) struct Estimates<'a> {
    best: TopK<'a>,
    /// How many rows survived the scan.
    pub(super) survived: usize,
}

impl<'a> Estimates<'a> {
    pub(super) fn new(k: usize) -> Self {
        Self { best: TopK::new(k), survived: 0 }
    }

    pub(super) fn into_sorted(self) -> Vec<Candidate<'a>> {
        self.best.into_sorted()
    }
}

impl<'a> Sink<'a> for Estimates<'a> {
    fn limit(&self) -> f32 {
        self.best.limit()
    }

    fn is_full(&self) -> bool {
        self.best.is_full()
    }

    fn offer(&mut self, survivor: Survivor<'a>) {
        self.survived += 1;
        if survivor.estimate <= self.best.limit() {
            self.best.push(Candidate { value: survivor.estimate, id: survivor.segment.id(survivor.slot) });
        }
    }
}
