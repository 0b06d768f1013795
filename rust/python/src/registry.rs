//! Where a plan finds what it searches: by a key in this process, an index also by its path in any other.
//!
//! A plan is data. It can be serialized, sent elsewhere and outlive the variable that held the index, so it carries a
//! [`Reference`] and not a pointer. The registry itself holds indexes weakly, but for the few used last: a plan over
//! an index that nothing else holds, `pl.col("v").ruvector.knn(rv.build(docs))`, would find nothing otherwise.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    process, ptr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::UNIX_EPOCH,
};

use pyo3::{IntoPyObject, prelude::*};
use ruvector_core::{Index, Live};
use serde::Deserialize;

use crate::{flight::PyRemote, index::PyIndex, lake::PyTarget, searchable::Searchable};

/// An index, a collection of a lake, or one of a server.
type Searched = Arc<dyn Searchable>;

/// How many of the indexes used last are held strongly.
const KEPT: usize = 8;

/// How a plan names its index.
#[derive(Clone, Debug, Deserialize, IntoPyObject)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reference {
    /// Its name in the process that made the plan.
    key: String,
    /// The file it was saved to or opened from.
    path: Option<String>,
    /// What the index in that file must be.
    digest: Option<String>,
}

/// Why there is no index.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It was never saved.
    Unsaved,
    /// Its file cannot be opened.
    File(ruvector_core::Error),
    /// Its file holds another index by now.
    Changed(PathBuf),
    /// A running plan built it and has let go of it too early.
    Dropped,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsaved => f.write_str(
                "the index of this plan lives only in the memory of the process that built it, and is not (or no \
                 longer) there in this one: save it with index.save(path) before the plan is made (a collection of a \
                 lake lives in its process)",
            ),
            Self::File(error) => error.fmt(f),
            Self::Dropped => f.write_str(
                "Polars dropped the index that this join has built before the join was done: please report it with \
                 your version of Polars, and pass index=ruvector.build(...) meanwhile",
            ),
            Self::Changed(path) => {
                write!(f, "{}: holds another index than the one this plan was made with", path.display())
            }
        }
    }
}

impl std::error::Error for Lost {}

#[derive(Default)]
struct Registry {
    known: HashMap<String, Weak<dyn Searchable>>,
    /// The ones used last, latest first.
    kept: VecDeque<Searched>,
}

impl Registry {
    fn open() -> MutexGuard<'static, Self> {
        static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
        REGISTRY.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &str) -> Option<Searched> {
        self.known.get(key)?.upgrade()
    }

    fn key_of(&self, index: &Searched) -> Option<String> {
        // A weak pointer keeps the address taken: equal addresses are the same index.
        let is_it = |known: &Weak<dyn Searchable>| ptr::addr_eq(known.as_ptr(), Arc::as_ptr(index));
        self.known.iter().find(|(_, known)| is_it(known)).map(|(key, _)| key.clone())
    }

    fn enter(&mut self, key: String, index: &Searched) {
        self.known.retain(|_, known| known.strong_count() > 0);
        self.known.insert(key, Arc::downgrade(index));
    }

    /// Returns the one that is no longer kept. Drop it when the registry is unlocked: a borrowed column's release may
    /// wait for the GIL, whose holder may wait for the registry.
    #[must_use]
    fn keep(&mut self, index: &Searched) -> Option<Searched> {
        self.kept.retain(|kept| !ptr::addr_eq(Arc::as_ptr(kept), Arc::as_ptr(index)));
        self.kept.push_front(Arc::clone(index));
        if self.kept.len() > KEPT { self.kept.pop_back() } else { None }
    }
}

/// The index of a plan, opened from its file where the key says nothing.
pub(crate) fn resolve(reference: &Reference) -> Result<Searched, Lost> {
    let mut registry = Registry::open();
    let index = match (registry.find(&reference.key), &reference.path) {
        (Some(index), _) => index,
        (None, None) => return Err(Lost::Unsaved),
        (None, Some(path)) => {
            // The lock is held meanwhile: mapping a file is quick, and two threads would map it twice.
            let index: Searched = Arc::new(Live::new(reopen(Path::new(path), reference.digest.as_deref())?));
            registry.enter(reference.key.clone(), &index);
            index
        }
    };
    let dropped = registry.keep(&index);
    drop(registry);
    drop(dropped);
    Ok(index)
}

/// The index under a key that [`enter`] gave.
pub(crate) fn resolve_entered(key: &str) -> Result<Searched, Lost> {
    Registry::open().find(key).ok_or(Lost::Dropped)
}

/// Enters an index under a new key, for a running plan to pass on. Whoever does keeps the index alive, but for `keep`,
/// which puts it among those used last.
pub(crate) fn enter(index: &Searched, keep: bool) -> String {
    let key = new_key();
    let mut registry = Registry::open();
    registry.enter(key.clone(), index);
    let dropped = if keep { registry.keep(index) } else { None };
    drop(registry);
    drop(dropped);
    key
}

fn reopen(path: &Path, digest: Option<&str>) -> Result<Index, Lost> {
    let index = Index::open(path, false).map_err(Lost::File)?;
    if digest.is_some_and(|digest| digest != index.digest()) {
        return Err(Lost::Changed(path.into()));
    }
    Ok(index)
}

/// A name that no other process gives: 128 bits from the operating system's randomness, the time and the process.
fn new_key() -> String {
    let random = || {
        let now = UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
        RandomState::new().hash_one((now, process::id()))
    };
    format!("{:016x}{:016x}", random(), random())
}

/// How a plan that is about to be made should name this index: a dict for the plugin's arguments. `keep` is for plans
/// that may outlive every other owner of the index.
#[pyfunction]
#[pyo3(signature = (index, *, keep=true))]
pub(crate) fn plan_reference(py: Python<'_>, index: Planned<'_>, keep: bool) -> PyResult<Reference> {
    let (searched, path, digest) = match index {
        Planned::Lake(target) => (target.get().searched(), None, None),
        Planned::Remote(remote) => (remote.get().searched(), None, None),
        Planned::Index(index) => {
            // A path that is not text cannot be part of a plan.
            let path = index.get().path().and_then(|path| path.into_os_string().into_string().ok());
            let index = index.get().get()?;
            // A digest costs a pass over the codes, once; only a file can be mistaken for another.
            let digest = path.as_ref().map(|_| py.detach(|| index.snapshot().index().digest().to_owned()));
            (index as Searched, path, digest)
        }
    };
    let mut registry = Registry::open();
    let key = registry.key_of(&searched).unwrap_or_else(new_key);
    registry.enter(key.clone(), &searched);
    let dropped = if keep { registry.keep(&searched) } else { None };
    drop(registry);
    drop(dropped);
    Ok(Reference { key, path, digest })
}

/// What a plan can search.
#[derive(FromPyObject)]
pub(crate) enum Planned<'py> {
    /// An index.
    Index(Bound<'py, PyIndex>),
    /// A collection of a lake.
    Lake(Bound<'py, PyTarget>),
    /// What a server has.
    Remote(Bound<'py, PyRemote>),
}

/// How many indexes plans can find in this process: how the tests know that none is held too long.
#[pyfunction]
pub(crate) fn planned_indexes() -> usize {
    Registry::open().known.values().filter(|known| known.strong_count() > 0).count()
}
