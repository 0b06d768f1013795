//! The vectors of an index, lent to numpy: the memory is the core's, and lives as long as the array does.

#![allow(unsafe_code, reason = "a numpy array over memory that an Arrow buffer owns")]

use arrow_buffer::ScalarBuffer;
use numpy::{PyArray2, PyArrayMethods, ndarray::ArrayView2};
use pyo3::prelude::*;
use ruvector_core::Error;

use crate::{error::Result, index::PyIndex};

/// Keeps the memory of an array.
#[pyclass(frozen)]
struct Owner {
    values: ScalarBuffer<f32>,
}

/// The vectors of all rows as one read-only array, and the index in which they lie so: the one given, or one like it
/// whose vectors were copied into one piece.
#[pyfunction]
pub(crate) fn preset_originals<'py>(
    py: Python<'py>,
    index: &Bound<'py, PyIndex>,
) -> Result<(Py<PyIndex>, Bound<'py, PyArray2<f32>>)> {
    let sealed = index.get().sealed(py)?;
    if let Some(values) = sealed.contiguous() {
        return Ok((index.clone().unbind(), lend(py, values, sealed.dim())?));
    }
    let moved = py.detach(|| sealed.in_one_piece())?;
    let Some(values) = moved.contiguous() else {
        return Err(Error::invalid_parameter("vectors", "one piece", "several").into());
    };
    let array = lend(py, values, moved.dim())?;
    Ok((Py::new(py, PyIndex::new(moved, None))?, array))
}

fn lend(py: Python<'_>, values: ScalarBuffer<f32>, dim: usize) -> Result<Bound<'_, PyArray2<f32>>> {
    let owner = Bound::new(py, Owner { values })?;
    let held = owner.clone();
    let values = &held.get().values;
    let view = ArrayView2::from_shape((values.len() / dim, dim), values).map_err(|_| {
        let expected = format!("a multiple of {dim} values");
        Error::invalid_parameter("vectors", expected, format!("{} values", values.len()))
    })?;
    // SAFETY: the owner, which the array holds, keeps the values where they are and never writes to them; the array is
    // made read-only before anyone has it, and stays so, for its base offers no writable buffer.
    let array = unsafe { PyArray2::borrow_from_array(&view, owner.into_any()) };
    array.try_readwrite().map_err(PyErr::from)?.make_nonwriteable();
    Ok(array)
}
