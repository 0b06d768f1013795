//! `DoGet`: what a ticket stands for, as a stream.

use std::{ops::Range, sync::Arc};

use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, make_array};
use arrow_flight::FlightData;
use arrow_schema::{Field, SchemaRef};
use bytes::Bytes;
use futures::{StreamExt, stream};
use ruvector_core::{Error as CoreError, format::Messages, ids::Ids, live::Snapshot};
use ruvector_lake::Error;
use tonic::{Code, Status};

use crate::{
    ask::{GetAsk, IndexAsk, SearchAsk, parse},
    auth::Verb,
    call::{Answers, Call},
    parts::{self, part_of},
    pins::{Pinned, pinned},
    question::{OWN, Question, Wanted},
    scan,
    status::{invalid, named, refuse},
    wire::{counted, outgoing, schema},
};

/// The column of vectors in a stream of rows.
pub(crate) const VECTOR: &str = "vector";

/// What a ticket stands for.
pub(crate) fn get(call: &Call, ticket: &[u8]) -> Result<Answers<FlightData>, Status> {
    match parse("ticket", ticket).map_err(refuse)? {
        GetAsk::Search(ask) => search(call, &ask, Wanted::Nearest),
        GetAsk::Within(ask) => search(call, &ask, Wanted::Within),
        GetAsk::Neighbours(ask) => neighbours(call, &ask),
        GetAsk::Index(ask) => index(call, &ask),
        GetAsk::Scan(ask) => scan::scan(call, &ask),
    }
}

/// The question of a ticket, and its queries.
pub(crate) fn question(
    call: &Call,
    ask: &SearchAsk,
    wanted: Wanted,
    pinned: Arc<Pinned>,
) -> Result<(Question, RecordBatch), Status> {
    let queries = ask.queries.as_ref().ok_or_else(|| invalid("queries", "some in the ticket", "none"))?;
    let batch = queries.values().and_then(|values| query_batch(queries.dim, values)).map_err(refuse)?;
    let question = Question::new(call, &batch.schema(), ask, wanted, pinned)?;
    Ok((question, batch))
}

fn query_batch(dim: usize, values: Vec<f32>) -> Result<RecordBatch, CoreError> {
    let values: ArrayRef = Arc::new(Float32Array::from(values));
    let field = Arc::new(Field::new("item", values.data_type().clone(), false));
    let vectors = FixedSizeListArray::try_new(field, dim as i32, values, None)?;
    let fields = vec![Field::new("query", vectors.data_type().clone(), false).into()];
    Ok(RecordBatch::try_new(schema(fields), vec![Arc::new(vectors)])?)
}

fn search(call: &Call, ask: &SearchAsk, wanted: Wanted) -> Result<Answers<FlightData>, Status> {
    let pinned = pinned(call, Verb::Search, &ask.collection, ask.generation.as_deref())?;
    let (question, batch) = question(call, ask, wanted, pinned)?;
    let schema = SchemaRef::clone(&question.schema);
    let answers = stream::try_unfold((question, 0), move |(mut question, from)| {
        let batch = batch.clone();
        async move {
            if from >= batch.num_rows() {
                return Ok(None);
            }
            let rows = question.at_once().min(batch.num_rows() - from);
            let answer = question.answer(&batch.slice(from, rows))?;
            Ok(Some((answer, (question, from + rows))))
        }
    });
    Ok(outgoing(call, schema, answers))
}

/// The nearest other rows of each row: its id, and its hits.
fn neighbours(call: &Call, ask: &SearchAsk) -> Result<Answers<FlightData>, Status> {
    if ask.queries.is_some() || ask.column.is_some() {
        return Err(invalid("queries", "none: neighbours are those of the rows", "queries or a column"));
    }
    let pinned = pinned(call, Verb::Search, &ask.collection, ask.generation.as_deref())?;
    let snapshot = pinned.snapshot().map_err(refuse)?;
    let rows = call.compute(|_| rows(&snapshot, 0..0, OWN))?;
    let mut question = Question::new(call, &rows.schema(), ask, Wanted::Neighbours, pinned)?;
    let blocks = snapshot.blocks();
    let at_once = (question.at_once() / 32).clamp(1, parts::blocks_at_once(&snapshot));
    let schema = SchemaRef::clone(&question.schema);
    let call_again = call.clone();
    let pieces = (0..blocks).step_by(at_once).map(move |from| {
        let batch = call_again.compute(|_| rows_of(&snapshot, from, at_once))?;
        question.answer(&batch)
    });
    Ok(outgoing(call, schema, lazily(pieces)))
}

fn rows_of(snapshot: &Snapshot, from: usize, at_once: usize) -> Result<RecordBatch, Error> {
    rows(snapshot, from..(from + at_once).min(snapshot.blocks()), OWN)
}

/// The rows of some blocks: a column of ids of this name, and the vectors.
pub(crate) fn rows(snapshot: &Snapshot, blocks: Range<usize>, id: &str) -> Result<RecordBatch, Error> {
    let (ids, vectors) = snapshot.rows_of(blocks)?;
    let ids = array(&ids);
    let fields = [(id, ids.data_type()), (VECTOR, vectors.data_type())];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type.clone(), false).into());
    let batch = RecordBatch::try_new(schema(fields.to_vec()), vec![ids, Arc::new(vectors)]);
    Ok(batch.map_err(CoreError::from)?)
}

fn array(ids: &Ids) -> ArrayRef {
    make_array(ids.as_array().to_data())
}

/// A stream of what is made when it is asked for.
pub(crate) fn lazily<T: Send + 'static>(
    items: impl Iterator<Item = Result<T, Status>> + Send + 'static,
) -> impl futures::Stream<Item = Result<T, Status>> + Send + 'static {
    stream::iter(items)
}

/// The batches of an index file as they lie in it: what goes out is the file's own memory.
fn index(call: &Call, ask: &IndexAsk) -> Result<Answers<FlightData>, Status> {
    let pinned = pinned(call, Verb::Read, &ask.collection, ask.generation.as_deref())?;
    let shared = call.shared();
    let messages = call.compute(|monitor| pinned.messages(ask.keep, &shared.pool, monitor))?;
    let sizes: Vec<usize> = messages.batches.iter().map(ruvector_core::format::Message::bytes).collect();
    let range = part_of(&sizes, ask.part, ask.parts.unwrap_or(1))?;
    let most = shared.limits.message_bytes;
    if let Some(bytes) = sizes[range.clone()].iter().find(|&&bytes| bytes > most) {
        let message = format!("a batch of the index has {bytes} bytes, a message may have {most}");
        return Err(named(Code::ResourceExhausted, "TooLarge", message));
    }
    let digest = Bytes::from(messages.digest.clone());
    let schema = bytes(&messages.schema);
    let head = FlightData { data_header: schema, app_metadata: digest, ..FlightData::default() };
    let batches = range.map(move |at| Ok(message(&messages, at)));
    Ok(counted(call, stream::iter(std::iter::once(Ok(head)).chain(batches)).boxed()))
}

fn message(messages: &Messages, at: usize) -> FlightData {
    let message = &messages.batches[at];
    FlightData {
        data_header: bytes(&message.header),
        data_body: bytes(&message.body),
        ..FlightData::default()
    }
}

/// A buffer as bytes to be sent. It is shared, not copied.
fn bytes(buffer: &arrow_buffer::Buffer) -> Bytes {
    Bytes::from_owner(Shared(buffer.clone()))
}

struct Shared(arrow_buffer::Buffer);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
