//! Arrow IPC as a stranger sends it. What a message claims is held against what came before Arrow reads it: nothing is
//! allocated for a claim, and no buffer lies outside of its body. What makes Arrow panic all the same is an error of the
//! client's.

use std::{collections::HashMap, panic, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_flight::FlightData;
use arrow_ipc::{
    MessageHeader,
    reader::{RecordBatchDecoder, read_dictionary},
    root_as_message,
};
use arrow_schema::{DataType, Fields, Schema, SchemaRef};
use tonic::Status;

use crate::{quota::Share, wire::malformed};

/// Columns of a schema, with those inside of others.
const FIELDS: usize = 4096;
/// How deep columns lie in each other.
const DEPTH: usize = 32;
/// Rows that need no bytes: a column of nulls, and lists of nothing.
const FREE_ROWS: usize = 1 << 16;

/// What a message holds.
pub(crate) enum Decoded {
    /// The columns of what follows.
    Schema(SchemaRef),
    /// Rows.
    Batch(RecordBatch),
    /// Something that is only remembered, or metadata alone.
    Nothing,
}

/// Reads the messages of one stream.
#[derive(Default)]
pub(crate) struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// What dictionaries take of their client's budget.
    kept: Vec<(i64, Share)>,
}

impl Decoder {
    /// Reads a message. `keep` gives the share for what outlives it.
    pub(crate) fn message(
        &mut self,
        data: &FlightData,
        keep: impl FnOnce(usize) -> Result<Share, Status>,
    ) -> Result<Decoded, Status> {
        if data.data_header.is_empty() {
            return match data.data_body.len() {
                0 => Ok(Decoded::Nothing),
                bytes => Err(malformed(format!("a body of {bytes} bytes without a header"))),
            };
        }
        let read = panic::AssertUnwindSafe(|| self.read(data, keep));
        panic::catch_unwind(read).unwrap_or_else(|_| Err(malformed("arrow ipc that contradicts itself")))
    }

    fn read(
        &mut self,
        data: &FlightData,
        keep: impl FnOnce(usize) -> Result<Share, Status>,
    ) -> Result<Decoded, Status> {
        let message = root_as_message(&data.data_header).map_err(malformed)?;
        let schema = self.schema.as_ref();
        let body = data.data_body.len();
        match message.header_type() {
            MessageHeader::Schema if schema.is_some() => Err(malformed("a second schema in one stream")),
            MessageHeader::Schema => {
                let schema = Schema::try_from(data).map_err(malformed)?;
                check_fields(schema.fields(), DEPTH, &mut 0).map_err(malformed)?;
                let schema = Arc::new(schema);
                self.schema = Some(Arc::clone(&schema));
                Ok(Decoded::Schema(schema))
            }
            MessageHeader::DictionaryBatch => {
                let schema = schema.ok_or_else(|| malformed("a dictionary before the schema"))?;
                let dictionary = message.header_as_dictionary_batch();
                let dictionary = dictionary.ok_or_else(|| malformed("a dictionary without one"))?;
                let batch = dictionary.data().ok_or_else(|| malformed("a dictionary without values"))?;
                check_batch(&batch, body).map_err(malformed)?;
                let share = keep(body + data.data_header.len())?;
                let (id, adds) = (dictionary.id(), dictionary.isDelta());
                let buffer = aligned(data);
                read_dictionary(&buffer, dictionary, schema, &mut self.dictionaries, &message.version())
                    .map_err(malformed)?;
                self.kept.retain(|(other, _)| adds || *other != id);
                self.kept.push((id, share));
                Ok(Decoded::Nothing)
            }
            MessageHeader::RecordBatch => {
                let schema = schema.ok_or_else(|| malformed("a batch before the schema"))?;
                let batch =
                    message.header_as_record_batch().ok_or_else(|| malformed("a batch without one"))?;
                check_batch(&batch, body).map_err(malformed)?;
                let (buffer, schema) = (aligned(data), Arc::clone(schema));
                let version = message.version();
                let batch = RecordBatchDecoder::try_new(&buffer, batch, schema, &self.dictionaries, &version)
                    .and_then(RecordBatchDecoder::read_record_batch)
                    .map_err(malformed)?;
                Ok(Decoded::Batch(batch))
            }
            other => {
                let name = other.variant_name().unwrap_or("unknown");
                Err(malformed(format!("expected a schema, a dictionary or a batch, got {name}")))
            }
        }
    }
}

