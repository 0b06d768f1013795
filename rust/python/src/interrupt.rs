//! Long work: off the GIL, watched, and stopped by Ctrl-C.
//!
//! Only the thread that runs Python's main program may ask for signals, and it cannot ask while it computes. So the
//! work goes to a thread of its own, and the calling thread wakes up a few times a second to look.

use std::{
    collections::BTreeMap,
    panic,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use pyo3::prelude::*;
use ruvector_core::{Monitor, Phase, Unwatched};

use crate::{
    error::{Failure, Result},
    progress::Progress,
};

/// How often the calling thread looks for signals and reports progress.
const TICK: Duration = Duration::from_millis(50);

/// Work below this many multiplications is done before anybody could press a key, on the calling thread.
const INLINE: usize = 1 << 26;

/// What the working thread and the waiting thread tell each other.
#[derive(Default)]
pub(crate) struct Watch {
    stop: AtomicBool,
    steps: Mutex<BTreeMap<Phase, Steps>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) done: usize,
    pub(crate) total: usize,
}

impl Monitor for Watch {
    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn advance(&self, phase: Phase, done: usize, total: usize) {
        let mut steps = self.lock();
        let phase = steps.entry(phase).or_default();
        *phase = Steps { done: phase.done + done, total };
    }
}

impl Watch {
    /// The phases seen so far, in their order.
    pub(crate) fn steps(&self) -> BTreeMap<Phase, Steps> {
        self.lock().clone()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Phase, Steps>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `job` without the GIL. `size` is about how many multiplications it takes.
///
/// A signal handler that raises (Ctrl-C does) or a progress callable that raises stops the job; what it raised is
/// returned as soon as the job has noticed.
pub(crate) fn run<T: Send, E: Into<Failure> + Send>(
    py: Python<'_>,
    size: usize,
    progress: &mut Progress,
    job: impl FnOnce(&dyn Monitor) -> Result<T, E> + Send,
) -> Result<T> {
    if size <= INLINE && progress.is_off() {
        return py.detach(|| job(&Unwatched)).map_err(Into::into);
    }
    let watch = Watch::default();
    let result = py.detach(|| supervise(&watch, progress, job));
    let last = if result.is_ok() { progress.report(py, &watch) } else { Ok(()) };
    progress.close(py)?;
    last?;
    result
}

fn supervise<T: Send, E: Into<Failure> + Send>(
    watch: &Watch,
    progress: &mut Progress,
    job: impl FnOnce(&dyn Monitor) -> Result<T, E> + Send,
) -> Result<T> {
    // Nothing is ever sent: the channel closes when the job ends, however it ends.
    let (running, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let work = move || {
            let _running = running;
            job(watch)
        };
        let worker =
            thread::Builder::new().name("ruvector".into()).spawn_scoped(scope, work).map_err(PyErr::from)?;
        let mut asked_to_stop = Ok(());
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            if asked_to_stop.is_ok() {
                asked_to_stop =
                    Python::attach(|py| py.check_signals().and_then(|()| progress.report(py, watch)));
                if asked_to_stop.is_err() {
                    watch.stop();
                }
            }
        }
        let result = worker.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
        asked_to_stop?;
        result.map_err(Into::into)
    })
}
