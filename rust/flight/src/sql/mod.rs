//! Flight SQL: the commands, tickets and actions that are protobuf and not JSON, over an engine that the server was given.
//!
//! A statement runs when its `FlightInfo` is asked for, on a connection of its own or on that of its transaction; the
//! ticket stands for its answer, which waits for one reader. So what changes something has changed it when the client
//! has its answer, and all of what is read is of one state. Nothing is read ahead of what the client takes.

mod answer;
pub mod engine;
mod held;
mod info;
mod ingest;
mod keys;
mod metadata;
mod prepared;
mod query;
mod session;
mod update;

use std::sync::Arc;

use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, PollInfo, PutResult,
    Result as ActionResult, SchemaResult, Ticket,
    sql::{Any, Command},
};
use arrow_schema::Schema;
use prost::Message;
use tonic::{Code, Status, Streaming};

pub(crate) use self::session::{bearing, handshake};
use self::{
    engine::{SqlConnection, SqlEngine, Tenant},
    held::{Held, Turn},
};
use crate::{
    auth::Verb,
    call::{Answers, Call},
    status::named,
    wire::malformed,
};

/// What the types of all commands begin with.
const TYPES: &str = "type.googleapis.com/arrow.flight.protocol.sql.";

/// The engine, and what is held for those who use it.
pub(crate) struct Sql {
    engine: Arc<dyn SqlEngine>,
    held: Held,
}

impl Sql {
    pub(crate) fn new(engine: Arc<dyn SqlEngine>) -> Self {
        Self { engine, held: Held::default() }
    }

    /// Opens a connection for a tenant.
    async fn connect(self: &Arc<Self>, tenant: &Arc<Tenant>) -> Result<Arc<dyn SqlConnection>, Status> {
        let (sql, tenant) = (Arc::clone(self), Arc::clone(tenant));
        let opened = tokio::task::spawn_blocking(move || sql.engine.connect(&tenant)).await;
        opened
            .map_err(|_| {
                named(Code::Internal, "RuVectorError", "internal: the engine panicked, please report it")
            })?
            .map_err(answer::status)
    }
}

/// One call of somebody who may run SQL.
#[derive(Clone)]
struct Asker {
    call: Call,
    sql: Arc<Sql>,
    tenant: Arc<Tenant>,
}

impl Asker {
    fn new(call: &Call, about: &str) -> Result<Self, Status> {
        call.about(format!("sql {about}"));
        call.caller().may(Verb::Sql)?;
        let shared = call.shared();
        let Some(sql) = &shared.sql else {
            return Err(named(Code::Unimplemented, "RuVectorError", "this server runs no sql"));
        };
        let tenant = Arc::new(Tenant::new(call.caller(), &shared.catalog));
        Ok(Self { call: call.clone(), sql: Arc::clone(sql), tenant })
    }

    async fn connect(&self) -> Result<Arc<dyn SqlConnection>, Status> {
        self.sql.connect(&self.tenant).await
    }

    /// A connection that is free: that of a transaction, or a new one.
    async fn turn(&self, transaction: Option<&[u8]>) -> Result<Turn, Status> {
        match transaction.filter(|transaction| !transaction.is_empty()) {
            None => Ok(Turn::alone(self.connect().await?)),
            Some(handle) => self.sql.held.transaction(self.tenant.key(), handle)?.turn().await,
        }
    }
}

/// The command in a descriptor or a ticket; `None` if it is no Flight SQL.
pub(crate) fn command(bytes: &[u8]) -> Option<Command> {
    let any = Any::decode(bytes).ok()?;
    if !any.type_url.starts_with(TYPES) {
        return None;
    }
    // A command that contradicts itself is one of ours all the same, and refused as such.
    Some(Command::try_from(any.clone()).unwrap_or(Command::Unknown(any)))
}

/// Whether an action is one of Flight SQL.
pub(crate) fn is_action(action: &Action) -> bool {
    session::is_action(action)
}

/// The actions that there are where SQL is run, with a description of each.
pub(crate) const ACTIONS: [(&str, &str); 8] = session::ACTIONS;

