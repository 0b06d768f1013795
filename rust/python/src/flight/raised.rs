//! What a server refused, as Python raises it.

use pyo3::{prelude::*, types::PyDict};
use ruvector_flight::client::Refused;
use serde_json::Value;

use crate::error::errors;

/// The exception: of the class that the server named, with the attributes that it told.
pub(crate) fn exception(py: Python<'_>, refused: &Refused) -> PyErr {
    raised(py, refused).map_or_else(std::convert::identity, PyErr::from_value)
}

fn raised<'py>(py: Python<'py>, refused: &Refused) -> PyResult<Bound<'py, PyAny>> {
    let details = PyDict::new(py);
    for (name, value) in &refused.details {
        details.set_item(name, plain(py, value)?)?;
    }
    errors(py)?.getattr("told")?.call1((&refused.class, &refused.message, details))
}

/// A value of JSON, as Python has it. Attributes are scalars or lists of scalars.
fn plain<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Bool(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        Value::String(text) => text.into_pyobject(py)?.into_any(),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => whole.into_pyobject(py)?.into_any(),
            (_, Some(whole), _) => whole.into_pyobject(py)?.into_any(),
            (.., float) => float.into_pyobject(py)?,
        },
        Value::Array(values) => {
            let each = values.iter().map(|value| plain(py, value));
            pyo3::types::PyTuple::new(py, each.collect::<PyResult<Vec<_>>>()?)?.into_any()
        }
        Value::Null | Value::Object(_) => py.None().into_bound(py),
    })
}
