//! Tables of whole streams.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_flight::{
    FlightData,
    sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption},
};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;
use tokio::sync::mpsc::{self, Receiver};
use tonic::{Status, Streaming};

use super::{
    Asker,
    answer::asked,
    engine::{Existing, Ingest},
    update::counted,
};
use crate::{
    status::invalid,
    wire::{Incoming, malformed},
};

/// Batches that wait for the engine: one that it reads, one that comes.
const AHEAD: usize = 1;

/// Writes what comes into a table, as it comes.
pub(super) async fn ingest(
    asker: &Asker,
    command: CommandStatementIngest,
    first: FlightData,
    messages: Streaming<FlightData>,
) -> Result<Bytes, Status> {
    let into = wanted(&command)?;
    let turn = asker.turn(command.transaction_id.as_deref()).await?;
    let mut incoming = Incoming::open_with(&asker.call, first, messages).await?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let rows = Arriving { schema: Arc::clone(&incoming.schema), receiver, over: false };
    let written = asked(&turn.connection, move |connection| connection.ingest(&into, Box::new(rows)));
    let fed = async move {
        loop {
            match incoming.next().await {
                Ok(Some(arrived)) => {
                    // An engine that wants no more says why.
                    if sender.send(Ok(Some(arrived))).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) => {
                    let _heard = sender.send(Ok(None)).await;
                    return Ok(());
                }
                Err(status) => {
                    let told = ArrowError::ExternalError(status.message().to_owned().into());
                    let _heard = sender.send(Err(told)).await;
                    return Err(status);
                }
            }
        }
    };
    let (written, fed) = futures::future::join(written, fed).await;
    // What the client did wrong is what the engine stumbled over.
    fed?;
    Ok(counted(written?))
}

fn wanted(command: &CommandStatementIngest) -> Result<Ingest, Status> {
    if command.temporary {
        return Err(invalid("temporary", "false: connections do not outlive a call", true));
    }
    if command.table.is_empty() {
        return Err(malformed("the table has no name"));
    }
    let options = command.table_definition_options.as_ref();
    let create = options.is_none_or(|options| options.if_not_exist() != TableNotExistOption::Fail);
    let existing = match options.map(arrow_flight::sql::TableDefinitionOptions::if_exists) {
        Some(TableExistsOption::Append) => Existing::Append,
        Some(TableExistsOption::Replace) => Existing::Replace,
        _ => Existing::Refuse,
    };
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    Ok(Ingest {
        catalog: given(&command.catalog),
        schema: given(&command.schema),
        table: command.table.clone(),
        create,
        existing,
    })
}

/// Batches that come while they are read, on a thread that may wait.
struct Arriving {
    schema: SchemaRef,
    receiver: Receiver<Result<Option<RecordBatch>, ArrowError>>,
    over: bool,
}

impl Iterator for Arriving {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        // A client that goes away says nothing: what it sent until then must not be taken for all.
        let gone = || Err(ArrowError::ExternalError("the client went away".into()));
        let next = self.receiver.blocking_recv().unwrap_or_else(gone).transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl RecordBatchReader for Arriving {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}
