//! From many segments to one whose blocks are full.
//!
//! Batches that are coded one by one leave a partial block per list and batch, and every probe of a list visits all of
//! them. Put together, only the last block of a list is partial.

use std::ops::Range;

use arrow_buffer::{Buffer, ScalarBuffer};
use half::f16;

use crate::{
    ids::{Id, Ids},
    rabitq::{BLOCK, block_bytes, code_bytes, pack_block, unpack},
    segment::{Segment, StoredVectors},
};

/// One segment with the rows of all, the same as if they had been coded in one batch. Nothing is computed anew.
///
/// The segments have to be ones that [`crate::index::Index::merge`] takes together. Their columns are freed one after
/// the other as they are copied. `None` when there is no segment.
pub fn compact(mut segments: Vec<Segment>, padded_dim: usize, dim: usize) -> Option<Segment> {
    segments.sort_by_key(|segment| segment.first_row.first().copied());
    let plan = Plan::new(&segments);
    let first = segments.first()?;
    let ids = first.ids.as_ref().map(Ids::id_type).map(|kind| {
        let blank = Id::Int64(0);
        Ids::collect(kind, plan.slots().map(|at| at.map_or(blank, |at| segments[at.segment].id(at.slot))))
    });
    for segment in &mut segments {
        segment.ids = None;
    }
    let bin_code = Buffer::from_vec(codes(&segments, &plan, padded_dim));
    for segment in &mut segments {
        segment.bin_code = Buffer::default();
    }
    let factor = |of: fn(&Segment) -> &ScalarBuffer<f32>| -> ScalarBuffer<f32> {
        plan.slots().map(|at| at.map_or(0.0, |at| of(&segments[at.segment])[at.slot])).collect()
    };
    let rows = plan.blocks.iter().flat_map(|block| {
        let taken = plan.places[block.places.clone()].iter();
        let taken = taken.map(|&at| (segments[at.segment].row(at.slot) - block.first_row) as u32);
        taken.chain(std::iter::repeat_n(0, BLOCK - block.places.len()))
    });
    Some(Segment {
        list_id: plan.blocks.iter().map(|block| block.list).collect(),
        first_row: plan.blocks.iter().map(|block| block.first_row).collect(),
        count: plan.blocks.iter().map(|block| block.places.len() as u8).collect(),
        rows: rows.collect(),
        ids,
        bin_code,
        f_add: factor(|segment| &segment.f_add),
        f_rescale: factor(|segment| &segment.f_rescale),
        f_error: factor(|segment| &segment.f_error),
        vectors: vectors(&segments, &plan, dim),
    })
}

/// Where a row lies.
#[derive(Clone, Copy)]
struct Place {
    segment: usize,
    slot: usize,
}

/// One block of the new segment.
struct Block {
    list: u32,
    first_row: u64,
    places: Range<usize>,
}

/// Which rows go into which block.
struct Plan {
    /// Rows by list, and by number within a list.
    places: Vec<Place>,
    blocks: Vec<Block>,
}

impl Plan {
    fn new(segments: &[Segment]) -> Self {
        let list = |at: Place| segments[at.segment].list_id[at.slot / BLOCK];
        let row = |at: Place| segments[at.segment].row(at.slot);
        let slots = |(segment, table): (usize, &Segment)| -> Vec<Place> {
            table.slots().map(|slot| Place { segment, slot }).collect()
        };
        let mut places: Vec<Place> = segments.iter().enumerate().flat_map(slots).collect();
        // Stable and quick on runs that are sorted already, as those of each segment are.
        places.sort_by_key(|&at| (list(at), row(at)));
        let base = segments.first().and_then(|segment| segment.first_row.first().copied()).unwrap_or(0);
        let mut blocks: Vec<Block> = Vec::new();
        for (index, &at) in places.iter().enumerate() {
            match blocks.last_mut() {
                Some(block)
                    if block.list == list(at)
                        && block.places.len() < BLOCK
                        && u32::try_from(row(at) - block.first_row).is_ok() =>
                {
                    block.places.end = index + 1;
                }
                _ => {
                    let near = row(at) >= base && u32::try_from(row(at) - base).is_ok();
                    let first_row = if near { base } else { row(at) };
                    blocks.push(Block { list: list(at), first_row, places: index..index + 1 });
                }
            }
        }
        Self { places, blocks }
    }

    /// What lies in each slot of the new segment.
    fn slots(&self) -> impl Iterator<Item = Option<Place>> + '_ {
        self.blocks.iter().flat_map(|block| {
            let taken = self.places[block.places.clone()].iter().map(|&at| Some(at));
            taken.chain(std::iter::repeat_n(None, BLOCK - block.places.len()))
        })
    }
}

fn codes(segments: &[Segment], plan: &Plan, padded_dim: usize) -> Vec<u8> {
    let bytes = block_bytes(padded_dim);
    let mut all = vec![0; plan.blocks.len() * bytes];
    let mut codes = vec![0; bytes];
    for (block, target) in plan.blocks.iter().zip(all.chunks_exact_mut(bytes)) {
        let places = &plan.places[block.places.clone()];
        for (at, code) in places.iter().zip(codes.chunks_exact_mut(code_bytes(padded_dim))) {
            let source = segments[at.segment].code(at.slot / BLOCK);
            unpack(source, at.slot % BLOCK, padded_dim, code);
        }
        pack_block(&codes, places.len(), padded_dim, target);
    }
    all
}

/// The stored vectors in their new order; `None` unless every segment stores them, all as the first one does.
fn vectors(segments: &[Segment], plan: &Plan, dim: usize) -> Option<StoredVectors> {
    let f32s = |segment: &Segment| match &segment.vectors {
        Some(StoredVectors::F32(values)) => Some(values.clone()),
        _ => None,
    };
    let f16s = |segment: &Segment| match &segment.vectors {
        Some(StoredVectors::F16(values)) => Some(values.clone()),
        _ => None,
    };
    if let Some(values) = segments.iter().map(f32s).collect::<Option<Vec<_>>>() {
        return Some(StoredVectors::F32(in_order(&values, plan, dim, 0.0)));
    }
    let values = segments.iter().map(f16s).collect::<Option<Vec<_>>>()?;
    Some(StoredVectors::F16(in_order(&values, plan, dim, f16::ZERO)))
}

fn in_order<T: arrow_buffer::ArrowNativeType>(
    values: &[ScalarBuffer<T>],
    plan: &Plan,
    dim: usize,
    blank: T,
) -> ScalarBuffer<T> {
    let mut all = vec![blank; plan.blocks.len() * BLOCK * dim];
    for (at, target) in plan.slots().zip(all.chunks_exact_mut(dim)) {
        if let Some(at) = at {
            target.copy_from_slice(&values[at.segment][at.slot * dim..(at.slot + 1) * dim]);
        }
    }
    all.into()
}
