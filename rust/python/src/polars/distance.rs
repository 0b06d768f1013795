//! `ruvector_distance`: the distance between the vectors of two columns, row by row.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, new_null_array};
use arrow_schema::{DataType, Field};
use ruvector_core::{Error, Metric, Vectors, distance::Prepared, kernel::Kernels};

use super::{Column, Refusal, Result, kwargs, kwargs::DistanceArgs, pool_for, vectors};

/// Rows measured by one task.
const ROWS_PER_TASK: usize = 4 * 1024;

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
        (Some(a), Some(b)) if args.query_is_other => measure(&b, &a, rows, args.metric()?)?,
        (Some(a), Some(b)) => measure(&a, &b, rows, args.metric()?)?,
        // A column whose rows are all null has no dimension, and no distance to anything.
        _ => new_null_array(&DataType::Float32, rows),
    };
    Ok(Column { name: one.name.clone(), data_type: DataType::Float32, chunks: vec![chunk] })
}

fn measure(queries: &Vectors, vectors: &Vectors, rows: usize, metric: Metric) -> Result<ArrayRef> {
    let kernels = Kernels::detect()?;
    let pool = pool_for(rows.saturating_mul(vectors.dim()))?;
    let tasks = pool.map(rows.div_ceil(ROWS_PER_TASK), |task| {
        let span = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(rows);
        let mut pairs = Pairs::new(kernels, metric, queries, vectors)?;
        span.map(|row| pairs.distance(row)).collect::<Result<Vec<_>, _>>()
    });
    let distances = tasks.map_err(vectors::refusal)?;
    Ok(Arc::new(distances.into_iter().flatten().collect::<Float32Array>()))
}

/// One pair after the other, with the same buffers.
struct Pairs<'a> {
    kernels: Kernels,
    metric: Metric,
    queries: &'a Vectors,
    vectors: &'a Vectors,
    /// The query, where there is only one.
    only: Option<Prepared>,
    scratch: Vec<f32>,
}

impl<'a> Pairs<'a> {
    fn new(
        kernels: Kernels,
        metric: Metric,
        queries: &'a Vectors,
        vectors: &'a Vectors,
    ) -> Result<Self, Error> {
        let mut pairs =
            Self { kernels, metric, queries, vectors, only: None, scratch: vec![0.0; vectors.dim()] };
        if queries.len() == 1 && !queries.is_null(0) {
            pairs.only = Some(pairs.prepare(0)?);
        }
        Ok(pairs)
    }

    fn prepare(&mut self, row: usize) -> Result<Prepared, Error> {
        let query = finite(self.queries, row, &mut self.scratch)?;
        Ok(Prepared::new(self.kernels, self.metric, query))
    }

    fn distance(&mut self, row: usize) -> Result<Option<f32>, Error> {
        let at = |column: &Vectors| if column.len() == 1 { 0 } else { row };
        let (query, vector) = (at(self.queries), at(self.vectors));
        if self.queries.is_null(query) || self.vectors.is_null(vector) {
            return Ok(None);
        }
        let own = if self.only.is_none() { Some(self.prepare(query)?) } else { None };
        let vector = finite(self.vectors, vector, &mut self.scratch)?;
        Ok(self.only.as_ref().or(own.as_ref()).map(|query| query.distance(self.kernels, vector)))
    }
}

/// One vector. NaN and infinity are refused as everywhere: the distance to NaN would come out as 0.
fn finite<'a>(column: &'a Vectors, row: usize, scratch: &'a mut [f32]) -> Result<&'a [f32], Error> {
    let vector = column.row(row, scratch);
    match vector.iter().position(|value| !value.is_finite()) {
        None => Ok(vector),
        Some(at) => {
            let reason = format!("element {at} is {}, expected a finite number", vector[at]);
            Err(Error::InvalidVector { column: column.column().into(), row, reason })
        }
    }
}

fn two_columns(count: usize) -> Refusal {
    Refusal(format!("expected two vector columns, got {count}"))
}

fn unequal((expected_by, expected): (&str, usize), (actual_by, actual): (&str, usize)) -> Refusal {
    let (expected_by, actual_by) = (expected_by.into(), actual_by.into());
    Error::DimensionMismatch { expected_by, expected, actual_by, actual }.into()
}