/// The body, as it lies where that is aligned, and else in a copy.
fn aligned(data: &FlightData) -> Buffer {
    if (data.data_body.as_ptr() as usize).is_multiple_of(64) {
        Buffer::from(data.data_body.clone())
    } else {
        Buffer::from(data.data_body.as_ref())
    }
}

/// Holds what a batch says of itself against the body that came with it.
fn check_batch(batch: &arrow_ipc::RecordBatch<'_>, body: usize) -> Result<(), String> {
    if batch.compression().is_some() {
        return Err("expected a body that is not compressed, got one that is".into());
    }
    let most = body.saturating_mul(8).max(FREE_ROWS);
    let rows = |rows: i64| {
        let fits = usize::try_from(rows).is_ok_and(|rows| rows <= most);
        if fits { Ok(()) } else { Err(format!("{rows} rows in a body of {body} bytes")) }
    };
    rows(batch.length())?;
    for node in batch.nodes().into_iter().flatten() {
        rows(node.length())?;
        if !(0..=node.length()).contains(&node.null_count()) {
            return Err(format!("{} nulls in {} rows", node.null_count(), node.length()));
        }
    }
    let buffers = batch.buffers().map_or(0, |buffers| buffers.len());
    for buffer in batch.buffers().into_iter().flatten() {
        let (begin, length) = (buffer.offset(), buffer.length());
        let end = usize::try_from(begin).ok().zip(usize::try_from(length).ok());
        let end = end.and_then(|(begin, length)| begin.checked_add(length));
        if end.is_none_or(|end| end > body) {
            return Err(format!("a buffer of {length} bytes at {begin} in a body of {body} bytes"));
        }
    }
    for count in batch.variadicBufferCounts().into_iter().flatten() {
        if usize::try_from(count).is_ok_and(|count| count <= buffers) {
            continue;
        }
        return Err(format!("{count} buffers of one column where there are {buffers}"));
    }
    Ok(())
}

fn check_fields(fields: &Fields, depth: usize, seen: &mut usize) -> Result<(), String> {
    fields.iter().try_for_each(|field| check_type(field.data_type(), depth, seen))
}

/// Refuses types that no column can have, and more of them than anybody needs.
fn check_type(data_type: &DataType, depth: usize, seen: &mut usize) -> Result<(), String> {
    *seen += 1;
    if *seen > FIELDS {
        return Err(format!("more than {FIELDS} columns"));
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("columns more than {DEPTH} deep in each other"));
    };
    match data_type {
        DataType::FixedSizeBinary(size) | DataType::FixedSizeList(_, size) if *size < 0 => {
            Err(format!("a column of {data_type}"))
        }
        DataType::List(child)
        | DataType::LargeList(child)
        | DataType::ListView(child)
        | DataType::LargeListView(child)
        | DataType::FixedSizeList(child, _)
        | DataType::Map(child, _) => check_type(child.data_type(), depth, seen),
        DataType::Struct(children) => check_fields(children, depth, seen),
        DataType::Union(children, _) => {
            children.iter().try_for_each(|(_, child)| check_type(child.data_type(), depth, seen))
        }
        DataType::RunEndEncoded(ends, values) => {
            check_type(ends.data_type(), depth, seen)?;
            check_type(values.data_type(), depth, seen)
        }
        DataType::Dictionary(keys, values) => {
            if !keys.is_dictionary_key_type() {
                return Err(format!("a dictionary with keys of {keys}"));
            }
            check_type(values, depth, seen)
        }
        _ => Ok(()),
    }
}
