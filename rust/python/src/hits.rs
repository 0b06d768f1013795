//! The classes `Hits` and `NestedHits`: answers, as Arrow.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, cast::AsArray, types};
use arrow_schema::Field;
use numpy::{IntoPyArray, PyArrayMethods};
use pyo3::{prelude::*, types::PyCapsule};
use ruvector_core::{
    Hits,
    ids::{Id, IdType},
};

use crate::{error::Result, export};

/// The neighbours of one or more queries: a table of `query_row`, `rank`, `id`, `distance`.
#[pyclass(name = "Hits", module = "ruvector", frozen)]
pub(crate) struct PyHits {
    hits: Hits,
    width: usize,
}

impl PyHits {
    /// Hits of which every query that is not null has `width`.
    pub(crate) fn new(hits: Hits, width: usize) -> Self {
        Self { hits, width }
    }

    /// Hits of which every query has its own number.
    pub(crate) fn ragged(hits: Hits) -> Self {
        let width = (0..hits.num_queries()).map(|query| hits.of_query(query).len()).max().unwrap_or(0);
        Self { hits, width }
    }

    pub(crate) fn inner(&self) -> &Hits {
        &self.hits
    }

    /// `(query, rank)` of every hit, in order, as a place in a `(num_queries, width)` array.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.hits.num_queries()).flat_map(move |query| {
            (0..self.hits.of_query(query).len()).map(move |rank| query * self.width + rank)
        })
    }

    fn grid<T: Clone>(&self, blank: T, values: impl Iterator<Item = T>) -> Vec<T> {
        let mut grid = vec![blank; self.hits.num_queries() * self.width];
        for (place, value) in self.places().zip(values) {
            grid[place] = value;
        }
        grid
    }

    fn id_grid<'py>(&self, py: Python<'py>, shape: (usize, usize)) -> Result<Bound<'py, PyAny>> {
        let ids = self.hits.ids();
        match ids.id_type() {
            IdType::Int64 => {
                let values = ids.as_array().as_primitive::<types::Int64Type>().values();
                let grid = self.grid(-1, values.iter().copied());
                Ok(grid.into_pyarray(py).reshape([shape.0, shape.1])?.into_any())
            }
            IdType::UInt64 => {
                let values = ids.as_array().as_primitive::<types::UInt64Type>().values();
                let grid = self.grid(u64::MAX, values.iter().copied());
                Ok(grid.into_pyarray(py).reshape([shape.0, shape.1])?.into_any())
            }
            IdType::Utf8 => {
                let texts = (0..ids.len()).map(|at| match ids.get(at) {
                    Id::Utf8(text) => Some(text),
                    _ => None,
                });
                let empty = py.import("numpy")?.getattr("empty")?.call1((shape, "O"))?;
                empty.setattr("flat", self.grid(None, texts))?;
                Ok(empty)
            }
        }
    }
}

#[pymethods]
impl PyHits {
    fn __len__(&self) -> usize {
        self.hits.len()
    }

    fn __repr__(&self) -> String {
        let kind = if self.hits.is_exact() { "exact" } else { "estimated" };
        format!("Hits({} queries, {} hits, {kind} distances)", self.hits.num_queries(), self.hits.len())
    }

    /// The number of queries, null ones included.
    #[getter]
    fn num_queries(&self) -> usize {
        self.hits.num_queries()
    }

    /// Whether the distances are the metric's own values and not estimates.
    #[getter]
    fn exact(&self) -> bool {
        self.hits.is_exact()
    }

    /// The long form as a pyarrow.Table.
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("pyarrow")?.getattr("table")?.call1((slf,))
    }

    /// The long form as a polars.DataFrame.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("polars")?.getattr("DataFrame")?.call1((slf,))
    }

    /// Ids and distances as two numpy arrays of shape `(num_queries, min(k, rows))`.
    pub(crate) fn to_numpy<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let shape = (self.hits.num_queries(), self.width);
        let distances = self.grid(f32::INFINITY, self.hits.distances().iter().copied());
        let distances = distances.into_pyarray(py).reshape([shape.0, shape.1])?.into_any();
        Ok((self.id_grid(py, shape)?, distances))
    }

    /// The nested form: one list of {id, distance} per query, null where the query was null.
    fn nested(&self) -> Result<PyNestedHits> {
        let array: ArrayRef = Arc::new(self.hits.to_nested()?);
        let field = Field::new("hits", array.data_type().clone(), true);
        Ok(PyNestedHits { array, field })
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        export::schema(py, Hits::schema(self.hits.ids().id_type()).as_ref())
    }

    /// The long form as an Arrow stream.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batch = self.hits.to_batch()?;
        export::stream(py, batch.schema(), vec![batch])
    }
}

/// Hits in the nested form: an Arrow array of list<struct<id, distance>>.
#[pyclass(name = "NestedHits", module = "ruvector", frozen)]
pub(crate) struct PyNestedHits {
    array: ArrayRef,
    field: Field,
}

#[pymethods]
impl PyNestedHits {
    fn __len__(&self) -> usize {
        self.array.len()
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        export::schema(py, &self.field)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        drop(requested_schema);
        export::array(py, &self.field, &self.array)
    }
}
