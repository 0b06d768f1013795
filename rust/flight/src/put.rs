//! `DoPut`: rows that come in, as a new index or for one that is there.

use std::{sync::Arc, time::Instant};

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, PutResult, flight_descriptor::DescriptorType};
use arrow_schema::{DataType, Schema};
use futures::StreamExt;
use ruvector_core::{
    Error as CoreError, Index, Live, Monitor, Pool, ids::Ids, index::Chunk, vectors::Element,
};
use ruvector_lake::Error;
use serde_json::json;
use tokio::runtime::Handle;
use tonic::{Status, Streaming};

use crate::{
    ask::{BuildAsk, PutAsk, RowsAsk, parse},
    auth::Verb,
    call::{Answers, Call},
    catalog::Source,
    place::Place,
    status::{CLASS, invalid, refuse, rows_from},
    wire::{Incoming, malformed, vector_column, vectors},
};

/// The usual name of a column of ids.
const ID: &str = "id";

/// Takes what a client streams.
pub(crate) async fn put(
    call: &Call,
    first: FlightData,
    messages: Streaming<FlightData>,
) -> Result<Answers<PutResult>, Status> {
    let incoming = Incoming::open_with(call, first, messages).await?;
    if incoming.descriptor.r#type() != DescriptorType::Cmd {
        return Err(malformed("a descriptor without a command: what is to be done with the rows?"));
    }
    match parse("descriptor", &incoming.descriptor.cmd).map_err(refuse)? {
        PutAsk::Build(ask) => {
            let result = build(call, incoming, &ask).await?;
            Ok(futures::stream::iter([Ok(result)]).boxed())
        }
        PutAsk::Append(ask) => change(call, incoming, &ask, Change::Append),
        PutAsk::Upsert(ask) => change(call, incoming, &ask, Change::Upsert),
        PutAsk::Delete(ask) => change(call, incoming, &ask, Change::Delete),
    }
}

/// Builds an index of all batches. Nobody sees anything of it before it is whole.
async fn build(call: &Call, incoming: Incoming, ask: &BuildAsk) -> Result<PutResult, Status> {
    if ask.from.is_some() {
        return Err(invalid("from", "none: the rows come in the stream", "some"));
    }
    let place = Place::check(call, &ask.collection, ask.replace)?;
    let at = vector_column(&incoming.schema, ask.column.as_deref()).map_err(refuse)?;
    let id = id_column(&incoming.schema, ask.id.as_deref())?;
    let params = ask.params(element(&incoming.schema, at)).map_err(refuse)?;
    let (handle, pool) = (Handle::current(), &call.shared().pool);
    // What the stream refuses waits here until the build has ended.
    let mut refused = None;
    let deadline = call.deadline();
    let mut stream = Rows { incoming, handle, at, id, dim: None, deadline };
    let chunks = std::iter::from_fn(|| match stream.next() {
        Ok(chunk) => chunk.map(Ok),
        Err(Stopped::Core(error)) => Some(Err(error)),
        Err(Stopped::Stream(status)) => {
            refused = Some(status);
            Some(Err(CoreError::Interrupted))
        }
    });
    let built = call.compute(|monitor| Index::build_from_stream(chunks, &params, pool, monitor));
    let index = match (built, refused) {
        (Err(_), Some(status)) => return Err(status),
        (built, _) => built?,
    };
    // A stream that its client has cancelled looks like one that has ended. Whoever drops this call then does it here.
    tokio::task::yield_now().await;
    Ok(result(&call.compute(|monitor| {
        if monitor.interrupted() {
            return Err(CoreError::Interrupted.into());
        }
        place.put(call, index)
    })?))
}

/// Batches, read where a thread may wait for them.
struct Rows {
    incoming: Incoming,
    handle: Handle,
    at: usize,
    id: Option<usize>,
    dim: Option<usize>,
    deadline: Option<Instant>,
}

enum Stopped {
    Core(CoreError),
    Stream(Status),
}

impl Rows {
    fn next(&mut self) -> Result<Option<Chunk>, Stopped> {
        let (incoming, deadline) = (&mut self.incoming, self.deadline);
        let arrived = self.handle.block_on(async {
            match deadline {
                None => incoming.next().await,
                Some(deadline) => tokio::time::timeout_at(deadline.into(), incoming.next())
                    .await
                    .unwrap_or_else(|_| Err(crate::call::late())),
            }
        });
        let Some(batch) = arrived.map_err(Stopped::Stream)? else { return Ok(None) };
        let chunk = chunk(&batch, self.at, self.id, self.dim).map_err(Stopped::Core)?;
        self.dim = Some(chunk.vectors.dim());
        Ok(Some(chunk))
    }
}

