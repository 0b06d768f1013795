//! Prepared statements: made, given values, closed.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightData, IpcMessage, SchemaAsIpc,
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
        ActionCreatePreparedStatementResult, CommandPreparedStatementQuery, DoPutPreparedStatementResult,
    },
};
use arrow_ipc::writer::IpcWriteOptions;
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status, Streaming};

use super::{
    Asker,
    answer::{asked, elsewhere},
    held::{Prepared, Thing},
};
use crate::{status::named, wire::Incoming};

/// How often one request may run a statement.
const MOST_ROWS: usize = 1 << 20;

/// Makes one.
pub(super) async fn create(
    asker: &Asker,
    request: ActionCreatePreparedStatementRequest,
) -> Result<ActionCreatePreparedStatementResult, Status> {
    let turn = asker.turn(request.transaction_id.as_deref()).await?;
    let sql = request.query.clone();
    let described = asked(&turn.connection, move |connection| connection.describe(&sql)).await?;
    drop(turn);
    let dataset_schema = encoded(&described.answer)?;
    let parameter_schema = encoded(&described.parameters)?;
    let transaction = request.transaction_id.filter(|transaction| !transaction.is_empty());
    let prepared = Prepared { sql: request.query, described, transaction, rows: Mutex::default() };
    let handle = asker.sql.held.put(asker.tenant.key(), Thing::Prepared(prepared.into()))?;
    Ok(ActionCreatePreparedStatementResult {
        prepared_statement_handle: handle,
        dataset_schema,
        parameter_schema,
    })
}

/// Closes one. One that is closed already stays so.
pub(super) fn close(asker: &Asker, request: &ActionClosePreparedStatementRequest) {
    let handle = &request.prepared_statement_handle;
    if let Ok(prepared) = asker.sql.held.prepared(asker.tenant.key(), handle) {
        let entry = asker.sql.held.take(asker.tenant.key(), handle);
        elsewhere(move || drop((prepared, entry)));
    }
}

/// Takes values for its parameters. It runs once for each row when it is asked for next.
pub(super) async fn bind(
    asker: &Asker,
    command: CommandPreparedStatementQuery,
    first: FlightData,
    messages: Streaming<FlightData>,
) -> Result<Bytes, Status> {
    let handle = command.prepared_statement_handle;
    let prepared = asker.sql.held.prepared(asker.tenant.key(), &handle)?;
    let rows = rows(asker, first, messages).await?.unwrap_or_default();
    *prepared.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
    Ok(result.encode_to_vec().into())
}

/// Rows of values that a client sends, one by one; `None` if it sends no columns.
pub(super) async fn rows(
    asker: &Asker,
    first: FlightData,
    mut messages: Streaming<FlightData>,
) -> Result<Option<VecDeque<RecordBatch>>, Status> {
    let mut begin = first;
    if begin.data_header.is_empty() {
        let Some(next) = messages.message().await? else { return Ok(None) };
        begin = FlightData { flight_descriptor: begin.flight_descriptor, ..next };
    }
    let mut incoming = Incoming::open_with(&asker.call, begin, messages).await?;
    if incoming.schema.fields().is_empty() {
        return Ok(None);
    }
    let most = asker.call.shared().limits.message_bytes;
    let (mut rows, mut bytes) = (VecDeque::new(), 0);
    while let Some(arrived) = incoming.next().await? {
        bytes += arrived.get_array_memory_size();
        if bytes > most || rows.len() + arrived.num_rows() > MOST_ROWS {
            let message = format!("parameters: expected at most {MOST_ROWS} rows of {most} bytes, got more");
            return Err(named(Code::ResourceExhausted, "TooLarge", message));
        }
        rows.extend((0..arrived.num_rows()).map(|row| arrived.slice(row, 1)));
    }
    Ok(Some(rows))
}

/// A schema as a message of its own.
fn encoded(schema: &Schema) -> Result<Bytes, Status> {
    let message: Result<IpcMessage, ArrowError> =
        SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into();
    message.map(|message| message.0).map_err(|error| Status::internal(error.to_string()))
}
