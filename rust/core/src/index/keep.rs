//! An index that keeps more than it did, or less: its vectors in one piece, or codes only; and its codes, row by row.

use arrow_array::Int64Array;
use arrow_buffer::ScalarBuffer;

use super::{Index, VectorsKept};
use crate::{
    error::{Error, Result},
    ids::{Id, Ids},
    rabitq::{BLOCK, unpack},
    row_numbers::RowNumbers,
    segment::Segment,
    vectors::Vectors,
};

impl Index {
    /// The vectors of all rows in one piece, in the order of their rows, where they lie so already: nothing is copied.
    pub fn contiguous(&self) -> Option<ScalarBuffer<f32>> {
        let vectors = self.borrowed().filter(|_| self.vectors_kept() == VectorsKept::Borrowed)?;
        vectors.contiguous().filter(|_| vectors.len() == self.len())
    }

    /// The same index with its vectors copied into one piece, as `f32`, in the order of their rows. Rows are numbered
    /// anew, without the gaps that null and deleted ones left; they keep their ids, or get their old numbers as ids.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the index keeps codes only.
    pub fn in_one_piece(&self) -> Result<Self> {
        let places = self.places();
        let dim = self.dim();
        let (mut values, mut scratch) = (Vec::with_capacity(places.len() * dim), vec![0.0; dim]);
        for &(_, at, slot) in &places {
            let Some(vector) = self.vector_of(&self.segments[at], slot, &mut scratch) else {
                let expected = "an index that stores or borrows its vectors";
                return Err(Error::invalid_parameter("vectors", expected, "one that holds codes only"));
            };
            values.extend_from_slice(vector);
        }
        let mut numbers: Vec<Vec<u64>> =
            self.segments.iter().map(|segment| vec![0; segment.blocks() * BLOCK]).collect();
        for (number, &(_, at, slot)) in places.iter().enumerate() {
            numbers[at][slot] = number as u64;
        }
        let segments =
            self.segments.iter().zip(&numbers).map(|(segment, numbers)| renumber(segment, numbers));
        let vectors = Vectors::from_f32("vectors", dim, values.into())?;
        Ok(self.with_segments(segments.collect())?.with_vectors(Some(vectors)))
    }

    /// The same index without vectors: distances will be estimates.
    ///
    /// # Errors
    /// None in practice; see [`Index::merge`].
    pub fn codes_only(&self) -> Result<Self> {
        let segments = self.segments.iter().map(|segment| Segment { vectors: None, ..segment.clone() });
        self.with_segments(segments.collect())
    }

    /// The same index with its row numbers written down as ids, if it has no others.
    ///
    /// # Errors
    /// None in practice; see [`Index::merge`].
    pub fn with_ids(&self) -> Result<Self> {
        let segments =
            self.segments.iter().map(|segment| Segment { ids: Some(ids(segment)), ..segment.clone() });
        Ok(self.with_segments(segments.collect())?.with_vectors(self.borrowed.clone()))
    }

    /// The one-bit code of each row, in the order of the rows, `padded_dim / 8` bytes each. The first coordinate is the
    /// most significant bit of the first byte. A bit is set where the rotated vector, less its list's rotated centroid,
    /// is not negative.
    pub fn packed_codes(&self) -> Vec<u8> {
        let padded_dim = self.router.padded_dim();
        let bytes = padded_dim / 8;
        let places = self.places();
        let mut packed = vec![0; places.len() * bytes];
        for (&(_, at, slot), code) in places.iter().zip(packed.chunks_exact_mut(bytes)) {
            unpack(self.segments[at].code(slot / BLOCK, padded_dim), slot % BLOCK, padded_dim, code);
            for byte in code {
                *byte = byte.reverse_bits();
            }
        }
        packed
    }

    /// The ids of all rows, in their order.
    pub fn ids_in_order(&self) -> Ids {
        let places = self.places();
        Ids::collect(self.id_type, places.iter().map(|&(_, at, slot)| self.segments[at].id(slot)))
    }

    /// Row number, segment and slot of each row, by row number.
    fn places(&self) -> Vec<(u64, usize, usize)> {
        let of = |(at, segment): (usize, &Segment)| {
            segment.slots().map(|slot| (segment.row(slot), at, slot)).collect::<Vec<_>>()
        };
        let mut places: Vec<_> = self.segments.iter().enumerate().flat_map(of).collect();
        places.sort_unstable_by_key(|(row, ..)| *row);
        places
    }

    fn with_segments(&self, segments: Vec<Segment>) -> Result<Self> {
        Ok(Self::merge(self.router.clone(), segments)?.with_facts(
            self.null_count,
            self.calibration.clone(),
            self.mapped_bytes,
        ))
    }
}

/// A segment whose rows have other numbers, and no vectors of its own.
fn renumber(segment: &Segment, numbers: &[u64]) -> Segment {
    let (mut first_row, mut rows) = (Vec::with_capacity(segment.blocks()), Vec::with_capacity(numbers.len()));
    for (block, &count) in numbers.chunks_exact(BLOCK).zip(segment.count.iter()) {
        let taken = &block[..usize::from(count)];
        let first = taken.iter().min().copied().unwrap_or(0);
        first_row.push(first);
        rows.extend(
            block.iter().enumerate().map(
                |(lane, &number)| {
                    if lane < taken.len() { (number - first) as u32 } else { 0 }
                },
            ),
        );
    }
    Segment {
        first_row: first_row.into(),
        rows: RowNumbers::pack(&rows),
        ids: Some(ids(segment)),
        vectors: None,
        ..segment.clone()
    }
}

