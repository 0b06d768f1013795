//! Searches that Python awaits: on one runtime for the whole process, made when the first one comes.
//!
//! They compute on the runtime's threads and not on the event loop's, which they tell when they are done. One that may
//! wait for a backend first gives its place to another thread, so that those that only compute go on.

use std::{
    collections::HashMap,
    env, io, panic, process,
    sync::{Arc, Mutex, Once, OnceLock, PoisonError},
    thread,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*};
use ruvector_core::{Error, Monitor};
use ruvector_lake::Answer;
use tokio::runtime::{Builder, Runtime};

use super::answer::PyAnswer;
use crate::{
    error::{Failure, Result},
    gate,
    interrupt::Watch,
};

/// How many threads there are at most unless somebody says otherwise.
const MOST: usize = 8;
/// Where somebody may say otherwise.
const THREADS: &str = "RUVECTOR_ASYNC_THREADS";

/// A search that is under way.
#[pyclass(name = "LakeJob", module = "ruvector", frozen)]
pub(crate) struct PyJob(Arc<Watch>);

#[pymethods]
impl PyJob {
    /// Stops it at the next block; before it began, at once.
    fn cancel(&self) {
        self.0.stop();
    }
}

/// Runs a search, then calls `settle(answer, exception)`. `one` is for the answer; `waits` says that it
/// may wait for a backend.
pub(super) fn spawn(
    settle: Py<PyAny>,
    one: bool,
    waits: bool,
    search: impl FnOnce(&dyn Monitor) -> ruvector_lake::Result<Answer> + Send + 'static,
) -> Result<PyJob> {
    let watch = Arc::new(Watch::default());
    let watched = Arc::clone(&watch);
    let work = move || {
        if watched.interrupted() {
            return Err(Error::Interrupted.into());
        }
        let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| search(&*watched)));
        caught.unwrap_or_else(|_| Err(ruvector_lake::Error::backend("", "the search panicked")))
    };
    runtime()?.spawn(async move {
        let found = if waits { tokio::task::block_in_place(work) } else { work() };
        // An interpreter that is going away has nobody left who waits.
        gate::attach(|py| {
            let told = match found {
                Ok(answer) => settle.call1(py, (PyAnswer { answer: Arc::new(answer), one }, py.None())),
                Err(error) => settle.call1(py, (py.None(), PyErr::from(Failure::from(error)))),
            };
            // A loop that was closed meanwhile refuses, and has nobody left who waits, either.
            drop(told);
        });
    });
    Ok(PyJob(watch))
}

/// Lets the lake's object stores use this runtime, too.
pub(super) fn provide() {
    static ONCE: Once = Once::new();
    let source = || runtime().map(|runtime| runtime.handle().clone()).map_err(refused);
    ONCE.call_once(|| ruvector_lake::runtime::provide(Arc::new(source)));
}

fn refused(failure: Failure) -> io::Error {
    io::Error::other(PyErr::from(failure).to_string())
}

/// The runtime of this process: a forked child makes its own.
pub(crate) fn runtime() -> Result<Arc<Runtime>> {
    static RUNTIMES: OnceLock<Mutex<HashMap<u32, Arc<Runtime>>>> = OnceLock::new();
    let mut runtimes = RUNTIMES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = runtimes.get(&process::id()) {
        return Ok(Arc::clone(runtime));
    }
    let made = Builder::new_multi_thread()
        .worker_threads(threads()?)
        .thread_name("ruvector-async")
        .enable_all()
        .build();
    let runtime = Arc::new(made.map_err(|error| PyRuntimeError::new_err(error.to_string()))?);
    runtimes.insert(process::id(), Arc::clone(&runtime));
    Ok(runtime)
}

fn threads() -> Result<usize> {
    let Some(told) = env::var_os(THREADS) else {
        return Ok(thread::available_parallelism().map_or(1, usize::from).min(MOST));
    };
    let threads = told.to_str().and_then(|told| told.parse().ok()).filter(|&threads| threads > 0);
    let wrong = || Error::invalid_parameter(THREADS, "at least 1", format!("{}", told.display()));
    Ok(threads.ok_or_else(wrong)?)
}

/// How many threads the runtime of this process has.
#[pyfunction]
pub(crate) fn lake_async_threads() -> Result<usize> {
    Ok(runtime()?.metrics().num_workers())
}
