//! Builds that run.
//!
//! A statement first gathers its rows, then waits for a thread that builds, a tenth of a second at a time: in between
//! DuckDB looks whether it was interrupted. When the statement is over, however it ends, so is the build.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use arrow_array::ArrayRef;
use ruvector_core::{Error, Index, Monitor, Pool, Vectors, format::Keep, index::StreamParams};

use crate::{
    lock::lock,
    refusal::{Refusal, Result},
    spool::{Gathered, Spool},
};

/// How long a thread of DuckDB's waits before it looks up.
const TICK: Duration = Duration::from_millis(100);

/// What is to be built.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) column: String,
    pub(crate) path: PathBuf,
    pub(crate) has_ids: bool,
    pub(crate) params: StreamParams,
}

/// A build, from the first row on.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) plan: Plan,
    spool: Mutex<Spool>,
    stop: Arc<Stop>,
    worker: Mutex<Option<Receiver<Result<()>>>>,
}

#[derive(Debug, Default)]
struct Stop(AtomicBool);

impl Monitor for Stop {
    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Job {
    /// The elements of the vectors, once one is known.
    pub(crate) fn dim(&self) -> Option<usize> {
        lock(&self.spool).dim()
    }

    /// Takes rows in.
    pub(crate) fn add(
        &self,
        first: usize,
        rows: usize,
        vectors: Option<&Vectors>,
        ids: Option<&ArrayRef>,
    ) -> Result<()> {
        lock(&self.spool).add(first, rows, vectors, ids)
    }

    /// Goes on for a moment, once all rows are in; tells whether the index is complete.
    pub(crate) fn step(&self) -> Result<bool> {
        let mut worker = lock(&self.worker);
        if worker.is_none() {
            let gathered = lock(&self.spool).finish(&self.plan.column)?;
            *worker = Some(self.begin(gathered)?);
        }
        let Some(receiver) = worker.as_ref() else { return Ok(false) };
        match receiver.recv_timeout(TICK) {
            Ok(built) => built.map(|()| true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(Refusal("the build ended without an answer".into())),
        }
    }

    fn begin(&self, gathered: Gathered) -> Result<Receiver<Result<()>>> {
        let (sender, receiver) = channel();
        let (plan, stop) = (self.plan.clone(), Arc::clone(&self.stop));
        let work = move || {
            let built = catch_unwind(AssertUnwindSafe(|| build(&plan, &gathered, &stop)));
            let failed = || Err(Refusal("ruvector failed while it built an index, please report it".into()));
            // Nobody listens any more if the statement is over.
            let _ = sender.send(built.unwrap_or_else(|_| failed()));
        };
        thread::Builder::new().name("ruvector-build".into()).spawn(work)?;
        Ok(receiver)
    }
}

fn build(plan: &Plan, gathered: &Gathered, stop: &Stop) -> Result<()> {
    let params = StreamParams { rows: Some(gathered.rows()), ..plan.params.clone() };
    let open = || Ok(gathered.chunks(&plan.column));
    let index = Index::build_from_chunks(open, &params, &Pool::new(None)?, stop)?;
    if stop.interrupted() {
        return Err(Error::Interrupted.into());
    }
    Ok(index.save(&plan.path, Keep::AsIs)?)
}

/// The builds of the statements that run.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    next: AtomicU64,
    held: Mutex<HashMap<u64, Arc<Job>>>,
}

impl Jobs {
    /// Begins a build that lasts as long as the answer lives.
    pub(crate) fn begin(self: &Arc<Self>, plan: Plan) -> Result<Held> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let spool = Mutex::new(Spool::beside(&plan.path)?);
        let job = Job { plan, spool, stop: Arc::default(), worker: Mutex::default() };
        lock(&self.held).insert(number, Arc::new(job));
        Ok(Held { jobs: Arc::clone(self), number })
    }

    /// The build that a number means.
    pub(crate) fn get(&self, number: u64) -> Result<Arc<Job>> {
        lock(&self.held).get(&number).cloned().ok_or_else(|| {
            Refusal(format!("job {number} is not of a statement that runs: call the macro ruvector_build"))
        })
    }
}

/// A hold on a build.
#[derive(Debug)]
pub(crate) struct Held {
    jobs: Arc<Jobs>,
    pub(crate) number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(job) = lock(&self.jobs.held).remove(&self.number) {
            job.stop.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use ruvector_core::Vectors;

    use super::*;

    fn plan(path: PathBuf) -> Plan {
        let params =
            StreamParams { keep: Some(ruvector_core::vectors::Element::F32), ..StreamParams::default() };
        Plan { column: "v".into(), path, has_ids: false, params }
    }

    #[test]
    fn a_build_ends_with_a_file_and_a_dropped_one_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docs.rbpx");
        let jobs = Arc::new(Jobs::default());
        let vectors = Vectors::from_f32("v", 2, (0..400).map(|at| at as f32).collect()).unwrap();
        let held = jobs.begin(plan(path.clone())).unwrap();
        let job = jobs.get(held.number).unwrap();
        job.add(0, 200, Some(&vectors), None).unwrap();
        while !job.step().unwrap() {}
        assert_eq!(Index::open(&path, true).unwrap().len(), 200);
        std::fs::remove_file(&path).unwrap();

        let held = jobs.begin(plan(path.clone())).unwrap();
        let number = held.number;
        let job = jobs.get(number).unwrap();
        job.add(0, 200, Some(&vectors), None).unwrap();
        drop(held);
        assert!(jobs.get(number).is_err());
        let error = loop {
            match job.step() {
                Ok(done) => assert!(!done),
                Err(error) => break error.0,
            }
        };
        assert_eq!(error, Error::Interrupted.to_string());
        assert!(!path.exists());
    }
}
