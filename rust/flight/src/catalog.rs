//! What there is to search, by name: indexes, and collections of a lake.
//!
//! An index has one name without slashes. A collection of the served lake is called `backend/collection`; one that was
//! given a name of its own hides the others behind that name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use ruvector_core::{
    Filter, Hits, Live, Metric, Monitor, Pool, Vectors,
    ids::{IdType, Ids},
    index::{Effort, SearchParams, VectorsKept},
    live::Snapshot,
};
use ruvector_lake::{Error, Key, Pin, Predicate, Result, RuLake};

/// What a name stands for.
#[derive(Clone)]
pub enum Source {
    /// An index, which clients may change unless it is frozen.
    Index(Arc<Live>),
    /// A collection of a lake: those of its rows that fulfil the predicate.
    Collection {
        /// The lake.
        lake: RuLake,
        /// The collection.
        key: Key,
        /// Which rows there are.
        predicate: Predicate,
    },
}

/// One name and what it stands for.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) source: Source,
    /// The file that an index is saved to.
    pub(crate) path: Option<PathBuf>,
    /// Which of all things that were ever served it is.
    number: u64,
    seen: Mutex<Seen>,
}

/// The state of an index that was seen last, its token, and how many were seen.
#[derive(Default)]
struct Seen {
    snapshot: Weak<Snapshot>,
    token: String,
    states: u64,
}

/// One state of what a name stands for. Cheap to clone.
#[derive(Clone)]
pub(crate) enum State {
    Index { snapshot: Arc<Snapshot>, generation: String },
    Lake(Pin),
}

/// Everything there is, by name. All methods can be called while clients are served.
pub struct Catalog {
    served: RwLock<BTreeMap<String, Arc<Served>>>,
    lake: Option<RuLake>,
    folder: Option<PathBuf>,
    /// What the generations of this process begin with, so that those of an earlier one are not taken for them.
    era: String,
    /// Whose turn it is to save an index and give it its name.
    placing: Mutex<()>,
}

