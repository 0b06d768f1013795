//! Tables to search, and a backend that can be watched and held up.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use ruvector_core::{
    Vectors,
    ids::{Ids, OwnedId},
    index::Effort,
    random::SplitMix64,
};
use ruvector_lake::{
    Answer, Backend, BackendOptions, Consistency, Error, Key, Result, RuLake, SearchOptions,
    backend::{Batches, LocalBackend, Pull, State},
    settings::Settings,
};

/// Numbers between -1 and 1, the same for the same seed.
pub(crate) fn column(rows: usize, dim: usize, seed: u64) -> Vectors {
    let mut random = SplitMix64::new(seed);
    let values: Vec<f32> = (0..rows * dim).map(|_| random.below(20_001) as f32 / 10_000.0 - 1.0).collect();
    Vectors::from_f32("v", dim, values.into()).unwrap()
}

pub(crate) fn numbers(ids: impl IntoIterator<Item = i64>) -> Ids {
    Ids::Int64(ids.into_iter().collect::<Vec<_>>().into())
}

pub(crate) fn row(vectors: &Vectors, row: usize) -> Vec<f32> {
    vectors.row(row, &mut vec![0.0; vectors.dim()]).to_vec()
}

/// Runs before each pull, many at once.
type Signal = Arc<dyn Fn() + Send + Sync>;

/// What happens at the next pulls.
type Hook = Box<dyn FnMut(&LocalBackend) + Send>;

/// A backend in memory that counts how often it is asked.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) rows: LocalBackend,
    pub(crate) pulls: Arc<AtomicUsize>,
    pub(crate) skipped: Arc<AtomicUsize>,
    pub(crate) states: Arc<AtomicUsize>,
    pub(crate) slow: Arc<Mutex<Duration>>,
    pub(crate) broken: Arc<Mutex<Option<Error>>>,
    pub(crate) during_pull: Arc<Mutex<Option<Hook>>>,
    /// Run by each pull, many at once.
    pub(crate) before_pull: Arc<Mutex<Option<Signal>>>,
    /// In place of the place it would name.
    pub(crate) data_ref: Option<String>,
}

impl Watched {
    pub(crate) fn new(id: &str) -> Self {
        Self {
            rows: LocalBackend::new(id),
            pulls: Arc::default(),
            skipped: Arc::default(),
            states: Arc::default(),
            slow: Arc::default(),
            broken: Arc::default(),
            during_pull: Arc::default(),
            before_pull: Arc::default(),
            data_ref: None,
        }
    }

    /// With a collection `c` of `rows` rows, whose ids are 100, 101, ..
    pub(crate) fn with_rows(id: &str, rows: usize, dim: usize) -> Self {
        let watched = Self::new(id);
        watched.rows.put_collection("c", &numbers(100..100 + rows as i64), &column(rows, dim, 7)).unwrap();
        watched
    }

    pub(crate) fn pulls(&self) -> usize {
        self.pulls.load(Ordering::SeqCst)
    }

    pub(crate) fn states(&self) -> usize {
        self.states.load(Ordering::SeqCst)
    }

    pub(crate) fn slow(&self, millis: u64) {
        *self.slow.lock().unwrap() = Duration::from_millis(millis);
    }

    pub(crate) fn breaks(&self, error: Option<Error>) {
        *self.broken.lock().unwrap() = error;
    }

    fn check(&self) -> Result<()> {
        self.broken.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl Backend for Watched {
    fn id(&self) -> &str {
        self.rows.id()
    }

    fn list_collections(&self) -> Result<Vec<String>> {
        self.check()?;
        self.rows.list_collections()
    }

    fn state(&self, collection: &str) -> Result<State> {
        self.states.fetch_add(1, Ordering::SeqCst);
        self.check()?;
        let mut state = self.rows.state(collection)?;
        if let Some(data_ref) = &self.data_ref {
            state.data_ref.clone_from(data_ref);
        }
        Ok(state)
    }

    fn pull(&self, collection: &str, pull: &Pull) -> Result<Batches> {
        self.pulls.fetch_add(1, Ordering::SeqCst);
        self.skipped.fetch_add(pull.skip_rows as usize, Ordering::SeqCst);
        let slow = *self.slow.lock().unwrap();
        thread::sleep(slow);
        let before = self.before_pull.lock().unwrap().clone();
        if let Some(before) = before {
            before();
        }
        self.check()?;
        let rows = self.rows.pull(collection, pull);
        if let Some(hook) = &mut *self.during_pull.lock().unwrap() {
            hook(&self.rows);
        }
        rows
    }
}

pub(crate) fn key(backend: &str) -> Key {
    Key::new(backend, "c")
}

pub(crate) fn lake(consistency: Consistency, backends: &[&Watched]) -> RuLake {
    with(RuLake::builder().consistency(consistency).threads(Some(2)).build().unwrap(), backends)
}

pub(crate) fn with(lake: RuLake, backends: &[&Watched]) -> RuLake {
    for backend in backends {
        lake.register_backend(Arc::new((*backend).clone()), BackendOptions::default()).unwrap();
    }
    lake
}

pub(crate) fn settings(consistency: Consistency) -> Settings {
    Settings { consistency, ..Settings::default() }
}

/// The nearest `k`, exactly.
pub(crate) fn exact(k: usize) -> SearchOptions {
    SearchOptions { k, effort: Effort::Exact, ..SearchOptions::default() }
}

/// The ids that the first query found.
pub(crate) fn ids(answer: &Answer) -> Vec<i64> {
    let number = |id: &OwnedId| if let OwnedId::Int64(id) = id { *id } else { panic!("{id:?} is no int64") };
    answer.hits[0].iter().map(|hit| number(&hit.id)).collect()
}
