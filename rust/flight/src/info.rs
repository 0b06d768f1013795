//! `ListFlights`, `GetFlightInfo`, `GetSchema`: what there is, and where to read it.

use std::sync::Arc;

use arrow_flight::{
    Criteria, FlightDescriptor, FlightEndpoint, FlightInfo, SchemaAsIpc, SchemaResult, Ticket,
    flight_descriptor::DescriptorType,
};
use arrow_ipc::{convert::try_schema_from_flatbuffer_bytes, writer::IpcWriteOptions};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use futures::{StreamExt, stream};
use ruvector_core::format::Message;
use tonic::Status;

use crate::{
    ask::{GetAsk, IndexAsk, ScanAsk, SearchAsk, parse},
    auth::Verb,
    call::{Answers, Call},
    catalog::Source,
    get::question,
    parts::{self, block_bytes, parts_for},
    pins::{Pinned, pinned},
    question::{Wanted, answer_schema},
    scan::schema_of,
    status::{named, refuse},
    wire::malformed,
};

/// What a descriptor asks for. A path is the name of a collection, whose rows are meant.
pub(crate) fn asked(descriptor: &FlightDescriptor) -> Result<GetAsk, Status> {
    match descriptor.r#type() {
        DescriptorType::Path => {
            Ok(GetAsk::Scan(ScanAsk { collection: descriptor.path.join("/"), ..ScanAsk::default() }))
        }
        DescriptorType::Cmd => parse("descriptor", &descriptor.cmd).map_err(refuse),
        DescriptorType::Unknown => Err(malformed("a descriptor of an unknown type")),
    }
}

/// What one flight is, and the tickets for all of it in one state, which is held for a while.
pub(crate) fn info(call: &Call, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let ask = asked(&descriptor)?;
    let flight = flight(call, &ask)?;
    let pinned = &flight.pinned;
    let generation = pinned.state.generation();
    let until = call.shared().pins.hold(call, flight.tickets.name(), pinned);
    let info = FlightInfo::new()
        .try_with_schema(&flight.schema)
        .map_err(|error| broken(&error))?
        .with_descriptor(descriptor)
        .with_ordered(true)
        .with_total_records(flight.records)
        .with_total_bytes(flight.bytes)
        .with_app_metadata(generation.clone());
    let endpoints = flight
        .tickets
        .all(&generation)?
        .into_iter()
        .map(|ticket| FlightEndpoint::new().with_ticket(Ticket::new(ticket)).with_expiration_time(until));
    Ok(info.with_endpoints(endpoints.collect()))
}

/// The columns of what a descriptor asks for.
pub(crate) fn schema(call: &Call, descriptor: &FlightDescriptor) -> Result<SchemaResult, Status> {
    let flight = flight(call, &asked(descriptor)?)?;
    SchemaAsIpc::new(&flight.schema, &IpcWriteOptions::default()).try_into().map_err(|error| broken(&error))
}

/// All flights whose names begin with the criteria, as far as the caller may know of them. Collections of a lake are
/// named and no more: to tell of their state would be to make their indexes.
pub(crate) fn list(call: &Call, criteria: &Criteria) -> Result<Answers<FlightInfo>, Status> {
    call.caller().may(Verb::Read)?;
    let begin =
        std::str::from_utf8(&criteria.expression).map_err(|_| malformed("criteria that are no text"))?;
    let mut names = known(call)?;
    names.retain(|name| name.starts_with(begin));
    let call = call.clone();
    let flights = names.into_iter().filter_map(move |name| {
        let path = name.split('/').map(str::to_owned).collect();
        let descriptor = FlightDescriptor::new_path(path);
        let found = call.shared().catalog.find(&name)?;
        match &found.source {
            Source::Collection { .. } => {
                let info = FlightInfo::new().with_descriptor(descriptor);
                Some(Ok(info.with_total_records(-1).with_total_bytes(-1)))
            }
            // One that has no rows to be read is an index all the same.
            Source::Index(_) => {
                Some(info(&call, descriptor.clone()).or_else(|_| index_info(&call, &name, descriptor)))
            }
        }
    });
    Ok(stream::iter(flights).boxed())
}

/// Tells of an index without vectors.
fn index_info(call: &Call, name: &str, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let pinned = pinned(call, Verb::Read, name, None)?;
    let info = FlightInfo::new().with_descriptor(descriptor).with_app_metadata(pinned.state.generation());
    Ok(info.with_total_records(pinned.state.len() as i64).with_total_bytes(-1))
}

/// The names that the caller may know of, sorted.
pub(crate) fn known(call: &Call) -> Result<Vec<String>, Status> {
    let catalog = &call.shared().catalog;
    let mut names = catalog.names();
    if let Some(lake) = catalog.lake() {
        let keys = call.compute(|monitor| lake.collections(monitor))?;
        names.extend(keys.into_iter().map(|key| format!("{}/{}", key.backend, key.collection)));
    }
    names.retain(|name| call.caller().knows(name));
    names.sort();
    names.dedup();
    Ok(names)
}

