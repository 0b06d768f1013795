//! The end of a file: where its batches lie, what its columns are, what its digest should be.
//!
//! Arrow's own way from the footer to a schema panics on types it does not know, so the schema in the file is never
//! converted: it is compared, field by field, with the one that the header asks for.

use std::ops::Range;

use arrow_ipc::{Endianness, Footer as FbFooter, KeyValue, MetadataVersion, Precision, Type, root_as_footer};
use arrow_schema::{DataType, Field, SchemaRef};

use super::{
    header::{HEADER_KEY, Header, corrupt, is_digest},
    schema::Shape,
};
use crate::error::PersistError;

/// The key of the whole file's digest in the footer's metadata.
pub(super) const DIGEST_KEY: &str = "ruvector.digest";

const MAGIC: &[u8; 6] = b"ARROW1";
/// The magic and its padding at the start of a file; before the schema message, which nobody reads to open the file.
pub(super) const START: usize = 8;
/// The footer's length and the magic at the end.
const TRAILER: usize = 4 + MAGIC.len();

/// Every buffer begins at a multiple of this.
pub(super) const ALIGNMENT: u8 = 64;

/// Where a batch lies.
pub(super) struct Place {
    pub(super) message: Range<usize>,
    pub(super) body: Range<usize>,
}

/// What the end of a file says, checked as far as it can be without looking at the batches.
pub(super) struct Footer {
    pub(super) header: Header,
    pub(super) shape: Shape,
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<Place>,
    pub(super) digest: String,
    pub(super) digest_at: usize,
}

impl Footer {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PersistError> {
        if bytes.len() < START + TRAILER {
            return Err(PersistError::NotArrow(format!("{} bytes are too few", bytes.len())));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(PersistError::NotArrow("it does not start with ARROW1".into()));
        }
        let (footer, start) = find(bytes)?;
        if footer.version() != MetadataVersion::V5 {
            return Err(corrupt("footer", "metadata version 5", &format!("{:?}", footer.version())));
        }
        let schema =
            footer.schema().ok_or_else(|| PersistError::NotArrow("the footer has no schema".into()))?;
        let json = schema.custom_metadata().into_iter().flatten().find_map(|pair| value_of(pair, HEADER_KEY));
        let json = json.ok_or_else(|| {
            PersistError::NotAnIndex(format!("the schema lacks the metadata {HEADER_KEY:?}"))
        })?;
        let header = Header::parse(json)?;
        let shape = Shape::of(&header)?;
        if schema.endianness() != Endianness::Little {
            return Err(corrupt("schema", "little-endian", &"big-endian"));
        }
        check_fields(&schema, &shape.fields())?;
        if footer.dictionaries().is_some_and(|dictionaries| !dictionaries.is_empty()) {
            return Err(PersistError::Corrupt("the file has dictionaries".into()));
        }
        let (digest, digest_at) = digest_of(bytes, &footer)?;
        Ok(Self {
            schema: shape.schema(&header).map_err(|error| PersistError::Corrupt(error.to_string()))?,
            batches: batches(&footer, start)?,
            header,
            shape,
            digest,
            digest_at,
        })
    }
}

/// The footer of a file, or of the last bytes of one, and where it starts.
fn find(bytes: &[u8]) -> Result<(FbFooter<'_>, usize), PersistError> {
    let cut =
        || PersistError::NotArrow("it does not end with ARROW1: it was cut or is still being written".into());
    let (rest, magic) = bytes.split_last_chunk::<6>().ok_or_else(cut)?;
    let (rest, len) = rest.split_last_chunk::<4>().ok_or_else(cut)?;
    if magic != MAGIC {
        return Err(cut());
    }
    let len = i32::from_le_bytes(*len);
    let start =
        usize::try_from(len).ok().and_then(|len| rest.len().checked_sub(len)).filter(|&start| start >= START);
    let start = start.ok_or_else(|| corrupt("footer", &format!("at most {} bytes", rest.len()), &len))?;
    let footer = root_as_footer(&rest[start..]);
    Ok((footer.map_err(|error| PersistError::NotArrow(format!("footer: {error}")))?, start))
}

/// Where the digest lies in the last bytes of a file.
pub(super) fn find_digest(tail: &[u8]) -> Result<usize, PersistError> {
    digest_of(tail, &find(tail)?.0).map(|(_, at)| at)
}

