//! The class `Scores`: hits by the names that the presets have for them.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};
use pyo3::{
    prelude::*,
    types::{PyCapsule, PyList},
};
use ruvector_core::{Error, Hits, ids::Id};

use crate::{error::Result, export, hits::PyHits};

const NAMES: [&str; 4] = ["query_index", "rank", "id", "score"];

/// The neighbours of many queries: a table of `query_index`, `rank`, `id`, `score`.
#[pyclass(name = "Scores", module = "ruvector", frozen)]
pub(crate) struct PyScores {
    hits: Py<PyHits>,
}

/// Hits under other names.
#[pyfunction]
pub(crate) fn preset_scores(hits: Py<PyHits>) -> PyScores {
    PyScores { hits }
}

/// Hits as pairs of an id and a score, as Python's own types.
#[pyfunction]
pub(crate) fn preset_pairs<'py>(py: Python<'py>, hits: &Bound<'py, PyHits>) -> Result<Bound<'py, PyList>> {
    let hits = hits.get().inner();
    if hits.num_queries() != 1 {
        let actual = format!("{} queries", hits.num_queries());
        return Err(Error::invalid_parameter("query", "one query (search_batch takes many)", actual).into());
    }
    let pairs = PyList::empty(py);
    for (at, &score) in hits.distances().iter().enumerate() {
        match hits.ids().get(at) {
            Id::Int64(id) => pairs.append((id, score))?,
            Id::UInt64(id) => pairs.append((id, score))?,
            Id::Utf8(id) => pairs.append((id, score))?,
        }
    }
    Ok(pairs)
}

fn renamed(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().zip(NAMES);
    Arc::new(Schema::new(
        fields.map(|(field, name)| field.as_ref().clone().with_name(name)).collect::<Vec<Field>>(),
    ))
}

#[pymethods]
impl PyScores {
    fn __len__(&self) -> usize {
        self.hits.get().inner().len()
    }

    fn __repr__(&self) -> String {
        let hits = self.hits.get().inner();
        let kind = if hits.is_exact() { "exact" } else { "estimated" };
        format!("Scores({} queries, {} hits, {kind} scores)", hits.num_queries(), hits.len())
    }

    /// The number of queries, null ones included.
    #[getter]
    fn num_queries(&self) -> usize {
        self.hits.get().inner().num_queries()
    }

    /// Whether the scores are the metric's own values and not estimates.
    #[getter]
    fn exact(&self) -> bool {
        self.hits.get().inner().is_exact()
    }

    /// The table as a pyarrow.Table.
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("pyarrow")?.getattr("table")?.call1((slf,))
    }

    /// The table as a polars.DataFrame.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("polars")?.getattr("DataFrame")?.call1((slf,))
    }

    /// Ids and scores as two numpy arrays of shape `(num_queries, min(k, rows))`.
    fn to_numpy<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        self.hits.get().to_numpy(py)
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        export::schema(py, renamed(&Hits::schema(self.hits.get().inner().ids().id_type())).as_ref())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batch = self.hits.get().inner().to_batch()?;
        let schema = renamed(&batch.schema());
        let columns = batch.columns().to_vec();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(Error::from)?;
        export::stream(py, schema, vec![batch])
    }
}
