//! What answers searches: an index, a collection of a lake, or a server elsewhere. Doors hold one or the other and do not ask which.

use std::sync::Arc;

use ruvector_core::{Hits, Live, Monitor, Pool, Vectors, index::SearchParams, live::Snapshot};
use ruvector_lake::{Pin, Result};

use crate::flight::Remote;

/// Something that has one state after the other.
pub(crate) trait Searchable: Send + Sync {
    /// The state that answers now. A lake asks the collection's backend here, as its consistency says, and fetches the
    /// rows if it has to: once for all that is asked of the state.
    fn pin(&self, monitor: &dyn Monitor) -> Result<Pinned>;
}

/// One state.
pub(crate) enum Pinned {
    Index(Arc<Snapshot>),
    Lake(Pin),
    /// What a server has under a name: each search finds the state of its own time.
    Remote(Remote),
}

impl Searchable for Live {
    fn pin(&self, _monitor: &dyn Monitor) -> Result<Pinned> {
        Ok(Pinned::Index(self.snapshot()))
    }
}

impl Pinned {
    /// Elements per vector.
    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Index(snapshot) => snapshot.index().dim(),
            Self::Lake(pin) => pin.dim(),
            Self::Remote(remote) => remote.known().map_or(0, |known| known.dim),
        }
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Index(snapshot) => snapshot.len(),
            Self::Lake(pin) => pin.len(),
            Self::Remote(remote) => remote.known().map_or(0, |known| known.rows),
        }
    }

    /// Its index; `None` for a collection without rows, and for one that is elsewhere.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match self {
            Self::Index(snapshot) => Some(snapshot),
            Self::Lake(pin) => pin.snapshot(),
            Self::Remote(_) => None,
        }
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
            Self::Index(snapshot) => Ok(snapshot.search(queries, params, pool, monitor)?),
            Self::Lake(pin) => pin.search(queries, params, pool, monitor),
            Self::Remote(remote) => remote.search(queries, params, monitor),
        }
    }
}
