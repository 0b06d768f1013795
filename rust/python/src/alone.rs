//! What needs no index: the distance of pairs, the codes of vectors by themselves.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, StructArray,
    builder::{BinaryBuilder, Float32Builder},
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Fields};
use pyo3::prelude::*;
use ruvector_core::{
    Error, Metric, Monitor, Pool, Vectors, pairs,
    rabitq::{Quantized, Quantizer},
};

use crate::{
    args::{Seed, Whole, pool},
    column::PyArrowColumn,
    error::Result,
    input::{Given, Role, Width},
    interrupt,
    progress::Progress,
};

/// Rows coded by one task.
const ROWS_PER_TASK: usize = 1024;

/// The distance between the vectors of each row.
#[pyfunction]
#[pyo3(signature = (a, b, metric="l2sq", *, threads=None))]
pub(crate) fn distance(
    py: Python<'_>,
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    metric: &str,
    threads: Option<Whole>,
) -> Result<PyArrowColumn> {
    let (metric, pool): (Metric, _) = (metric.parse()?, pool(threads)?);
    let a = Given::read(a, Role::Queries("a"))?.vectors(py, None, None)?;
    let width = Width { dim: a.dim(), by: a.column() };
    let b = Given::read(b, Role::Queries("b"))?.vectors(py, None, Some(width))?;
    let size = a.len().max(b.len()).saturating_mul(a.dim());
    let distances = interrupt::run(py, size, &mut Progress::off(), |monitor| {
        pairs::distances(&a, &b, metric, &pool, monitor)
    })?;
    Ok(PyArrowColumn::new("distance", Arc::new(distances)))
}

/// The RaBitQ code of each vector by itself.
#[pyfunction]
#[pyo3(signature = (vectors, bits=Whole(1), seed=Seed(0), *, threads=None),
    text_signature = "(vectors, bits=1, seed=0, *, threads=None)")]
pub(crate) fn quantize(
    py: Python<'_>,
    vectors: &Bound<'_, PyAny>,
    bits: Whole,
    seed: Seed,
    threads: Option<Whole>,
) -> Result<PyArrowColumn> {
    let bits = u32::try_from(bits.count("bits")?).unwrap_or(u32::MAX);
    let pool = pool(threads)?;
    let vectors = Given::read(vectors, Role::Queries("v"))?.vectors(py, None, None)?;
    let quantizer = Quantizer::new(vectors.dim(), bits, seed.0)?;
    // Looking for the levels of one coordinate takes about so many multiplications.
    let size = vectors.len().saturating_mul(vectors.dim()).saturating_mul(100);
    let coded =
        interrupt::run(py, size, &mut Progress::off(), |monitor| code(&vectors, &quantizer, &pool, monitor))?;
    Ok(PyArrowColumn::new("code", column(&coded)?))
}

fn code(
    vectors: &Vectors,
    quantizer: &Quantizer,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<Option<Quantized>>, Error> {
    let tasks = pool.map(vectors.len().div_ceil(ROWS_PER_TASK), |task| {
        if monitor.interrupted() {
            return Err(Error::Interrupted);
        }
        let span = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(vectors.len());
        let mut quantizer = quantizer.clone();
        let each = |row| (!vectors.is_null(row)).then(|| quantizer.quantize(vectors, row)).transpose();
        span.map(each).collect::<Result<Vec<_>, Error>>()
    })?;
    Ok(tasks.into_iter().flatten().collect())
}

fn column(coded: &[Option<Quantized>]) -> Result<ArrayRef, Error> {
    let mut codes = BinaryBuilder::new();
    let [mut norms, mut f_add, mut f_rescale, mut f_error] = [(); 4].map(|()| Float32Builder::new());
    for row in coded {
        codes.append_option(row.as_ref().map(|row| &row.code));
        norms.append_option(row.as_ref().map(|row| row.norm));
        f_add.append_option(row.as_ref().map(|row| row.factors.f_add));
        f_rescale.append_option(row.as_ref().map(|row| row.factors.f_rescale));
        f_error.append_option(row.as_ref().map(|row| row.factors.f_error));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(codes.finish()),
        Arc::new(norms.finish()),
        Arc::new(f_add.finish()),
        Arc::new(f_rescale.finish()),
        Arc::new(f_error.finish()),
    ];
    let float = |name| Field::new(name, DataType::Float32, true);
    let fields: Fields = vec![
        Field::new("code", DataType::Binary, true),
        float("norm"),
        float("f_add"),
        float("f_rescale"),
        float("f_error"),
    ]
    .into();
    let nulls: NullBuffer = coded.iter().map(Option::is_some).collect::<Vec<bool>>().into();
    Ok(Arc::new(StructArray::try_new(fields, columns, Some(nulls))?))
}
