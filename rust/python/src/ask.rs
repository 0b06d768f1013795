//! What asks an index: how hard to look, and the bodies of `Index.search` and its kin.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use ruvector_core::{
    Error, Live, Pool, Vectors,
    ids::{Id, Ids},
    index::{Effort, Explained, SearchParams},
    live::Nearest,
    recall::recall_at_k,
};

use crate::{
    args::{Whole, pool},
    error::Result,
    hits::PyHits,
    input::{self, Given, Role, Width},
    interrupt,
    progress::Progress,
    table::{Column, PyTable},
};

/// How much less work it is to read all codes than to compare all vectors, at least.
const CODED: usize = 16;

/// How hard to look, as the keywords of a search say it.
pub(crate) struct Asked {
    pub(crate) recall: f64,
    pub(crate) nprobe: Option<Whole>,
    pub(crate) epsilon: Option<f64>,
    pub(crate) exact: bool,
    pub(crate) rerank: bool,
    pub(crate) threads: Option<Whole>,
}

impl Asked {
    pub(crate) fn params(&self, k: usize) -> Result<SearchParams> {
        let effort = match self.nprobe {
            Some(_) if self.exact => {
                return Err(Error::invalid_parameter("nprobe", "None with exact=True", "both").into());
            }
            Some(nprobe) => Effort::Nprobe(nprobe.count("nprobe")?),
            None if self.exact => Effort::Exact,
            None => Effort::Recall(self.recall),
        };
        let epsilon = self.epsilon.map(|epsilon| epsilon as f32);
        Ok(SearchParams { k, effort, epsilon, filter: None, rerank: self.rerank })
    }
}

/// About how many multiplications it takes at most to answer queries among so many rows.
pub(crate) fn work(queries: &Vectors, rows: usize, effort: Effort) -> usize {
    let compared = queries.len().saturating_mul(rows).saturating_mul(queries.dim());
    match effort {
        Effort::Exact => compared,
        Effort::Recall(recall) if recall >= 1.0 => compared,
        Effort::Recall(_) | Effort::Nprobe(_) => compared / CODED,
    }
}

/// Queries as wide as the index.
pub(crate) fn queries(py: Python<'_>, index: &Live, queries: &Bound<'_, PyAny>) -> Result<Vectors> {
    let width = Width { dim: index.snapshot().index().dim(), by: "the index" };
    Given::read(queries, Role::QUERIES)?.vectors(py, None, Some(width))
}

pub(crate) fn search(
    py: Python<'_>,
    index: &Live,
    asked: &Bound<'_, PyAny>,
    k: Whole,
    how: &Asked,
    filter: Option<&Bound<'_, PyAny>>,
) -> Result<PyHits> {
    let k = k.count("k")?;
    let mut params = how.params(k)?;
    let pool = pool(how.threads)?;
    let queries = queries(py, index, asked)?;
    let allowed = filter.map(input::filter).transpose()?;
    let snapshot = index.snapshot();
    if let Some(allowed) = &allowed {
        params.filter = Some(py.detach(|| allowed.of(&snapshot))?);
    }
    let size = work(&queries, snapshot.len(), params.effort);
    let hits = interrupt::run(py, size, &mut Progress::off(), |monitor| {
        snapshot.search(&queries, &params, &pool, monitor)
    })?;
    if allowed.is_some() {
        return Ok(PyHits::ragged(hits));
    }
    Ok(PyHits::new(hits, k.min(snapshot.len())))
}

/// What a search does for each query.
pub(crate) fn explain(
    py: Python<'_>,
    index: &Live,
    asked: &Bound<'_, PyAny>,
    k: Whole,
    how: &Asked,
    filter: Option<&Bound<'_, PyAny>>,
) -> Result<PyTable> {
    let mut params = how.params(k.count("k")?)?;
    let pool = pool(how.threads)?;
    let queries = queries(py, index, asked)?;
    let allowed = filter.map(input::filter).transpose()?;
    let snapshot = index.snapshot();
    params.filter = allowed.map(|allowed| py.detach(|| allowed.of(&snapshot))).transpose()?;
    let explained = py.detach(|| snapshot.explain(&queries, &params, &pool))?;
    let whole = |of: fn(&Explained) -> usize| {
        Column::Whole(explained.iter().map(|one| one.as_ref().map(|one| of(one) as i64)).collect())
    };
    Ok(PyTable::new(vec![
        ("query_row", Column::Whole((0..explained.len()).map(|row| Some(row as i64)).collect())),
        ("lists", whole(|one| one.lists)),
        ("codes", whole(|one| one.codes)),
        ("pruned", whole(|one| one.codes.saturating_sub(one.survivors))),
        ("survivors", whole(|one| one.survivors)),
        ("reranked", whole(|one| one.reranked)),
        ("on_target", Column::Flag(explained.iter().map(|one| one.map(|one| one.on_target)).collect())),
    ]))
}

