//! The class `Index`.

use std::{
    ffi::OsString,
    path::{PathBuf, absolute},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::{
    prelude::*,
    types::{PyCapsule, PyDict, PyIterator, PyRange},
};
use ruvector_core::{Error, Index, Live, Pool, Unwatched, format::Keep};

use crate::{
    args::Whole,
    ask::{self, Asked, PyNearest},
    change,
    describe::{bytes, name_of},
    error::{Failure, Result},
    export,
    hits::PyHits,
    table::PyTable,
};

/// An index: safe to search and to change from many threads at once.
#[pyclass(name = "Index", module = "ruvector", frozen)]
pub(crate) struct PyIndex {
    state: Mutex<State>,
}

struct State {
    /// `None` once it is closed.
    index: Option<Arc<Live>>,
    /// Where it was saved to or opened from, absolute; `None` once it has changed since.
    path: Option<PathBuf>,
}

impl PyIndex {
    pub(crate) fn new(index: Index, path: Option<PathBuf>) -> Self {
        let path = path.map(full);
        Self { state: Mutex::new(State { index: Some(Arc::new(Live::new(index))), path }) }
    }

    /// An index in memory.
    pub(crate) fn of(index: Live) -> Self {
        Self { state: Mutex::new(State { index: Some(Arc::new(index)), path: None }) }
    }

    /// A handle on an index that others have, too.
    pub(crate) fn shared(index: Arc<Live>) -> Self {
        Self { state: Mutex::new(State { index: Some(index), path: None }) }
    }

    /// The index, kept alive for as long as the caller needs it.
    pub(crate) fn get(&self) -> PyResult<Arc<Live>> {
        self.lock().index.clone().ok_or_else(closed)
    }

    /// The file it was saved to or opened from, if any.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.lock().path.clone()
    }

    /// Its coded rows, deleted ones included.
    fn coded(&self) -> PyResult<Arc<Index>> {
        Ok(Arc::clone(self.get()?.snapshot().index()))
    }

    /// All its rows coded, and no others: what is saved and compared.
    pub(crate) fn sealed(&self, py: Python<'_>) -> Result<Arc<Index>> {
        let index = self.get()?;
        Ok(py.detach(|| index.sealed(&Pool::new(None)?, &Unwatched))?)
    }

    /// The file says something else once a change has been made.
    pub(crate) fn changed<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_ok() {
            self.lock().path = None;
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> PyErr {
    Failure::from(Error::invalid_parameter("index", "an open one", "one that is closed")).into()
}

fn full(path: PathBuf) -> PathBuf {
    absolute(&path).unwrap_or(path)
}

#[pymethods]
impl PyIndex {
    /// The nearest rows of one query or of many.
    #[pyo3(
        signature = (queries, k=Whole(10), *, filter=None, recall=0.99, nprobe=None, epsilon=None, exact=false,
            rerank=true, threads=None),
        text_signature = "($self, queries, k=10, *, filter=None, recall=0.99, nprobe=None, epsilon=None, \
            exact=False, rerank=True, threads=None)"
    )]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Whole,
        filter: Option<&Bound<'_, PyAny>>,
        recall: f64,
        nprobe: Option<Whole>,
        epsilon: Option<f64>,
        exact: bool,
        rerank: bool,
        threads: Option<Whole>,
    ) -> Result<PyHits> {
        let how = Asked { recall, nprobe, epsilon, exact, rerank, threads };
        ask::search(py, &*self.get()?, queries, k, &how, filter)
    }

    /// What a search does for each query.
    #[pyo3(
        signature = (queries, k=Whole(10), *, filter=None, recall=0.99, nprobe=None, epsilon=None, exact=false,
            rerank=true, threads=None),
        text_signature = "($self, queries, k=10, *, filter=None, recall=0.99, nprobe=None, epsilon=None, \
            exact=False, rerank=True, threads=None)"
    )]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn explain(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Whole,
        filter: Option<&Bound<'_, PyAny>>,
        recall: f64,
        nprobe: Option<Whole>,
        epsilon: Option<f64>,
        exact: bool,
        rerank: bool,
        threads: Option<Whole>,
    ) -> Result<PyTable> {
        let how = Asked { recall, nprobe, epsilon, exact, rerank, threads };
        ask::explain(py, &*self.get()?, queries, k, &how, filter)
    }

    /// The recall of a search, measured against the exact one.
    #[pyo3(
        signature = (queries, k=Whole(10), *, filter=None, recall=0.99, nprobe=None, epsilon=None, threads=None),
        text_signature = "($self, queries, k=10, *, filter=None, recall=0.99, nprobe=None, epsilon=None, \
            threads=None)"
    )]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn measure_recall(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Whole,
        filter: Option<&Bound<'_, PyAny>>,
        recall: f64,
        nprobe: Option<Whole>,
        epsilon: Option<f64>,
        threads: Option<Whole>,
    ) -> Result<f64> {
        let how = Asked { recall, nprobe, epsilon, exact: false, rerank: true, threads };
        ask::measure_recall(py, &*self.get()?, queries, k, &how, filter)
    }

    /// What each recall costs, measured.
    #[pyo3(signature = (queries=None, k=Whole(10), *, threads=None),
        text_signature = "($self, queries=None, k=10, *, threads=None)")]
    fn tune<'py>(
        slf: &Bound<'py, Self>,
        queries: Option<&Bound<'py, PyAny>>,
        k: Whole,
        threads: Option<Whole>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let tuning = slf.py().import("ruvector._tuning")?;
        tuning.call_method1("tune", (slf, queries, k.0, threads.map(|threads| threads.0)))
    }

    /// All rows within a radius.
    #[pyo3(signature = (queries, radius, *, filter=None, recall=0.99, nprobe=None, exact=false, threads=None),
        text_signature = "($self, queries, radius, *, filter=None, recall=0.99, nprobe=None, exact=False, threads=None)")]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn within(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        radius: f64,
        filter: Option<&Bound<'_, PyAny>>,
        recall: f64,
        nprobe: Option<Whole>,
        exact: bool,
        threads: Option<Whole>,
    ) -> Result<PyHits> {
        let how = Asked { recall, nprobe, epsilon: None, exact, rerank: true, threads };
        ask::within(py, &*self.get()?, queries, radius, &how, filter)
    }

    /// The nearest other rows of every row.
    #[pyo3(signature = (k=Whole(10), *, recall=0.99, nprobe=None, exact=false, threads=None),
        text_signature = "($self, k=10, *, recall=0.99, nprobe=None, exact=False, threads=None)")]
    fn neighbours(
        &self,
        py: Python<'_>,
        k: Whole,
        recall: f64,
        nprobe: Option<Whole>,
        exact: bool,
        threads: Option<Whole>,
    ) -> Result<PyHits> {
        ask::neighbours(
            py,
            &*self.get()?,
            k,
            &Asked { recall, nprobe, epsilon: None, exact, rerank: true, threads },
        )
    }

    /// The neighbours of one query, a batch at a time.
    #[pyo3(signature = (query, batch=Whole(10), *, recall=0.99, exact=false, threads=None),
        text_signature = "($self, query, batch=10, *, recall=0.99, exact=False, threads=None)")]
    fn iterate(
        &self,
        py: Python<'_>,
        query: &Bound<'_, PyAny>,
        batch: Whole,
        recall: f64,
        exact: bool,
        threads: Option<Whole>,
    ) -> Result<PyNearest> {
        let how = Asked { recall, nprobe: None, epsilon: None, exact, rerank: true, threads };
        ask::iterate(py, &*self.get()?, query, batch, &how)
    }

    /// The vectors of the rows with these ids.
    fn reconstruct<'py>(&self, ids: &Bound<'py, PyAny>) -> Result<Bound<'py, PyArray2<f32>>> {
        let (py, index) = (ids.py(), self.get()?);
        let dim = index.snapshot().index().dim();
        let (values, rows) = ask::reconstruct(py, &index, ids)?;
        Ok(values.into_pyarray(py).reshape([rows, dim])?)
    }

    /// Add rows.
    #[pyo3(signature = (data, ids=None, *, column=None, threads=None))]
    fn add<'py>(
        &self,
        py: Python<'py>,
        data: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        column: Option<&str>,
        threads: Option<Whole>,
    ) -> Result<Option<Bound<'py, PyRange>>> {
        self.changed(change::add(py, &*self.get()?, data, ids, column, threads))
    }

    /// Add rows, each in place of the one with its id.
    #[pyo3(signature = (data, ids, *, column=None, threads=None))]
    fn upsert(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        ids: &Bound<'_, PyAny>,
        column: Option<&str>,
        threads: Option<Whole>,
    ) -> Result<usize> {
        self.changed(change::upsert(py, &*self.get()?, data, ids, column, threads))
    }

    /// Delete the rows with these ids.
    fn delete(&self, py: Python<'_>, ids: &Bound<'_, PyAny>) -> Result<usize> {
        self.changed(change::delete(py, &*self.get()?, ids))
    }

    /// Add all rows of another index.
    #[pyo3(signature = (other, *, threads=None))]
    fn merge<'py>(
        &self,
        py: Python<'py>,
        other: &Bound<'py, Self>,
        threads: Option<Whole>,
    ) -> Result<Option<Bound<'py, PyRange>>> {
        let other = other.get().get()?;
        self.changed(change::merge(py, &*self.get()?, &other, threads))
    }

    /// Make one segment of all rows, without those that were deleted.
    #[pyo3(signature = (*, retrain=None, threads=None, progress=None),
        text_signature = "($self, *, retrain=None, threads=None, progress=False)")]
    fn compact<'py>(
        &self,
        py: Python<'py>,
        retrain: Option<bool>,
        threads: Option<Whole>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyDict>> {
        self.changed(change::compact(py, &*self.get()?, retrain, threads, progress))
    }

    fn __contains__(&self, id: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(ask::contains(&*self.get()?, id))
    }

    fn __getitem__<'py>(&self, id: &Bound<'py, PyAny>) -> Result<Bound<'py, PyArray1<f32>>> {
        Ok(ask::get(&*self.get()?, id)?.into_pyarray(id.py()))
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let snapshot = self.get()?.snapshot();
        let ids = py.detach(|| snapshot.ids());
        ask::ids_as_list(py, &ids)?.try_iter()
    }

    /// The index as it is now, for as long as one likes.
    fn snapshot(&self) -> PyResult<Self> {
        let state = self.lock();
        let index = state.index.as_ref().map(|index| Arc::new(index.freeze()));
        let path = state.path.clone();
        drop(state);
        let index = Some(index.ok_or_else(closed)?);
        Ok(Self { state: Mutex::new(State { index, path }) })
    }

    /// Write the index to a file.
    #[pyo3(signature = (path, *, vectors="keep"))]
    fn save(&self, py: Python<'_>, path: PathBuf, vectors: &str) -> Result<()> {
        let keep = match vectors {
            "keep" => Keep::AsIs,
            "f16" => Keep::F16,
            "f32" => Keep::F32,
            "none" => Keep::None,
            other => {
                let expected = "one of keep, f16, f32, none";
                return Err(Error::invalid_parameter("vectors", expected, format!("{other:?}")).into());
            }
        };
        let index = self.sealed(py)?;
        py.detach(|| index.save(&path, keep))?;
        self.lock().path = Some(full(path));
        Ok(())
    }

    /// Compare every byte of an opened file with its digest.
    fn verify(&self, py: Python<'_>) -> Result<()> {
        let index = self.coded()?;
        Ok(py.detach(|| index.verify())?)
    }

    /// Let go of the memory, the file and the column. Every later use is refused.
    fn close(&self) {
        let index = self.lock().index.take();
        // Dropped when the lock is free: the column's owner may want the GIL first.
        drop(index);
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }

    fn __len__(&self) -> PyResult<usize> {
        Ok(self.get()?.len())
    }

    /// Elements per vector.
    #[getter]
    fn dim(&self) -> PyResult<usize> {
        Ok(self.coded()?.dim())
    }

    /// The distance it searches by: "l2sq", "l2", "cosine" or "ip".
    #[getter]
    fn metric(&self) -> PyResult<&'static str> {
        Ok(self.coded()?.metric().name())
    }

    /// The number of lists.
    #[getter]
    fn nlist(&self) -> PyResult<usize> {
        Ok(self.coded()?.router().nlist())
    }

    /// Bits per dimension of the codes.
    #[getter]
    fn bits(&self) -> PyResult<u32> {
        Ok(self.coded()?.bits())
    }

    /// The seed it was built with.
    #[getter]
    fn seed(&self) -> PyResult<u64> {
        Ok(self.coded()?.router().rotation().seed())
    }

    /// The type of the ids: "int64", "uint64" or "str".
    #[getter]
    fn id_type(&self) -> PyResult<&'static str> {
        Ok(self.coded()?.id_type().name())
    }

    /// Where exact distances come from: "borrowed", "stored" or "none".
    #[getter]
    fn vectors(&self) -> PyResult<&'static str> {
        Ok(name_of(self.coded()?.vectors_kept()))
    }

    /// Rows that were left out because they held no vector.
    #[getter]
    fn null_count(&self) -> PyResult<usize> {
        Ok(self.coded()?.null_count())
    }

    /// The file it was saved to or opened from.
    #[getter(path)]
    fn py_path(&self) -> Option<OsString> {
        self.path().map(PathBuf::into_os_string)
    }

    /// The BLAKE3 digest of everything a search depends on, in hex.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        let index = self.sealed(py)?;
        Ok(py.detach(|| index.digest().to_owned()))
    }

    /// Bytes of private memory that it holds.
    #[getter]
    fn memory_bytes(&self) -> PyResult<usize> {
        Ok(self.get()?.snapshot().memory_bytes())
    }

    /// Bytes of the file that it maps.
    #[getter]
    fn mapped_bytes(&self) -> PyResult<usize> {
        Ok(self.coded()?.mapped_bytes())
    }

    fn __repr__(&self) -> String {
        let Ok(live) = self.get() else { return "Index(closed)".into() };
        let snapshot = live.snapshot();
        let index = snapshot.index();
        format!(
            "Index({} x {}, {}, {} lists, {} {}, {} vectors, {})",
            snapshot.len(),
            index.dim(),
            index.metric(),
            index.router().nlist(),
            index.bits(),
            if index.bits() == 1 { "bit" } else { "bits" },
            name_of(index.vectors_kept()),
            bytes(snapshot.memory_bytes() + index.mapped_bytes()),
        )
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented()) };
        if Arc::ptr_eq(&self.get()?, &other.get().get()?) {
            return Ok(true.into_pyobject(py)?.to_owned().into_any().unbind());
        }
        let (one, two) = (self.sealed(py)?, other.get().sealed(py)?);
        let equal = py.detach(|| one.digest() == two.digest());
        Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind())
    }

    /// The index as its Arrow table: one row per block of 32 codes.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyCapsule>> {
        drop(requested_schema);
        let batches = self.sealed(py)?.to_batches()?;
        let Some(first) = batches.first() else {
            return Err(Error::EmptyIndex("no row holds a vector".into()).into());
        };
        export::stream(py, first.schema(), batches)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        crate::pickle::reduce(py, &*self.sealed(py)?, self.path().as_deref())
    }
}
