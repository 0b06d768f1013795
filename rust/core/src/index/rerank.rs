//! The exact answer: what survives the scan is compared in the end, the most promising rows first.
//!
//! Reading a vector from memory costs as much as scanning hundreds of codes. So no vector is read while lists are
//! scanned: until then the k-th smallest upper bound is the distance to beat, which rules out nearly as much as the k-th
//! exact distance would, and of what is left in the end only rows are compared whose lower bound is below the k-th
//! exact one. Comparing after each round of lists reads up to half as many vectors again.

use super::{
    Index,
    shared::Bound,
    sink::{Bounds, Look, Sink, Survivor, roomy},
};
use crate::{
    distance::Prepared,
    kernel::Kernels,
    key::{Key, sort_up_to},
    rabitq::FurtherBits,
    segment::Segment,
    topk::{Candidate, TopK},
};

/// How many survivors ahead of the one being looked at memory is fetched.
const AHEAD: usize = 4;
/// How many survivors are sorted before it is seen whether the others have to be.
const SORTED_AT_FIRST: usize = 32;
/// Survivors that there is room for from the beginning.
const USUALLY_PENDING: usize = 128;
/// So many new rows are counted at once, if they come before the round ends. Beside their bounds the limit of before is
/// loose: a tenth of the time where lists are of one cluster.
const COUNTED_AT_ONCE: usize = 32;
/// With this many times as many pending rows as are wanted, bounds alone say too little: short codes of rows that are all
/// about equally far. Then they are compared at the end of each round, for the sake of the limit.
const CROWD: usize = 16;

/// Computes the exact distances of survivors.
pub(super) struct Rerank<'a, 'b> {
    index: &'a Index,
    /// What other searches know, and are told.
    bound: Option<Bound<'b>>,
    query: Prepared,
    k: usize,
    best: TopK<'a>,
    uppers: Uppers,
    /// Those of all bits, where codes have more than one.
    refined_uppers: Uppers,
    pending: Vec<Pending<'a>>,
    /// Where the rows begin in `pending` whose bounds are not counted yet.
    new: usize,
    /// What refining needs of each of those; empty where codes have but one bit.
    scanned: Vec<Scanned>,
    /// The lower bounds of pending rows, to be sorted in their place: they are smaller.
    order: Vec<Key>,
    /// How many of `order` are in their places, and how many of them were fetched from memory.
    sorted: usize,
    fetched: usize,
    /// How many rows survived the scan, and how many of these were compared.
    pub(super) survived: usize,
    pub(super) compared: usize,
}

/// A row that may have to be compared.
#[derive(Clone, Copy)]
struct Pending<'a> {
    segment: &'a Segment,
    slot: u32,
    lower: f32,
    upper: f32,
}

/// What a scan says of a row for its further bits.
#[derive(Clone, Copy)]
struct Scanned {
    look: Look,
    sum: u32,
}

/// The `k` smallest upper bounds of different rows.
struct Uppers {
    k: usize,
    smallest: Vec<Key>,
    /// The `k`-th of them; infinity before there are as many.
    limit: f32,
}

impl Uppers {
    /// With room for what usually comes beside them.
    fn with_room(k: usize, beside: usize) -> Self {
        Self { k, smallest: Vec::with_capacity(k.min(beside) + beside), limit: f32::INFINITY }
    }

    fn is_full(&self) -> bool {
        self.smallest.len() >= self.k
    }

    /// Counts some more: all until there is a limit, whatever number they are, then those below it. Which these are is as
    /// good as random: so there is no branch to be guessed.
    fn add(&mut self, uppers: impl ExactSizeIterator<Item = f32>) {
        let mut len = self.smallest.len();
        let before = len;
        self.smallest.resize(len + uppers.len(), Key::new(0.0, 0));
        let any = usize::from(!self.limit.is_finite());
        for upper in uppers {
            self.smallest[len] = Key::new(upper, 0);
            len += any | usize::from(upper < self.limit);
        }
        self.smallest.truncate(len);
        if len >= self.k && len > before {
            let (_, last, _) = self.smallest.select_nth_unstable(self.k - 1);
            self.limit = last.value();
            self.smallest.truncate(self.k);
        }
    }
}

