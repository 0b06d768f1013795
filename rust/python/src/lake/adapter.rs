//! Backends that are written in Python.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::RecordBatch;
use pyo3::{
    prelude::*,
    types::{PyInt, PyIterator},
};
use ruvector_core::{
    Hits, Metric, Vectors,
    ids::{IdType, Ids},
    topk::Candidate,
};
use ruvector_lake::{
    Backend, Error, Generation, Result,
    backend::{Batches, Piece, Pull, State, batches, find_columns},
};

use super::{errors::raised, tables};
use crate::{column::PyArrowColumn, error::Failure, gate};

/// An adapter in Python. Its methods are called on whatever thread asks, with the GIL.
pub(super) struct Adapter {
    id: String,
    object: Py<PyAny>,
    /// What was told last of each collection: it holds as long as the generation does.
    layouts: Mutex<HashMap<String, (Generation, Layout)>>,
}

/// What a `Layout` says.
#[derive(Clone)]
struct Layout {
    vector: String,
    id: Option<String>,
    dim: usize,
    data_ref: Option<String>,
    pieces: Vec<Piece>,
}

impl Adapter {
    pub(super) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let id = object.getattr("id")?.extract()?;
        Ok(Self { id, object: object.clone().unbind(), layouts: Mutex::default() })
    }

    /// Runs code of the adapter. An interpreter that is going away runs none.
    fn call<T>(
        &self,
        collection: Option<&str>,
        call: impl FnOnce(Python<'_>, &Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Result<T> {
        let done = gate::attach(|py| {
            call(py, self.object.bind(py)).map_err(|error| raised(py, &self.id, collection, error))
        });
        done.unwrap_or_else(|| Err(Error::backend(&self.id, "python is shutting down")))
    }

    fn layout(&self, collection: &str, generation: &Generation) -> Result<Layout> {
        let known = self.layouts.lock().unwrap_or_else(PoisonError::into_inner).get(collection).cloned();
        if let Some((_, layout)) = known.filter(|(of, _)| of == generation) {
            return Ok(layout);
        }
        let layout =
            self.call(Some(collection), |_, object| read(&object.call_method1("layout", (collection,))?))?;
        let mut layouts = self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        layouts.insert(collection.into(), (generation.clone(), layout.clone()));
        Ok(layout)
    }
}

fn read(layout: &Bound<'_, PyAny>) -> PyResult<Layout> {
    let piece = |piece: Bound<'_, PyAny>| {
        Ok(Piece { name: piece.getattr("name")?.extract()?, rows: piece.getattr("rows")?.extract()? })
    };
    Ok(Layout {
        vector: layout.getattr("vector")?.extract()?,
        id: layout.getattr("id")?.extract()?,
        dim: layout.getattr("dim")?.extract()?,
        data_ref: layout.getattr("data_ref")?.extract()?,
        pieces: layout.getattr("pieces")?.try_iter()?.map(|each| piece(each?)).collect::<PyResult<_>>()?,
    })
}

impl Backend for Adapter {
    fn id(&self) -> &str {
        &self.id
    }

    fn list_collections(&self) -> Result<Vec<String>> {
        self.call(None, |_, object| {
            object.call_method0("list_collections")?.try_iter()?.map(|name| name?.extract()).collect()
        })
    }

    fn generation(&self, collection: &str) -> Result<Generation> {
        self.call(Some(collection), |_, object| {
            let token = object.call_method1("generation", (collection,))?;
            if token.is_instance_of::<PyInt>() {
                return Ok(Generation::Number(token.extract()?));
            }
            Ok(Generation::Text(token.extract()?))
        })
    }

    fn state(&self, collection: &str) -> Result<State> {
        let generation = self.generation(collection)?;
        let Layout { vector, id, dim, data_ref, pieces } = self.layout(collection, &generation)?;
        let data_ref = data_ref.unwrap_or_else(|| format!("{}://{collection}", self.id));
        Ok(State { data_ref, dim, generation, vector, id, pieces })
    }

    fn pull(&self, collection: &str, pull: &Pull) -> Result<Batches> {
        let rows = self.call(Some(collection), |py, object| {
            let request = super::filter::request(py, pull)?;
            let rows = object.call_method1("pull", (collection, request))?;
            tables::Rows::of(&rows)
        })?;
        let each = match rows {
            tables::Rows::Stream(stream) => return Ok(Box::new(stream)),
            tables::Rows::Batches(each) => each,
        };
        let mut rest = Rest { id: self.id.clone(), each };
        let first = rest.next().transpose()?.ok_or_else(|| {
            Error::backend(&self.id, "pull: expected at least one batch, for its schema, got none")
        })?;
        Ok(batches(first.schema(), std::iter::once(Ok(first)).chain(rest)))
    }

