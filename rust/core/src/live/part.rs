//! One sealed segment, and the way from an id to its slot.

use std::sync::OnceLock;

use arrow_array::Int64Array;

use crate::{
    ids::{Id, Ids},
    rabitq::BLOCK,
    segment::Segment,
};

/// A segment of a changing index. No id occurs in it twice.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) segment: Segment,
    /// Whether it was made here, and does not lie in what the index was opened from.
    pub(super) owned: bool,
    /// Taken slots in the order of their ids: 4 bytes a row, made when an id is first asked for.
    by_id: OnceLock<Vec<u32>>,
}

impl Part {
    pub(super) fn new(segment: Segment, owned: bool) -> Self {
        Self { segment, owned, by_id: OnceLock::new() }
    }

    /// The slot of the row with this id, whether it was deleted or not.
    pub(super) fn find(&self, id: Id<'_>) -> Option<usize> {
        let by_id = self.by_id.get_or_init(|| slots_by_id(&self.segment));
        let at = by_id.binary_search_by(|&slot| self.segment.id(slot as usize).cmp(&id)).ok()?;
        Some(by_id[at] as usize)
    }

    /// Bytes of memory that are this part's own.
    pub(super) fn bytes(&self) -> usize {
        let segment = if self.owned { self.segment.bytes() } else { 0 };
        segment + self.by_id.get().map_or(0, |by_id| size_of_val(&by_id[..]))
    }

    /// The same rows with their row numbers as a column of ids.
    pub(super) fn with_row_ids(&self) -> Self {
        let ids = (0..self.segment.blocks() * BLOCK).map(|slot| {
            let taken = slot % BLOCK < usize::from(self.segment.count[slot / BLOCK]);
            if taken { self.segment.row(slot) as i64 } else { 0 }
        });
        let ids = Some(Ids::Int64(Int64Array::from(ids.collect::<Vec<_>>())));
        Self {
            segment: Segment { ids, ..self.segment.clone() },
            owned: self.owned,
            by_id: self.by_id.clone(),
        }
    }
}

fn slots_by_id(segment: &Segment) -> Vec<u32> {
    let slots = segment.slots().map(|slot| slot as u32);
    match &segment.ids {
        None => sorted(slots, |slot| segment.row(slot)),
        Some(Ids::Int64(ids)) => sorted(slots, |slot| ids.value(slot)),
        Some(Ids::UInt64(ids)) => sorted(slots, |slot| ids.value(slot)),
        Some(Ids::Utf8(ids)) => sorted(slots, |slot| ids.value(slot)),
    }
}

/// Sorted beside their keys: each key is fetched once, from wherever it lies.
fn sorted<K: Ord>(slots: impl Iterator<Item = u32>, key: impl Fn(usize) -> K) -> Vec<u32> {
    let mut keyed: Vec<(K, u32)> = slots.map(|slot| (key(slot as usize), slot)).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, slot)| slot).collect()
}
