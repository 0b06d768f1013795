//! The class `LakeTarget`: a collection, for doors to search as they search an index.

use std::sync::Arc;

use pyo3::prelude::*;
use ruvector_core::{Error, Live, Monitor};
use ruvector_lake::{Key, Pin, Result as LakeResult, RuLake, predicate::Predicate};

use super::filter;
use crate::{
    error::Result,
    index::PyIndex,
    interrupt,
    progress::Progress,
    searchable::{Pinned, Searchable},
};

/// A collection of a lake, seen in one way: those of its rows that fulfil a predicate.
struct Target {
    lake: RuLake,
    key: Key,
    predicate: Predicate,
}

/// A handle on it, which plans share.
#[pyclass(name = "LakeTarget", module = "ruvector", frozen)]
pub(crate) struct PyTarget(Arc<Target>);

impl Target {
    fn hold(&self, monitor: &dyn Monitor) -> LakeResult<Pin> {
        self.lake.hold(&self.key, &self.predicate, monitor)
    }
}

impl Searchable for Target {
    fn pin(&self, monitor: &dyn Monitor) -> LakeResult<Pinned> {
        self.hold(monitor).map(Pinned::Lake)
    }
}

impl PyTarget {
    pub(super) fn new(lake: RuLake, key: Key) -> Self {
        Self(Arc::new(Target { lake, key, predicate: Predicate::default() }))
    }

    /// The lake, the collection, and which of its rows there are.
    pub(crate) fn parts(&self) -> (RuLake, Key, Predicate) {
        let Target { lake, key, predicate } = &*self.0;
        (lake.clone(), key.clone(), predicate.clone())
    }

    /// What a plan holds.
    pub(crate) fn searched(&self) -> Arc<dyn Searchable> {
        Arc::clone(&self.0) as Arc<dyn Searchable>
    }
}

#[pymethods]
impl PyTarget {
    /// Elements per vector, the type of ids, the number of rows and the metric of the state that answers now.
    fn describe(&self, py: Python<'_>) -> Result<(usize, &'static str, usize, &'static str)> {
        let pin = interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| self.0.hold(monitor))?;
        Ok((pin.dim(), pin.id_type().name(), pin.len(), pin.bundle().coding.metric.name()))
    }

    /// The index of the state that answers now, of the rows that may be found. It stays as it is, whatever happens to
    /// the collection.
    fn index(&self, py: Python<'_>) -> Result<PyIndex> {
        let visible =
            interrupt::run(py, usize::MAX, &mut Progress::off(), |monitor| self.0.hold(monitor)?.visible())?;
        let Some(snapshot) = visible else {
            return Err(Error::EmptyIndex(format!("{} has no rows", self.0.key)).into());
        };
        Ok(PyIndex::of(Live::at(snapshot).freeze()))
    }

    /// The same collection, but for the rows that do not fulfil a filter.
    #[pyo3(name = "where")]
    fn narrowed(&self, filter: filter::Given<'_>) -> Result<Self> {
        let Target { lake, key, predicate } = &*self.0;
        let predicate = predicate.and(&filter::predicate(filter)?);
        Ok(Self(Arc::new(Target { lake: lake.clone(), key: key.clone(), predicate })))
    }
}
