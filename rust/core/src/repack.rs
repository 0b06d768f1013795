//! Segments put together: rows that are gone dropped, half-empty blocks filled.

use arrow_buffer::Buffer;

use crate::{
    ids::{Id, IdType, Ids},
    rabitq::{BLOCK, Factors, HalfBlock, block_bytes, code_bytes, pack_block, scale_byte, unpack},
    row_numbers::RowNumbers,
    segment::{ExCodes, Segment, StoredVectors},
    short_floats::{SHORT_BYTES, ShortFloats},
};

/// One row on its way: its list, its new number, and where it lies.
struct Entry {
    list: u32,
    row: u64,
    part: usize,
    slot: usize,
}

/// One segment of the rows of several that were coded by one router. `row_of` tells a row's new number, or `None` for
/// one that is dropped. Codes are moved, not made again.
pub(crate) fn repack(
    parts: &[&Segment],
    dim: usize,
    padded_dim: usize,
    row_of: &dyn Fn(u64) -> Option<u64>,
) -> Segment {
    let mut entries: Vec<Entry> = Vec::new();
    for (part, segment) in parts.iter().enumerate() {
        entries.extend(segment.slots().filter_map(|slot| {
            let list = segment.list_id[slot / BLOCK];
            Some(Entry { list, row: row_of(segment.row(slot))?, part, slot })
        }));
    }
    entries.sort_unstable_by_key(|entry| (entry.list, entry.row));
    let blocks = blocks(&entries);
    // Rows count from the first of all where they can, as in a segment that was coded in one batch: then both are one.
    let base = entries.iter().map(|entry| entry.row).min().unwrap_or(0);
    let first_row = |block: &[Entry]| {
        let near = block.iter().all(|entry| u32::try_from(entry.row - base).is_ok());
        if near { base } else { block[0].row }
    };
    let rows: Vec<u32> = blocks
        .iter()
        .flat_map(|block| {
            let first_row = first_row(block);
            padded(block).map(move |entry| entry.map_or(0, |entry| (entry.row - first_row) as u32))
        })
        .collect();
    let slots = || blocks.iter().flat_map(|block| padded(block));
    let factors: Vec<HalfBlock> = blocks.iter().map(|block| factors(parts, block)).collect();
    Segment {
        list_id: blocks.iter().map(|block| block[0].list).collect(),
        first_row: blocks.iter().map(|block| first_row(block)).collect(),
        count: blocks.iter().map(|block| block.len() as u8).collect(),
        rows: RowNumbers::pack(&rows),
        ids: ids(parts, slots()),
        bin_code: codes(parts, &blocks, padded_dim),
        f_add: factors.iter().flat_map(|factors| factors.f_add).collect(),
        f_rescale: factors.iter().flat_map(|factors| factors.f_rescale).collect(),
        f_error: factors.iter().flat_map(|factors| factors.f_error).collect(),
        scales: factors.iter().flat_map(|factors| factors.scale.map(scale_byte)).collect(),
        ex: ex(parts, slots()),
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

fn ids<'a>(parts: &[&Segment], slots: impl Iterator<Item = Option<&'a Entry>>) -> Option<Ids> {
    let kind = parts.first()?.ids.as_ref()?.id_type();
    let blank = match kind {
        IdType::Int64 => Id::Int64(0),
        IdType::UInt64 => Id::UInt64(0),
        IdType::Utf8 => Id::Utf8(""),
    };
    Some(Ids::collect(kind, slots.map(|entry| entry.map_or(blank, |entry| parts[entry.part].id(entry.slot)))))
}

/// The factors of a block's rows, which were rounded when they were made.
fn factors(parts: &[&Segment], block: &[Entry]) -> HalfBlock {
    let lane = |entry: &Entry| {
        let factors = parts[entry.part].factors(entry.slot / BLOCK);
        factors.map_or_else(Factors::default, |factors| factors.lane(entry.slot % BLOCK))
    };
    HalfBlock::repack(&block.iter().map(lane).collect::<Vec<_>>())
}

/// What the rows have beyond their first bits.
fn ex<'a>(parts: &[&Segment], slots: impl Iterator<Item = Option<&'a Entry>>) -> Option<ExCodes> {
    let first = parts.first()?.ex.as_ref()?;
    let bytes = first.code.len() / first.f_error.len();
    let (mut code, mut f_add, mut f_rescale, mut f_error) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for entry in slots {
        if let Some((from, slot)) = entry.and_then(|entry| Some((parts[entry.part].ex.as_ref()?, entry.slot)))
        {
            code.extend_from_slice(&from.code[slot * bytes..(slot + 1) * bytes]);
            f_add.extend_from_slice(&from.f_add.bytes()[slot * SHORT_BYTES..][..SHORT_BYTES]);
            f_rescale.extend_from_slice(&from.f_rescale.bytes()[slot * SHORT_BYTES..][..SHORT_BYTES]);
            f_error.push(from.f_error[slot]);
        } else {
            code.resize(code.len() + bytes, 0);
            f_add.extend([0; SHORT_BYTES]);
            f_rescale.extend([0; SHORT_BYTES]);
            f_error.push(0);
        }
    }
    let [f_add, f_rescale] = [f_add, f_rescale].map(|bytes| ShortFloats::from_bytes(Buffer::from_vec(bytes)));
    Some(ExCodes { ex: first.ex, code: Buffer::from_vec(code), f_add, f_rescale, f_error: f_error.into() })
}

fn codes(parts: &[&Segment], blocks: &[&[Entry]], padded_dim: usize) -> Buffer {
    let (code, packed) = (code_bytes(padded_dim), block_bytes(padded_dim));
    let mut codes = vec![0; blocks.len() * packed];
    let mut plain = vec![0; packed];
    for (block, target) in blocks.iter().zip(codes.chunks_exact_mut(packed)) {
        for (entry, plain) in block.iter().zip(plain.chunks_exact_mut(code)) {
            let from = parts[entry.part].code(entry.slot / BLOCK, padded_dim);
            unpack(from, entry.slot % BLOCK, padded_dim, plain);
        }
        pack_block(&plain, block.len(), padded_dim, target);
    }
    Buffer::from_vec(codes)
}

fn vectors<'a>(
    parts: &[&Segment],
    slots: impl Iterator<Item = Option<&'a Entry>>,
    dim: usize,
) -> Option<StoredVectors> {
    let stored =
        |entry: &Entry| (parts[entry.part].vectors.as_ref(), entry.slot * dim..(entry.slot + 1) * dim);
    match parts.first()?.vectors.as_ref()? {
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
