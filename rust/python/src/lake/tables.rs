//! Tables from Python: streams, iterables of batches, and what is looked for in them.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, cast::AsArray, types};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use arrow_select::concat::concat_batches;
use pyo3::{prelude::*, types::PyIterator};
use ruvector_core::{Error, Vectors};

use crate::{
    error::Result,
    input::{self, Capsules},
};

/// Rows as they come.
pub(super) enum Rows {
    /// From an object with `__arrow_c_stream__`.
    Stream(input::Table),
    /// From an iterable of batches.
    Batches(Py<PyIterator>),
}

impl Rows {
    pub(super) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if Capsules::of(object)? == Some(Capsules::Stream) {
            return Ok(Self::Stream(input::reader(object)?));
        }
        Ok(Self::Batches(object.try_iter()?.unbind()))
    }
}

/// The next batch. Producers may need the GIL on another thread to make one.
pub(super) fn next(py: Python<'_>, rows: &mut Rows) -> PyResult<Option<RecordBatch>> {
    match rows {
        Rows::Stream(stream) => Ok(py.detach(|| stream.batch())?),
        Rows::Batches(each) => {
            let mut each = each.bind(py).clone();
            each.next().map(|batch| one_batch(&batch?)).transpose()
        }
    }
}

/// An object with `__arrow_c_array__` as a batch.
pub(super) fn one_batch(object: &Bound<'_, PyAny>) -> PyResult<RecordBatch> {
    Ok(input::batch(object)?)
}

/// All rows in one batch; `None` without a single batch.
pub(super) fn read_all(object: &Bound<'_, PyAny>) -> PyResult<Option<RecordBatch>> {
    if Capsules::of(object)? == Some(Capsules::Array) {
        return one_batch(object).map(Some);
    }
    let mut rows = Rows::of(object)?;
    let mut all = Vec::new();
    while let Some(batch) = next(object.py(), &mut rows)? {
        all.push(batch);
    }
    let Some(first) = all.first() else { return Ok(None) };
    let joined = concat_batches(first.schema_ref(), &all);
    Ok(Some(joined.map_err(Error::from).map_err(crate::error::Failure::from)?))
}

/// Vectors as a column of lists of floats.
pub(super) fn column(vectors: &Vectors) -> Result<ArrayRef> {
    let dim = vectors.dim();
    let values = vectors.contiguous().unwrap_or_else(|| {
        let mut values = vec![0.0; vectors.len() * dim];
        vectors.copy_rows(0..vectors.len(), &mut values);
        values.into()
    });
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::new(values, None));
    let valid = (vectors.null_count() > 0)
        .then(|| (0..vectors.len()).map(|row| !vectors.is_null(row)).collect::<NullBuffer>());
    let list = FixedSizeListArray::try_new_with_length(item, dim as i32, values, valid, vectors.len());
    Ok(Arc::new(list.map_err(Error::from)?))
}

/// How wide vectors are, by their type or by the first that is there.
pub(super) fn width(column: &ArrayRef) -> Option<usize> {
    let first = || (0..column.len()).find(|&row| column.is_valid(row));
    match column.data_type() {
        DataType::FixedSizeList(_, width) => usize::try_from(*width).ok(),
        DataType::FixedSizeBinary(width) => usize::try_from(*width / 4).ok(),
        DataType::List(_) => first().map(|row| column.as_list::<i32>().value_length(row) as usize),
        DataType::LargeList(_) => first().map(|row| column.as_list::<i64>().value_length(row) as usize),
        _ => None,
    }
}

/// A column of numbers; `None` if it is none.
pub(super) fn numbers(column: &ArrayRef) -> Option<Vec<Option<f64>>> {
    use types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
    let column = column.as_ref();
    Some(match column.data_type() {
        DataType::Int32 => each::<Int32Type>(column, f64::from),
        DataType::Int64 => each::<Int64Type>(column, |value| value as f64),
        DataType::UInt32 => each::<UInt32Type>(column, f64::from),
        DataType::UInt64 => each::<UInt64Type>(column, |value| value as f64),
        DataType::Float32 => each::<Float32Type>(column, f64::from),
        DataType::Float64 => each::<Float64Type>(column, |value| value),
        _ => return None,
    })
}

fn each<T: types::ArrowPrimitiveType>(
    column: &dyn Array,
    wide: impl Fn(T::Native) -> f64,
) -> Vec<Option<f64>> {
    column.as_primitive::<T>().iter().map(|value| value.map(&wide)).collect()
}