impl Catalog {
    /// A catalog without indexes. The collections of `lake` are in it by `backend/collection`. Indexes that clients
    /// build are saved to `folder`, or kept in memory.
    #[must_use]
    pub fn new(lake: Option<RuLake>, folder: Option<PathBuf>) -> Self {
        let era = UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_micros());
        Self { served: RwLock::default(), lake, folder, era: format!("{era:x}"), placing: Mutex::default() }
    }

    /// Gives something a name, in place of what had it before. Streams under way stay with what they began with.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for what cannot be a name.
    pub fn put(&self, name: &str, source: Source, path: Option<PathBuf>) -> Result<()> {
        check_name(name)?;
        let served = Served::new(name, source, path);
        let mut all = self.served.write().unwrap_or_else(PoisonError::into_inner);
        let old = all.insert(name.to_owned(), Arc::new(served));
        drop(all);
        drop(old);
        Ok(())
    }

    /// Takes a name out; false if there was none.
    pub fn remove(&self, name: &str) -> bool {
        let old = self.served.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        old.is_some()
    }

    /// Takes an index out, and its file if it lies where those lie that clients have built.
    pub(crate) fn discard(&self, name: &str) -> Result<bool> {
        let _guard = self.placing();
        let Some(served) = self.read().get(name).cloned() else { return Ok(false) };
        let ours = served.path.as_ref().filter(|path| path.parent() == self.folder());
        if let Some(path) = ours.filter(|path| path.exists()) {
            std::fs::remove_file(path).map_err(|error| ruvector_core::Error::persist(path, error))?;
        }
        Ok(self.remove(name))
    }

    /// The names of indexes and named collections, sorted.
    pub fn names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// The index of a name, if it stands for one.
    pub fn live(&self, name: &str) -> Option<Arc<Live>> {
        match &self.read().get(name)?.source {
            Source::Index(live) => Some(Arc::clone(live)),
            Source::Collection { .. } => None,
        }
    }

    /// Where indexes that clients build are saved.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The turn to save an index and to give it its name.
    pub(crate) fn placing(&self) -> MutexGuard<'_, ()> {
        self.placing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lake whose collections are served.
    pub(crate) fn lake(&self) -> Option<&RuLake> {
        self.lake.as_ref()
    }

    /// What a name stands for; `None` if nothing does.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Served>> {
        if let Some(served) = self.read().get(name) {
            return Some(Arc::clone(served));
        }
        let (backend, collection) = name.split_once('/')?;
        let lake = self.lake.clone()?;
        if !lake.backend_ids().iter().any(|id| id == backend) {
            return None;
        }
        let key = Key::new(backend, collection);
        let source = Source::Collection { lake, key, predicate: Predicate::default() };
        Some(Arc::new(Served::new(name, source, None)))
    }

    /// The state of something that answers now, as `principal` may see it.
    pub(crate) fn state(
        &self,
        served: &Served,
        principal: Option<&str>,
        monitor: &dyn Monitor,
    ) -> Result<State> {
        match &served.source {
            Source::Index(live) => {
                let snapshot = live.snapshot();
                let generation = served.generation(&self.era, &snapshot);
                Ok(State::Index { snapshot, generation })
            }
            Source::Collection { lake, key, predicate } => {
                let lake = principal.map_or_else(|| lake.clone(), |principal| lake.acting_as(principal));
                lake.hold(key, predicate, monitor).map(State::Lake)
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Served>>> {
        self.served.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    fn new(name: &str, source: Source, path: Option<PathBuf>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { name: name.to_owned(), source, path, number, seen: Mutex::default() }
    }

    /// The token of a state, another one than that of the state before. A file that nothing was changed of has the
    /// same one in every process.
    fn generation(&self, era: &str, snapshot: &Arc<Snapshot>) -> String {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // A weak pointer keeps the address taken: equal addresses are the same state.
        if !std::ptr::eq(seen.snapshot.as_ptr(), Arc::as_ptr(snapshot)) {
            let index = snapshot.index();
            let of_file = snapshot.is_sealed() && index.borrowed().is_none();
            let digest = if of_file { index.file_digest() } else { None };
            seen.states += 1;
            seen.token = digest.unwrap_or_else(|| format!("{era}-{}-{}", self.number, seen.states));
            seen.snapshot = Arc::downgrade(snapshot);
        }
        seen.token.clone()
    }
}

impl State {
    /// The token of this state.
    pub(crate) fn generation(&self) -> String {
        match self {
            Self::Index { generation, .. } => generation.clone(),
            Self::Lake(pin) => pin.bundle().generation.to_string(),
        }
    }

    /// Elements per vector.
    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Index { snapshot, .. } => snapshot.index().dim(),
            Self::Lake(pin) => pin.dim(),
        }
    }

    /// The number of rows that may be found.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Index { snapshot, .. } => snapshot.len(),
            Self::Lake(pin) => pin.len(),
        }
    }

    /// The type of ids.
    pub(crate) fn id_type(&self) -> IdType {
        match self {
            Self::Index { snapshot, .. } => snapshot.id_type(),
            Self::Lake(pin) => pin.id_type(),
        }
    }

    /// The metric.
    pub(crate) fn metric(&self) -> Metric {
        match self {
            Self::Index { snapshot, .. } => snapshot.index().metric(),
            Self::Lake(pin) => pin.bundle().coding.metric,
        }
    }

    /// Whether a search ends with the metric's own distances and not with estimates.
    pub(crate) fn is_exact(&self, params: &SearchParams) -> bool {
        let snapshot = match self {
            Self::Index { snapshot, .. } => Some(snapshot),
            Self::Lake(pin) => pin.snapshot(),
        };
        let keeps = |snapshot: &Arc<Snapshot>| snapshot.index().vectors_kept() != VectorsKept::None;
        (params.rerank || params.effort == Effort::Exact) && snapshot.is_none_or(keeps)
    }

    /// The filter that lets only the rows with these ids pass.
    pub(crate) fn filter_of_ids(&self, ids: &Ids) -> Result<Arc<Filter>> {
        let snapshot = match self {
            Self::Index { snapshot, .. } => Some(snapshot),
            Self::Lake(pin) => pin.snapshot(),
        };
        let Some(snapshot) = snapshot else { return Ok(Arc::default()) };
        Ok(Arc::new(snapshot.filter_of_ids(&ids.clone().cast("ids", snapshot.id_type())?)))
    }

    /// The nearest rows of each query.
    pub(crate) fn search(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        match self {
            Self::Index { snapshot, .. } => Ok(snapshot.search(queries, params, pool, monitor)?),
            Self::Lake(pin) => pin.search(queries, params, pool, monitor),
        }
    }
}

/// Refuses what must not be a name: it may become the name of a file.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.bytes().all(good) {
        return Ok(());
    }
    let expected = "1 to 128 letters, digits, '_', '-' and '.', not beginning with '.'";
    Err(Error::invalid_parameter("name", expected, format!("{name:?}")))
}
