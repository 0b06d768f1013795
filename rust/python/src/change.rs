//! What changes an index: the bodies of `Index.add`, `delete`, `upsert`, `merge` and `compact`.

use pyo3::{
    prelude::*,
    types::{PyDict, PyRange},
};
use ruvector_core::{
    Live, Vectors,
    live::{Compacted, Retrain},
};

use crate::{
    args::{Whole, pool},
    error::Result,
    input::{Given, Role, Width},
    interrupt,
    progress::Progress,
};

/// Rows that come in: the vectors, and what they came in.
fn rows(
    py: Python<'_>,
    index: &Live,
    data: &Bound<'_, PyAny>,
    column: Option<&str>,
) -> Result<(Given, Vectors)> {
    let width = Width { dim: index.snapshot().index().dim(), by: "the index" };
    let given = Given::read(data, Role::Vectors)?;
    let vectors = given.vectors(py, column, Some(width))?;
    Ok((given, vectors))
}

/// About how many multiplications it takes to code these rows.
fn size(index: &Live, vectors: &Vectors) -> usize {
    let nlist = index.snapshot().index().router().nlist();
    vectors.len().saturating_mul(vectors.dim()).saturating_mul(nlist)
}

pub(crate) fn add<'py>(
    py: Python<'py>,
    index: &Live,
    data: &Bound<'py, PyAny>,
    ids: Option<&Bound<'py, PyAny>>,
    column: Option<&str>,
    threads: Option<Whole>,
) -> Result<Option<Bound<'py, PyRange>>> {
    let pool = pool(threads)?;
    let (given, vectors) = rows(py, index, data, column)?;
    let ids = given.ids(ids, vectors.len())?;
    let numbers = interrupt::run(py, size(index, &vectors), &mut Progress::off(), |monitor| {
        index.add(ids.as_ref(), &vectors, &pool, monitor)
    })?;
    Ok(numbers.map(|numbers| PyRange::new(py, numbers.start as isize, numbers.end as isize)).transpose()?)
}

pub(crate) fn upsert(
    py: Python<'_>,
    index: &Live,
    data: &Bound<'_, PyAny>,
    ids: &Bound<'_, PyAny>,
    column: Option<&str>,
    threads: Option<Whole>,
) -> Result<usize> {
    let pool = pool(threads)?;
    let (given, vectors) = rows(py, index, data, column)?;
    let ids = given.repeated_ids(ids)?;
    interrupt::run(py, size(index, &vectors), &mut Progress::off(), |monitor| {
        index.upsert(&ids, &vectors, &pool, monitor)
    })
}

pub(crate) fn delete(py: Python<'_>, index: &Live, ids: &Bound<'_, PyAny>) -> Result<usize> {
    let ids = Given::read(ids, Role::Ids)?.list()?;
    Ok(py.detach(|| index.delete(&ids))?)
}

pub(crate) fn merge<'py>(
    py: Python<'py>,
    index: &Live,
    other: &Live,
    threads: Option<Whole>,
) -> Result<Option<Bound<'py, PyRange>>> {
    let pool = pool(threads)?;
    let numbers =
        interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| index.merge(other, &pool, monitor))?;
    Ok(numbers.map(|numbers| PyRange::new(py, numbers.start as isize, numbers.end as isize)).transpose()?)
}

pub(crate) fn compact<'py>(
    py: Python<'py>,
    index: &Live,
    retrain: Option<bool>,
    threads: Option<Whole>,
    progress: Option<&Bound<'py, PyAny>>,
) -> Result<Bound<'py, PyDict>> {
    let retrain = match retrain {
        None => Retrain::Auto,
        Some(true) => Retrain::Always,
        Some(false) => Retrain::Never,
    };
    let (pool, mut progress) = (pool(threads)?, Progress::new(progress)?);
    let done =
        interrupt::run(py, usize::MAX, &mut progress, |monitor| index.compact(retrain, &pool, monitor))?;
    let Compacted { rows, dropped, segments, drift, retrained } = done;
    let report = PyDict::new(py);
    report.set_item("rows", rows)?;
    report.set_item("dropped", dropped)?;
    report.set_item("segments", segments)?;
    report.set_item("drift", drift)?;
    report.set_item("retrained", retrained)?;
    Ok(report)
}
