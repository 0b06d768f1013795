//! What an index keeps of each row: its id, its length, its code.

use std::sync::Arc;

use arrow_array::{FixedSizeBinaryArray, Float32Array, make_array};
use arrow_buffer::Buffer;
use pyo3::prelude::*;
use ruvector_core::{Error, kernel::Kernels};

use crate::{column::PyArrowColumn, error::Result, index::PyIndex};

/// The ids of all rows, in their order.
#[pyfunction]
pub(crate) fn preset_ids(py: Python<'_>, index: &Bound<'_, PyIndex>) -> Result<PyArrowColumn> {
    let index = index.get().sealed(py)?;
    let ids = py.detach(|| index.ids_in_order());
    Ok(PyArrowColumn::new("id", make_array(ids.as_array().to_data())))
}

/// The Euclidean length of all rows, in their order: of vectors that lie in one piece.
#[pyfunction]
pub(crate) fn preset_norms(py: Python<'_>, index: &Bound<'_, PyIndex>) -> Result<PyArrowColumn> {
    let index = index.get().sealed(py)?;
    let Some(values) = index.contiguous() else {
        return Err(Error::invalid_parameter("vectors", "one piece", "several").into());
    };
    let kernels = Kernels::detect()?;
    let norms = py.detach(|| {
        let norm = |vector: &[f32]| kernels.dot(vector, vector).sqrt();
        Float32Array::from_iter_values(values.chunks_exact(index.dim()).map(norm))
    });
    Ok(PyArrowColumn::new("norm", Arc::new(norms)))
}

/// The one-bit codes of all rows, in their order.
#[pyfunction]
pub(crate) fn preset_packed(py: Python<'_>, index: &Bound<'_, PyIndex>) -> Result<PyArrowColumn> {
    let index = index.get().sealed(py)?;
    let packed = py.detach(|| index.packed_codes());
    let bytes = i32::try_from(index.router().padded_dim() / 8).unwrap_or(i32::MAX);
    let codes = FixedSizeBinaryArray::try_new(bytes, Buffer::from_vec(packed), None).map_err(Error::from)?;
    Ok(PyArrowColumn::new("code", Arc::new(codes)))
}
