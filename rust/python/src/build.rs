//! Making indexes and truths: `build`, `open`, `exact_search`, `recall_at_k`.

use std::path::PathBuf;

use pyo3::prelude::*;
use ruvector_core::{
    Error, Index, Metric, Vectors, exact,
    ids::Ids,
    index::{BuildParams, check_values},
    kernel::Kernels,
};

use crate::{
    args::{Seed, Whole, pool},
    error::{Failure, Result},
    hits::PyHits,
    index::PyIndex,
    input::{Given, Role, Width},
    interrupt,
    progress::Progress,
    rbpx,
};

/// Build an index over a column of vectors, which it borrows.
#[pyfunction]
#[pyo3(
    signature = (data, ids=None, *, column=None, dim=None, metric="l2sq", nlist=None, bits=Whole(1), seed=Seed(0),
        threads=None, progress=None),
    text_signature = "(data, ids=None, *, column=None, dim=None, metric='l2sq', nlist=None, bits=1, seed=0, \
        threads=None, progress=False)"
)]
#[allow(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn build(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    ids: Option<&Bound<'_, PyAny>>,
    column: Option<&str>,
    dim: Option<Whole>,
    metric: &str,
    nlist: Option<Whole>,
    bits: Whole,
    seed: Seed,
    threads: Option<Whole>,
    progress: Option<&Bound<'_, PyAny>>,
) -> Result<PyIndex> {
    let nlist = nlist.map(|nlist| nlist.count("nlist")).transpose()?;
    let bits = u32::try_from(bits.count("bits")?).unwrap_or(u32::MAX);
    let params = BuildParams { metric: metric.parse()?, nlist, seed: seed.0, bits };
    let pool = pool(threads)?;
    let mut progress = Progress::new(progress)?;
    let (vectors, ids) = corpus(py, data, ids, column, dim)?;
    let size = vectors.len().saturating_mul(vectors.dim()).saturating_mul(vectors.len().isqrt());
    let index = interrupt::run(py, size, &mut progress, |monitor| {
        Index::build(vectors, ids.as_ref(), &params, &pool, monitor)
    })?;
    Ok(PyIndex::new(index, None))
}

/// Open a saved index. The file is mapped, not read.
#[pyfunction]
#[pyo3(signature = (path, *, verify=true, vectors=None))]
pub(crate) fn open(
    py: Python<'_>,
    path: PathBuf,
    verify: bool,
    vectors: Option<&Bound<'_, PyAny>>,
) -> Result<PyIndex> {
    if ruvector_core::rbpx::is_rbpx(&path) {
        if vectors.is_some() {
            let expected = "None for an rbpx1 file, which holds its vectors";
            return Err(Error::invalid_parameter("vectors", expected, "a column").into());
        }
        return Ok(rbpx::open(py, &path)?.0);
    }
    let mut index = py.detach(|| Index::open(&path, verify))?;
    if let Some(vectors) = vectors {
        let width = Width { dim: index.dim(), by: "the index" };
        let vectors = Given::read(vectors, Role::Vectors)?.vectors(py, None, Some(width))?;
        index = index.with_borrowed(vectors)?;
    }
    Ok(PyIndex::new(index, Some(path)))
}

/// Compare every query with every row: the truth that recall is measured by.
#[pyfunction]
#[pyo3(
    signature = (data, queries, k=Whole(10), *, ids=None, column=None, dim=None, metric="l2sq", threads=None),
    text_signature = "(data, queries, k=10, *, ids=None, column=None, dim=None, metric='l2sq', threads=None)"
)]
#[allow(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn exact_search(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    queries: &Bound<'_, PyAny>,
    k: Whole,
    ids: Option<&Bound<'_, PyAny>>,
    column: Option<&str>,
    dim: Option<Whole>,
    metric: &str,
    threads: Option<Whole>,
) -> Result<PyHits> {
    let metric: Metric = metric.parse()?;
    let k = k.count("k")?;
    let (pool, kernels) = (pool(threads)?, Kernels::detect()?);
    let (vectors, ids) = corpus(py, data, ids, column, dim)?;
    let width = Width { dim: vectors.dim(), by: vectors.column() };
    let queries = Given::read(queries, Role::QUERIES)?.vectors(py, None, Some(width))?;
    let rows = vectors.len() - vectors.null_count();
    let size = rows.saturating_mul(vectors.dim()).saturating_mul(queries.len().max(1));
    let hits = interrupt::run(py, size, &mut Progress::off(), |monitor| {
        check_values(&vectors, metric, &pool, monitor)?;
        check_values(&queries, metric, &pool, monitor)?;
        let column = exact::Column { vectors: &vectors, ids: ids.as_ref() };
        exact::search(&column, &queries, metric, k.min(rows), kernels, &pool, monitor)
    })?;
    Ok(PyHits::new(hits, k.min(rows)))
}

pub(crate) fn corpus(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    ids: Option<&Bound<'_, PyAny>>,
    column: Option<&str>,
    dim: Option<Whole>,
) -> Result<(Vectors, Option<Ids>)> {
    let given = Given::read(data, Role::Vectors)?;
    let width = dim.map(|dim| Ok::<_, Failure>(Width { dim: dim.count("dim")?, by: "dim" })).transpose()?;
    let vectors = given.vectors(py, column, width)?;
    if vectors.len() == vectors.null_count() {
        return Err(Error::EmptyIndex(format!("{} has no vector that is not null", vectors.column())).into());
    }
    let ids = given.ids(ids, vectors.len())?;
    Ok((vectors, ids))
}

/// The share of the true neighbours that were found, by distance.
#[pyfunction]
pub(crate) fn recall_at_k(found: &Bound<'_, PyHits>, truth: &Bound<'_, PyHits>) -> Result<f64> {
    Ok(ruvector_core::recall::recall_at_k(found.get().inner(), truth.get().inner())?)
}

/// The addresses of a column's chunks as the core sees them. For tests and diagnosis: equal addresses prove that
/// nothing was copied.
#[pyfunction]
#[pyo3(signature = (data, column=None))]
pub(crate) fn buffer_addresses(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    column: Option<&str>,
) -> Result<Vec<usize>> {
    Ok(Given::read(data, Role::Vectors)?.vectors(py, column, None)?.addresses())
}