    fn push_down_topk(&self, collection: &str, queries: &Vectors, k: usize) -> Result<Option<Hits>> {
        let answer = self.call(Some(collection), |py, object| {
            let asked = PyArrowColumn::new("queries", tables::column(queries)?);
            let found = object.call_method1("search", (collection, Py::new(py, asked)?, k))?;
            if found.is_none() { Ok(None) } else { tables::read_all(&found).map(Some) }
        })?;
        let Some(answer) = answer else { return Ok(None) };
        let Some(table) = answer else {
            let none: Vec<Option<Vec<Candidate<'_>>>> = vec![Some(Vec::new()); queries.len()];
            return Ok(Some(Hits::new(IdType::Int64, Metric::L2Sq, true, &none)));
        };
        hits(&table, queries.len(), k)
            .map(Some)
            .map_err(|reason| Error::backend(&self.id, format!("search: {reason}")))
    }
}

/// The batches of an iterable, one by one.
struct Rest {
    id: String,
    each: Py<PyIterator>,
}

impl Iterator for Rest {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = gate::attach(|py| {
            let mut each = self.each.bind(py).clone();
            let batch = each.next()?;
            let batch = batch.and_then(|batch| tables::one_batch(&batch));
            Some(batch.map_err(|error| raised(py, &self.id, None, error)))
        });
        next.unwrap_or_else(|| Some(Err(Error::backend(&self.id, "python is shutting down"))))
    }
}

/// What a backend found itself: `query_row`, `rank`, `id`, `distance`.
fn hits(table: &RecordBatch, queries: usize, k: usize) -> Result<Hits, String> {
    let column = |name: &str| {
        table.column_by_name(name).ok_or_else(|| format!("the answer lacks the column {name:?}"))
    };
    let numbers = |name: &str| {
        let column = column(name)?;
        tables::numbers(column).ok_or_else(|| format!("{name}: expected numbers, got {}", column.data_type()))
    };
    let (rows, distances) = (numbers("query_row")?, numbers("distance")?);
    let ids = Ids::from_list("id", &[Arc::clone(column("id")?)]).map_err(|error| error.to_string())?;
    let mut found: Vec<Vec<Candidate<'_>>> = (0..queries).map(|_| Vec::new()).collect();
    for (at, (row, distance)) in rows.into_iter().zip(distances).enumerate() {
        let place = row.filter(|row| *row >= 0.0).and_then(|row| found.get_mut(row as usize));
        let place = place.ok_or_else(|| format!("query_row, row {at}: expected one of {queries} queries"))?;
        let value = distance.filter(|distance| !distance.is_nan());
        let value = value.ok_or_else(|| format!("distance, row {at}: expected a number"))?;
        place.push(Candidate { value: value as f32, id: ids.get(at) });
    }
    let found: Vec<_> = found
        .into_iter()
        .map(|mut one| {
            one.sort_by(|a, b| a.value.total_cmp(&b.value).then_with(|| a.id.cmp(&b.id)));
            one.truncate(k);
            Some(one)
        })
        .collect();
    // The squared distance is the one that is handed on as it is.
    Ok(Hits::new(ids.id_type(), Metric::L2Sq, true, &found))
}

/// The columns that a schema seems to mean, and the width of the vectors in the first batch that has some.
#[pyfunction]
pub(crate) fn lake_layout(rows: &Bound<'_, PyAny>) -> PyResult<(String, Option<String>, usize)> {
    let (py, mut rows) = (rows.py(), tables::Rows::of(rows)?);
    let mut meant = None;
    while let Some(batch) = tables::next(py, &mut rows)? {
        let (vector, id) = find_columns(batch.schema_ref()).map_err(Failure::from)?;
        let width = batch.column_by_name(&vector).and_then(tables::width);
        if let Some(width) = width {
            return Ok((vector, id, width));
        }
        meant = Some(vector);
    }
    let column = meant.unwrap_or_else(|| "layout".into());
    let error = Error::invalid_parameter(column, "a row that tells how wide the vectors are", "none");
    Err(Failure::from(error).into())
}
