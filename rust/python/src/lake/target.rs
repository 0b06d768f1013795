//! The class `LakeTarget`: a collection, for doors to search as they search an index.

use std::sync::Arc;

use pyo3::prelude::*;
use ruvector_core::{Error, Live};
use ruvector_lake::{Key, Result as LakeResult, RuLake};

use crate::{
    error::Result,
    index::PyIndex,
    interrupt,
    progress::Progress,
    searchable::{Pinned, Searchable},
};

/// A collection of a lake, seen in one way.
struct Target {
    lake: RuLake,
    key: Key,
}

/// A handle on it, which plans share.
#[pyclass(name = "LakeTarget", module = "ruvector", frozen)]
pub(crate) struct PyTarget(Arc<Target>);

impl Searchable for Target {
    fn pin(&self) -> LakeResult<Pinned> {
        self.lake.pin(&self.key, None).map(Pinned::Lake)
    }
}

impl PyTarget {
    pub(super) fn new(lake: RuLake, key: Key) -> Self {
        Self(Arc::new(Target { lake, key }))
    }

    /// What a plan holds.
    pub(crate) fn searched(&self) -> Arc<dyn Searchable> {
        Arc::clone(&self.0) as Arc<dyn Searchable>
    }

    /// The state that answers now.
    fn pin(&self, py: Python<'_>) -> Result<Pinned> {
        interrupt::run(py, usize::MAX, &mut Progress::off(), |_| self.0.pin())
    }
}

#[pymethods]
impl PyTarget {
    /// Elements per vector, the type of ids and the number of rows of the state that answers now.
    fn describe(&self, py: Python<'_>) -> Result<(usize, &'static str, usize)> {
        let pinned = self.pin(py)?;
        Ok((pinned.dim(), pinned.id_type().name(), pinned.len()))
    }

    /// The index of the state that answers now. It stays as it is, whatever happens to the collection.
    fn index(&self, py: Python<'_>) -> Result<PyIndex> {
        let pinned = self.pin(py)?;
        let Some(snapshot) = pinned.snapshot() else {
            return Err(Error::EmptyIndex(format!("{} has no rows", self.0.key)).into());
        };
        Ok(PyIndex::of(Live::frozen(Arc::clone(snapshot))))
    }
}
