//! Rows of a collection, read once, and tables of what the lake knows.

use std::sync::{Mutex, PoisonError};

use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::{Schema, SchemaRef};
use pyo3::{prelude::*, types::PyCapsule};
use ruvector_core::Error;
use ruvector_lake::backend::{Batches, stream_error};

use crate::{error::Result, export};

/// A stream of rows. Whoever takes it has it.
#[pyclass(name = "LakeRows", module = "ruvector", frozen)]
pub(crate) struct PyRows {
    schema: SchemaRef,
    rows: Mutex<Option<Batches>>,
}

impl PyRows {
    pub(crate) fn new(rows: Batches) -> Self {
        Self { schema: rows.schema(), rows: Mutex::new(Some(rows)) }
    }
}

#[pymethods]
impl PyRows {
    /// A stream without rows, for its schema.
    fn empty(&self) -> Self {
        Self::new(Box::new(RecordBatchIterator::new([], SchemaRef::clone(&self.schema))))
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next batch, as a stream of one; none when the stream has ended, or is somebody else's.
    fn __next__(&self, py: Python<'_>) -> Result<Option<Self>> {
        let next = py.detach(|| {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.as_mut().and_then(Iterator::next)
        });
        let one = |batch| RecordBatchIterator::new([Ok(batch)], SchemaRef::clone(&self.schema));
        // The lake's streams bring the lake's errors, which name their backend.
        let next = next.transpose().map_err(|error| stream_error("lake", error))?;
        Ok(next.map(|batch| Self::new(Box::new(one(batch)))))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        export::schema::<Schema>(py, self.schema.as_ref())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = rows.ok_or_else(|| {
            Error::invalid_parameter("scan", "a stream that is read once", "one that was read before")
        })?;
        export::reader(py, rows)
    }
}

/// A table.
#[pyclass(name = "LakeTable", module = "ruvector", frozen)]
pub(crate) struct PyLakeTable(pub(super) RecordBatch);

#[pymethods]
impl PyLakeTable {
    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        export::schema::<Schema>(py, self.0.schema().as_ref())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        export::stream(py, self.0.schema(), vec![self.0.clone()])
    }
}