impl<'a, 'b> Rerank<'a, 'b> {
    /// For the `k` nearest rows, at least one.
    pub(super) fn new(index: &'a Index, vector: &[f32], k: usize) -> Self {
        let usually_refined = if index.bits() > 1 { USUALLY_PENDING } else { 0 };
        Self {
            index,
            bound: None,
            query: Prepared::new(index.router().kernels(), index.metric(), vector),
            k,
            best: TopK::new(k),
            uppers: Uppers::with_room(k, USUALLY_PENDING),
            refined_uppers: Uppers::with_room(k, usually_refined),
            pending: Vec::with_capacity(USUALLY_PENDING),
            new: 0,
            scanned: Vec::with_capacity(usually_refined),
            order: Vec::new(),
            sorted: 0,
            fetched: 0,
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

    /// Puts the pending rows in order, the first few at once: often the others are never looked at.
    fn begin(&mut self) {
        let limit = roomy(self.limit());
        self.order.clear();
        self.order.reserve(self.pending.len());
        for (row, at) in self.pending.iter().zip(0..) {
            let beyond = row.lower > limit;
            if !beyond {
                self.order.push(Key::new(row.lower, at));
            }
        }
        (self.sorted, self.fetched) = (self.order.len().min(SORTED_AT_FIRST), 0);
        sort_up_to(&mut self.order, self.sorted);
    }

    /// The next pending row that the limit allows.
    fn next(&mut self, at: usize, limit: f32) -> Option<usize> {
        if at == self.sorted {
            self.order[self.sorted..].sort_unstable();
            self.sorted = self.order.len();
        }
        let key = self.order.get(at)?;
        let beyond = key.value() > limit;
        (!beyond).then_some(key.number() as usize)
    }

    /// Fetches the vectors of the next rows from memory, as far as the limit allows them now.
    fn fetch_up_to(&mut self, end: usize, limit: f32) {
        while self.fetched < end.min(self.sorted) {
            let key = self.order[self.fetched];
            if key.value() > limit {
                break;
            }
            let row = &self.pending[key.number() as usize];
            self.index.prefetch(row.segment, row.slot as usize);
            self.fetched += 1;
        }
    }

    /// Counts the bounds of the rows that came since, and lowers the limit to what they say.
    fn count(&mut self, further: Option<&FurtherBits>) {
        if !self.refined_uppers.is_full() {
            self.uppers.add(self.pending[self.new..].iter().map(|row| row.upper));
        }
        if let Some(further) = further {
            self.refine(further);
        }
        self.new = self.pending.len();
    }

    /// Reads the further bits of the rows that came since, and keeps those still possible.
    ///
    /// In the order of their slots: all have the same limit, and where much of a list is left its memory is read from one
    /// end to the other.
    fn refine(&mut self, further: &FurtherBits) {
        self.leave_out(self.new);
        let (kernels, padded) = (self.index.router().kernels(), self.index.router().padded_dim());
        for at in self.new..self.pending.len() {
            if let Some(ahead) = self.pending.get(at + AHEAD) {
                fetch_bits(kernels, ahead, padded);
            }
            let row = &mut self.pending[at];
            let Scanned { look, sum } = self.scanned[at - self.new];
            if let Some(refined) = further.refine(kernels, row.segment, row.slot as usize, look.list, sum) {
                Bounds { lower: row.lower, upper: row.upper, .. } = Bounds::new(refined, look);
            }
        }
        self.refined_uppers.add(self.pending[self.new..].iter().map(|row| row.upper));
        self.scanned.clear();
        self.leave_out(self.new);
    }

    /// Drops the pending rows from one on that the limit rules out.
    fn leave_out(&mut self, from: usize) {
        let limit = roomy(self.limit());
        let mut kept = from;
        for at in from..self.pending.len() {
            let row = self.pending[at];
            self.pending[kept] = row;
            if let Some(scanned) = self.scanned.get(at - from) {
                self.scanned[kept - from] = *scanned;
            }
            let beyond = row.lower > limit;
            kept += usize::from(!beyond);
        }
        self.pending.truncate(kept);
    }

    /// Compares the pending rows as far as they can matter, and forgets all of them.
    fn compare(&mut self, scratch: &mut [f32]) {
        let mut at = 0;
        loop {
            let limit = roomy(self.limit());
            let Some(row) = self.next(at, limit) else { break };
            at += 1;
            self.fetch_up_to(at + AHEAD, limit);
            let Pending { segment, slot, .. } = self.pending[row];
            self.compared += 1;
            let slot = slot as usize;
            let Some(value) = self.index.value_of(&self.query, segment, slot, scratch) else { continue };
            if value <= self.best.limit() {
                self.best.push(Candidate { value, id: segment.id(slot) });
            }
        }
        if self.best.is_full() {
            self.bound.inspect(|bound| bound.lower(self.best.limit()));
        }
        self.pending.clear();
        self.order.clear();
    }
}

fn fetch_bits(kernels: Kernels, row: &Pending<'_>, padded_dim: usize) {
    for bytes in row.segment.ex_memory(row.slot as usize, padded_dim) {
        kernels.prefetch(bytes);
    }
}

impl<'a> Sink<'a> for Rerank<'a, '_> {
    const REFINES: bool = true;

    fn limit(&self) -> f32 {
        // What all bits say may contradict the first one: only bounds that count the same bits drop none of k rows.
        let uppers = if self.refined_uppers.is_full() { &self.refined_uppers } else { &self.uppers };
        let own = self.best.limit().min(uppers.limit);
        self.bound.map_or(own, |bound| own.min(bound.limit()))
    }

    /// Also when others have found enough rows that are nearer than what is left here.
    fn is_full(&self) -> bool {
        self.uppers.is_full() || self.bound.is_some_and(|bound| bound.limit() < f32::INFINITY)
    }

    fn offer(&mut self, survivor: Survivor<'a>) {
        let Survivor { segment, slot, lower, upper, look, sum, .. } = survivor;
        self.survived += 1;
        self.pending.push(Pending { segment, slot: slot as u32, lower, upper });
        if segment.ex.is_some() {
            self.scanned.push(Scanned { look, sum });
        }
    }

    fn tighten(&mut self, further: Option<&FurtherBits>) -> bool {
        let enough = self.pending.len() - self.new >= COUNTED_AT_ONCE;
        if enough {
            self.count(further);
        }
        enough
    }

    fn end_round(&mut self, further: Option<&FurtherBits>, scratch: &mut [f32]) {
        self.count(further);
        if further.is_some() {
            self.leave_out(0);
        }
        let crowded = self.pending.len() / CROWD > self.k;
        // Others are told what is known for sure as soon as it is.
        if self.bound.is_some() || crowded {
            self.begin();
            self.compare(scratch);
        }
        self.new = self.pending.len();
    }

    fn expect_finish(&mut self) {
        self.begin();
        self.fetch_up_to(AHEAD, roomy(self.limit()));
    }

    fn finish(&mut self, scratch: &mut [f32]) {
        self.compare(scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_kth_smallest_of_all_that_came() {
        let mut uppers = Uppers::with_room(2, 0);
        for (came, limit) in [
            (&[][..], f32::INFINITY),
            (&[5.0], f32::INFINITY),
            (&[7.0, 9.0], 7.0),
            (&[8.0, 7.0], 7.0),
            (&[6.0, 1.0, 6.5], 5.0),
        ] {
            uppers.add(came.iter().copied());
            assert_eq!(uppers.limit.to_bits(), f32::to_bits(limit), "{came:?}");
        }
    }

    #[test]
    fn bounds_that_overflowed_count_as_rows() {
        let mut uppers = Uppers::with_room(2, 0);
        uppers.add([f32::INFINITY, f32::NAN].into_iter());
        assert!(uppers.is_full());
        uppers.add([3.0, 2.0].into_iter());
        assert_eq!(uppers.limit.to_bits(), 3.0_f32.to_bits());
    }
}
