//! The class `ArrowColumn`.

use arrow_array::{Array, ArrayRef};
use arrow_schema::Field;
use pyo3::{prelude::*, types::PyCapsule};

use crate::{error::Result, export};

/// One column, for whatever reads an Arrow array.
#[pyclass(name = "ArrowColumn", module = "ruvector", frozen)]
pub(crate) struct PyArrowColumn {
    array: ArrayRef,
    field: Field,
}

impl PyArrowColumn {
    pub(crate) fn new(name: &str, array: ArrayRef) -> Self {
        let field = Field::new(name, array.data_type().clone(), array.is_nullable());
        Self { array, field }
    }
}

#[pymethods]
impl PyArrowColumn {
    fn __len__(&self) -> usize {
        self.array.len()
    }

    fn __repr__(&self) -> String {
        format!("ArrowColumn({}: {}, {} rows)", self.field.name(), self.field.data_type(), self.array.len())
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
