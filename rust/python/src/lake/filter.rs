//! Filters: tuples as `ruvector.lake.conditions` makes them alike, and predicates of the lake.

use pyo3::{
    prelude::*,
    types::{PyBool, PyFloat, PyInt, PyTuple},
};
use ruvector_core::Error;
use ruvector_lake::{
    backend::Pull,
    predicate::{Comparison, Condition, Predicate, Test, Value},
};

use crate::error::Result;

/// Alternatives of conditions, as Python has them.
pub(super) type Given<'py> = Option<Vec<Vec<(String, String, Bound<'py, PyAny>)>>>;

/// A filter as the lake has it.
pub(super) fn predicate(given: Given<'_>) -> Result<Predicate> {
    let group = |group: Vec<(String, String, Bound<'_, PyAny>)>| {
        let each = group.into_iter().map(|(column, operator, value)| {
            let test = test(&operator, &value)?;
            Ok(Condition { column, test })
        });
        each.collect::<Result<Vec<_>>>()
    };
    Ok(Predicate { any: given.unwrap_or_default().into_iter().map(group).collect::<Result<_>>()? })
}

fn test(operator: &str, value: &Bound<'_, PyAny>) -> Result<Test> {
    let values = || value.try_iter()?.map(|value| scalar(&value?)).collect::<Result<Vec<_>>>();
    match operator {
        "in" => Ok(Test::In(values()?)),
        "not in" => Ok(Test::NotIn(values()?)),
        operator => Ok(Test::Compare(comparison(operator)?, scalar(value)?)),
    }
}

fn comparison(operator: &str) -> Result<Comparison> {
    Ok(match operator {
        "=" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        other => return Err(Error::invalid_parameter("filter", "=, !=, <, <=, > or >=", other).into()),
    })
}

fn name(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn scalar(value: &Bound<'_, PyAny>) -> Result<Value> {
    // A truth is an integer, too.
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Boolean(flag.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Value::Integer(value.extract()?));
    }
    if value.is_instance_of::<PyFloat>() {
        return Ok(Value::Float(value.extract()?));
    }
    Ok(Value::Text(value.extract()?))
}

fn object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Integer(value) => value.into_pyobject(py)?.into_any(),
        Value::Float(value) => value.into_pyobject(py)?.into_any(),
        Value::Text(value) => value.into_pyobject(py)?.into_any(),
        Value::Boolean(value) => value.into_pyobject(py)?.to_owned().into_any(),
    })
}

/// A predicate as tuples; `None` where it allows every row.
pub(super) fn tuples<'py>(py: Python<'py>, predicate: &Predicate) -> PyResult<Option<Bound<'py, PyTuple>>> {
    if predicate.is_empty() {
        return Ok(None);
    }
    let values = |values: &[Value]| {
        let values: PyResult<Vec<_>> = values.iter().map(|value| object(py, value)).collect();
        Ok::<_, PyErr>(PyTuple::new(py, values?)?.into_any())
    };
    let one = |condition: &Condition| {
        let (operator, value) = match &condition.test {
            Test::Compare(comparison, value) => (name(*comparison), object(py, value)?),
            Test::In(these) => ("in", values(these)?),
            Test::NotIn(these) => ("not in", values(these)?),
        };
        (condition.column.as_str(), operator, value).into_pyobject(py)
    };
    let group =
        |group: &Vec<Condition>| PyTuple::new(py, group.iter().map(one).collect::<PyResult<Vec<_>>>()?);
    PyTuple::new(py, predicate.any.iter().map(group).collect::<PyResult<Vec<_>>>()?).map(Some)
}

/// A `PullRequest`.
pub(super) fn request<'py>(py: Python<'py>, pull: &Pull) -> PyResult<Bound<'py, PyAny>> {
    let columns = pull.projection.as_ref().map(|columns| PyTuple::new(py, columns)).transpose()?;
    let class = py.import("ruvector.lake.adapter")?.getattr("PullRequest")?;
    class.call1((columns, tuples(py, &pull.predicate)?, pull.skip_rows))
}
