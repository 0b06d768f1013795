//! What must hold before a batch of a file is believed.
//!
//! First the message: it is checked so far that Arrow's decoder, which asserts what it expects, finds all of it. Then
//! the values: those by which a search finds its way, and those that would make its arithmetic meaningless.

use arrow_ipc::{Message, MetadataVersion, RecordBatch, root_as_message};
use arrow_schema::{DataType, Schema};
use half::{bf16, f16};

use super::{
    footer::ALIGNMENT,
    header::{Header, corrupt},
};
use crate::{
    error::PersistError,
    ids::Ids,
    rabitq::{BLOCK, SCALE_BYTES},
    segment::{Segment, StoredVectors},
};

pub(super) const CONTINUATION: [u8; 4] = [0xFF; 4];

/// The message of one batch, checked against its body's length and the schema; `centroids` is the number of values that
/// the centroid column holds in this batch.
pub(super) fn message<'a>(
    bytes: &'a [u8],
    body: usize,
    schema: &Schema,
    centroids: u64,
) -> Result<RecordBatch<'a>, PersistError> {
    let refuse = |what: &str| Err(PersistError::Corrupt(format!("message: {what}")));
    let Some((prefix, flat)) = bytes.split_first_chunk::<8>() else {
        return refuse("too short");
    };
    let len = i32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
    if prefix[..4] != CONTINUATION || usize::try_from(len) != Ok(flat.len()) {
        return refuse("its length is not that in the footer");
    }
    let message: Message<'a> =
        root_as_message(flat).map_err(|error| PersistError::Corrupt(format!("message: {error}")))?;
    if message.version() != MetadataVersion::V5 || usize::try_from(message.bodyLength()) != Ok(body) {
        return refuse("its version or the length of its body is not that in the footer");
    }
    let Some(batch) = message.header_as_record_batch() else {
        return refuse("it is not a record batch");
    };
    if batch.compression().is_some() {
        return refuse("it is compressed");
    }
    if batch.variadicBufferCounts().is_some_and(|counts| !counts.is_empty()) {
        return refuse("it has variadic buffers");
    }
    let rows = u64::try_from(batch.length()).ok().filter(|rows| (1..=body as u64).contains(rows));
    let Some(rows) = rows else {
        return refuse("its number of rows is not one its body can hold");
    };
    let mut layout = Layout::new(&batch, body as u64, centroids);
    for field in schema.fields() {
        let nulls = if field.is_nullable() { rows - u64::from(centroids > 0) } else { 0 };
        layout.column(field.data_type(), rows, nulls).map_err(|what| {
            PersistError::Corrupt(format!("{}: {what} does not fit a batch of {rows} rows", field.name()))
        })?;
    }
    if layout.nodes.next().is_some() || layout.buffers.next().is_some() {
        return refuse("it has more columns than the schema");
    }
    Ok(batch)
}

/// Compares the nodes and buffers that a message lists with those that its schema and number of rows ask for. Lengths
/// are compared, never computed from: what saturates equals nothing that fits a file.
struct Layout<'a> {
    nodes: Each<'a, arrow_ipc::FieldNode>,
    buffers: Each<'a, arrow_ipc::Buffer>,
    body: u64,
    /// Where the last buffer ended.
    end: u64,
    centroids: u64,
}

/// What a message lists, one by one.
type Each<'a, T> = Box<dyn Iterator<Item = &'a T> + 'a>;

impl<'a> Layout<'a> {
    fn new(batch: &RecordBatch<'a>, body: u64, centroids: u64) -> Self {
        Self {
            nodes: Box::new(batch.nodes().into_iter().flatten()),
            buffers: Box::new(batch.buffers().into_iter().flatten()),
            body,
            end: 0,
            centroids,
        }
    }

