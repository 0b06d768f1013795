//! What the lake refuses, as Python raises it, and what Python raised in an adapter, as the lake carries it.

use std::sync::Arc;

use pyo3::{
    exceptions::{PyConnectionError, PyException, PyTimeoutError},
    prelude::*,
    types::PyDict,
};
use ruvector_flight::client::Refused;
use ruvector_lake::Error;

use crate::error::{errors, exception as core_exception};

/// The exception for an error. What an adapter or a policy raised is its cause; what no `except Exception` would catch is
/// raised itself.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyErr {
    if let Some(refused) = refused_in(error) {
        return crate::flight::exception(py, refused);
    }
    let made = match (error, raised_in(error)) {
        (Error::Core(error), _) => core_exception(py, error),
        (_, Some(raised)) if !raised.is_instance_of::<PyException>(py) => Ok(raised.clone_ref(py)),
        (_, Some(raised)) => plain(py, error).inspect(|made| made.set_cause(py, Some(raised.clone_ref(py)))),
        (_, None) => plain(py, error),
    };
    made.unwrap_or_else(std::convert::identity)
}

/// What was raised in Python, if that is how it began.
fn raised_in(error: &Error) -> Option<&PyErr> {
    let (Error::Backend { source, .. } | Error::PolicyDenied { source, .. }) = error else { return None };
    let source = source.as_deref()?;
    source.downcast_ref::<PyErr>().or_else(|| source.downcast_ref::<Error>().and_then(raised_in))
}

/// What a server refused, if that is how it began.
fn refused_in(error: &Error) -> Option<&Refused> {
    let Error::Backend { source, .. } = error else { return None };
    source.as_deref()?.downcast_ref::<Refused>()
}

fn plain(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let details = PyDict::new(py);
    let class = class(&details, error)?;
    Ok(PyErr::from_value(errors(py)?.getattr(class)?.call((error.to_string(),), Some(&details))?))
}

/// The class of an error, and its attributes.
fn class(details: &Bound<'_, PyDict>, error: &Error) -> PyResult<&'static str> {
    let collection = |backend: &str, collection: &str| {
        details.set_item("backend", backend)?;
        details.set_item("collection", collection)
    };
    let expected = |expected: &str, actual: &str| {
        details.set_item("expected", expected)?;
        details.set_item("actual", actual)
    };
    Ok(match error {
        Error::UnknownBackend { backend, known } => {
            details.set_item("backend", backend)?;
            details.set_item("known", known)?;
            "UnknownBackend"
        }
        Error::UnknownCollection { backend, collection: name } => {
            collection(backend, name)?;
            "UnknownCollection"
        }
        Error::Ambiguous { collection, backends } => {
            details.set_item("collection", collection)?;
            details.set_item("backends", backends)?;
            "AmbiguousCollection"
        }
        Error::DimensionMismatch { expected, actual, .. } => {
            details.set_item("expected", expected)?;
            details.set_item("actual", actual)?;
            "DimensionMismatch"
        }
        Error::Backend { backend, retryable, .. } => {
            details.set_item("backend", backend)?;
            details.set_item("retryable", retryable)?;
            "BackendError"
        }
        Error::CacheMiss { backend, collection: name } => {
            collection(backend, name)?;
            "CacheMissError"
        }
        Error::Unsettled { backend, collection: name, attempts } => {
            collection(backend, name)?;
            details.set_item("attempts", attempts)?;
            "Unsettled"
        }
        Error::Superseded { backend, collection: name, wanted, found } => {
            collection(backend, name)?;
            expected(wanted, found)?;
            "Superseded"
        }
        Error::PolicyDenied { principal, backend, collection: name, action, .. } => {
            details.set_item("principal", principal)?;
            collection(backend, name)?;
            details.set_item("action", action.name())?;
            "PolicyDenied"
        }
        Error::Deadline { backend, collection: name, millis } => {
            collection(backend, name)?;
            details.set_item("seconds", *millis as f64 / 1000.0)?;
            "DeadlineExceeded"
        }
        Error::WitnessMismatch { what, expected: told, actual } => {
            details.set_item("what", what)?;
            expected(told, actual)?;
            "WitnessMismatch"
        }
        Error::InvalidBundle { path, reason } | Error::InvalidFile { path, reason } => {
            details.set_item("path", path.as_os_str())?;
            details.set_item("reason", reason)?;
            "InvalidBundle"
        }
        Error::UnsafePath { name, reason } => {
            details.set_item("name", name)?;
            details.set_item("reason", reason)?;
            "UnsafePath"
        }
        Error::TooLarge { what, limit, actual } => {
            details.set_item("what", what)?;
            details.set_item("limit", limit)?;
            details.set_item("actual", actual)?;
            "TooLarge"
        }
        Error::InvalidParameter { name, expected: values, actual } => {
            details.set_item("name", name)?;
            expected(values, actual)?;
            "InvalidParameter"
        }
        Error::Io { path, source } => {
            details.set_item("path", path.as_os_str())?;
            details.set_item("errno", source.raw_os_error())?;
            if source.kind() == std::io::ErrorKind::NotFound {
                return Ok("IndexFileNotFound");
            }
            details.set_item("reason", "io")?;
            "PersistError"
        }
        _ => "LakeError",
    })
}

/// What an adapter raised, as an error of the lake.
pub(super) fn raised(py: Python<'_>, backend: &str, collection: Option<&str>, error: PyErr) -> Error {
    let unknown = errors(py).and_then(|errors| errors.getattr("UnknownCollection"));
    if let Some(collection) = collection
        && unknown.is_ok_and(|unknown| error.is_instance(py, &unknown))
    {
        return Error::UnknownCollection { backend: backend.into(), collection: collection.into() };
    }
    let value = error.value(py);
    let named = value.get_type().name().map_or_else(|_| "exception".into(), |name| name.to_string());
    let text = value.str().map(|text| text.to_string()).unwrap_or_default();
    let detail = if text.is_empty() { named } else { format!("{named}: {text}") };
    let told = value.getattr("retryable").and_then(|told| told.is_truthy()).ok();
    let passing =
        || error.is_instance_of::<PyConnectionError>(py) || error.is_instance_of::<PyTimeoutError>(py);
    Error::Backend {
        backend: backend.into(),
        detail,
        retryable: told.unwrap_or_else(passing),
        source: Some(Arc::new(error.clone_ref(py))),
    }
}
