//! Files of upstream's format, `.rbpx` version 1.

#![allow(clippy::needless_pass_by_value, reason = "paths as Python passes them")]

use std::path::{Path, PathBuf};

use pyo3::prelude::*;
use ruvector_core::{
    Error, Index, Metric, Vectors,
    index::BuildParams,
    rbpx::{self, Table},
};

use crate::{
    args::{Whole, pool},
    error::Result,
    index::PyIndex,
    interrupt,
    progress::Progress,
};

/// An index over what such a file holds, built anew, and the file's rerank factor.
pub(crate) fn open(py: Python<'_>, path: &Path) -> Result<(PyIndex, u32)> {
    let Table { seed, rerank_factor, ids, vectors } = py.detach(|| rbpx::read(path))?;
    let params = BuildParams { metric: Metric::L2Sq, seed, ..BuildParams::default() };
    let pool = pool(None)?;
    let size = vectors.len().saturating_mul(vectors.dim()).saturating_mul(vectors.len().isqrt());
    let index = interrupt::run(py, size, &mut Progress::off(), |monitor| {
        Index::build(vectors, Some(&ids), &params, &pool, monitor)
    })?;
    Ok((PyIndex::new(index, None), rerank_factor))
}

/// Whether a file is of this format.
#[pyfunction]
pub(crate) fn is_rbpx1(path: PathBuf) -> bool {
    rbpx::is_rbpx(&path)
}

/// Read a file of this format.
#[pyfunction]
pub(crate) fn read_rbpx1(py: Python<'_>, path: PathBuf) -> Result<(PyIndex, u32)> {
    open(py, &path)
}

/// Write the rows of an index as a file of this format.
#[pyfunction]
pub(crate) fn write_rbpx1(
    py: Python<'_>,
    index: &Bound<'_, PyIndex>,
    path: PathBuf,
    rerank_factor: Whole,
) -> Result<()> {
    let rerank_factor = u32::try_from(rerank_factor.count("rerank_factor")?).unwrap_or(u32::MAX);
    let snapshot = index.get().get()?.snapshot();
    let metric = snapshot.index().metric();
    if metric != Metric::L2Sq {
        let expected = "l2sq, the only one that an rbpx1 file can mean";
        return Err(Error::invalid_parameter("metric", expected, metric.name()).into());
    }
    let seed = snapshot.index().router().rotation().seed();
    Ok(py.detach(|| {
        let (ids, vectors): (_, Vectors) = snapshot.rows()?;
        rbpx::write(&path, &Table { seed, rerank_factor, ids, vectors })
    })?)
}