    fn column(&mut self, data_type: &DataType, len: u64, nulls: u64) -> Result<(), &'static str> {
        let node = self.nodes.next().ok_or("a missing node")?;
        if u64::try_from(node.length()) != Ok(len) {
            return Err("a node's length");
        }
        if u64::try_from(node.null_count()) != Ok(nulls) {
            return Err("a node's number of nulls");
        }
        let validity = self.buffer()?;
        if nulls > 0 && validity != len.div_ceil(8) {
            return Err("the length of a validity buffer");
        }
        match data_type {
            DataType::FixedSizeList(item, size) => {
                self.column(item.data_type(), len.saturating_mul(size.unsigned_abs().into()), 0)
            }
            DataType::LargeList(item) => {
                self.exactly(len.saturating_add(1).saturating_mul(8))?;
                self.column(item.data_type(), self.centroids, 0)
            }
            DataType::LargeUtf8 => {
                self.exactly(len.saturating_add(1).saturating_mul(8))?;
                self.buffer().map(|_| ())
            }
            DataType::FixedSizeBinary(width) => self.exactly(len.saturating_mul(width.unsigned_abs().into())),
            number => self.exactly(len.saturating_mul(number.primitive_width().unwrap_or(0) as u64)),
        }
    }

    fn exactly(&mut self, len: u64) -> Result<(), &'static str> {
        if self.buffer()? == len { Ok(()) } else { Err("the length of a buffer") }
    }

    /// The length of the next buffer, which lies behind the ones before it and inside the body.
    fn buffer(&mut self) -> Result<u64, &'static str> {
        let buffer = self.buffers.next().ok_or("a missing buffer")?;
        let place = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
        let (Ok(offset), Ok(length)) = place else { return Err("the place of a buffer") };
        match offset.checked_add(length) {
            Some(end)
                if offset >= self.end && end <= self.body && offset.is_multiple_of(ALIGNMENT.into()) =>
            {
                self.end = end;
                Ok(length)
            }
            _ => Err("the place of a buffer"),
        }
    }
}

/// Refuses values of a segment that a search cannot live with.
pub(super) fn segment(header: &Header, segment: &Segment) -> Result<(), PersistError> {
    if let Some(&count) = segment.count.iter().find(|&&count| usize::from(count) > BLOCK) {
        return Err(corrupt("count", "at most 32", &count));
    }
    if segment.is_empty() {
        return Err(PersistError::Corrupt("count: a batch without rows".into()));
    }
    if let Some(&list) = segment.list_id.iter().find(|&&list| list as usize >= header.nlist) {
        return Err(corrupt("list_id", &format!("below {}", header.nlist), &list));
    }
    if !segment.list_id.is_sorted() {
        return Err(PersistError::Corrupt("list_id: not in ascending order".into()));
    }
    // Row numbers are the default ids, which are signed; `rows` counts on from `first_row`.
    let last = i64::MAX as u64 - u64::from(u32::MAX);
    if let Some(&row) = segment.first_row.iter().find(|&&row| row > last) {
        return Err(corrupt("first_row", &format!("at most {last}"), &row));
    }
    if let Some(Ids::Utf8(ids)) = &segment.ids
        && ids.value_offsets().last() != Some(&(ids.value_data().len() as i64))
    {
        return Err(PersistError::Corrupt("ids: the last string does not end where the text does".into()));
    }
    if let Some(&scale) = segment.scales.iter().find(|&scale| !SCALE_BYTES.contains(scale)) {
        return Err(corrupt("scales", "exponents of 2 to 239", &scale));
    }
    finite_halves("f_add", &segment.f_add)?;
    finite_halves("f_rescale", &segment.f_rescale)?;
    finite_halves("f_error", &segment.f_error)?;
    let Some(ex) = &segment.ex else { return Ok(()) };
    finite("f_add_ex", ex.f_add.iter())?;
    finite("f_rescale_ex", ex.f_rescale.iter())?;
    match ex.f_error.iter().find(|&&bits| !bf16::from_bits(bits).is_finite()) {
        Some(bits) => Err(corrupt("f_error_ex", "the high halves of finite numbers", bits)),
        None => Ok(()),
    }
}

fn finite_halves(what: &str, bits: &[u16]) -> Result<(), PersistError> {
    match bits.iter().position(|&bits| !f16::from_bits(bits).is_finite()) {
        Some(at) => Err(corrupt(what, "finite numbers", &format!("{} at {at}", f16::from_bits(bits[at])))),
        None => Ok(()),
    }
}

/// Refuses stored vectors that could not have been put into an index.
pub(super) fn vectors(segment: &Segment) -> Result<(), PersistError> {
    match &segment.vectors {
        Some(StoredVectors::F32(values)) => finite("vectors", values.iter().copied()),
        Some(StoredVectors::F16(values)) => match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(corrupt("vectors", "finite numbers", &format!("{} at {at}", values[at]))),
            None => Ok(()),
        },
        None => Ok(()),
    }
}

pub(super) fn finite(what: &str, values: impl IntoIterator<Item = f32>) -> Result<(), PersistError> {
    match values.into_iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((at, value)) => Err(corrupt(what, "finite numbers", &format!("{value} at {at}"))),
        None => Ok(()),
    }
}
