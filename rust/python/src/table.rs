//! A small table of numbers: what `explain` and `tune` return.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use pyo3::{
    prelude::*,
    types::{PyCapsule, PyDict},
};
use ruvector_core::Error;

use crate::{error::Result, export};

/// One column.
#[derive(Clone)]
pub(crate) enum Column {
    Whole(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
}

impl Column {
    fn array(&self) -> ArrayRef {
        match self {
            Self::Whole(values) => Arc::new(Int64Array::from(values.clone())),
            Self::Float(values) => Arc::new(Float64Array::from(values.clone())),
            Self::Flag(values) => Arc::new(BooleanArray::from(values.clone())),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Whole(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Flag(values) => values.len(),
        }
    }

    fn read(values: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(flags) = values.extract() {
            return Ok(Self::Flag(flags));
        }
        if let Ok(numbers) = values.extract() {
            return Ok(Self::Whole(numbers));
        }
        Ok(Self::Float(values.extract()?))
    }
}

/// A table of named columns of equal lengths, for whatever reads Arrow.
#[pyclass(name = "Table", module = "ruvector", frozen)]
pub(crate) struct PyTable {
    columns: Vec<(String, Column)>,
}

impl PyTable {
    pub(crate) fn new(columns: Vec<(&str, Column)>) -> Self {
        Self { columns: columns.into_iter().map(|(name, column)| (name.to_owned(), column)).collect() }
    }

    fn batch(&self) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> = self.columns.iter().map(|(_, column)| column.array()).collect();
        let names = self.columns.iter().zip(&arrays);
        let fields: Vec<Field> =
            names.map(|((name, _), array)| Field::new(name, array.data_type().clone(), true)).collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(Error::from)?)
    }
}

#[pymethods]
impl PyTable {
    /// A table from a mapping of names to lists of one type each.
    #[new]
    fn from_columns(columns: &Bound<'_, PyDict>) -> PyResult<Self> {
        let each = columns.iter().map(|(name, values)| Ok((name.extract()?, Column::read(&values)?)));
        Ok(Self { columns: each.collect::<PyResult<_>>()? })
    }

    /// The columns as lists.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, column) in &self.columns {
            match column {
                Column::Whole(values) => dict.set_item(name, values)?,
                Column::Float(values) => dict.set_item(name, values)?,
                Column::Flag(values) => dict.set_item(name, values)?,
            }
        }
        Ok(dict)
    }

    /// The names of the columns.
    #[getter]
    fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn __len__(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    fn __repr__(&self) -> String {
        format!("Table({} rows: {})", self.__len__(), self.columns().join(", "))
    }

    #[pyo3(signature = (requested_schema=None))]
    #[expect(unused_variables, reason = "a wish by the protocol")]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        let batch = self.batch()?;
        export::stream(py, batch.schema(), vec![batch])
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyCapsule>> {
        let batch = self.batch()?;
        export::schema(py, batch.schema().as_ref())
    }
}
