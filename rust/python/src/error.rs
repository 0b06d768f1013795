//! What the core refuses, as Python raises it: one variant, one class of `ruvector.errors`.

use std::{io, path::Path};

use pyo3::{exceptions::PyKeyboardInterrupt, prelude::*, types::PyDict};
use ruvector_core::{Error, PersistError};
use ruvector_flight::client::Refused;

/// The result of everything that may fail on either side of the border.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error of the core, the lake or a server that is not a Python exception yet, or one that is.
#[derive(Debug)]
pub(crate) enum Failure {
    Core(Error),
    Lake(ruvector_lake::Error),
    Remote(Refused),
    Python(PyErr),
}

impl From<ruvector_lake::Error> for Failure {
    fn from(error: ruvector_lake::Error) -> Self {
        Self::Lake(error)
    }
}

impl From<Refused> for Failure {
    fn from(error: Refused) -> Self {
        Self::Remote(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Python(error) => error,
            Failure::Core(error) => {
                Python::attach(|py| exception(py, &error).unwrap_or_else(std::convert::identity))
            }
            Failure::Lake(error) => Python::attach(|py| crate::lake::errors::exception(py, &error)),
            Failure::Remote(error) => Python::attach(|py| crate::flight::exception(py, &error)),
        }
    }
}

/// A warning class of `ruvector.errors`, raised with the caller's line.
pub(crate) fn warn(py: Python<'_>, class: &str, message: &std::ffi::CStr) -> PyResult<()> {
    PyErr::warn(py, &errors(py)?.getattr(class)?, message, 1)
}

pub(crate) fn errors(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import("ruvector.errors")
}

pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let details = PyDict::new(py);
    let class = match error {
        Error::DimensionMismatch { expected, actual, .. } => {
            details.set_item("expected", expected)?;
            details.set_item("actual", actual)?;
            "DimensionMismatch"
        }
        Error::InvalidType { column, expected, actual } => {
            details.set_item("column", column)?;
            details.set_item("expected", expected)?;
            details.set_item("actual", actual)?;
            "InvalidVectorType"
        }
        Error::InvalidVector { column, row, .. } => {
            details.set_item("column", column)?;
            details.set_item("row", row)?;
            "InvalidVector"
        }
        Error::DuplicateId { id, first, second } => {
            details.set_item("id", id)?;
            details.set_item("rows", (first, second))?;
            "DuplicateId"
        }
        Error::UnknownId { id } => {
            details.set_item("id", id)?;
            "UnknownId"
        }
        Error::InvalidParameter { name, expected, actual } => {
            details.set_item("name", name)?;
            details.set_item("expected", expected)?;
            details.set_item("actual", actual)?;
            "InvalidParameter"
        }
        Error::Persist { path, source } => persist(&details, path, source)?,
        Error::EmptyIndex(_) => "EmptyIndex",
        Error::Interrupted => return Ok(PyKeyboardInterrupt::new_err(error.to_string())),
        _ => "VectorIndexError",
    };
    let raised = errors(py)?.getattr(class)?.call((error.to_string(),), Some(&details))?;
    Ok(PyErr::from_value(raised))
}

fn persist(details: &Bound<'_, PyDict>, path: &Path, source: &PersistError) -> PyResult<&'static str> {
    details.set_item("path", path.as_os_str())?;
    let reason = match source {
        PersistError::Io(error) => {
            details.set_item("errno", error.raw_os_error())?;
            if error.kind() == io::ErrorKind::NotFound {
                return Ok("IndexFileNotFound");
            }
            "io"
        }
        PersistError::NotArrow(_) => "not_arrow",
        PersistError::NotAnIndex(_) => "not_an_index",
        PersistError::UnsupportedVersion { .. } => "unsupported_version",
        PersistError::DigestMismatch { .. } => "digest_mismatch",
        _ => "corrupt",
    };
    details.set_item("reason", reason)?;
    Ok("PersistError")
}
