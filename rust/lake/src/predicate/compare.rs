//! The values of a column beside others.

use std::{cmp::Ordering, collections::HashSet};

use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
        UInt32Type, UInt64Type,
    },
};
use arrow_schema::DataType;

use super::Value;
use crate::error::{Error, Result};

impl Value {
    /// How a whole number compares with this value; `None` for what is no number.
    pub(super) fn order_of_integer(&self, found: i128) -> Option<Ordering> {
        match self {
            Self::Integer(value) => Some(found.cmp(value)),
            Self::Float(value) => (found as f64).partial_cmp(value),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    pub(super) fn order_of_float(&self, found: f64) -> Option<Ordering> {
        match self {
            Self::Integer(value) => found.partial_cmp(&(*value as f64)),
            Self::Float(value) => found.partial_cmp(value),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    pub(super) fn order_of_text(&self, found: &str) -> Option<Ordering> {
        if let Self::Text(value) = self { Some(found.cmp(value)) } else { None }
    }
}

/// How each value compares with this one; `None` for nulls and for NaN.
pub(super) fn orders(name: &str, column: &ArrayRef, value: &Value) -> Result<Vec<Option<Ordering>>> {
    macro_rules! numbers {
        ($kind:ty, $compare:ident, $as:ty) => {{
            expect(name, column, value, matches!(value, Value::Integer(_) | Value::Float(_)))?;
            let values = column.as_primitive::<$kind>();
            each(column, |row| value.$compare(<$as>::from(values.value(row))))
        }};
    }
    macro_rules! texts {
        ($values:expr) => {{
            expect(name, column, value, matches!(value, Value::Text(_)))?;
            let values = $values;
            each(column, |row| value.order_of_text(values.value(row)))
        }};
    }
    Ok(match column.data_type() {
        DataType::Int8 => numbers!(Int8Type, order_of_integer, i128),
        DataType::Int16 => numbers!(Int16Type, order_of_integer, i128),
        DataType::Int32 => numbers!(Int32Type, order_of_integer, i128),
        DataType::Int64 => numbers!(Int64Type, order_of_integer, i128),
        DataType::UInt8 => numbers!(UInt8Type, order_of_integer, i128),
        DataType::UInt16 => numbers!(UInt16Type, order_of_integer, i128),
        DataType::UInt32 => numbers!(UInt32Type, order_of_integer, i128),
        DataType::UInt64 => numbers!(UInt64Type, order_of_integer, i128),
        DataType::Float32 => numbers!(Float32Type, order_of_float, f64),
        DataType::Float64 => numbers!(Float64Type, order_of_float, f64),
        DataType::Utf8 => texts!(column.as_string::<i32>()),
        DataType::LargeUtf8 => texts!(column.as_string::<i64>()),
        DataType::Utf8View => texts!(column.as_string_view()),
        DataType::Boolean => {
            let Value::Boolean(wanted) = value else { return Err(refused(name, column.data_type(), value)) };
            let values = column.as_boolean();
            each(column, |row| Some(values.value(row).cmp(wanted)))
        }
        other => return Err(refused(name, other, value)),
    })
}

/// For each value whether it equals one of these; false for nulls.
pub(super) fn is_among(name: &str, column: &ArrayRef, values: &[Value]) -> Result<Vec<bool>> {
    if let Some(found) = whole_numbers(column).zip(all_integers(values)) {
        let (rows, wanted) = found;
        return Ok(rows.into_iter().map(|row| row.is_some_and(|row| wanted.contains(&row))).collect());
    }
    if let Some(wanted) = all_texts(values) {
        let among = |row: Option<&str>| row.is_some_and(|row| wanted.contains(row));
        match column.data_type() {
            DataType::Utf8 => return Ok(column.as_string::<i32>().iter().map(among).collect()),
            DataType::LargeUtf8 => return Ok(column.as_string::<i64>().iter().map(among).collect()),
            DataType::Utf8View => return Ok(column.as_string_view().iter().map(among).collect()),
            _ => {}
        }
    }
    let mut found = vec![false; column.len()];
    for value in values {
        let orders = orders(name, column, value)?;
        found.iter_mut().zip(orders).for_each(|(found, order)| *found |= order == Some(Ordering::Equal));
    }
    Ok(found)
}

/// The smallest and the largest of many values of one kind.
#[cfg(feature = "parquet")]
pub(super) fn ends(values: &[Value]) -> Option<(&Value, &Value)> {
    if all_texts(values).is_none() && all_integers(values).is_none() {
        return None;
    }
    let order = |a: &&Value, b: &&Value| match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    };
    Some((values.iter().min_by(order)?, values.iter().max_by(order)?))
}

fn all_integers(values: &[Value]) -> Option<HashSet<i128>> {
    values.iter().map(|value| if let Value::Integer(value) = value { Some(*value) } else { None }).collect()
}

fn all_texts(values: &[Value]) -> Option<HashSet<&str>> {
    values
        .iter()
        .map(|value| if let Value::Text(value) = value { Some(value.as_str()) } else { None })
        .collect()
}

fn whole_numbers(column: &ArrayRef) -> Option<Vec<Option<i128>>> {
    macro_rules! numbers {
        ($kind:ty) => {
            Some(column.as_primitive::<$kind>().iter().map(|value| value.map(i128::from)).collect())
        };
    }
    match column.data_type() {
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        _ => None,
    }
}

fn expect(name: &str, column: &ArrayRef, value: &Value, fits: bool) -> Result<()> {
    if fits { Ok(()) } else { Err(refused(name, column.data_type(), value)) }
}

fn refused(name: &str, kind: &DataType, value: &Value) -> Error {
    let expected = format!("a value that compares with column {name:?} of {kind}");
    Error::invalid_parameter("predicate", expected, format!("{value:?}"))
}

fn each(column: &ArrayRef, order: impl Fn(usize) -> Option<Ordering>) -> Vec<Option<Ordering>> {
    (0..column.len()).map(|row| if column.is_null(row) { None } else { order(row) }).collect()
}
