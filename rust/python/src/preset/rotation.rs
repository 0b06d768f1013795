//! The class `Rotation`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use ruvector_core::{Error, kernel::Kernels, rotate};

use crate::{
    error::Result,
    index::PyIndex,
    input::{Given, Role, Width},
};

/// The seeded rotation that an index applies to every vector before it is coded.
#[pyclass(name = "Rotation", module = "ruvector", frozen)]
pub(crate) struct PyRotation {
    rotation: rotate::Rotation,
    kernels: Kernels,
}

/// The rotation of an index.
#[pyfunction]
pub(crate) fn preset_rotation(index: &Bound<'_, PyIndex>) -> Result<PyRotation> {
    let snapshot = index.get().get()?.snapshot();
    let router = snapshot.index().router();
    Ok(PyRotation { rotation: router.rotation().clone(), kernels: router.kernels() })
}

#[pymethods]
#[allow(clippy::unused_self, reason = "properties in Python")]
impl PyRotation {
    /// The construction: "fht-kac".
    #[getter]
    fn kind(&self) -> &'static str {
        rotate::KIND
    }

    /// The version of the construction and of its generator.
    #[getter]
    fn version(&self) -> u32 {
        rotate::GENERATOR_VERSION
    }

    /// The seed.
    #[getter]
    fn seed(&self) -> u64 {
        self.rotation.seed()
    }

    /// Elements of what goes in.
    #[getter]
    fn dim(&self) -> usize {
        self.rotation.dim()
    }

    /// Elements of what comes out.
    #[getter]
    fn padded_dim(&self) -> usize {
        self.rotation.padded_dim()
    }

    /// Rotate one vector.
    fn apply<'py>(&self, vector: &Bound<'py, PyAny>) -> Result<Bound<'py, PyArray1<f32>>> {
        let py = vector.py();
        let width = Width { dim: self.rotation.dim(), by: "the rotation" };
        let vectors = Given::read(vector, Role::QUERIES)?.vectors(py, None, Some(width))?;
        if vectors.len() != 1 || vectors.is_null(0) {
            let actual = format!("{} vectors", vectors.len() - vectors.null_count());
            return Err(Error::invalid_parameter("vector", "one vector", actual).into());
        }
        let (mut scratch, mut out) = (vec![0.0; vectors.dim()], vec![0.0; self.rotation.padded_dim()]);
        self.rotation.rotate(self.kernels, vectors.row(0, &mut scratch), &mut out);
        Ok(out.into_pyarray(py))
    }

    fn __repr__(&self) -> String {
        let (dim, padded) = (self.dim(), self.padded_dim());
        format!("Rotation({}, seed={}, {dim} -> {padded} dimensions)", rotate::KIND, self.seed())
    }
}