/// One flight.
struct Flight {
    pinned: Arc<Pinned>,
    schema: SchemaRef,
    records: i64,
    bytes: i64,
    tickets: Tickets,
}

/// What the tickets of a flight ask for: the same, each of another part.
struct Tickets {
    ask: GetAsk,
    parts: usize,
}

impl Tickets {
    fn name(&self) -> &str {
        self.ask.collection()
    }

    fn all(&self, generation: &str) -> Result<Vec<String>, Status> {
        let one = |part: usize| {
            let mut ask = self.ask.clone();
            match &mut ask {
                GetAsk::Search(ask) | GetAsk::Within(ask) | GetAsk::Neighbours(ask) => {
                    ask.generation = Some(generation.into());
                }
                GetAsk::Index(ask) => {
                    (ask.part, ask.parts) = (part, Some(self.parts));
                    ask.generation = Some(generation.into());
                }
                GetAsk::Scan(ask) => {
                    (ask.part, ask.parts) = (part, Some(self.parts));
                    ask.generation = Some(generation.into());
                }
            }
            serde_json::to_string(&ask).map_err(|error| broken(&ArrowError::ExternalError(Box::new(error))))
        };
        (0..self.parts).map(one).collect()
    }
}

fn flight(call: &Call, ask: &GetAsk) -> Result<Flight, Status> {
    match ask {
        GetAsk::Search(search) => answers(call, search, Wanted::Nearest, ask),
        GetAsk::Within(search) => answers(call, search, Wanted::Within, ask),
        GetAsk::Neighbours(search) => answers(call, search, Wanted::Neighbours, ask),
        GetAsk::Index(index) => of_index(call, index, ask),
        GetAsk::Scan(scan) => of_rows(call, scan, ask),
    }
}

/// The answers to the queries of a ticket. Without any, they are those of an exchange, which has no tickets.
fn answers(call: &Call, ask: &SearchAsk, wanted: Wanted, whole: &GetAsk) -> Result<Flight, Status> {
    let pinned = pinned(call, Verb::Search, &ask.collection, ask.generation.as_deref())?;
    let ids = pinned.state.id_type();
    let params = ask.params(call.shared().limits.k).map_err(refuse)?;
    let exact = wanted.is_exact(&pinned.state, &params);
    let (schema, parts) = match (wanted, &ask.queries) {
        (Wanted::Neighbours, _) => {
            let own = arrow_schema::Field::new(crate::question::OWN, ids.data_type(), false);
            (answer_schema(vec![own.into()], ask.answer, ids, exact).map_err(refuse)?, 1)
        }
        (_, None) => (answer_schema(Vec::new(), ask.answer, ids, exact).map_err(refuse)?, 0),
        _ => (question(call, ask, wanted, Arc::clone(&pinned))?.0.schema, 1),
    };
    let tickets = Tickets { ask: whole.clone(), parts };
    Ok(Flight { pinned, schema, records: -1, bytes: -1, tickets })
}

fn of_index(call: &Call, ask: &IndexAsk, whole: &GetAsk) -> Result<Flight, Status> {
    let pinned = pinned(call, Verb::Read, &ask.collection, ask.generation.as_deref())?;
    let shared = call.shared();
    let messages = call.compute(|monitor| pinned.messages(ask.keep, &shared.pool, monitor))?;
    let bytes: usize = messages.batches.iter().map(Message::bytes).sum();
    let blocks: usize = messages.batches.iter().map(|message| message.blocks).sum();
    let schema: Schema = schema_of_message(&messages.schema)?;
    let parts = parts::asked(ask.parts, parts_for(bytes, messages.batches.len()))?;
    let tickets = Tickets { ask: whole.clone(), parts };
    let schema = Arc::new(schema);
    Ok(Flight { pinned, schema, records: blocks as i64, bytes: bytes as i64, tickets })
}

fn schema_of_message(bytes: &[u8]) -> Result<Schema, Status> {
    try_schema_from_flatbuffer_bytes(bytes).map_err(|error| broken(&error))
}

fn of_rows(call: &Call, ask: &ScanAsk, whole: &GetAsk) -> Result<Flight, Status> {
    let pinned = pinned(call, Verb::Read, &ask.collection, ask.generation.as_deref())?;
    let schema = schema_of(call, ask, &pinned)?;
    let (mut bytes, mut parts) = (-1, 1);
    if matches!(pinned.source, Source::Index(_)) {
        let snapshot = pinned.snapshot().map_err(refuse)?;
        let all = block_bytes(&snapshot) / 32 * snapshot.len();
        bytes = all as i64;
        parts = parts::asked(ask.parts, parts_for(all, snapshot.blocks()))?;
    }
    let records = if ask.r#where.is_empty() { pinned.state.len() as i64 } else { -1 };
    Ok(Flight { pinned, schema, records, bytes, tickets: Tickets { ask: whole.clone(), parts } })
}

fn broken(error: &ArrowError) -> Status {
    named(tonic::Code::Internal, "RuVectorError", error.to_string())
}
