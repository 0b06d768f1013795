//! The class `LakeTarget`: a collection, for doors to search as they search an index.

use pyo3::prelude::*;
use ruvector_core::Monitor;
use ruvector_lake::{Key, Result as LakeResult, RuLake};

use crate::{
    error::Result,
    interrupt,
    progress::Progress,
    searchable::{Pinned, Searchable},
};

/// A collection of a lake, seen in one way.
#[pyclass(name = "LakeTarget", module = "ruvector", frozen)]
pub(crate) struct PyTarget {
    pub(super) lake: RuLake,
    pub(super) key: Key,
}

impl Searchable for PyTarget {
    fn pin(&self, monitor: &dyn Monitor) -> LakeResult<Pinned> {
        self.lake.hold(&self.key, monitor).map(Pinned::Lake)
    }
}

#[pymethods]
impl PyTarget {
    /// Elements per vector, the type of ids and the number of rows of the state that answers now.
    fn describe(&self, py: Python<'_>) -> Result<(usize, &'static str, usize)> {
        let pinned = interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| self.pin(monitor))?;
        Ok((pinned.dim(), pinned.id_type().name(), pinned.len()))
    }
}
