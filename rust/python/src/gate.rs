//! How threads that Python did not start enter it, and how it waits for them before it goes.
//!
//! A thread that has told the event loop of its answer may still be letting go of the interpreter's lock when the loop's
//! thread has nothing left to do and ends the interpreter, which then aborts the process. So whoever comes from a
//! thread of ours passes this gate, and `atexit` closes it and waits until nobody is inside. Entering and leaving take
//! no lock: a forked child would inherit one that nobody opens. It inherits the count of a process whose threads it does
//! not have, and so the count says whose it is.

use std::{
    process,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use pyo3::prelude::*;

/// How long the interpreter waits at its end for code of Python that runs on a thread of ours: a backend may hang.
const PATIENCE: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

/// The process in the upper half, how many of its threads are inside in the lower.
static INSIDE: AtomicU64 = AtomicU64::new(0);
/// The process whose gate is closed.
static CLOSED: AtomicU32 = AtomicU32::new(0);

/// Does something in Python, on a thread that may wait for it; `None` from the moment on that the interpreter ends.
pub(crate) fn attach<T>(work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    let _visit = Visit::begin()?;
    Python::try_attach(work)
}

/// A thread is inside as long as this lives.
struct Visit;

impl Visit {
    fn begin() -> Option<Self> {
        let one_more = |state| {
            let ours = u64::from(process::id());
            Some(if owner(state) == ours { state + 1 } else { (ours << 32) + 1 })
        };
        // Counted first: whoever closes the gate after the look at it sees the count.
        INSIDE.fetch_update(SeqCst, SeqCst, one_more).ok();
        let visit = Self;
        if CLOSED.load(SeqCst) == process::id() { None } else { Some(visit) }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, SeqCst);
    }
}

fn owner(state: u64) -> u64 {
    state >> 32
}

fn is_empty() -> bool {
    let state = INSIDE.load(SeqCst);
    owner(state) != u64::from(process::id()) || state.trailing_zeros() >= 32
}

/// Lets nobody in any more and waits until those inside have left, not for ever.
#[pyfunction]
fn close_gate(py: Python<'_>) {
    CLOSED.store(process::id(), SeqCst);
    py.detach(|| {
        let since = Instant::now();
        while !is_empty() && since.elapsed() < PATIENCE {
            thread::sleep(BETWEEN_LOOKS);
        }
    });
}

/// Has the gate closed when the interpreter ends.
pub(crate) fn close_at_exit(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let close = wrap_pyfunction!(close_gate, module)?;
    module.py().import("atexit")?.call_method1("register", (close,))?;
    Ok(())
}
