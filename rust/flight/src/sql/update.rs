//! Statements that are run for what they change.

use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightData,
    sql::{CommandPreparedStatementUpdate, CommandStatementUpdate, DoPutUpdateResult},
};
use bytes::Bytes;
use prost::Message;
use tonic::{Status, Streaming};

use super::{Asker, answer::asked, engine::SqlConnection, prepared::rows};

/// Runs a statement.
pub(super) async fn statement(asker: &Asker, command: CommandStatementUpdate) -> Result<Bytes, Status> {
    run(asker, command.query, None, command.transaction_id.as_deref()).await
}

/// Runs a prepared statement once for each row of values that is sent, or with the values that were bound before.
pub(super) async fn prepared(
    asker: &Asker,
    command: &CommandPreparedStatementUpdate,
    first: FlightData,
    messages: Streaming<FlightData>,
) -> Result<Bytes, Status> {
    let prepared = asker.sql.held.prepared(asker.tenant.key(), &command.prepared_statement_handle)?;
    let rows = rows(asker, first, messages).await?.or_else(|| {
        let bound = prepared.rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        (!bound.is_empty()).then_some(bound)
    });
    let transaction = prepared.transaction(&asker.sql.held, asker.tenant.key())?;
    run(asker, prepared.sql.clone(), rows, transaction).await
}

async fn run(
    asker: &Asker,
    sql: String,
    rows: Option<VecDeque<RecordBatch>>,
    transaction: Option<&[u8]>,
) -> Result<Bytes, Status> {
    let turn = asker.turn(transaction).await?;
    let alone = !turn.goes_on();
    let changed = asked(&turn.connection, move |connection| match rows {
        None => connection.update(&sql, None),
        Some(rows) if rows.len() == 1 || !alone => each(&**connection, &sql, &rows),
        // All rows or none.
        Some(rows) => whole(&**connection, |connection| each(connection, &sql, &rows)),
    })
    .await?;
    Ok(counted(changed))
}

fn each(
    connection: &dyn SqlConnection,
    sql: &str,
    rows: &VecDeque<RecordBatch>,
) -> super::engine::Result<i64> {
    rows.iter().map(|row| connection.update(sql, Some(row))).sum()
}

/// Does something in a transaction of its own.
pub(super) fn whole(
    connection: &dyn SqlConnection,
    work: impl FnOnce(&dyn SqlConnection) -> super::engine::Result<i64>,
) -> super::engine::Result<i64> {
    connection.begin()?;
    match work(connection) {
        Ok(changed) => connection.end(true).map(|()| changed),
        Err(error) => {
            // What failed is told, whatever becomes of the transaction.
            let _rolled_back = connection.end(false);
            Err(error)
        }
    }
}

/// How many rows were changed, as clients read it.
pub(super) fn counted(record_count: i64) -> Bytes {
    DoPutUpdateResult { record_count }.encode_to_vec().into()
}