fn digest_of(bytes: &[u8], footer: &FbFooter<'_>) -> Result<(String, usize), PersistError> {
    let digest = footer.custom_metadata().into_iter().flatten().find_map(|pair| value_of(pair, DIGEST_KEY));
    match digest {
        Some(digest) if is_digest(digest) => {
            // The text was lent out of these bytes.
            let at = digest.as_ptr().addr() - bytes.as_ptr().addr();
            Ok((digest.into(), at))
        }
        Some(digest) => Err(corrupt(DIGEST_KEY, "64 hexadecimal digits", &format!("{digest:?}"))),
        None => Err(PersistError::Corrupt(format!("the footer lacks the metadata {DIGEST_KEY:?}"))),
    }
}

fn value_of<'a>(pair: KeyValue<'a>, key: &str) -> Option<&'a str> {
    if pair.key() == Some(key) { pair.value() } else { None }
}

/// The batches' places: in order, apart from each other, before the footer. Were they allowed to overlap, a small file
/// could ask for the work of a large one.
fn batches(footer: &FbFooter<'_>, footer_start: usize) -> Result<Vec<Place>, PersistError> {
    let mut spans = Vec::new();
    let mut last = START;
    for block in footer.recordBatches().into_iter().flatten() {
        let place = (block.offset(), block.metaDataLength(), block.bodyLength());
        let span = || {
            let (start, meta) = (usize::try_from(place.0).ok()?, usize::try_from(place.1).ok()?);
            let body = start.checked_add(meta)?;
            let end = body.checked_add(usize::try_from(place.2).ok()?)?;
            let fits = start >= last && end <= footer_start && body.is_multiple_of(usize::from(ALIGNMENT));
            fits.then_some(Place { message: start..body, body: body..end })
        };
        let Some(span) = span() else {
            let what = format!("batch {}", spans.len());
            let expected = format!("aligned bytes between {last} and {footer_start}");
            return Err(corrupt(&what, &expected, &format!("offset, message and body of {place:?}")));
        };
        last = span.body.end;
        spans.push(span);
    }
    if spans.is_empty() {
        return Err(PersistError::Corrupt("the file has no batches".into()));
    }
    Ok(spans)
}

fn check_fields(schema: &arrow_ipc::Schema<'_>, expected: &[Field]) -> Result<(), PersistError> {
    let found = schema.fields().unwrap_or_default();
    if found.len() != expected.len() {
        return Err(corrupt("schema", &format!("{} columns", expected.len()), &found.len()));
    }
    for (found, expected) in found.into_iter().zip(expected) {
        if !is_field(found, expected) {
            let name = found.name().unwrap_or_default();
            return Err(corrupt("schema", &format!("{expected:?}"), &format!("a different column {name:?}")));
        }
    }
    Ok(())
}

fn is_field(found: arrow_ipc::Field<'_>, expected: &Field) -> bool {
    found.name() == Some(expected.name())
        && found.nullable() == expected.is_nullable()
        && found.dictionary().is_none()
        && is_type(found, expected.data_type())
}

fn is_type(found: arrow_ipc::Field<'_>, expected: &DataType) -> bool {
    let children = found.children().unwrap_or_default();
    let int = |bits, signed| {
        found.type_as_int().is_some_and(|int| int.bitWidth() == bits && int.is_signed() == signed)
    };
    let float =
        |precision| found.type_as_floating_point().is_some_and(|float| float.precision() == precision);
    let list_of = |item: &Field| children.len() == 1 && is_field(children.get(0), item);
    match expected {
        DataType::FixedSizeList(item, size) => {
            found.type_as_fixed_size_list().is_some_and(|list| list.listSize() == *size) && list_of(item)
        }
        DataType::LargeList(item) => found.type_type() == Type::LargeList && list_of(item),
        leaf if !children.is_empty() => leaf.is_nested(),
        DataType::UInt8 => int(8, false),
        DataType::UInt16 => int(16, false),
        DataType::UInt32 => int(32, false),
        DataType::UInt64 => int(64, false),
        DataType::Int64 => int(64, true),
        DataType::Float16 => float(Precision::HALF),
        DataType::Float32 => float(Precision::SINGLE),
        DataType::LargeUtf8 => found.type_type() == Type::LargeUtf8,
        DataType::FixedSizeBinary(width) => {
            found.type_as_fixed_size_binary().is_some_and(|binary| binary.byteWidth() == *width)
        }
        _ => false,
    }
}
