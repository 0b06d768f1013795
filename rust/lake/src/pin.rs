//! Which collections there are, and the one state of one of them that a door goes on to ask.

use std::{sync::Arc, time::Duration};

use ruvector_core::{Hits, Monitor, Pool, Vectors, ids::IdType, index::SearchParams, live::Snapshot};

use crate::{
    bundle::Bundle, coherence::Deadline, entry::Entry, error::Result, key::Key, lake::RuLake,
    settings::Consistency,
};

/// One state of a collection, to be asked several times.
#[derive(Clone, Debug)]
pub struct Pin(Arc<Entry>);

impl Pin {
    /// What it is of.
    pub fn bundle(&self) -> &Bundle {
        &self.0.bundle
    }

    /// The index; `None` for a collection without rows.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.0.table.as_ref().map(|table| &table.snapshot)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements per vector.
    pub fn dim(&self) -> usize {
        self.0.bundle.dim as usize
    }

    /// The type of the ids that are answered; without rows, that of row numbers.
    pub fn id_type(&self) -> IdType {
        self.snapshot().map_or(IdType::Int64, |snapshot| snapshot.id_type())
    }

    /// The nearest rows of each query.
    ///
    /// # Errors
    /// As [`Snapshot::search`].
    pub fn search(
        &self,
        queries: &Vectors,
        params: &SearchParams,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Hits> {
        if let Some(snapshot) = self.snapshot() {
            return Ok(snapshot.search(queries, params, pool, monitor)?);
        }
        let none: Vec<Option<Vec<_>>> = (0..queries.len()).map(|_| Some(Vec::new())).collect();
        Ok(Hits::new(self.id_type(), self.0.bundle.coding.metric, true, &none))
    }
}

impl RuLake {
    /// The collections of all backends, sorted. A backend that cannot tell fails it.
    ///
    /// # Errors
    /// Whatever backends say.
    pub fn collections(&self) -> Result<Vec<Key>> {
        let mut found = Vec::new();
        for id in self.backend_ids() {
            let member = self.member(&id)?;
            let _permit = member.gate.enter(None);
            found.extend(member.backend.list_collections()?.into_iter().map(|name| Key::new(&id, name)));
        }
        found.sort();
        Ok(found)
    }

    /// The state of a collection that may answer now; made, if the cache has none. It counts as one search of the cache.
    ///
    /// # Errors
    /// As a search of the collection.
    pub fn pin(&self, key: &Key, deadline: Option<Duration>) -> Result<Pin> {
        Ok(Pin(self.entry(key, Deadline::after(deadline))?))
    }

    /// Whether a search of this collection has what it needs without asking its backend.
    pub fn is_at_hand(&self, key: &Key) -> bool {
        self.settings(key).consistency != Consistency::Fresh && self.bundle_of(key).is_some()
    }
}
