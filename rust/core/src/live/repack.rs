//! Segments put together: rows that are gone dropped, half-empty blocks filled.

use super::part::Part;
use crate::{
    ids::{Id, IdType, Ids},
    rabitq::{BLOCK, block_bytes, code_bytes, pack_block, unpack},
    segment::{Segment, StoredVectors},
};
use arrow_buffer::Buffer;

/// One row on its way: its list, its new number, and where it lies.
struct Entry {
    list: u32,
    row: u64,
    part: usize,
    slot: usize,
}

/// One segment of the rows of several that were coded by one router. `row_of` tells a row's new number, or `None` for
/// one that is dropped. Codes are moved, not made again.
pub(super) fn repack(
    parts: &[&Part],
    dim: usize,
    padded_dim: usize,
    row_of: &dyn Fn(u64) -> Option<u64>,
) -> Segment {
    let mut entries: Vec<Entry> = Vec::new();
    for (part, Part { segment, .. }) in parts.iter().enumerate() {
        entries.extend(segment.slots().filter_map(|slot| {
            let list = segment.list_id[slot / BLOCK];
            Some(Entry { list, row: row_of(segment.row(slot))?, part, slot })
        }));
    }
    entries.sort_unstable_by_key(|entry| (entry.list, entry.row));
    let blocks = blocks(&entries);
    let slots = || blocks.iter().flat_map(|block| padded(block));
    let factors = |of: fn(&Segment) -> &[f32]| {
        slots().map(|entry| entry.map_or(0.0, |entry| of(&parts[entry.part].segment)[entry.slot])).collect()
    };
    Segment {
        list_id: blocks.iter().map(|block| block[0].list).collect(),
        first_row: blocks.iter().map(|block| block[0].row).collect(),
        count: blocks.iter().map(|block| block.len() as u8).collect(),
        rows: blocks
            .iter()
            .flat_map(|block| {
                padded(block).map(|entry| entry.map_or(0, |entry| (entry.row - block[0].row) as u32))
            })
            .collect(),
        ids: ids(parts, slots()),
        bin_code: codes(parts, &blocks, padded_dim),
        f_add: factors(|segment| &segment.f_add),
        f_rescale: factors(|segment| &segment.f_rescale),
        f_error: factors(|segment| &segment.f_error),
        vectors: vectors(parts, slots(), dim),
    }
}

/// Runs of at most 32 rows of one list whose numbers are near enough to be counted from the first.
fn blocks(entries: &[Entry]) -> Vec<&[Entry]> {
    entries
        .chunk_by(|a, b| a.list == b.list)
        .flat_map(|list| list.chunks(BLOCK))
        .flat_map(|block| block.chunk_by(move |_, entry| u32::try_from(entry.row - block[0].row).is_ok()))
        .collect()
}

/// A block's 32 slots.
fn padded(block: &[Entry]) -> impl Iterator<Item = Option<&Entry>> {
    block.iter().map(Some).chain(std::iter::repeat_n(None, BLOCK - block.len()))
}

fn ids<'a>(parts: &[&Part], slots: impl Iterator<Item = Option<&'a Entry>>) -> Option<Ids> {
    let kind = parts.first()?.segment.ids.as_ref()?.id_type();
    let blank = match kind {
        IdType::Int64 => Id::Int64(0),
        IdType::UInt64 => Id::UInt64(0),
        IdType::Utf8 => Id::Utf8(""),
    };
    Some(Ids::collect(
        kind,
        slots.map(|entry| entry.map_or(blank, |entry| parts[entry.part].segment.id(entry.slot))),
    ))
}

fn codes(parts: &[&Part], blocks: &[&[Entry]], padded_dim: usize) -> Buffer {
    let (code, packed) = (code_bytes(padded_dim), block_bytes(padded_dim));
    let mut codes = vec![0; blocks.len() * packed];
    let mut plain = vec![0; packed];
    for (block, target) in blocks.iter().zip(codes.chunks_exact_mut(packed)) {
        for (entry, plain) in block.iter().zip(plain.chunks_exact_mut(code)) {
            let from = parts[entry.part].segment.code(entry.slot / BLOCK);
            unpack(from, entry.slot % BLOCK, padded_dim, plain);
        }
        pack_block(&plain, block.len(), padded_dim, target);
    }
    Buffer::from_vec(codes)
}

fn vectors<'a>(
    parts: &[&Part],
    slots: impl Iterator<Item = Option<&'a Entry>>,
    dim: usize,
) -> Option<StoredVectors> {
    let stored = |entry: &Entry| {
        (parts[entry.part].segment.vectors.as_ref(), entry.slot * dim..(entry.slot + 1) * dim)
    };
    match parts.first()?.segment.vectors.as_ref()? {
        StoredVectors::F32(_) => {
            let mut values = Vec::new();
            for entry in slots {
                match entry.map(stored) {
                    Some((Some(StoredVectors::F32(from)), span)) => values.extend_from_slice(&from[span]),
                    _ => values.resize(values.len() + dim, 0.0),
                }
            }
            Some(StoredVectors::F32(values.into()))
        }
        StoredVectors::F16(_) => {
            let mut values = Vec::new();
            for entry in slots {
                match entry.map(stored) {
                    Some((Some(StoredVectors::F16(from)), span)) => values.extend_from_slice(&from[span]),
                    _ => values.resize(values.len() + dim, half::f16::ZERO),
                }
            }
            Some(StoredVectors::F16(values.into()))
        }
    }
}
