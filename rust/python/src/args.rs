//! Numbers as Python passes them: of any size. What makes no sense is refused by our own error, not by an overflow.

use pyo3::{exceptions::PyOverflowError, prelude::*};
use ruvector_core::{Error, Pool};

use crate::error::Result;

/// A whole number, clipped to 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Whole(pub(crate) i64);

impl<'py> FromPyObject<'_, 'py> for Whole {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                Ok(Self(if object.lt(0)? { i64::MIN } else { i64::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

impl Whole {
    /// The number as a count.
    pub(crate) fn count(self, name: &str) -> Result<usize> {
        match usize::try_from(self.0) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(Error::invalid_parameter(name, "at least 1", self.0.to_string()).into()),
        }
    }
}

/// The seed of everything that is drawn by lot.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seed(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for Seed {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract() {
            Ok(seed) => Ok(Self(seed)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                let actual = object.str()?.to_string();
                let error = Error::invalid_parameter("seed", "0 to 2**64 - 1", actual);
                Err(crate::error::Failure::from(error).into())
            }
            Err(error) => Err(error),
        }
    }
}

/// The argument `threads`.
pub(crate) fn pool(threads: Option<Whole>) -> Result<Pool> {
    let threads = threads.map(|threads| threads.count("threads")).transpose()?;
    Ok(Pool::new(threads)?)
}
