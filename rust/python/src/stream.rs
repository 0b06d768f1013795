//! `build_stream`: an index of a table that comes in parts and never lies in memory as a whole.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use pyo3::{prelude::*, types::PyIterator};
use ruvector_core::{
    Error, Index,
    index::{BuildParams, Chunk, StreamParams},
    vectors::Element,
};

use crate::{
    args::{Seed, Whole, pool},
    error::{Failure, Result},
    index::PyIndex,
    input::{Given, Role},
    interrupt,
    progress::Progress,
};

/// Build an index of batches, which are read one after the other.
#[pyfunction]
#[pyo3(
    signature = (batches, *, column=None, ids=None, vectors="f16", rows=None, metric="l2sq", nlist=None,
        bits=Whole(1), seed=Seed(0), checkpoint=None, threads=None, progress=None),
    text_signature = "(batches, *, column=None, ids=None, vectors='f16', rows=None, metric='l2sq', nlist=None, \
        bits=1, seed=0, checkpoint=None, threads=None, progress=False)"
)]
#[allow(clippy::too_many_arguments, reason = "keywords in Python")]
pub(crate) fn build_stream(
    py: Python<'_>,
    batches: &Bound<'_, PyAny>,
    column: Option<String>,
    ids: Option<String>,
    vectors: &str,
    rows: Option<Whole>,
    metric: &str,
    nlist: Option<Whole>,
    bits: Whole,
    seed: Seed,
    checkpoint: Option<PathBuf>,
    threads: Option<Whole>,
    progress: Option<&Bound<'_, PyAny>>,
) -> Result<PyIndex> {
    let nlist = nlist.map(|nlist| nlist.count("nlist")).transpose()?;
    let bits = u32::try_from(bits.count("bits")?).unwrap_or(u32::MAX);
    let rows = rows.map(|rows| rows.count("rows")).transpose()?;
    let build = BuildParams { metric: metric.parse()?, nlist, seed: seed.0, bits };
    let params = StreamParams { build, keep: kept(vectors)?, rows, checkpoint };
    let pool = pool(threads)?;
    let mut progress = Progress::new(progress)?;
    let source = Source { column, ids, raised: Mutex::default() };
    let built = if batches.is_callable() {
        let batches = batches.clone().unbind();
        interrupt::run(py, usize::MAX, &mut progress, |monitor| {
            let open = || source.open(|py| batches.bind(py).call0());
            Index::build_from_chunks(open, &params, &pool, monitor)
        })
    } else {
        let once = batches.try_iter()?.unbind();
        interrupt::run(py, usize::MAX, &mut progress, |monitor| {
            Index::build_from_stream(source.chunks(once), &params, &pool, monitor)
        })
    };
    let raised = source.raised.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (built, raised) {
        (Err(_), Some(raised)) => Err(raised),
        (built, _) => Ok(PyIndex::new(built?, None)),
    }
}

fn kept(vectors: &str) -> Result<Option<Element>> {
    match vectors {
        "none" => Ok(None),
        "f16" => Ok(Some(Element::F16)),
        "f32" => Ok(Some(Element::F32)),
        _ => {
            let expected = "one of none, f16, f32";
            Err(Error::invalid_parameter("vectors", expected, format!("{vectors:?}")).into())
        }
    }
}

/// Where batches come from, and what went wrong in Python on the way.
struct Source {
    column: Option<String>,
    ids: Option<String>,
    /// The core knows no exceptions of Python: one waits here until the build has ended.
    raised: Mutex<Option<Failure>>,
}

impl Source {
    fn open(
        &self,
        call: impl FnOnce(Python<'_>) -> PyResult<Bound<'_, PyAny>>,
    ) -> Result<impl Iterator<Item = Result<Chunk, Error>>, Error> {
        let once = Python::attach(|py| Ok(call(py)?.try_iter()?.unbind()));
        Ok(self.chunks(once.map_err(|failure: PyErr| self.raise(failure.into()))?))
    }

    fn chunks(&self, batches: Py<PyIterator>) -> impl Iterator<Item = Result<Chunk, Error>> {
        std::iter::from_fn(move || {
            Python::attach(|py| {
                let batch = batches.bind(py).clone().next()?;
                Some(batch.map_err(Failure::from).and_then(|batch| self.chunk(&batch)))
            })
            .map(|chunk| chunk.map_err(|failure| self.raise(failure)))
        })
    }

    fn chunk(&self, batch: &Bound<'_, PyAny>) -> Result<Chunk> {
        let given = Given::read(batch, Role::Vectors)?;
        let vectors = given.vectors(batch.py(), self.column.as_deref(), None)?;
        let ids = match &self.ids {
            Some(name) => given
                .ids(Some(name.into_pyobject(batch.py()).map_err(PyErr::from)?.as_any()), vectors.len())?,
            None => None,
        };
        Ok(Chunk { vectors, ids })
    }

    fn raise(&self, failure: Failure) -> Error {
        match failure {
            Failure::Core(error) => error,
            failure => {
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                Error::Interrupted
            }
        }
    }
}
