//! What there is in the database, as clients ask for it.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_flight::{
    FlightData,
    error::FlightError,
    sql::{Command, CommandGetDbSchemas, CommandGetTables, metadata::GetCatalogsBuilder},
};
use arrow_schema::SchemaRef;
use tonic::Status;

use super::{Asker, answer::asked, engine::Namespace, info, keys, unsupported};
use crate::{call::Answers, wire::outgoing};

/// The columns of what a command asks for.
pub(super) fn schema(command: &Command) -> Result<SchemaRef, Status> {
    Ok(match command {
        Command::CommandGetCatalogs(command) => command.into_builder().schema(),
        Command::CommandGetDbSchemas(command) => command.clone().into_builder().schema(),
        Command::CommandGetTables(command) => command.clone().into_builder().schema(),
        Command::CommandGetTableTypes(command) => command.into_builder().schema(),
        Command::CommandGetSqlInfo(_) => info::schema(),
        Command::CommandGetXdbcTypeInfo(_) => info::types(None)?.schema(),
        Command::CommandGetPrimaryKeys(_) => keys::primary_schema(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => keys::foreign_schema(),
        command => return Err(unsupported(command)),
    })
}

/// Answers a command.
pub(super) async fn read(asker: &Asker, command: Command) -> Result<Answers<FlightData>, Status> {
    let batch = match command {
        Command::CommandGetCatalogs(command) => catalogs(command.into_builder(), &there(asker, false).await?),
        Command::CommandGetDbSchemas(command) => schemas(command, &there(asker, false).await?),
        Command::CommandGetTables(command) => {
            let there = there(asker, command.include_schema).await?;
            tables(command, &there)
        }
        Command::CommandGetTableTypes(command) => {
            let mut builder = command.into_builder();
            builder.append("TABLE");
            builder.append("VIEW");
            builder.build()
        }
        Command::CommandGetSqlInfo(command) => info::read(asker.sql.engine.version(), command),
        Command::CommandGetXdbcTypeInfo(command) => return send(asker, info::types(command.data_type)?),
        command => return send(asker, keys::read(asker, command).await?),
    };
    send(asker, batch.map_err(|error: FlightError| Status::internal(error.to_string()))?)
}

fn send(asker: &Asker, batch: RecordBatch) -> Result<Answers<FlightData>, Status> {
    let schema = batch.schema();
    Ok(outgoing(&asker.call, schema, futures::stream::iter([Ok(batch)])))
}

async fn there(asker: &Asker, with_columns: bool) -> Result<Vec<Namespace>, Status> {
    let connection = asker.connect().await?;
    asked(&Arc::clone(&connection), move |connection| connection.tables(with_columns)).await
}

fn catalogs(mut builder: GetCatalogsBuilder, there: &[Namespace]) -> Result<RecordBatch, FlightError> {
    let mut catalogs: Vec<&str> = there.iter().map(|namespace| namespace.catalog.as_str()).collect();
    catalogs.sort_unstable();
    catalogs.dedup();
    catalogs.into_iter().for_each(|catalog| builder.append(catalog));
    builder.build()
}

fn schemas(command: CommandGetDbSchemas, there: &[Namespace]) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    for namespace in there {
        builder.append(&namespace.catalog, &namespace.name);
    }
    builder.build()
}

fn tables(command: CommandGetTables, there: &[Namespace]) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    for namespace in there {
        for table in &namespace.tables {
            builder.append(&namespace.catalog, &namespace.name, &table.name, &table.kind, &table.columns)?;
        }
    }
    builder.build()
}
