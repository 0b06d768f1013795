//! Reading footers and row groups.

use std::{ops::Range, sync::Arc};

use arrow_array::RecordBatchReader;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
            statistics::StatisticsConverter,
        },
    },
    file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader},
};

use super::{
    chunks::Chunks,
    store::{Store, Stored},
};
use crate::{
    error::{Error, Result},
    predicate::{Condition, Predicate},
};

/// The largest footer.
const MAX_FOOTER: u64 = 64 << 20;
/// The length of the footer's length and of the magic bytes behind it.
const TAIL: u64 = 8;
const MAGIC: &[u8] = b"PAR1";
/// Rows per batch.
const BATCH_ROWS: usize = 8192;

/// The footer of a file and the digest of its bytes.
pub(super) fn footer(store: &Arc<dyn Store>, file: &Stored) -> Result<(ArrowReaderMetadata, String)> {
    let refuse = |reason: String| Error::InvalidFile { path: file.path.as_str().into(), reason };
    if file.bytes < TAIL + MAGIC.len() as u64 {
        return Err(refuse(format!("{} bytes are too few for a parquet file", file.bytes)));
    }
    let tail = one(store, file, file.bytes - TAIL..file.bytes)?;
    let (length, magic) = tail.split_at(4);
    if magic != MAGIC {
        return Err(refuse("does not end as a parquet file".into()));
    }
    let mut raw = [0; 4];
    raw.copy_from_slice(length);
    let length = u64::from(u32::from_le_bytes(raw));
    if length > MAX_FOOTER {
        return Err(Error::TooLarge {
            what: format!("{}: bytes of the footer", file.path),
            limit: MAX_FOOTER,
            actual: length,
        });
    }
    if length + TAIL > file.bytes {
        return Err(refuse(format!("a footer of {length} bytes in a file of {}", file.bytes)));
    }
    let bytes = one(store, file, file.bytes - TAIL - length..file.bytes - TAIL)?;
    let metadata =
        ParquetMetaDataReader::decode_metadata(&bytes).map_err(|error| refuse(error.to_string()))?;
    let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new());
    Ok((metadata.map_err(|error| refuse(error.to_string()))?, blake3::hash(&bytes).to_hex().to_string()))
}

fn one(store: &Arc<dyn Store>, file: &Stored, range: Range<u64>) -> Result<bytes::Bytes> {
    Ok(store.read(file, &[range])?.pop().unwrap_or_default())
}

/// For each row group whether a row of it may fulfil the predicate.
pub(super) fn wanted(metadata: &ArrowReaderMetadata, predicate: &Predicate) -> Result<Vec<bool>> {
    let groups = metadata.metadata().row_groups();
    if predicate.is_empty() {
        return Ok(vec![true; groups.len()]);
    }
    let mut wanted = vec![false; groups.len()];
    for group in &predicate.any {
        let mut here = vec![true; groups.len()];
        for condition in group {
            narrow(metadata, condition, &mut here)?;
        }
        wanted.iter_mut().zip(here).for_each(|(wanted, here)| *wanted |= here);
    }
    Ok(wanted)
}

/// Takes out the row groups in which no row fulfils a condition.
fn narrow(metadata: &ArrowReaderMetadata, condition: &Condition, wanted: &mut [bool]) -> Result<()> {
    let groups = metadata.metadata().row_groups();
    let converter =
        StatisticsConverter::try_new(&condition.column, metadata.schema(), metadata.parquet_schema());
    // A column without statistics of its own, such as a list, or none at all: the rows will tell.
    let Ok(converter) = converter else { return Ok(()) };
    let (Ok(smallest), Ok(largest)) = (converter.row_group_mins(groups), converter.row_group_maxes(groups))
    else {
        return Ok(());
    };
    for (wanted, may) in wanted.iter_mut().zip(condition.may_hold(&smallest, &largest)?) {
        *wanted &= may;
    }
    Ok(())
}

/// The rows of a row group, without the first `skipped`: some columns, fetched with one request.
pub(super) fn group(
    store: &Arc<dyn Store>,
    file: &Stored,
    metadata: &ArrowReaderMetadata,
    group: usize,
    columns: Option<&[String]>,
    skipped: u64,
) -> Result<impl RecordBatchReader + use<>> {
    let refuse = |reason: String| Error::InvalidFile { path: file.path.as_str().into(), reason };
    let mask = mask(metadata, columns);
    let mut ranges = Vec::new();
    for (leaf, column) in metadata.metadata().row_group(group).columns().iter().enumerate() {
        if mask.leaf_included(leaf) {
            ranges.push(range_of(column, file.bytes).ok_or_else(|| {
                refuse(format!("row group {group}: column {leaf} lies outside of the file"))
            })?);
        }
    }
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    if bytes > file.bytes {
        return Err(refuse(format!(
            "row group {group}: columns of {bytes} bytes in a file of {}",
            file.bytes
        )));
    }
    let parts = store.read(file, &ranges)?;
    let parts = ranges.iter().map(|range| range.start).zip(parts).collect();
    let chunks = Chunks { bytes: file.bytes, parts };
    ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata.clone())
        .with_row_groups(vec![group])
        .with_projection(mask)
        .with_offset(skipped as usize)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| refuse(error.to_string()))
}

/// Where a column of a row group lies; `None` if that cannot be.
fn range_of(column: &ColumnChunkMetaData, bytes: u64) -> Option<Range<u64>> {
    let start = column
        .dictionary_page_offset()
        .map_or(column.data_page_offset(), |at| at.min(column.data_page_offset()));
    let start = u64::try_from(start).ok()?;
    let end = start.checked_add(u64::try_from(column.compressed_size()).ok()?)?;
    (end <= bytes).then_some(start..end)
}

/// The leaves of some columns.
fn mask(metadata: &ArrowReaderMetadata, columns: Option<&[String]>) -> ProjectionMask {
    let Some(columns) = columns else { return ProjectionMask::all() };
    let fields = metadata.schema().fields();
    let roots =
        fields.iter().enumerate().filter(|(_, field)| columns.contains(field.name())).map(|(at, _)| at);
    ProjectionMask::roots(metadata.parquet_schema(), roots)
}
