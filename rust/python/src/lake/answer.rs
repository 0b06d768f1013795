//! What a search of a lake answers.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{DataType, Field};
use pyo3::{
    prelude::*,
    types::{PyCapsule, PyTuple},
};
use ruvector_lake::{Answer, Hit, answer::Status};

use super::values;
use crate::{
    error::{Failure, Result},
    export,
};

/// The nearest rows of each query, and how each shard fared.
#[pyclass(name = "LakeAnswer", module = "ruvector", frozen)]
pub(crate) struct PyAnswer {
    pub(super) answer: Arc<Answer>,
    /// Whether it is to one query, given as such.
    #[pyo3(get)]
    pub(super) one: bool,
}

#[pymethods]
impl PyAnswer {
    /// The number of queries.
    fn __len__(&self) -> usize {
        self.answer.hits.len()
    }

    /// How many hits a query has.
    fn count(&self, query: usize) -> usize {
        self.answer.hits.get(query).map_or(0, Vec::len)
    }

    /// The hits of a query from one rank to another: backend, collection, id, distance.
    fn hits<'py>(
        &self,
        py: Python<'py>,
        query: usize,
        from: usize,
        to: usize,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let tuple = |hit: &Hit| {
            let (backend, collection) = values::pair(&hit.key);
            (backend, collection, values::id(py, &hit.id)?, hit.distance).into_pyobject(py)
        };
        let found = self.answer.hits.get(query).and_then(|hits| hits.get(from..to)).unwrap_or_default();
        found.iter().map(tuple).collect()
    }

    /// The answer to one of the queries.
    fn of_query(&self, query: usize) -> Self {
        let hits = self.answer.hits.get(query).cloned().unwrap_or_default();
        let before = self.answer.hits.iter().take(query).map(Vec::len).sum();
        let payload = self.answer.payload.as_ref().map(|payload| payload.slice(before, hits.len()));
        let answer = Answer { hits: vec![hits], shards: self.answer.shards.clone(), payload };
        Self { answer: Arc::new(answer), one: true }
    }

    /// How each shard fared: backend, collection, status, error, generation, witness, rows, seconds.
    fn shards<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let tuple = |shard: &ruvector_lake::answer::Shard| {
            let (backend, collection) = values::pair(&shard.key);
            let status = match shard.status {
                Status::Answered => "answered",
                Status::Empty => "empty",
                Status::Late(_) => "late",
                Status::Failed(_) => "failed",
            };
            let error = shard.error().map(|error| PyErr::from(Failure::from(error.clone())).into_value(py));
            let generation =
                shard.generation.as_ref().map(|token| values::generation(py, token)).transpose()?;
            let witness = shard.witness.map(ruvector_lake::Witness::to_hex);
            let seconds = shard.elapsed.as_secs_f64();
            (backend, collection, status, error, generation, witness, shard.rows, seconds).into_pyobject(py)
        };
        self.answer.shards.iter().map(tuple).collect()
    }

    /// Whether shards are missing.
    #[getter]
    fn partial(&self) -> bool {
        self.answer.is_partial()
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        export::schema(py, self.answer.to_batch()?.schema().as_ref())
    }

    /// The long table, as one batch.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        drop(requested_schema);
        let table: ArrayRef = Arc::new(StructArray::from(self.answer.to_batch()?));
        let DataType::Struct(fields) = table.data_type().clone() else {
            return Err(ruvector_core::Error::invalid_parameter("hits", "a table", "none").into());
        };
        export::array(py, &Field::new_struct("", fields, false), &table)
    }

    /// The long table, as a stream.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batch = self.answer.to_batch()?;
        export::stream(py, batch.schema(), vec![batch])
    }
}
