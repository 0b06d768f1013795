//! The way from a row number to its slot.

use super::Index;
use crate::{rabitq::BLOCK, segment::Segment};

/// What stands for a row that is not in the index.
const NOWHERE: u32 = u32::MAX;
/// Rows may be so many times as many as slots; beyond, a table of them would be mostly empty.
const SPARSEST: u64 = 4;

impl Index {
    /// The place of a row; `None` where it is not in the index. For an index that [finds rows](Index::finds_rows).
    pub(crate) fn place_of_row(&self, row: u64) -> Option<(&Segment, usize)> {
        let slot = *self.slots_by_row()?.get(usize::try_from(row).ok()?)?;
        (slot != NOWHERE).then(|| self.locate(slot as usize))
    }

    /// One more than the largest row number. Looks at all of them the first time.
    pub(crate) fn end_of_rows(&self) -> u64 {
        *self.end_of_rows.get_or_init(|| {
            let rows = self.segments.iter().flat_map(|segment| segment.slots().map(|slot| segment.row(slot)));
            rows.max().map_or(0, |last| last + 1)
        })
    }

    /// Whether rows are found by their numbers. The first time this looks at all of them, and keeps 4 bytes a row.
    pub(crate) fn finds_rows(&self) -> bool {
        self.slots_by_row().is_some()
    }

    /// Bytes of the table that finds rows, if it was made.
    pub(super) fn by_row_bytes(&self) -> usize {
        self.by_row.get().map_or(0, |slots| slots.as_ref().map_or(0, |slots| size_of_val(&slots[..])))
    }

    fn slots_by_row(&self) -> Option<&[u32]> {
        self.by_row.get_or_init(|| self.make_slots_by_row()).as_deref()
    }

    fn make_slots_by_row(&self) -> Option<Box<[u32]>> {
        let slots = self.segments.iter().map(|segment| segment.blocks() * BLOCK).sum::<usize>() as u64;
        let end = self.end_of_rows();
        if end > slots * SPARSEST || slots >= u64::from(NOWHERE) {
            return None;
        }
        let mut by_row = vec![NOWHERE; end as usize].into_boxed_slice();
        let mut first = 0;
        for segment in &self.segments {
            for slot in segment.slots() {
                by_row[segment.row(slot) as usize] = (first + slot) as u32;
            }
            first += segment.blocks() * BLOCK;
        }
        Some(by_row)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Filter, Index, Pool, Unwatched, Vectors, index::BuildParams, random::SplitMix64, segment::Segment,
    };

    fn table(rows: usize) -> Vectors {
        let mut random = SplitMix64::new(1);
        let values: Vec<f32> = (0..rows * 8).map(|_| random.unit_f64() as f32).collect();
        let there = Filter::from_rows((0..rows as u64).filter(|row| row % 7 != 3), rows as u64);
        Vectors::from_f32("v", 8, values.into()).unwrap().only(&there)
    }

    #[test]
    fn every_row_is_found_where_it_lies_and_no_other() {
        let index =
            Index::build(table(700), None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
        assert!(index.finds_rows());
        for row in 0..800 {
            let place = index.place_of_row(row);
            assert_eq!(place.is_some(), row < 700 && row % 7 != 3, "{row}");
            assert!(place.is_none_or(|(segment, slot)| segment.row(slot) == row));
        }
        assert!(index.memory_bytes() >= 700 * 4);
    }

    #[test]
    fn numbers_far_apart_make_no_table() {
        let index =
            Index::build(table(100), None, &BuildParams::default(), &Pool::Inline, &Unwatched).unwrap();
        let far = Segment {
            first_row: index.segments()[0].first_row.iter().map(|_| 1 << 40).collect(),
            ..index.segments()[0].clone()
        };
        let index = Index::merge(index.router().clone(), vec![far]).unwrap();
        assert!(!index.finds_rows() && index.place_of_row(1 << 40).is_none());
    }
}
