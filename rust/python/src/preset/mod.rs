//! What the preset classes of `ruvector.presets` need besides the methods of `Index`.
//!
//! Their Python is thin: it says which of the engine's options a class stands for. Here is what needs the engine's own
//! types: building from `f32` alone with an id for every row, keeping vectors in one piece or not at all, and the views.

pub(crate) mod codes;
pub(crate) mod originals;
pub(crate) mod rotation;
pub(crate) mod scores;

use arrow_array::Int64Array;
use pyo3::{prelude::*, types::PyList};
use ruvector_core::{
    Error, Index, Vectors,
    ids::Ids,
    index::{BuildParams, VectorsKept},
    vectors::Element,
};

use crate::{
    args::{Seed, Whole, pool},
    build::corpus,
    error::Result,
    index::PyIndex,
    input::{Given, Role, Width},
    interrupt,
    progress::Progress,
};

/// Build an index with an id for every row, over vectors of float32 only.
#[pyfunction]
#[pyo3(
    signature = (data, ids=None, *, column=None, metric="l2sq", nlist=None, bits=Whole(1), seed=Seed(42), threads=None,
        progress=None, originals=true),
    text_signature = "(data, ids=None, *, column=None, metric='l2sq', nlist=None, bits=1, seed=42, threads=None, \
        progress=False, originals=True)"
)]
#[allow(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn preset_build(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    ids: Option<&Bound<'_, PyAny>>,
    column: Option<&str>,
    metric: &str,
    nlist: Option<Whole>,
    bits: Whole,
    seed: Seed,
    threads: Option<Whole>,
    progress: Option<&Bound<'_, PyAny>>,
    originals: bool,
) -> Result<PyIndex> {
    let nlist = nlist.map(|nlist| nlist.count("nlist")).transpose()?;
    let bits = u32::try_from(bits.count("bits")?).unwrap_or(u32::MAX);
    let params = BuildParams { metric: metric.parse()?, nlist, seed: seed.0, bits };
    let pool = pool(threads)?;
    let mut progress = Progress::new(progress)?;
    let (vectors, ids) = corpus(py, data, ids, column, None)?;
    check_f32(&vectors)?;
    let ids = ids.unwrap_or_else(|| Ids::Int64(Int64Array::from_iter_values(0..vectors.len() as i64)));
    let size = vectors.len().saturating_mul(vectors.dim()).saturating_mul(vectors.len().isqrt());
    let index = interrupt::run(py, size, &mut progress, |monitor| {
        let index = Index::build(vectors, Some(&ids), &params, &pool, monitor)?;
        if originals { Ok(index) } else { index.codes_only() }
    })?;
    Ok(PyIndex::new(index, None))
}

/// An opened index as a preset keeps it: with an id for every row, with its vectors or with codes only.
#[pyfunction]
pub(crate) fn preset_adopt(py: Python<'_>, index: &Bound<'_, PyIndex>, originals: bool) -> Result<PyIndex> {
    let path = index.get().path();
    let index = index.get().sealed(py)?;
    if originals && index.vectors_kept() == VectorsKept::None {
        let expected = "an index that stores its vectors";
        return Err(Error::invalid_parameter("path", expected, "one that holds codes only").into());
    }
    let adopted = py.detach(|| {
        let named = index.with_ids()?;
        if originals { Ok(named) } else { named.codes_only() }
    })?;
    Ok(PyIndex::new(adopted, path))
}

/// Add one row, or put it in place of the one with its id. Returns how many were replaced.
#[pyfunction]
pub(crate) fn preset_put(
    py: Python<'_>,
    index: &Bound<'_, PyIndex>,
    id: &Bound<'_, PyAny>,
    vector: &Bound<'_, PyAny>,
    replace: bool,
) -> Result<usize> {
    let live = index.get().get()?;
    let width = Width { dim: live.snapshot().index().dim(), by: "the index" };
    let vectors = Given::read(vector, Role::QUERIES)?.vectors(py, None, Some(width))?;
    if vectors.len() != 1 {
        let actual = format!("{} vectors", vectors.len());
        return Err(Error::invalid_parameter("vector", "one vector", actual).into());
    }
    let ids = Given::read(PyList::new(py, [id])?.as_any(), Role::Ids)?.list()?;
    put(py, index, &ids, &vectors, replace)
}

/// Add rows, or put each in place of the one with its id. Returns how many were replaced.
#[pyfunction]
#[pyo3(signature = (index, data, ids, replace, *, column=None))]
pub(crate) fn preset_put_batch(
    py: Python<'_>,
    index: &Bound<'_, PyIndex>,
    data: &Bound<'_, PyAny>,
    ids: &Bound<'_, PyAny>,
    replace: bool,
    column: Option<&str>,
) -> Result<usize> {
    let live = index.get().get()?;
    let width = Width { dim: live.snapshot().index().dim(), by: "the index" };
    let given = Given::read(data, Role::Vectors)?;
    let vectors = given.vectors(py, column, Some(width))?;
    let ids = given.repeated_ids(ids)?;
    put(py, index, &ids, &vectors, replace)
}

fn put(
    py: Python<'_>,
    index: &Bound<'_, PyIndex>,
    ids: &Ids,
    vectors: &Vectors,
    replace: bool,
) -> Result<usize> {
    check_f32(vectors)?;
    let (live, pool) = (index.get().get()?, pool(None)?);
    let nlist = live.snapshot().index().router().nlist();
    let size = vectors.len().saturating_mul(vectors.dim()).saturating_mul(nlist);
    let done = interrupt::run(py, size, &mut Progress::off(), |monitor| {
        if replace {
            return live.upsert(ids, vectors, &pool, monitor);
        }
        live.add(Some(ids), vectors, &pool, monitor).map(|_| 0)
    });
    index.get().changed(done)
}

/// Nothing is widened without being asked for.
fn check_f32(vectors: &Vectors) -> Result<()> {
    if vectors.element() == Element::F32 || vectors.is_empty() {
        return Ok(());
    }
    let (expected, actual) = ("float32".into(), "float16".into());
    Err(Error::InvalidType { column: vectors.column().into(), expected, actual }.into())
}

/// All bytes that the index keeps alive: codes, tables, vectors, mapped pages.
#[pyfunction]
pub(crate) fn preset_held_bytes(index: &Bound<'_, PyIndex>) -> Result<usize> {
    Ok(index.get().get()?.snapshot().held_bytes())
}
