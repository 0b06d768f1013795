//! Lists and tuples of Python numbers: convenient, and the only input that is copied.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Int64Array, LargeListArray,
    LargeStringArray, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};
use pyo3::{
    prelude::*,
    types::{PyBool, PyString},
};
use ruvector_core::Error;

use crate::error::Result;

/// A flat sequence as a column of numbers, a nested one as a column of vectors. `None` is a row without a vector.
pub(super) fn vectors(rows: &Bound<'_, PyAny>, name: &str) -> Result<ArrayRef> {
    let mut values = Vec::new();
    if rows.try_iter()?.next().is_some_and(|first| first.is_ok_and(|first| first.extract::<f32>().is_ok())) {
        extend(&mut values, rows, || name.into())?;
        return Ok(Arc::new(Float32Array::from(values)));
    }
    let (mut lengths, mut valid) = (Vec::new(), Vec::new());
    for (at, row) in rows.try_iter()?.enumerate() {
        let row = row?;
        let before = values.len();
        if !row.is_none() {
            extend(&mut values, &row, || format!("{name}, row {at}"))?;
        }
        valid.push(!row.is_none());
        lengths.push(values.len() - before);
    }
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let nulls = NullBuffer::from(valid);
    let list = LargeListArray::try_new(item, offsets, Arc::new(Float32Array::from(values)), Some(nulls));
    Ok(Arc::new(list.map_err(Error::from)?))
}

/// One vector from its values.
pub(super) fn one_row(values: ArrayRef) -> Result<ArrayRef> {
    let dim = i32::try_from(values.len()).unwrap_or(i32::MAX);
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    Ok(Arc::new(FixedSizeListArray::try_new_with_length(item, dim, values, None, 1).map_err(Error::from)?))
}

fn extend(values: &mut Vec<f32>, row: &Bound<'_, PyAny>, place: impl Fn() -> String) -> Result<()> {
    let Ok(elements) = row.try_iter() else {
        return Err(wrong(place(), "a sequence of numbers", row)?.into());
    };
    for element in elements {
        let element = element?;
        let Ok(value) = element.extract::<f32>() else {
            return Err(wrong(place(), "numbers", &element)?.into());
        };
        values.push(value);
    }
    Ok(())
}

/// A sequence of integers or strings as a column of ids. `None` is a null, which the core refuses with its row.
pub(super) fn ids(rows: &Bound<'_, PyAny>, name: &str) -> Result<ArrayRef> {
    let rows: Vec<Bound<'_, PyAny>> = rows.try_iter()?.collect::<PyResult<_>>()?;
    if rows.iter().any(PyAnyMethods::is_instance_of::<PyString>) {
        return Ok(Arc::new(LargeStringArray::from(each(&rows, name, "strings", |id| {
            id.extract::<String>()
        })?)));
    }
    let numbers = each(&rows, name, "integers of 64 bits, or strings", |id| id.extract::<i128>())?;
    let limits = numbers.iter().flatten().fold((0, 0), |(low, high), &id| (id.min(low), id.max(high)));
    match limits {
        (low, high) if low >= i128::from(i64::MIN) && high <= i128::from(i64::MAX) => {
            Ok(Arc::new(numbers.into_iter().map(|id| id.map(|id| id as i64)).collect::<Int64Array>()))
        }
        (0, high) if high <= i128::from(u64::MAX) => {
            Ok(Arc::new(numbers.into_iter().map(|id| id.map(|id| id as u64)).collect::<UInt64Array>()))
        }
        (low, high) => {
            let expected = "integers that all fit int64 or all fit uint64";
            Err(Error::invalid_parameter(name, expected, format!("{low} to {high}")).into())
        }
    }
}

/// A sequence of booleans as a column of them, anything else as ids.
pub(super) fn filter(rows: &Bound<'_, PyAny>) -> Result<ArrayRef> {
    let flags: PyResult<Vec<Bound<'_, PyAny>>> = rows.try_iter()?.collect();
    let flags = flags?;
    let is_flag = |flag: &Bound<'_, PyAny>| flag.is_none() || flag.is_instance_of::<PyBool>();
    if flags.is_empty() || !flags.iter().all(is_flag) {
        return ids(rows, "filter");
    }
    let flags: PyResult<Vec<Option<bool>>> = flags.iter().map(PyAnyMethods::extract).collect();
    Ok(Arc::new(BooleanArray::from(flags?)))
}

fn each<'py, T>(
    rows: &[Bound<'py, PyAny>],
    name: &str,
    expected: &str,
    convert: impl Fn(&Bound<'py, PyAny>) -> PyResult<T>,
) -> Result<Vec<Option<T>>> {
    let convert = |(at, row): (usize, &Bound<'py, PyAny>)| -> Result<Option<T>> {
        if row.is_none() {
            return Ok(None);
        }
        let Ok(id) = convert(row) else {
            return Err(wrong(format!("{name}, row {at}"), expected, row)?.into());
        };
        Ok(Some(id))
    };
    rows.iter().enumerate().map(convert).collect()
}

fn wrong(column: String, expected: &str, got: &Bound<'_, PyAny>) -> Result<Error> {
    let actual = got.get_type().fully_qualified_name()?.to_string();
    Ok(Error::InvalidType { column, expected: expected.into(), actual })
}
