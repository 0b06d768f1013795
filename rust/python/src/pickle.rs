//! Pickles of an index: its path where the file can stand for it, its bytes otherwise.

use std::path::{Path, PathBuf};

use pyo3::{IntoPyObjectExt, prelude::*, types::PyBytes};
use ruvector_core::{Error, Index, PersistError, format::Keep, index::VectorsKept, vectors::Element};

use crate::{error::Result, index::PyIndex, input};

/// The function and the arguments that make the index again.
pub(crate) fn reduce<'py>(
    py: Python<'py>,
    index: &Index,
    path: Option<&Path>,
) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let module = py.import("ruvector._ruvector")?;
    if let Some(path) = path.filter(|path| py.detach(|| stands_for(path, index))) {
        let arguments = (path.as_os_str(), index.digest()).into_bound_py_any(py)?;
        return Ok((module.getattr("_from_path")?, arguments));
    }
    let bytes = py.detach(|| index.to_bytes(Keep::AsIs))?;
    let arguments = (PyBytes::new(py, &bytes),).into_bound_py_any(py)?;
    Ok((module.getattr("_from_bytes")?, arguments))
}

/// Whether the file would give the same answers: the same index, with vectors of the same precision.
fn stands_for(path: &Path, index: &Index) -> bool {
    Index::open(path, false)
        .is_ok_and(|file| precision(&file) == precision(index) && file.digest() == index.digest())
}

fn precision(index: &Index) -> Option<Element> {
    match index.vectors_kept() {
        VectorsKept::None => None,
        VectorsKept::Stored(element) => Some(element),
        VectorsKept::Borrowed => index.borrowed().map(ruvector_core::Vectors::element),
    }
}

/// Opens the file of a pickled index, if it is still the same.
#[pyfunction]
#[pyo3(name = "_from_path")]
pub(crate) fn from_path(py: Python<'_>, path: PathBuf, digest: &str) -> Result<PyIndex> {
    let index = py.detach(|| Index::open(&path, true))?;
    if index.digest() != digest {
        let (expected, actual) = (digest.to_owned(), index.digest().to_owned());
        let source = PersistError::DigestMismatch { what: "the pickled index".into(), expected, actual };
        return Err(Error::persist(path, source).into());
    }
    Ok(PyIndex::new(index, Some(path)))
}

/// Makes an index from the bytes of its file.
#[pyfunction]
#[pyo3(name = "_from_bytes")]
pub(crate) fn from_bytes(py: Python<'_>, bytes: &Bound<'_, PyBytes>) -> Result<PyIndex> {
    let bytes = input::bytes(bytes)?;
    Ok(PyIndex::new(py.detach(|| Index::from_bytes(bytes, true))?, None))
}
