//! From an index to the bytes of a file.

use std::{
    io::{self, Write},
    ops::Range,
    path::Path,
};

use arrow_array::RecordBatch;
use arrow_ipc::{
    MetadataVersion,
    writer::{FileWriter, IpcWriteOptions},
};
use arrow_schema::{ArrowError, SchemaRef};
use blake3::Hasher;
use half::f16;

use super::{
    Keep, digest,
    footer::{ALIGNMENT, DIGEST_KEY, find_digest},
    header::Header,
    schema::{Shape, VECTORS, row_bits, to_batch},
};
use crate::{
    error::{Error, Result},
    ids::Ids,
    index::{Index, VectorsKept},
    rabitq::BLOCK,
    replace::replace,
    segment::{Segment, StoredVectors, narrow},
    short_floats::SHORT_BYTES,
    vectors::Element,
};

/// Bytes of one batch: what is gathered at once, and what travels in one message.
const BATCH_BYTES: usize = 64 << 20;

/// Writes a file: under another name first, then, whole and safe on the disk, in place of what was there.
pub(super) fn save(index: &Index, path: &Path, keep: Keep) -> Result<()> {
    replace(path, |file| write(index, file, keep, path))
}

/// Writes the bytes of a file; `path` is what errors name.
pub(super) fn write(index: &Index, writer: &mut impl Write, keep: Keep, path: &Path) -> Result<()> {
    let failed = |error: ArrowError| match error {
        ArrowError::IoError(_, error) => Error::persist(path, error),
        other => other.into(),
    };
    let kept = kept(index, keep)?;
    let plan = plan(index, kept);
    let (shape, header) = describe(index, kept, &plan)?;
    let schema = shape.schema(&header)?;
    let options = IpcWriteOptions::try_new(usize::from(ALIGNMENT), false, MetadataVersion::V5)?;
    let sealing = Sealing { writer, hasher: Hasher::new(), held: None };
    let mut file = FileWriter::try_new_with_options(sealing, &schema, options).map_err(failed)?;
    for (at, (segment, blocks)) in plan.into_iter().enumerate() {
        let vectors = kept.map(|element| gather(index, segment, blocks.clone(), element)).transpose()?;
        let centroids = (at == 0).then(|| index.router().centroids().stored());
        let batch = to_batch(SchemaRef::clone(&schema), segment, blocks, shape.row_bits, centroids, vectors)?;
        file.write(&batch).map_err(failed)?;
    }
    file.write_metadata(DIGEST_KEY, digest::BLANK);
    file.get_mut().held = Some(Vec::new());
    file.finish().map_err(failed)?;
    let sealing = file.into_inner().map_err(failed)?;
    sealing.seal().map_err(|error| Error::persist(path, error))
}

/// The index as record batches, with the vectors it stores.
pub(super) fn batches(index: &Index) -> Result<Vec<RecordBatch>> {
    let kept = match index.vectors_kept() {
        VectorsKept::Stored(element) => Some(element),
        VectorsKept::None | VectorsKept::Borrowed => None,
    };
    let plan: Plan<'_> = index.segments().iter().map(|segment| (segment, 0..segment.blocks())).collect();
    let (shape, header) = describe(index, kept, &plan)?;
    let schema = shape.schema(&header)?;
    let batch = |(at, (segment, blocks)): (usize, (&Segment, Range<usize>))| {
        let centroids = (at == 0).then(|| index.router().centroids().stored());
        Ok(to_batch(
            SchemaRef::clone(&schema),
            segment,
            blocks,
            shape.row_bits,
            centroids,
            segment.vectors.clone(),
        )?)
    };
    plan.into_iter().enumerate().map(batch).collect()
}

/// Which blocks of which segment make up each batch.
pub(super) type Plan<'a> = Vec<(&'a Segment, Range<usize>)>;

/// The type of the vectors to be written, if any are.
pub(super) fn kept(index: &Index, keep: Keep) -> Result<Option<Element>> {
    let at_hand = match index.vectors_kept() {
        VectorsKept::Stored(element) => Some(element),
        VectorsKept::Borrowed => index.borrowed().map(crate::Vectors::element),
        VectorsKept::None => None,
    };
    match keep {
        Keep::None => Ok(None),
        Keep::AsIs => Ok(at_hand),
        Keep::F32 | Keep::F16 if at_hand.is_none() => {
            let expected = "an index that stores or borrows its vectors";
            Err(Error::invalid_parameter("keep", expected, "one that holds codes only"))
        }
        Keep::F32 => Ok(Some(Element::F32)),
        Keep::F16 => Ok(Some(Element::F16)),
    }
}

/// A segment is cut so that a batch fits into [`BATCH_BYTES`], between two lists if possible. One block and,
/// in the first batch, the centroids are as small as it gets.
fn plan(index: &Index, kept: Option<Element>) -> Plan<'_> {
    plan_within(index, kept, BATCH_BYTES)
}

/// The same for batches of `most` bytes.
pub(super) fn plan_within(index: &Index, kept: Option<Element>, most: usize) -> Plan<'_> {
    let vectors = kept.map_or(0, |element| BLOCK * index.dim() * element.bytes());
    let mut taken = index.router().centroids().stored().len();
    let mut plan = Vec::new();
    for segment in index.segments() {
        let mut start = 0;
        while start < segment.blocks() {
            let mut limit = start;
            while limit < segment.blocks() {
                let bytes = block_bytes(segment, limit) + vectors;
                if limit > start && taken + bytes > most {
                    break;
                }
                taken += bytes;
                limit += 1;
            }
            let lists = &segment.list_id;
            let between = (start + 1..limit).rev().find(|&end| lists[end] != lists[end - 1]);
            let whole = limit == segment.blocks() || lists[limit] != lists[limit - 1];
            let end = if whole { limit } else { between.unwrap_or(limit) };
            plan.push((segment, start..end));
            (start, taken) = (end, 0);
        }
    }
    plan
}

