//! What becomes of the rows that a scan could not rule out.
//!
//! One loop scans ([`super::scan`]); exact answers ([`super::rerank`]), estimates and candidates with bounds are sinks of it.

use crate::{
    kernel::Kernels,
    rabitq::{FurtherBits, ListTerms, Refined, Refiner},
    segment::Segment,
    topk::{Candidate, TopK},
};

/// Room for rounding, as a share of the numbers that a bound is added up from: rows that are equal to the k-th best but
/// for the last bits must reach the exact comparison, where ties are decided.
pub(super) const ROUNDING: f32 = 1e-5;

/// A row that survived the scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survivor<'a> {
    pub(super) segment: &'a Segment,
    pub(super) slot: usize,
    pub(super) estimate: f32,
    /// The lower bound, with room for rounding taken off.
    pub(super) lower: f32,
    /// The distance is at most this, with the confidence of the lower bound.
    pub(super) upper: f32,
    /// What the query and the row's list have in common.
    pub(super) look: Look,
    /// What the scan added up.
    pub(super) sum: u32,
}

/// What all bits of a code say of a row.
pub(super) struct Bounds {
    pub(super) estimate: f32,
    pub(super) lower: f32,
    pub(super) upper: f32,
}

impl Bounds {
    pub(super) fn new(refined: Refined, look: Look) -> Self {
        let (estimate, lower) = (refined.estimate, refined.lower - look.room);
        Self { estimate, lower, upper: estimate + (estimate - lower) }
    }
}

/// Reads all bits of a code; `None` if there is but one.
pub(super) fn refined(
    kernels: Kernels,
    refiner: &Refiner,
    segment: &Segment,
    slot: usize,
    look: Look,
) -> Option<Bounds> {
    Some(Bounds::new(refiner.refine(kernels, segment, slot, look.list)?, look))
}

/// What one query and one list have in common, and the room that rounding needs there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    pub(super) list: ListTerms,
    pub(super) room: f32,
}

/// Takes what the scan of one query could not rule out.
pub(super) trait Sink<'a> {
    /// Whether it reads further bits of codes itself, of many rows at a time, to know what to compare; otherwise it is
    /// offered rows whose bits were all read.
    const REFINES: bool = false;
    /// A row whose lower bound is above this cannot matter any more.
    fn limit(&self) -> f32;
    /// Whether enough rows were found to stop after the lists that were asked for.
    fn is_full(&self) -> bool;
    /// One row that survived.
    fn offer(&mut self, survivor: Survivor<'a>);
    /// A block was scanned; says whether the limit may be lower for what was offered. `further` has the query for codes of
    /// more than one bit.
    fn tighten(&mut self, _further: Option<&FurtherBits>) -> bool {
        true
    }
    /// The end of a round of lists. `scratch` holds a vector.
    fn end_round(&mut self, _further: Option<&FurtherBits>, _scratch: &mut [f32]) {}
    /// What [`Sink::finish`] reads first may be fetched from memory.
    fn expect_finish(&mut self) {}
    /// All lists were scanned.
    fn finish(&mut self, _scratch: &mut [f32]) {}
}

/// A limit with room for the rounding of whatever is compared with it.
pub(super) fn roomy(limit: f32) -> f32 {
    limit + limit.abs() * ROUNDING
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