/// The ids of a segment's slots, row numbers where there are no others.
fn ids(segment: &Segment) -> Ids {
    segment.ids.clone().unwrap_or_else(|| {
        let mut numbers = vec![0; segment.blocks() * BLOCK];
        for slot in segment.slots() {
            if let Id::Int64(number) = segment.id(slot) {
                numbers[slot] = number;
            }
        }
        Ids::Int64(Int64Array::from(numbers))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Live, Pool, Unwatched,
        ids::Id,
        index::{BuildParams, SearchParams},
        live::Retrain,
    };

    fn built(rows: usize) -> (Vectors, Index) {
        let values: Vec<f32> = (0..rows * 3).map(|at| (at as f32 * 0.7).sin()).collect();
        let vectors = Vectors::from_f32("v", 3, values.into()).unwrap();
        let params = BuildParams { nlist: Some(4), ..BuildParams::default() };
        let pool = Pool::new(Some(1)).unwrap();
        let index = Index::build(vectors.clone(), None, &params, &pool, &Unwatched).unwrap();
        (vectors, index)
    }

    fn found(index: &Index, queries: &Vectors) -> (Vec<i64>, Vec<f32>) {
        let pool = Pool::new(Some(1)).unwrap();
        let params = SearchParams { k: 5, ..SearchParams::default() };
        let hits = index.search(queries, &params, &pool, &Unwatched).unwrap();
        let ids = (0..hits.len()).map(|at| match hits.ids().get(at) {
            Id::Int64(id) => id,
            _ => -1,
        });
        (ids.collect(), hits.distances().to_vec())
    }

    #[test]
    fn a_column_in_one_piece_is_lent_and_not_copied() {
        let (vectors, index) = built(100);
        let piece = index.contiguous().unwrap();
        assert_eq!((piece.as_ptr().addr(), piece.len()), (vectors.addresses()[0], 300));
    }

    #[test]
    fn one_piece_gives_the_same_answers() {
        let (vectors, index) = built(100);
        let live = Live::new(index);
        let pool = Pool::new(Some(1)).unwrap();
        let added = Vectors::from_f32("more", 3, vec![9.0, 9.0, 9.0].into()).unwrap();
        live.add(None, &added, &pool, &Unwatched).unwrap();
        live.delete(&Ids::Int64(vec![0, 50].into())).unwrap();
        live.compact(Retrain::Never, &pool, &Unwatched).unwrap();
        let before = live.sealed(&pool, &Unwatched).unwrap();
        assert!(before.contiguous().is_none());
        let after = before.in_one_piece().unwrap();
        let piece = after.contiguous().unwrap();
        assert_eq!((piece.len(), &piece[..3]), (99 * 3, vectors.row(1, &mut [])));
        assert_eq!(&piece[98 * 3..], &[9.0; 3]);
        assert_eq!(found(&before, &vectors), found(&after, &vectors));
        let ids = after.ids_in_order();
        assert_eq!((ids.get(0), ids.get(98), ids.len()), (Id::Int64(1), Id::Int64(100), 99));
        let stored = Index::from_bytes(after.to_bytes(crate::format::Keep::AsIs).unwrap(), true).unwrap();
        assert_eq!(stored.in_one_piece().unwrap().contiguous().unwrap(), piece);
        assert_eq!(stored.in_one_piece().unwrap().digest(), after.digest());
    }

    #[test]
    fn codes_alone_estimate() {
        let (vectors, index) = built(100);
        let bare = index.codes_only().unwrap();
        assert_eq!((bare.vectors_kept(), bare.digest()), (VectorsKept::None, index.digest()));
        assert!(bare.in_one_piece().is_err() && bare.contiguous().is_none());
        assert_eq!(found(&bare, &vectors).0.len(), 500);
        assert_eq!(found(&index.with_ids().unwrap(), &vectors), found(&index, &vectors));
    }

    #[test]
    fn packed_codes_begin_with_the_most_significant_bit() {
        let (vectors, index) = built(40);
        let router = index.router();
        let packed = index.packed_codes();
        assert_eq!(packed.len(), 40 * 8);
        let (mut scratch, mut projected) = (Vec::new(), vec![0.0; 64]);
        for (at, segment) in index.segments().iter().enumerate() {
            assert_eq!(at, 0);
            for slot in segment.slots() {
                let row = segment.row(slot) as usize;
                router.project(vectors.row(row, &mut []), &mut scratch, &mut projected);
                let centroid = router.centroid(segment.list_id[slot / BLOCK] as usize);
                for (i, (value, centre)) in projected.iter().zip(centroid).enumerate() {
                    let bit = packed[row * 8 + i / 8] >> (7 - i % 8) & 1;
                    assert_eq!(bit == 1, value - centre >= 0.0, "{row} {i}");
                }
            }
        }
    }
}
