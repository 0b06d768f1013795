//! The class `Index`.

use std::{
    ffi::OsString,
    path::{PathBuf, absolute},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pyo3::{prelude::*, types::PyCapsule};
use ruvector_core::{
    Error, Index,
    format::Keep,
    index::{Effort, SearchParams, VectorsKept},
};

use crate::{
    args::{Whole, pool},
    error::{Failure, Result},
    export,
    hits::PyHits,
    input::{Given, Role, Width},
    interrupt,
    progress::Progress,
};

/// An index: immutable, safe to search from many threads at once.
#[pyclass(name = "Index", module = "ruvector", frozen)]
pub(crate) struct PyIndex {
    state: Mutex<State>,
}

struct State {
    /// `None` once it is closed.
    index: Option<Arc<Index>>,
    /// Where it was saved to or opened from, absolute.
    path: Option<PathBuf>,
}

impl PyIndex {
    pub(crate) fn new(index: Index, path: Option<PathBuf>) -> Self {
        let path = path.map(full);
        Self { state: Mutex::new(State { index: Some(Arc::new(index)), path }) }
    }

    /// The index, kept alive for as long as the caller needs it.
    pub(crate) fn get(&self) -> PyResult<Arc<Index>> {
        let closed = || Error::invalid_parameter("index", "an open one", "one that is closed");
        self.lock().index.clone().ok_or_else(|| Failure::from(closed()).into())
    }

    /// The file it was saved to or opened from, if any.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.lock().path.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full(path: PathBuf) -> PathBuf {
    absolute(&path).unwrap_or(path)
}

#[pymethods]
impl PyIndex {
    /// The nearest rows of one query or of many.
    #[pyo3(
        signature = (queries, k=Whole(10), *, recall=0.99, nprobe=None, epsilon=None, exact=false, threads=None),
        text_signature = "($self, queries, k=10, *, recall=0.99, nprobe=None, epsilon=None, exact=False, threads=None)"
    )]
    #[allow(clippy::too_many_arguments, reason = "keywords in Python")]
    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Whole,
        recall: f64,
        nprobe: Option<Whole>,
        epsilon: Option<f64>,
        exact: bool,
        threads: Option<Whole>,
    ) -> Result<PyHits> {
        let index = self.get()?;
        let k = k.count("k")?;
        let effort = match nprobe {
            Some(_) if exact => {
                return Err(Error::invalid_parameter("nprobe", "None with exact=True", "both").into());
            }
            Some(nprobe) => Effort::Nprobe(nprobe.count("nprobe")?),
            None if exact => Effort::Exact,
            None => Effort::Recall(recall),
        };
        let params = SearchParams { k, effort, epsilon: epsilon.map(|epsilon| epsilon as f32) };
        let pool = pool(threads)?;
        let queries = Given::read(queries, Role::Queries)?.vectors(
            py,
            None,
            Some(Width { dim: index.dim(), by: "the index" }),
        )?;
        let size = queries.len().saturating_mul(index.len()).saturating_mul(index.dim());
        let width = k.min(index.len());
        let hits = interrupt::run(py, size, &mut Progress::off(), |monitor| {
            index.search(&queries, &params, &pool, monitor)
        })?;
        Ok(PyHits::new(hits, width))
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
        let index = self.get()?;
        py.detach(|| index.save(&path, keep))?;
        self.lock().path = Some(full(path));
        Ok(())
    }

    /// Compare every byte of an opened file with its digest.
    fn verify(&self, py: Python<'_>) -> Result<()> {
        let index = self.get()?;
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
        Ok(self.get()?.dim())
    }

    /// The distance it searches by: "l2sq", "l2", "cosine" or "ip".
    #[getter]
    fn metric(&self) -> PyResult<&'static str> {
        Ok(self.get()?.metric().name())
    }

    /// The number of lists.
    #[getter]
    fn nlist(&self) -> PyResult<usize> {
        Ok(self.get()?.router().nlist())
    }

    /// Bits per dimension of the codes.
    #[getter]
    fn bits(&self) -> PyResult<u32> {
        Ok(self.get()?.bits())
    }

    /// The seed it was built with.
    #[getter]
    fn seed(&self) -> PyResult<u64> {
        Ok(self.get()?.router().rotation().seed())
    }

    /// The type of the ids: "int64", "uint64" or "str".
    #[getter]
    fn id_type(&self) -> PyResult<&'static str> {
        Ok(self.get()?.id_type().name())
    }

    /// Where exact distances come from: "borrowed", "stored" or "none".
    #[getter]
    fn vectors(&self) -> PyResult<&'static str> {
        Ok(name_of(self.get()?.vectors_kept()))
    }

    /// Rows that were left out because they held no vector.
    #[getter]
    fn null_count(&self) -> PyResult<usize> {
        Ok(self.get()?.null_count())
    }

    /// The file it was saved to or opened from.
    #[getter(path)]
    fn py_path(&self) -> Option<OsString> {
        self.path().map(PathBuf::into_os_string)
    }

    /// The BLAKE3 digest of everything a search depends on, in hex.
    #[getter]
    fn digest(&self, py: Python<'_>) -> PyResult<String> {
        let index = self.get()?;
        Ok(py.detach(|| index.digest().to_owned()))
    }

    /// Bytes of private memory that it holds.
    #[getter]
    fn memory_bytes(&self) -> PyResult<usize> {
        Ok(self.get()?.memory_bytes())
    }

    /// Bytes of the file that it maps.
    #[getter]
    fn mapped_bytes(&self) -> PyResult<usize> {
        Ok(self.get()?.mapped_bytes())
    }

    fn __repr__(&self) -> String {
        let Ok(index) = self.get() else { return "Index(closed)".into() };
        format!(
            "Index({} x {}, {}, {} lists, {} {}, {} vectors, {})",
            index.len(),
            index.dim(),
            index.metric(),
            index.router().nlist(),
            index.bits(),
            if index.bits() == 1 { "bit" } else { "bits" },
            name_of(index.vectors_kept()),
            bytes(index.memory_bytes() + index.mapped_bytes()),
        )
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented()) };
        let (one, two) = (self.get()?, other.get().get()?);
        let equal = Arc::ptr_eq(&one, &two) || py.detach(|| one.digest() == two.digest());
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
        let batches = self.get()?.to_batches()?;
        let Some(first) = batches.first() else {
            return Err(Error::EmptyIndex("no row holds a vector".into()).into());
        };
        export::stream(py, first.schema(), batches)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> Result<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        crate::pickle::reduce(py, &*self.get()?, self.path().as_deref())
    }
}

fn name_of(kept: VectorsKept) -> &'static str {
    match kept {
        VectorsKept::None => "none",
        VectorsKept::Borrowed => "borrowed",
        VectorsKept::Stored(_) => "stored",
    }
}

fn bytes(count: usize) -> String {
    let (mut value, mut unit) = (count as f64, "B");
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}