/// The share of the true neighbours that a search finds.
pub(crate) fn measure_recall(
    py: Python<'_>,
    index: &Live,
    asked: &Bound<'_, PyAny>,
    k: Whole,
    how: &Asked,
    filter: Option<&Bound<'_, PyAny>>,
) -> Result<f64> {
    let mut params = how.params(k.count("k")?)?;
    let pool = pool(how.threads)?;
    let queries = queries(py, index, asked)?;
    let allowed = filter.map(input::filter).transpose()?;
    let snapshot = index.snapshot();
    params.filter = allowed.map(|allowed| py.detach(|| allowed.of(&snapshot))).transpose()?;
    let exact = SearchParams { effort: Effort::Exact, ..params.clone() };
    let size = queries.len().saturating_mul(snapshot.len()).saturating_mul(queries.dim());
    interrupt::run(py, size, &mut Progress::off(), |monitor| {
        let truth = snapshot.search(&queries, &exact, &pool, monitor)?;
        recall_at_k(&snapshot.search(&queries, &params, &pool, monitor)?, &truth)
    })
}

/// One id as Python has it, of the type that the index has; `None` for anything that is no such id.
pub(crate) fn one_id(index: &Live, id: &Bound<'_, PyAny>) -> Option<Ids> {
    let list = pyo3::types::PyList::new(id.py(), [id]).ok()?;
    let ids = Given::read(list.as_any(), Role::Ids).ok()?.list().ok()?;
    ids.cast("id", index.snapshot().id_type()).ok()
}

pub(crate) fn contains(index: &Live, id: &Bound<'_, PyAny>) -> bool {
    let ids = one_id(index, id);
    id.py().detach(|| ids.is_some_and(|ids| index.snapshot().contains(ids.get(0))))
}

pub(crate) fn get(index: &Live, id: &Bound<'_, PyAny>) -> Result<Vec<f32>> {
    let ids = one_id(index, id);
    let found = id.py().detach(|| {
        let Some(ids) = &ids else { return Ok(None) };
        index.snapshot().get(ids.get(0))
    })?;
    Ok(found.ok_or(Error::UnknownId { id: id.repr()?.to_string() })?)
}

/// The ids as Python objects.
pub(crate) fn ids_as_list<'py>(py: Python<'py>, ids: &Ids) -> PyResult<Bound<'py, PyAny>> {
    let each = (0..ids.len()).map(|at| match ids.get(at) {
        Id::Int64(id) => id.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
        Id::UInt64(id) => id.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
        Id::Utf8(id) => id.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
    });
    Ok(pyo3::types::PyList::new(py, each.collect::<PyResult<Vec<_>>>()?)?.into_any())
}

pub(crate) fn within(
    py: Python<'_>,
    index: &Live,
    asked: &Bound<'_, PyAny>,
    radius: f64,
    how: &Asked,
    filter: Option<&Bound<'_, PyAny>>,
) -> Result<PyHits> {
    let effort = how.params(1)?.effort;
    let pool = pool(how.threads)?;
    let queries = queries(py, index, asked)?;
    let allowed = filter.map(input::filter).transpose()?;
    let snapshot = index.snapshot();
    let filter = allowed.map(|allowed| py.detach(|| allowed.of(&snapshot))).transpose()?;
    let size = queries.len().saturating_mul(snapshot.len()).saturating_mul(queries.dim());
    let hits = interrupt::run(py, size, &mut Progress::off(), |monitor| {
        snapshot.within(&queries, radius as f32, effort, filter.as_ref(), &pool, monitor)
    })?;
    Ok(PyHits::ragged(hits))
}

pub(crate) fn neighbours(py: Python<'_>, index: &Live, k: Whole, how: &Asked) -> Result<PyHits> {
    let (params, pool) = (how.params(k.count("k")?)?, pool(how.threads)?);
    let snapshot = index.snapshot();
    let hits = interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| {
        snapshot.neighbours(&params, &pool, monitor)
    })?;
    Ok(PyHits::ragged(hits))
}

/// The vectors of some rows, back to back, and their number.
pub(crate) fn reconstruct(py: Python<'_>, index: &Live, ids: &Bound<'_, PyAny>) -> Result<(Vec<f32>, usize)> {
    let snapshot = index.snapshot();
    let ids = Given::read(ids, Role::Ids)?.list()?.cast("ids", snapshot.id_type())?;
    Ok((py.detach(|| snapshot.reconstruct(&ids))?, ids.len()))
}

pub(crate) fn iterate(
    py: Python<'_>,
    index: &Live,
    query: &Bound<'_, PyAny>,
    batch: Whole,
    how: &Asked,
) -> Result<PyNearest> {
    let (batch, pool) = (batch.count("batch")?, pool(how.threads)?);
    let query = queries(py, index, query)?;
    if query.len() != 1 {
        let actual = format!("{} queries", query.len());
        return Err(Error::invalid_parameter("query", "one query", actual).into());
    }
    let nearest = Nearest::new(index.snapshot(), query, how.params(1)?);
    Ok(PyNearest { nearest: Mutex::new(nearest), batch, pool })
}

/// The neighbours of one query, a batch at a time: an iterator of `Hits`.
#[pyclass(name = "Nearest", module = "ruvector", frozen)]
pub(crate) struct PyNearest {
    nearest: Mutex<Nearest>,
    batch: usize,
    pool: Pool,
}

#[pymethods]
impl PyNearest {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Result<Option<PyHits>> {
        let hits = interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| {
            let mut nearest = self.nearest.lock().unwrap_or_else(PoisonError::into_inner);
            nearest.next(self.batch, &self.pool, monitor)
        })?;
        Ok((!hits.is_empty()).then(|| PyHits::ragged(hits)))
    }
}
