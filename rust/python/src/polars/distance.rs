//! `ruvector_distance`: the distance between the vectors of two columns, row by row.

use std::sync::Arc;

use arrow_array::{ArrayRef, new_null_array};
use arrow_schema::{DataType, Field};
use ruvector_core::{Error, Metric, Unwatched, Vectors, pairs};

use super::{Column, Refusal, Result, kwargs, kwargs::DistanceArgs, pool_for, vectors};

/// `Float32`, named after the first column.
pub(super) fn field(fields: &[Field], pickled: &[u8]) -> Result<Field> {
    let args: DistanceArgs = kwargs::parse(pickled)?;
    args.metric()?;
    let [one, other] = fields else { return Err(two_columns(fields.len())) };
    if let (Some(expected), Some(actual)) = (vectors::dim_of(one)?, vectors::dim_of(other)?)
        && expected != actual
    {
        return Err(unequal((one.name(), expected), (other.name(), actual)));
    }
    Ok(Field::new(one.name(), DataType::Float32, true))
}

/// Answers a batch. A column of one row is measured against every row of the other; null where either row is null.
pub(super) fn call(inputs: &[Column], pickled: &[u8]) -> Result<Column> {
    let args: DistanceArgs = kwargs::parse(pickled)?;
    let [one, other] = inputs else { return Err(two_columns(inputs.len())) };
    let rows = match (one.len(), other.len()) {
        (a, b) if a == b => a,
        (1, b) => b,
        (a, 1) => a,
        (a, b) => return Err(Refusal(format!("{} has {a} rows, {} has {b}", one.name, other.name))),
    };
    let dim = vectors::dim_of(&one.field())?.or(vectors::dim_of(&other.field())?);
    let chunk = match (vectors::vectors(one, dim)?, vectors::vectors(other, dim)?) {
        (Some(a), Some(b)) if a.dim() != b.dim() => {
            return Err(unequal((&one.name, a.dim()), (&other.name, b.dim())));
        }
        (Some(a), Some(b)) if args.query_is_other => measure(&b, &a, args.metric()?)?,
        (Some(a), Some(b)) => measure(&a, &b, args.metric()?)?,
        // A column whose rows are all null has no dimension, and no distance to anything.
        _ => new_null_array(&DataType::Float32, rows),
    };
    Ok(Column { name: one.name.clone(), data_type: DataType::Float32, chunks: vec![chunk] })
}

fn measure(queries: &Vectors, vectors: &Vectors, metric: Metric) -> Result<ArrayRef> {
    let rows = queries.len().max(vectors.len());
    let pool = pool_for(rows.saturating_mul(vectors.dim()))?;
    let distances = pairs::distances(queries, vectors, metric, &pool, &Unwatched);
    Ok(Arc::new(distances.map_err(|error| vectors::refusal(&error))?))
}

fn two_columns(count: usize) -> Refusal {
    Refusal(format!("expected two vector columns, got {count}"))
}

fn unequal((expected_by, expected): (&str, usize), (actual_by, actual): (&str, usize)) -> Refusal {
    let (expected_by, actual_by) = (expected_by.into(), actual_by.into());
    Error::DimensionMismatch { expected_by, expected, actual_by, actual }.into()
}
