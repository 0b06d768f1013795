//! The scan of one query: nearest lists first, blocks of 32 codes, whatever a bound cannot rule out goes to a sink.
//!
//! The three ways to answer (exact rerank, estimates, candidates with bounds) are three sinks over this one loop.

use super::{Index, build::check_values};
use crate::{
    error::Result,
    exact::check_k,
    kernel::Kernels,
    monitor::Monitor,
    pool::Pool,
    rabitq::{BLOCK, BlockBounds, Query, QueryTerms, Refined, Refiner, list_terms},
    segment::Segment,
    vectors::Vectors,
};

/// Takes the rows that the scan could not rule out.
pub(super) trait Sink<'a> {
    /// A row whose lower bound is above this cannot matter any more.
    fn limit(&self) -> f32;
    /// Whether enough rows were found to stop after the lists that were asked for.
    fn is_full(&self) -> bool;
    /// One row that survived: its place, estimate and lower bound.
    fn offer(&mut self, segment: &'a Segment, slot: usize, estimate: f32, lower: f32);
}

/// Room for rounding, as a share of the numbers that a bound is added up from: rows that are equal to the k-th best but
/// for the last bits must reach the exact comparison, where ties are decided.
const ROUNDING: f32 = 1e-5;

/// How far to look and how sure to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) nprobe: usize,
    pub(super) epsilon: f32,
}

/// What one query needs on its way, reused from query to query.
pub(super) struct Probe<'a> {
    index: &'a Index,
    kernels: Kernels,
    scaled: Vec<f32>,
    rotated: Vec<f32>,
    shifted: Vec<f32>,
    query: Query,
    refiner: Refiner,
    keys: Vec<(f32, u32)>,
}

impl<'a> Probe<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        let kernels = index.router().kernels();
        let rotated = vec![0.0; index.router().padded_dim()];
        let query = Query::new(kernels, &rotated);
        Self {
            index,
            kernels,
            scaled: Vec::new(),
            shifted: rotated.clone(),
            rotated,
            query,
            refiner: Refiner::default(),
            keys: Vec::new(),
        }
    }

    /// Scans the `reach.nprobe` most promising lists, and then on, one by one, until the sink is full.
    pub(super) fn run(&mut self, vector: &[f32], reach: Reach, sink: &mut impl Sink<'a>) {
        let router = self.index.router();
        router.project(vector, &mut self.scaled, &mut self.rotated);
        router.shift(&self.rotated, &mut self.shifted);
        self.query.prepare(self.kernels, &self.shifted);
        self.refiner.prepare(&self.shifted, reach.epsilon);
        router.keys(&self.rotated, &mut self.keys);
        let mut keys = std::mem::take(&mut self.keys);
        let (near, far) = nearest_first(&mut keys, reach.nprobe);
        for &(_, list) in near {
            self.scan_list(list as usize, reach.epsilon, sink);
        }
        if !sink.is_full() {
            far.sort_unstable_by(by_key);
            for &(_, list) in &*far {
                self.scan_list(list as usize, reach.epsilon, sink);
                if sink.is_full() {
                    break;
                }
            }
        }
        self.keys = keys;
    }

    fn scan_list(&self, list: usize, epsilon: f32, sink: &mut impl Sink<'a>) {
        let index = self.index;
        let runs = index.lists.runs(list);
        if runs.is_empty() {
            return;
        }
        let router = index.router();
        let list = list_terms(router.metric().family(), self.kernels, &self.rotated, router.centroid(list));
        let room = ROUNDING * (list.g_add.abs() + list.g_error * list.g_error);
        let limit = |sink: &_| {
            let limit = Sink::limit(sink);
            limit + limit.abs() * ROUNDING + room
        };
        let mut terms = QueryTerms::new(&self.query, list, epsilon, f32::INFINITY);
        let (mut sums, mut bounds) = ([0; BLOCK], BlockBounds::default());
        for run in runs {
            let segment = &index.segments[run.segment];
            for block in run.blocks.clone() {
                let Some(factors) = segment.factors(block) else { continue };
                terms.limit = limit(sink);
                self.kernels.scan_block(segment.code(block), self.query.lut(), &mut sums);
                let survivors = self.kernels.bounds_f16(&sums, &factors, &terms, &mut bounds);
                let mut survivors = survivors & taken(segment.count[block]);
                while survivors != 0 {
                    let lane = survivors.trailing_zeros() as usize;
                    survivors &= survivors - 1;
                    // The limit falls while the block's own rows are offered.
                    let limit = limit(sink);
                    if bounds.lower[lane] > limit {
                        continue;
                    }
                    let slot = block * BLOCK + lane;
                    let first = Refined { estimate: bounds.estimate[lane], lower: bounds.lower[lane] };
                    let refined = self.refiner.refine(self.kernels, segment, slot, list).unwrap_or(first);
                    if refined.lower <= limit {
                        sink.offer(segment, slot, refined.estimate, refined.lower);
                    }
                }
            }
        }
    }
}

/// A bit for each slot of a block that holds a row.
fn taken(count: u8) -> u32 {
    u32::MAX.checked_shr(32 - u32::from(count)).unwrap_or(0)
}

type Key = (f32, u32);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that sorting asks for")]
fn by_key(a: &Key, b: &Key) -> std::cmp::Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// The `nprobe` lists with the smallest keys, sorted, and the others, not sorted.
fn nearest_first(keys: &mut [Key], nprobe: usize) -> (&[Key], &mut [Key]) {
    let nprobe = nprobe.clamp(1, keys.len());
    if nprobe < keys.len() {
        keys.select_nth_unstable_by(nprobe - 1, by_key);
    }
    let (near, far) = keys.split_at_mut(nprobe);
    near.sort_unstable_by(by_key);
    (near, far)
}

/// Refuses queries that cannot be meant.
///
/// # Errors
/// As [`Index::search`].
pub(super) fn check_queries(
    index: &Index,
    queries: &Vectors,
    k: usize,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<()> {
    check_k(k)?;
    queries.expect_dim("the index", index.dim())?;
    check_values(queries, index.metric(), pool, monitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_bit() {
        assert_eq!((taken(0), taken(1), taken(31), taken(32)), (0, 1, u32::MAX >> 1, u32::MAX));
    }

    #[test]
    fn nearest_lists_come_sorted_and_ties_by_number() {
        let mut keys = vec![(3.0, 0), (1.0, 1), (2.0, 2), (1.0, 3), (0.5, 4)];
        let (near, far) = nearest_first(&mut keys, 3);
        assert_eq!(near, [(0.5, 4), (1.0, 1), (1.0, 3)]);
        assert_eq!(far.len(), 2);
    }
}
