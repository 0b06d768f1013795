//! Rows read a few at a time, in the order in which they lie: nothing is held but what is being read.

use std::{ops::Range, sync::Arc};

use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float16Array, Float32Array};
use arrow_schema::Field;
use half::f16;

use super::snapshot::{Place, Snapshot};
use crate::{
    error::{Error, Result},
    ids::Ids,
    index::VectorsKept,
    rabitq::BLOCK,
    segment::narrow,
    vectors::{Element, Vectors},
};

impl Snapshot {
    /// Whether rows are numbered as they come, and no ids may be given for new ones.
    pub fn numbers_rows(&self) -> bool {
        self.naming.generated
    }

    /// The type that vectors have when rows are read; `None` when the index keeps codes only.
    pub fn element(&self) -> Option<Element> {
        match self.index.vectors_kept() {
            VectorsKept::Stored(element) => Some(element),
            VectorsKept::Borrowed => self.index.borrowed().map(Vectors::element),
            VectorsKept::None => None,
        }
    }

    /// How many blocks of rows there are to be read. A block has 32 rows at most, and none where all were deleted.
    pub fn blocks(&self) -> usize {
        let sealed: usize = self.parts.iter().map(|part| part.segment.blocks()).sum();
        sealed + self.delta.len().div_ceil(BLOCK)
    }

    /// Ids and vectors of the rows in some blocks, copied. All blocks, in whichever pieces they are read, give every
    /// row once, and in the same order.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when the index keeps codes only, [`Error::InvalidVector`] when a row that was added to
    /// vectors of type `f16` does not fit that type.
    pub fn rows_of(&self, blocks: Range<usize>) -> Result<(Ids, FixedSizeListArray)> {
        let codes_only = || {
            let expected = "an index that stores or borrows its vectors";
            Error::invalid_parameter("vectors", expected, "one that holds codes only")
        };
        let element = self.element().ok_or_else(codes_only)?;
        let places = self.places_of(blocks);
        let dim = self.index.dim();
        let ids = Ids::collect(self.id_type(), places.iter().map(|&place| self.id(place)));
        let mut vector = vec![0.0; dim];
        let values = match element {
            Element::F32 => {
                let mut values = vec![0.0; places.len() * dim];
                for (&place, target) in places.iter().zip(values.chunks_exact_mut(dim)) {
                    if !self.vector(place, target) {
                        return Err(codes_only());
                    }
                }
                Arc::new(Float32Array::from(values)) as ArrayRef
            }
            Element::F16 => {
                let mut values = vec![f16::ZERO; places.len() * dim];
                for (&place, target) in places.iter().zip(values.chunks_exact_mut(dim)) {
                    if !self.vector(place, &mut vector) {
                        return Err(codes_only());
                    }
                    narrow(&vector, target).map_err(|reason| {
                        let (column, row) = ("vector".into(), self.row(place) as usize);
                        Error::InvalidVector { column, row, reason }
                    })?;
                }
                Arc::new(Float16Array::from(values))
            }
        };
        let field = Arc::new(Field::new("item", values.data_type().clone(), false));
        Ok((ids, FixedSizeListArray::try_new(field, dim as i32, values, None)?))
    }

    /// The rows that are there in some blocks.
    fn places_of(&self, blocks: Range<usize>) -> Vec<Place> {
        let mut places = Vec::with_capacity(blocks.len() * BLOCK);
        let mut first = 0;
        for (at, part) in self.parts.iter().enumerate() {
            let count = part.segment.blocks();
            let here = blocks.start.clamp(first, first + count)..blocks.end.clamp(first, first + count);
            for block in here.start - first..here.end.max(here.start) - first {
                let taken = usize::from(part.segment.count[block]);
                let slots = block * BLOCK..block * BLOCK + taken;
                let there = slots.filter(|&slot| self.is_alive(part.segment.row(slot)));
                places.extend(there.map(|slot| Place::Sealed(at, slot)));
            }
            first += count;
        }
        let recent = |block: usize| block.saturating_sub(first).saturating_mul(BLOCK).min(self.delta.len());
        let there = (recent(blocks.start)..recent(blocks.end).max(recent(blocks.start)))
            .filter(|&at| self.is_alive(self.delta.row(at)));
        places.extend(there.map(Place::Recent));
        places
    }
}
