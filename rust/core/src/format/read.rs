//! From the bytes of a file to an index.

use std::collections::HashMap;

use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_ipc::{MetadataVersion, reader::RecordBatchDecoder};

use super::{
    Source, check, digest,
    footer::{Footer, Place},
    header::Header,
    schema::from_batch,
};
use crate::{
    error::{Error, PersistError, Result},
    index::Index,
    ivf::{
        centroids::{Centroids, stored_bytes},
        router::Router,
    },
    kernel::Kernels,
    segment::Segment,
};

/// Opens an index; `mapped_bytes` of it are mapped and not its own.
pub(super) fn open(source: Source, verify: bool, mapped_bytes: usize) -> Result<Index> {
    let kernels = Kernels::detect()?;
    match read(&source.bytes, verify, kernels, mapped_bytes) {
        Ok(index) => Ok(index.with_source(source)),
        Err(error) => Err(Error::persist(source.path, error)),
    }
}

fn read(bytes: &Buffer, verify: bool, kernels: Kernels, mapped_bytes: usize) -> Result<Index, PersistError> {
    let footer = Footer::parse(bytes)?;
    let header = &footer.header;
    let mut segments = Vec::new();
    let mut centroids = ScalarBuffer::default();
    for (at, place) in footer.batches.iter().enumerate() {
        let (segment, matrix) = batch(bytes, &footer, at == 0, place).map_err(|error| match error {
            PersistError::Corrupt(what) => PersistError::Corrupt(format!("batch {at}, {what}")),
            other => other,
        })?;
        segments.push(segment);
        if at == 0 {
            centroids = matrix;
        }
    }
    if verify {
        compare(bytes, &footer, &centroids, &segments)?;
    }
    assemble(header, &centroids, segments, kernels, mapped_bytes)
}

/// An index of segments whose values are looked at as far as a search depends on them.
pub(super) fn assemble(
    header: &Header,
    centroids: &ScalarBuffer<u8>,
    segments: Vec<Segment>,
    kernels: Kernels,
    mapped_bytes: usize,
) -> Result<Index, PersistError> {
    let centroids = Centroids::from_stored(kernels, centroids, header.nlist, header.padded_dim)
        .ok_or_else(|| PersistError::Corrupt("centroids: not as many as the header says".into()))?;
    check::finite("centroids", centroids.floats())?;
    for segment in &segments {
        check::segment(header, segment)?;
    }
    let len: usize = segments.iter().map(Segment::len).sum();
    if len != header.len {
        return Err(super::header::corrupt("len", &header.len.to_string(), &format!("{len} rows")));
    }
    let contradiction = |error: Error| PersistError::Corrupt(error.to_string());
    let router = Router::of(header.metric()?, header.rotation(), centroids);
    let index = Index::merge(router, segments).map_err(contradiction)?;
    Ok(index.with_facts(header.null_count, header.calibration.clone(), mapped_bytes))
}

/// One batch as a segment that lies where the batch lay.
fn batch(
    bytes: &Buffer,
    footer: &Footer,
    first: bool,
    place: &Place,
) -> Result<(Segment, ScalarBuffer<u8>), PersistError> {
    let header = &footer.header;
    let centroids = if first { stored_bytes(header.nlist, header.padded_dim) as u64 } else { 0 };
    let meta = &bytes[place.message.clone()];
    let batch = check::message(meta, place.body.len(), &footer.schema, centroids)?;
    let body = bytes.slice_with_length(place.body.start, place.body.len());
    let (schema, dictionaries) = (footer.schema.clone(), HashMap::new());
    let decoder = RecordBatchDecoder::try_new(&body, batch, schema, &dictionaries, &MetadataVersion::V5);
    let decoded = decoder.and_then(|decoder| decoder.with_require_alignment(true).read_record_batch());
    let decoded = decoded.map_err(|error| PersistError::Corrupt(error.to_string()))?;
    from_batch(&decoded, footer.shape).ok_or_else(|| {
        PersistError::Corrupt("centroids: not one list in the first row of the first batch".into())
    })
}

/// Reads what an index was opened from once more, all of it.
pub(super) fn verify_again(index: &Index, bytes: &[u8]) -> Result<(), PersistError> {
    compare(bytes, &Footer::parse(bytes)?, index.router().centroids().stored(), index.segments())
}

/// Compares the digest of all bytes with the one in the footer. If they differ, the digests of the columns tell where;
/// if none of them does, the damage is in what is around the columns.
fn compare(
    bytes: &[u8],
    footer: &Footer,
    centroids: &ScalarBuffer<u8>,
    segments: &[Segment],
) -> Result<(), PersistError> {
    let actual = digest::file(bytes, footer.digest_at);
    if actual == footer.digest {
        return segments.iter().try_for_each(check::vectors);
    }
    let mut found = digest::columns(centroids, segments);
    if footer.shape.vectors.is_some() {
        found.extend([digest::stored_vectors(segments)]);
    }
    for (name, expected) in &footer.header.columns {
        if let Some(actual) = found.remove(name).filter(|actual| actual != expected) {
            return Err(PersistError::DigestMismatch {
                what: name.clone(),
                expected: expected.clone(),
                actual,
            });
        }
    }
    Err(PersistError::DigestMismatch { what: "file".into(), expected: footer.digest.clone(), actual })
}