/// `GetFlightInfo`.
pub(crate) async fn flight_info(
    call: &Call,
    command: Command,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let asker = Asker::new(call, name(&command))?;
    match command {
        Command::CommandStatementQuery(command) => query::statement(&asker, command, descriptor).await,
        Command::CommandPreparedStatementQuery(command) => {
            query::prepared(&asker, &command, descriptor).await
        }
        command => {
            // What tells of the database is asked for anew by the ticket, which is the command itself.
            let schema = metadata::schema(&command)?;
            let ticket = Ticket { ticket: command.into_any().encode_to_vec().into() };
            info_of(&schema, ticket, descriptor)
        }
    }
}

/// `PollFlightInfo`: what is asked for is complete at once, because rows are made as they are read.
pub(crate) async fn poll(
    call: &Call,
    command: Command,
    descriptor: FlightDescriptor,
) -> Result<PollInfo, Status> {
    let info = flight_info(call, command, descriptor).await?;
    Ok(PollInfo { info: Some(info), progress: Some(1.0), ..PollInfo::default() })
}

/// `GetSchema`.
pub(crate) async fn schema(call: &Call, command: Command) -> Result<SchemaResult, Status> {
    let asker = Asker::new(call, name(&command))?;
    let schema = match command {
        Command::CommandStatementQuery(command) => query::described(&asker, command).await?,
        Command::CommandPreparedStatementQuery(command) => {
            let held = &asker.sql.held;
            let prepared = held.prepared(asker.tenant.key(), &command.prepared_statement_handle)?;
            Arc::clone(&prepared.described.answer)
        }
        command => metadata::schema(&command)?,
    };
    let options = arrow_ipc::writer::IpcWriteOptions::default();
    arrow_flight::SchemaAsIpc::new(&schema, &options)
        .try_into()
        .map_err(|error: arrow_schema::ArrowError| Status::internal(error.to_string()))
}

/// `DoGet`.
pub(crate) async fn get(call: &Call, command: Command) -> Result<Answers<FlightData>, Status> {
    let asker = Asker::new(call, name(&command))?;
    match command {
        Command::TicketStatementQuery(ticket) => query::read(&asker, &ticket),
        command => metadata::read(&asker, command).await,
    }
}

/// `DoPut`. `first` is the first message, which holds the command.
pub(crate) async fn put(
    call: &Call,
    command: Command,
    first: FlightData,
    messages: Streaming<FlightData>,
) -> Result<Answers<PutResult>, Status> {
    let asker = Asker::new(call, name(&command))?;
    let metadata = match command {
        Command::CommandStatementUpdate(command) => update::statement(&asker, command).await?,
        Command::CommandPreparedStatementQuery(command) => {
            prepared::bind(&asker, command, first, messages).await?
        }
        Command::CommandPreparedStatementUpdate(command) => {
            update::prepared(&asker, &command, first, messages).await?
        }
        Command::CommandStatementIngest(command) => ingest::ingest(&asker, command, first, messages).await?,
        command => return Err(unsupported(&command)),
    };
    Ok(Box::pin(futures::stream::iter([Ok(PutResult { app_metadata: metadata })])))
}

/// `DoAction`.
pub(crate) async fn act(call: &Call, action: Action) -> Result<Answers<ActionResult>, Status> {
    let asker = Asker::new(call, &action.r#type)?;
    let bodies = session::act(&asker, action).await?;
    let results = bodies.into_iter().map(|body| Ok(ActionResult { body: body.into() }));
    Ok(Box::pin(futures::stream::iter(results.collect::<Vec<_>>())))
}

/// The info of one answer in one piece.
fn info_of(schema: &Schema, ticket: Ticket, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| Status::internal(error.to_string()))?
        .with_descriptor(descriptor)
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_ordered(true);
    Ok(info)
}

/// The short name of a command, for the log.
fn name(command: &Command) -> &str {
    let url = command.type_url();
    url.strip_prefix(TYPES).unwrap_or("unknown")
}

fn unsupported(command: &Command) -> Status {
    let message = format!("flight sql: {} is not supported here", name(command));
    named(Code::Unimplemented, "RuVectorError", message)
}

/// A message of protobuf that was packed as another one.
fn unpack<T: arrow_flight::sql::ProstMessageExt>(body: &[u8]) -> Result<T, Status> {
    let any = Any::decode(body).map_err(malformed)?;
    any.unpack().map_err(malformed)?.ok_or_else(|| malformed(format!("expected {}", T::type_url())))
}
