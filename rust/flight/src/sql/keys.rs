//! Primary and foreign keys. The crate has no builders for them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt8Array};
use arrow_flight::sql::Command;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tonic::Status;

use super::{Asker, answer::asked, engine::Constraint, unsupported};

/// Rows that are pointed to are neither changed nor deleted: `DatabaseMetaData.importedKeyNoAction`.
const NO_ACTION: u8 = 3;

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

/// The columns of primary keys.
pub(super) fn primary_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

/// The columns of foreign keys.
pub(super) fn foreign_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

/// A table as a command names it: what is not said fits all.
struct Meant {
    catalog: Option<String>,
    schema: Option<String>,
    table: String,
}

impl Meant {
    fn is(&self, of: [&str; 3]) -> bool {
        let fits = |said: &Option<String>, is: &str| said.as_deref().is_none_or(|said| said == is);
        fits(&self.catalog, of[0]) && fits(&self.schema, of[1]) && self.table == of[2]
    }
}

/// Answers a command.
pub(super) async fn read(asker: &Asker, command: Command) -> Result<RecordBatch, Status> {
    let meant = |catalog, schema, table| Meant { catalog, schema, table };
    let (points_to, of) = match command {
        Command::CommandGetPrimaryKeys(command) => {
            let of = meant(command.catalog, command.db_schema, command.table);
            return primary(&all(asker).await?, &of);
        }
        Command::CommandGetExportedKeys(command) => {
            (Some(meant(command.catalog, command.db_schema, command.table)), None)
        }
        Command::CommandGetImportedKeys(command) => {
            (None, Some(meant(command.catalog, command.db_schema, command.table)))
        }
        Command::CommandGetCrossReference(command) => (
            Some(meant(command.pk_catalog, command.pk_db_schema, command.pk_table)),
            Some(meant(command.fk_catalog, command.fk_db_schema, command.fk_table)),
        ),
        command => return Err(unsupported(&command)),
    };
    let is = |meant: &Option<Meant>, of: [&str; 3]| meant.as_ref().is_none_or(|meant| meant.is(of));
    let keys: Vec<Constraint> = all(asker).await?;
    let found = keys.iter().filter(|key| {
        let [catalog, schema, table] = &key.of;
        let points = |(target, _): &(String, Vec<String>)| is(&points_to, [catalog, schema, target]);
        key.references.as_ref().is_some_and(points) && is(&of, [catalog, schema, table])
    });
    foreign(found)
}

async fn all(asker: &Asker) -> Result<Vec<Constraint>, Status> {
    let connection = asker.connect().await?;
    asked(&Arc::clone(&connection), |connection| connection.keys()).await
}

fn primary(keys: &[Constraint], of: &Meant) -> Result<RecordBatch, Status> {
    let mut texts: [Vec<Option<&str>>; 5] = Default::default();
    let mut places = Vec::new();
    let found =
        keys.iter().filter(|key| key.references.is_none() && of.is(key.of.each_ref().map(|name| &**name)));
    for key in found {
        for (place, column) in key.columns.iter().enumerate() {
            let [catalog, schema, table] = key.of.each_ref().map(|name| Some(name.as_str()));
            let row = [catalog, schema, table, Some(column.as_str()), key.name.as_deref()];
            texts.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            places.push(place as i32 + 1);
        }
    }
    let mut columns: Vec<ArrayRef> =
        texts.map(|column| Arc::new(StringArray::from(column)) as ArrayRef).into();
    columns.push(Arc::new(Int32Array::from(places)));
    batch(primary_schema(), columns)
}

fn foreign<'a>(keys: impl Iterator<Item = &'a Constraint>) -> Result<RecordBatch, Status> {
    let mut texts: [Vec<Option<&str>>; 10] = Default::default();
    let mut places = Vec::new();
    for key in keys {
        let Some((target, target_columns)) = &key.references else { continue };
        for (place, (column, target_column)) in key.columns.iter().zip(target_columns).enumerate() {
            let [catalog, schema, table] = key.of.each_ref().map(|name| Some(name.as_str()));
            let (target, target_column) = (Some(target.as_str()), Some(target_column.as_str()));
            let pointing = [catalog, schema, table, Some(column.as_str()), key.name.as_deref()];
            let row = [catalog, schema, target, target_column].into_iter().chain(pointing).chain([None]);
            texts.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            places.push(place as i32 + 1);
        }
    }
    let rules: ArrayRef = Arc::new(UInt8Array::from(vec![NO_ACTION; places.len()]));
    let mut columns: Vec<ArrayRef> =
        texts.map(|column| Arc::new(StringArray::from(column)) as ArrayRef).into();
    columns.insert(8, Arc::new(Int32Array::from(places)));
    columns.extend([Arc::clone(&rules), rules]);
    batch(foreign_schema(), columns)
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch, Status> {
    RecordBatch::try_new(schema, columns).map_err(|error| Status::internal(error.to_string()))
}