fn chunk(batch: &RecordBatch, at: usize, id: Option<usize>, dim: Option<usize>) -> Result<Chunk, CoreError> {
    let vectors = vectors(batch, at, dim)?;
    let ids = id.map(|id| {
        Ids::from_arrays(batch.schema().field(id).name(), &[Arc::clone(batch.column(id))], batch.num_rows())
    });
    Ok(Chunk { vectors, ids: ids.transpose()? })
}

/// The column of ids: the one of this name, or `id` if there is one.
fn id_column(schema: &Schema, name: Option<&str>) -> Result<Option<usize>, Status> {
    match name {
        Some(name) => schema.index_of(name).map(Some).map_err(|_| {
            let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            invalid("id", &format!("one of {known:?}"), name)
        }),
        None => Ok(schema.index_of(ID).ok()),
    }
}

/// The type of the elements of a column of vectors.
fn element(schema: &Schema, at: usize) -> Element {
    let child = match schema.field(at).data_type() {
        DataType::FixedSizeList(child, _) | DataType::List(child) | DataType::LargeList(child) => {
            Some(child.data_type())
        }
        _ => None,
    };
    if child == Some(&DataType::Float16) { Element::F16 } else { Element::F32 }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Append,
    Upsert,
    Delete,
}

/// Changes an index batch by batch. Each of them is taken whole or not at all, and told of.
fn change(
    call: &Call,
    incoming: Incoming,
    ask: &RowsAsk,
    change: Change,
) -> Result<Answers<PutResult>, Status> {
    let served = call.find(Verb::Write, &ask.collection)?;
    let Source::Index(live) = &served.source else {
        let expected = "an index: the rows of a lake's collections belong to their backends";
        return Err(invalid("collection", expected, format!("{:?}", ask.collection)));
    };
    let numbered = live.snapshot().numbers_rows();
    let named = ask.id.is_some() || change != Change::Append || !numbered;
    let id = if named { id_column(&incoming.schema, ask.id.as_deref())? } else { None };
    if named && id.is_none() {
        return Err(invalid("id", "a column of ids", "none"));
    }
    let at = match change {
        Change::Delete if ask.column.is_some() => {
            return Err(invalid("column", "none: rows are deleted by their ids", "some"));
        }
        Change::Delete => None,
        _ => Some(vector_column(&incoming.schema, ask.column.as_deref()).map_err(refuse)?),
    };
    let live = Arc::clone(live);
    let begin = Changing { call: call.clone(), incoming, live, change, at, id, rows: 0 };
    let answers = futures::stream::try_unfold(begin, |mut changing| async move {
        Ok(changing.next().await?.map(|answer| (answer, changing)))
    });
    Ok(answers.boxed())
}

/// A change under way.
struct Changing {
    call: Call,
    incoming: Incoming,
    live: Arc<Live>,
    change: Change,
    at: Option<usize>,
    id: Option<usize>,
    /// How many rows were taken.
    rows: usize,
}

impl Changing {
    async fn next(&mut self) -> Result<Option<PutResult>, Status> {
        let arrived = self.incoming.next().await.map_err(|status| self.told(&status))?;
        let Some(batch) = arrived else { return Ok(None) };
        let pool = &self.call.shared().pool;
        let done = self.call.compute(|monitor| {
            self.apply(&batch, pool, monitor).map_err(|error| rows_from(error, self.rows))
        });
        let touched = done.map_err(|status| self.told(&status))?;
        self.rows += batch.num_rows();
        let name = if self.change == Change::Delete { "deleted" } else { "replaced" };
        Ok(Some(result(&json!({"rows": self.rows, name: touched}))))
    }

    fn apply(&self, batch: &RecordBatch, pool: &Pool, monitor: &dyn Monitor) -> Result<usize, Error> {
        let Some(at) = self.at else {
            let id = self.id.unwrap_or_default();
            let ids = Ids::from_list(batch.schema().field(id).name(), &[Arc::clone(batch.column(id))])?;
            return Ok(self.live.delete(&ids)?);
        };
        let dim = Some(self.live.snapshot().index().dim());
        let vectors = vectors(batch, at, dim)?;
        let ids = self
            .id
            .map(|id| Ids::from_list(batch.schema().field(id).name(), &[Arc::clone(batch.column(id))]));
        let ids = ids.transpose()?;
        match (self.change, &ids) {
            (Change::Upsert, Some(ids)) => Ok(self.live.upsert(ids, &vectors, pool, monitor)?),
            (_, ids) => {
                self.live.add(ids.as_ref(), &vectors, pool, monitor)?;
                Ok(0)
            }
        }
    }

    /// A refusal that says how far the stream was taken.
    fn told(&self, status: &Status) -> Status {
        let message = format!("{} ({} rows before were taken)", status.message(), self.rows);
        let mut told = Status::new(status.code(), message);
        if let Some(class) = status.metadata().get(CLASS) {
            told.metadata_mut().insert(CLASS, class.clone());
        }
        told
    }
}

fn result(what: &serde_json::Value) -> PutResult {
    PutResult { app_metadata: what.to_string().into() }
}