/// What one block takes of a batch, without its vectors.
pub(super) fn block_bytes(segment: &Segment, block: usize) -> usize {
    // List, first row, count, the place in the column of centroids, rows, factors and their scales.
    let plain = 4 + 8 + 1 + 9 + segment.rows.packed().len() / segment.blocks() + BLOCK * 3 * 2 + 3;
    let ids = match &segment.ids {
        None => 0,
        Some(Ids::Int64(_) | Ids::UInt64(_)) => BLOCK * 8,
        Some(Ids::Utf8(ids)) => {
            let offsets = &ids.value_offsets()[block * BLOCK..=(block + 1) * BLOCK];
            let text = offsets.last().zip(offsets.first()).map_or(0, |(end, start)| (end - start) as usize);
            BLOCK * 8 + text
        }
    };
    let blocks = segment.blocks();
    let ex = segment.ex.as_ref().map_or(0, |ex| ex.code.len() / blocks + BLOCK * (2 * SHORT_BYTES + 2));
    plain + ids + segment.bin_code.len() / blocks + ex
}

/// The header says what is in the columns, and comes first: their digests are computed before anything is written. For
/// vectors that have to be gathered this means gathering them twice, which is cheaper than holding them.
fn describe(index: &Index, kept: Option<Element>, plan: &Plan<'_>) -> Result<(Shape, Header)> {
    let mut columns = digest::columns(index.router().centroids().stored(), index.segments());
    let content = digest::content_of(index, &columns);
    if let Some(element) = kept {
        let mut hasher = Hasher::new();
        for (segment, blocks) in plan {
            digest::update_vectors(&mut hasher, &gather(index, segment, blocks.clone(), element)?);
        }
        columns.insert(VECTORS.into(), digest::hex(&hasher));
    }
    let ids = index.segments().first().and_then(|segment| segment.ids.as_ref()).map(crate::ids::Ids::id_type);
    let (dim, padded_dim) = (index.dim(), index.router().padded_dim());
    let (bits, row_bits) = (index.bits(), row_bits(index.segments()));
    Ok((
        Shape { dim, padded_dim, bits, row_bits, ids, vectors: kept },
        Header::new(index, kept, columns, content),
    ))
}

/// The vectors of some blocks in the order of their slots: those stored as they are, others copied.
fn gather(index: &Index, segment: &Segment, blocks: Range<usize>, element: Element) -> Result<StoredVectors> {
    let dim = index.dim();
    let (from, len) = (blocks.start * BLOCK * dim, blocks.len() * BLOCK * dim);
    match (&segment.vectors, element) {
        (Some(StoredVectors::F32(values)), Element::F32) => Ok(StoredVectors::F32(values.slice(from, len))),
        (Some(StoredVectors::F16(values)), Element::F16) => Ok(StoredVectors::F16(values.slice(from, len))),
        (_, Element::F32) => {
            let mut values = vec![0.0; len];
            each_vector(index, segment, blocks, |at, _, vector| {
                values[at * dim..(at + 1) * dim].copy_from_slice(vector);
                Ok(())
            })?;
            Ok(StoredVectors::F32(values.into()))
        }
        (_, Element::F16) => {
            let mut values = vec![f16::ZERO; len];
            each_vector(index, segment, blocks, |at, row, vector| {
                narrow(vector, &mut values[at * dim..(at + 1) * dim]).map_err(|reason| {
                    let column = index.borrowed().map_or(VECTORS, crate::Vectors::column).into();
                    Error::InvalidVector { column, row, reason }
                })
            })?;
            Ok(StoredVectors::F16(values.into()))
        }
    }
}

/// Calls `take` with the slot (counted from the first block), the row and the vector of every row of some blocks.
fn each_vector(
    index: &Index,
    segment: &Segment,
    blocks: Range<usize>,
    mut take: impl FnMut(usize, usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let mut scratch = vec![0.0; index.dim()];
    for block in blocks.clone() {
        for slot in (0..usize::from(segment.count[block])).map(|lane| block * BLOCK + lane) {
            let row = segment.row(slot) as usize;
            let vector = match (&segment.vectors, index.borrowed()) {
                (Some(stored), _) => stored.row(slot, index.dim(), &mut scratch),
                (None, Some(borrowed)) => borrowed.row(row, &mut scratch),
                (None, None) => continue,
            };
            take(slot - blocks.start * BLOCK, row, vector)?;
        }
    }
    Ok(())
}

/// Hashes what passes, and holds back the end until the digest can be put into it.
struct Sealing<W> {
    writer: W,
    hasher: Hasher,
    held: Option<Vec<u8>>,
}

impl<W: Write> Sealing<W> {
    fn seal(mut self) -> Result<(), crate::PersistError> {
        let mut tail = self.held.unwrap_or_default();
        self.hasher.update(&tail);
        let at = find_digest(&tail)?;
        tail[at..at + digest::BLANK.len()].copy_from_slice(digest::hex(&self.hasher).as_bytes());
        self.writer.write_all(&tail)?;
        Ok(self.writer.flush()?)
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        let written = self.writer.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
