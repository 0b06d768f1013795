//! Threads of our own, so that neither the host's pool nor rayon's global one is taken by surprise.

use std::{
    collections::HashMap,
    num::NonZero,
    process,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Where parallel work runs. Cheap to clone; pools of one size are shared by the whole process.
#[derive(Clone, Debug)]
pub enum Pool {
    /// On the calling thread. What an engine's own worker should use for small batches.
    Inline,
    /// On a pool of our own.
    Threads(Team),
}

/// Threads, and the process that has them.
#[derive(Clone, Debug)]
pub struct Team {
    threads: Arc<rayon::ThreadPool>,
    process: u32,
}

impl Team {
    /// Runs a job on the threads. A forked child that was left with somebody else's gets its own; on the calling thread
    /// if the system has none for it.
    pub fn install<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        if self.process == process::id() {
            return self.threads.install(job);
        }
        match shared(self.threads.current_num_threads()) {
            Ok(Pool::Threads(own)) => own.threads.install(job),
            _ => job(),
        }
    }
}

/// Keyed by process id too: a forked child inherits the map, but none of the threads behind it.
type Pools = Mutex<HashMap<(u32, usize), Arc<rayon::ThreadPool>>>;

impl Pool {
    /// A pool of `threads` threads; `None` takes every core this process may use.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `threads` is 0 or the system refuses to start that many.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        let count = threads.unwrap_or_else(Self::cores);
        match count {
            0 => Err(Error::invalid_parameter("threads", "at least 1", "0")),
            1 => Ok(Self::Inline),
            _ => shared(count),
        }
    }

    /// The cores that this process may use, as they were when it was first asked: the answer is read from files, which
    /// takes about as long as a search.
    pub fn cores() -> usize {
        static CORES: OnceLock<usize> = OnceLock::new();
        *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// How many threads work at once.
    pub fn threads(&self) -> usize {
        match self {
            Self::Inline => 1,
            Self::Threads(team) => team.threads.current_num_threads(),
        }
    }

    /// Runs `task(0)` to `task(count - 1)` and returns their results in order; the first error by number wins.
    ///
    /// # Errors
    /// Whatever a task returns.
    pub fn map<T: Send>(&self, count: usize, task: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
        match self {
            // One task is done before another thread has woken up.
            Self::Threads(team) if count > 1 => {
                let results: Vec<Result<T>> =
                    team.install(|| (0..count).into_par_iter().map(&task).collect());
                results.into_iter().collect()
            }
            Self::Inline | Self::Threads(_) => (0..count).map(task).collect(),
        }
    }
}

fn shared(count: usize) -> Result<Pool> {
    static POOLS: OnceLock<Pools> = OnceLock::new();
    let mut pools = POOLS.get_or_init(Pools::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = (process::id(), count);
    if let Some(pool) = pools.get(&key) {
        return Ok(Pool::Threads(Team { threads: Arc::clone(pool), process: key.0 }));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|at| format!("ruvector-{at}"))
        .build()
        .map_err(|error| {
            Error::invalid_parameter("threads", "a number the system can start", format!("{count} ({error})"))
        })?;
    let pool = Arc::new(pool);
    pools.insert(key, Arc::clone(&pool));
    Ok(Pool::Threads(Team { threads: pool, process: key.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_the_first_error_wins() {
        for threads in [1, 2, 4] {
            let pool = Pool::new(Some(threads)).unwrap();
            assert_eq!(pool.map(100, |at| Ok(at * at)).unwrap()[99], 9801);
            let error = pool
                .map(100, |at| if at >= 7 { Err(Error::EmptyIndex(at.to_string())) } else { Ok(at) })
                .unwrap_err();
            assert_eq!(error.to_string(), "empty index: 7");
        }
    }

    #[test]
    fn one_task_stays_on_the_thread_that_asks() {
        let (pool, here) = (Pool::new(Some(3)).unwrap(), thread::current().id());
        let ran_on = |count| pool.map(count, |_| Ok(thread::current().id())).unwrap();
        assert_eq!(ran_on(1), [here]);
        assert!(ran_on(8).iter().all(|&thread| thread != here));
    }

    #[test]
    fn pools_are_shared_and_zero_is_refused() {
        let (Pool::Threads(one), Pool::Threads(two)) =
            (Pool::new(Some(3)).unwrap(), Pool::new(Some(3)).unwrap())
        else {
            unreachable!("three threads are not inline")
        };
        assert!(Arc::ptr_eq(&one.threads, &two.threads));
        assert!(Pool::new(Some(0)).is_err());
    }
}
