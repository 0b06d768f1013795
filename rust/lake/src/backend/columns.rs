//! Which columns of a table are meant, and tables of some columns.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema, SchemaRef};

use crate::error::{Error, Result};

/// The column of vectors and the column of ids that a schema seems to mean: the only vector column, or the one called
/// `vector` or `embedding`; the column called `id`.
///
/// # Errors
/// [`Error::InvalidParameter`] when there is no vector column or there are several.
pub fn find_columns(schema: &Schema) -> Result<(String, Option<String>)> {
    let vectors: Vec<&str> = schema
        .fields()
        .iter()
        .filter(|field| is_vector(field.data_type()))
        .map(|field| field.name().as_str())
        .collect();
    let named = ["vector", "embedding"].into_iter().find(|name| vectors.contains(name));
    let vector = match (named, vectors.as_slice()) {
        (Some(name), _) => name,
        (None, [name]) => name,
        (None, _) => {
            let expected = "one column of vectors, or one called vector or embedding";
            return Err(Error::invalid_parameter("schema", expected, format!("{vectors:?}")));
        }
    };
    let id = schema.column_with_name("id").map(|_| "id".to_owned());
    Ok((vector.to_owned(), id))
}

fn is_vector(kind: &DataType) -> bool {
    match kind {
        DataType::FixedSizeBinary(_) => true,
        DataType::FixedSizeList(child, _) | DataType::List(child) | DataType::LargeList(child) => {
            matches!(child.data_type(), DataType::Float32 | DataType::Float16)
        }
        _ => false,
    }
}

/// A batch of some of its columns.
///
/// # Errors
/// [`Error::InvalidParameter`] for a column that is not there.
pub fn project(batch: &RecordBatch, columns: Option<&[String]>) -> Result<RecordBatch> {
    let Some(columns) = columns else { return Ok(batch.clone()) };
    let places = places(batch.schema_ref(), columns)?;
    batch
        .project(&places)
        .map_err(|error| Error::invalid_parameter("projection", "columns of the table", error.to_string()))
}

/// A schema of some of its columns.
///
/// # Errors
/// [`Error::InvalidParameter`] for a column that is not there.
pub fn project_schema(schema: &SchemaRef, columns: Option<&[String]>) -> Result<SchemaRef> {
    let Some(columns) = columns else { return Ok(Arc::clone(schema)) };
    let places = places(schema, columns)?;
    let projected = schema.project(&places);
    projected
        .map(Arc::new)
        .map_err(|error| Error::invalid_parameter("projection", "columns of the table", error.to_string()))
}

fn places(schema: &Schema, columns: &[String]) -> Result<Vec<usize>> {
    let place = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Error::invalid_parameter("projection", format!("columns of {names:?}"), format!("{name:?}"))
        })
    };
    columns.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn the_columns_that_are_meant_are_found() {
        let floats = |name: &str| Field::new_list(name, Field::new("item", DataType::Float32, true), true);
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let find = |fields: Vec<Field>| find_columns(&Schema::new(fields));
        assert_eq!(find(vec![field("id"), floats("v")]).unwrap(), ("v".into(), Some("id".into())));
        assert_eq!(find(vec![floats("a"), floats("embedding")]).unwrap(), ("embedding".into(), None));
        let error = find(vec![floats("a"), floats("b")]).unwrap_err();
        assert!(error.to_string().contains("got [\"a\", \"b\"]"), "{error}");
        assert!(find(vec![field("id")]).is_err());
    }
}
