//! Statements that are run for their rows.

use std::{collections::VecDeque, sync::Arc, time::UNIX_EPOCH};

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightData, FlightDescriptor, FlightInfo, Ticket,
    sql::{CommandPreparedStatementQuery, CommandStatementQuery, ProstMessageExt, TicketStatementQuery},
};
use arrow_schema::SchemaRef;
use prost::Message;
use tonic::Status;

use super::{
    Asker,
    answer::{Answer, Repeated, asked},
    held::{ANSWER, Thing},
    info_of,
};
use crate::{call::Answers, wire::outgoing};

/// Runs a statement.
pub(super) async fn statement(
    asker: &Asker,
    command: CommandStatementQuery,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    run(asker, command.query, VecDeque::new(), command.transaction_id.as_deref(), descriptor).await
}

/// Runs a prepared statement, with the values that were bound last.
pub(super) async fn prepared(
    asker: &Asker,
    command: &CommandPreparedStatementQuery,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let held = &asker.sql.held;
    let prepared = held.prepared(asker.tenant.key(), &command.prepared_statement_handle)?;
    let rows = prepared.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let transaction = prepared.transaction(held, asker.tenant.key())?;
    run(asker, prepared.sql.clone(), rows, transaction, descriptor).await
}

async fn run(
    asker: &Asker,
    sql: String,
    rows: VecDeque<RecordBatch>,
    transaction: Option<&[u8]>,
    descriptor: FlightDescriptor,
) -> Result<FlightInfo, Status> {
    let turn = asker.turn(transaction).await?;
    let rows = asked(&turn.connection, move |connection| Repeated::run(connection, sql, rows)).await?;
    let answer = Arc::new(Answer::new(Arc::clone(&turn.connection), rows));
    turn.leave(&answer);
    let schema = SchemaRef::clone(&answer.schema);
    let handle = asker.sql.held.put(asker.tenant.key(), Thing::Answer(answer))?;
    let ticket = TicketStatementQuery { statement_handle: handle };
    let ticket = Ticket { ticket: ticket.as_any().encode_to_vec().into() };
    let mut info = info_of(&schema, ticket, descriptor)?;
    let until = UNIX_EPOCH.elapsed().unwrap_or_default() + ANSWER;
    for endpoint in &mut info.endpoint {
        endpoint.expiration_time.get_or_insert_default().seconds = until.as_secs() as i64;
    }
    Ok(info)
}

/// Reads an answer, which can be read once.
pub(super) fn read(asker: &Asker, ticket: &TicketStatementQuery) -> Result<Answers<FlightData>, Status> {
    let (tenant, handle) = (asker.tenant.key().to_owned(), ticket.statement_handle.clone());
    let held = asker.sql.held.clone();
    let answer = held.reading(&tenant, &handle)?;
    let schema = SchemaRef::clone(&answer.schema);
    let rows = answer.stream(move || {
        let _reading = held.take(&tenant, &handle);
    });
    Ok(outgoing(&asker.call, schema, rows))
}

/// The columns of a statement's answer.
pub(super) async fn described(asker: &Asker, command: CommandStatementQuery) -> Result<SchemaRef, Status> {
    let turn = asker.turn(command.transaction_id.as_deref()).await?;
    let described = asked(&turn.connection, move |connection| connection.describe(&command.query)).await?;
    Ok(described.answer)
}
