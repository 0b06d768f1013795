//! Threads for what may wait for others: pulls, checks, the shards of a federated search.
//!
//! The core's pool is for computing, and as wide as the machine; a thread of it that waited for a backend would be one
//! less for everybody. These threads are started when none is idle, and end when they have had nothing to do for a
//! while. How many there are is bounded by what backends allow at once ([`Gate`]): whoever waits longer than it may
//! gives up.

use std::{
    collections::VecDeque,
    process,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::{error::Result, watch::Watch};

type Job = Box<dyn FnOnce() + Send>;

/// How long a thread waits for something to do.
const IDLE: Duration = Duration::from_secs(10);

/// Threads that are started when they are needed.
#[derive(Clone, Default)]
pub(crate) struct Workers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    /// A forked child has none of its parent's threads.
    process: u32,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workers")
    }
}

impl Workers {
    /// Runs a job on another thread, now; on the caller's own if the system has no more threads.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        if state.process != process::id() {
            *state = State { process: process::id(), ..State::default() };
        }
        state.jobs.push_back(Box::new(job));
        if state.idle >= state.jobs.len() {
            drop(state);
            self.0.wake.notify_one();
            return;
        }
        drop(state);
        let shared = Arc::clone(&self.0);
        if thread::Builder::new().name("ruvector-lake".into()).spawn(move || shared.work()).is_err() {
            let job = self.0.lock().jobs.pop_front();
            if let Some(job) = job {
                job();
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut state = self.lock();
            let job = loop {
                if let Some(job) = state.jobs.pop_front() {
                    break job;
                }
                state.idle += 1;
                let (woken, waited) =
                    self.wake.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                state.idle = state.idle.saturating_sub(1);
                if waited.timed_out() && state.jobs.is_empty() {
                    return;
                }
            };
            drop(state);
            // A job that panics takes its thread with it; whoever waits for it sees its channel closed.
            job();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets so many through at once.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Mutex<usize>,
    left: Condvar,
}

/// The right to be inside.
pub(crate) struct Permit<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new(most: usize) -> Self {
        Self { free: Mutex::new(most), left: Condvar::new() }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// As [`Watch::step`].
    pub(crate) fn enter(&self, watch: Watch<'_>) -> Result<Permit<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let step = watch.step()?;
            free = self.left.wait_timeout(free, step).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Ok(Permit(self))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use ruvector_core::Unwatched;

    use super::*;
    use crate::{key::Key, watch::Deadline};

    #[test]
    fn jobs_run_beside_each_other_and_threads_are_used_again() {
        let workers = Workers::default();
        let barrier = Arc::new(std::sync::Barrier::new(5));
        for _ in 0..3 {
            for _ in 0..4 {
                let barrier = Arc::clone(&barrier);
                workers.spawn(move || {
                    barrier.wait();
                });
            }
            barrier.wait();
        }
        let (tell, told) = mpsc::channel::<()>();
        workers.spawn(move || {
            let _tell = tell;
            panic!("somebody else's code");
        });
        assert!(told.recv().is_err());
        let (tell, told) = mpsc::channel();
        workers.spawn(move || tell.send(7).unwrap());
        assert_eq!(told.recv(), Ok(7));
    }

    #[test]
    fn a_gate_lets_so_many_through() {
        let gate = Gate::new(2);
        let key = Key::new("b", "c");
        let watch = Watch::new(&key, &Unwatched);
        let (one, two) = (gate.enter(watch), gate.enter(watch));
        let soon = Watch { deadline: Deadline::after(Some(Duration::from_millis(20))), ..watch };
        assert!(one.is_ok() && two.is_ok() && gate.enter(soon).is_err());
        drop(one);
        assert!(gate.enter(soon).is_ok());
    }
}
