//! Builds that go on although nobody waits for them. They are few, they tell how far they are, and what came of them is
//! known for a while.

use std::{
    collections::HashMap,
    panic,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ruvector_core::{Monitor, Phase};
use ruvector_lake::Error;
use serde_json::Value;
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::{
    call::Call,
    status::{named, refuse},
};

/// How long it is known what came of a job.
pub(crate) const KEPT: Duration = Duration::from_secs(600);
/// Jobs under way at most.
const RUNNING: usize = 4;
/// Jobs that are known at most.
const KNOWN: usize = 256;

/// All jobs.
#[derive(Default)]
pub(crate) struct Jobs {
    known: Mutex<HashMap<String, Arc<Job>>>,
    next: AtomicUsize,
}

/// One job.
pub(crate) struct Job {
    pub(crate) id: String,
    /// Who began it, and the only one who may ask about it.
    client: String,
    /// The name of what it makes.
    pub(crate) collection: String,
    stopped: AtomicBool,
    progress: Mutex<(usize, usize, usize)>,
    outcome: watch::Sender<Option<Result<Value, Status>>>,
    ended: Mutex<Option<Instant>>,
}

impl Monitor for Job {
    fn interrupted(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn advance(&self, phase: Phase, done: usize, total: usize) {
        let at = phase as usize;
        let mut progress = lock(&self.progress);
        let before = if progress.0 == at { progress.1 } else { 0 };
        *progress = (at, before + done, total);
    }
}

impl Job {
    /// How far it is, from 0 to 1: all phases count the same.
    pub(crate) fn progress(&self) -> f64 {
        if lock(&self.ended).is_some() {
            return 1.0;
        }
        let (phase, done, total) = *lock(&self.progress);
        let phases = Phase::Calibrate as usize + 1;
        let within = if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) };
        ((phase.min(phases - 1) as f64 + within) / phases as f64).min(0.99)
    }

    /// What came of it; `None` as long as it goes on.
    pub(crate) fn outcome(&self) -> Option<Result<Value, Status>> {
        self.outcome.borrow().clone()
    }

    /// Waits for what comes of it.
    pub(crate) async fn wait(&self) -> Result<Value, Status> {
        let mut outcome = self.outcome.subscribe();
        let ended = outcome.wait_for(Option::is_some).await;
        let gone = || named(Code::Internal, "RuVectorError", "the job has vanished");
        ended.ok().and_then(|outcome| outcome.clone()).unwrap_or_else(|| Err(gone()))
    }

    /// Asks it to stop; false if it has ended already.
    pub(crate) fn stop(&self) -> bool {
        self.stopped.store(true, Ordering::Relaxed);
        lock(&self.ended).is_none()
    }
}

impl Jobs {
    /// Begins a job on a thread of its own.
    pub(crate) fn begin(
        &self,
        call: &Call,
        collection: &str,
        work: impl FnOnce(&Job) -> Result<Value, Error> + Send + 'static,
    ) -> Result<Arc<Job>, Status> {
        let mut known = self.swept();
        let running = known.values().filter(|job| lock(&job.ended).is_none()).count();
        if running >= RUNNING || known.len() >= KNOWN {
            let message = format!("{running} builds are under way: wait for one to end");
            return Err(named(Code::ResourceExhausted, "TooLarge", message));
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let job = Arc::new(Job {
            id: format!("{number}"),
            client: call.caller().client.clone(),
            collection: collection.into(),
            stopped: AtomicBool::new(false),
            progress: Mutex::default(),
            outcome: watch::Sender::new(None),
            ended: Mutex::default(),
        });
        known.insert(job.id.clone(), Arc::clone(&job));
        drop(known);
        let working = Arc::clone(&job);
        tokio::task::spawn_blocking(move || {
            let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| work(&working)));
            let outcome = if let Ok(done) = caught {
                done.map_err(refuse)
            } else {
                let message = "internal: the server panicked, please report it";
                Err(named(Code::Internal, "RuVectorError", message))
            };
            *lock(&working.ended) = Some(Instant::now());
            working.outcome.send_replace(Some(outcome));
        });
        Ok(job)
    }

    /// A job of the caller's.
    pub(crate) fn find(&self, call: &Call, id: &str) -> Result<Arc<Job>, Status> {
        let known = self.swept();
        let job = known.get(id).filter(|job| job.client == call.caller().client);
        job.cloned().ok_or_else(|| {
            named(Code::NotFound, "InvalidParameter", format!("job: expected one that is known, got {id:?}"))
        })
    }

    /// Stops all jobs, for a server that stops.
    pub(crate) fn stop_all(&self) {
        for job in lock(&self.known).values() {
            job.stop();
        }
    }

    fn swept(&self) -> MutexGuard<'_, HashMap<String, Arc<Job>>> {
        let mut known = lock(&self.known);
        known.retain(|_, job| lock(&job.ended).is_none_or(|ended| ended.elapsed() < KEPT));
        known
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
