//! Which collections there are, and the one state of one of them that a door goes on to ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ruvector_core::{
    Filter, Hits, Live, Monitor, Pool, Vectors, ids::IdType, index::SearchParams, kernel::Kernels,
    live::Snapshot,
};

use crate::{
    audit::Happened,
    bundle::Bundle,
    entry::Held,
    error::{Error, Result},
    key::Key,
    lake::RuLake,
    policy::{Action, check_asked},
    predicate::Predicate,
    search::SearchOptions,
    settings::Consistency,
    shard::{self, Reader},
    watch::{Deadline, Watch},
};

/// One state of a collection, as somebody may see it, to be asked several times.
#[derive(Clone, Debug)]
pub struct Pin {
    lake: RuLake,
    key: Arc<Key>,
    held: Held,
    /// The rows that may be seen, if not all may.
    allowed: Option<Arc<Filter>>,
}

impl Pin {
    /// What it is of.
    pub fn bundle(&self) -> &Bundle {
        &self.held.entry.bundle
    }

    /// The index; `None` for a collection without rows.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.held.snapshot()
    }

    /// The index without the rows that must not be seen; `None` for a collection without rows. What is asked of it goes
    /// past the lake: the audit tells that it was given away, and how many rows it has.
    ///
    /// # Errors
    /// The core's, when rows cannot be taken out.
    pub fn visible(&self) -> Result<Option<Arc<Snapshot>>> {
        let began = Instant::now();
        let visible = match (self.snapshot(), &self.allowed) {
            (Some(snapshot), Some(allowed)) => {
                let live = Live::at(Arc::clone(snapshot));
                live.retain(allowed)?;
                Some(live.snapshot())
            }
            (snapshot, _) => snapshot.cloned(),
        };
        self.write_down(None, self.len(), began.elapsed());
        Ok(visible)
    }

    /// The number of rows that may be found.
    pub fn len(&self) -> usize {
        self.allowed.as_ref().map_or_else(|| self.held.len(), |allowed| allowed.count())
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements per vector.
    pub fn dim(&self) -> usize {
        self.bundle().dim as usize
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
        let began = Instant::now();
        let both = match (&params.filter, &self.allowed) {
            (Some(one), Some(two)) => Some(Arc::new(one.and(Kernels::detect()?, two))),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        let params = SearchParams { filter: both, ..params.clone() };
        let found = self.held.search(queries, &params, None, pool, monitor)?;
        let none = || {
            let none: Vec<Option<Vec<_>>> = (0..queries.len()).map(|_| Some(Vec::new())).collect();
            Hits::new(self.id_type(), self.bundle().coding.metric, true, &none)
        };
        let hits = found.unwrap_or_else(none);
        self.write_down(Some(queries), hits.len(), began.elapsed());
        Ok(hits)
    }

    fn write_down(&self, queries: Option<&Vectors>, rows: usize, took: Duration) {
        let audit = &self.lake.shared.audit;
        if audit.is_on() {
            audit.push(Happened {
                principal: self.lake.principal.clone(),
                action: Action::Search.name(),
                key: Arc::clone(&self.key),
                outcome: if self.is_empty() { "empty" } else { "answered" },
                rows,
                witness: Some(self.held.entry.witness),
                query_digest: queries.map(shard::digest),
                took,
                detail: None,
            });
        }
    }
}

impl RuLake {
    /// The collections of all backends, sorted. A backend that cannot tell fails it.
    ///
    /// # Errors
    /// Whatever backends say; the core's `Interrupted`.
    pub fn collections(&self, monitor: &dyn Monitor) -> Result<Vec<Key>> {
        let mut found = Vec::new();
        for id in self.backend_ids() {
            let member = self.member(&id)?;
            let _permit = member.gate.enter(Watch::new(&Key::new(&id, ""), monitor))?;
            found.extend(member.backend.list_collections()?.into_iter().map(|name| Key::new(&id, name)));
        }
        found.sort();
        Ok(found)
    }

    /// The state of a collection that may answer now; made, if the cache has none. Only rows that fulfil `asked` are
    /// found in it. It counts as one search of the cache.
    ///
    /// # Errors
    /// As a search of the collection.
    pub fn hold(&self, key: &Key, asked: &Predicate, monitor: &dyn Monitor) -> Result<Pin> {
        let deadline = self.member(&key.backend)?.options.deadline;
        let watch = Watch { deadline: Deadline::after(deadline), ..Watch::new(key, monitor) };
        let decision = self.decide(key, Action::Search).inspect_err(|error| self.write_denied(key, error))?;
        check_asked(decision.as_ref(), asked, self.request(key, Action::Search))?;
        let held = self.entry(watch, false)?;
        let rows = decision.map_or_else(|| asked.clone(), |decision| asked.and(&decision.rows));
        let allowed =
            if rows.is_empty() { None } else { Reader { lake: self, watch }.allowed(&held, &rows)? };
        Ok(Pin { lake: self.clone(), key: Arc::new(key.clone()), held, allowed })
    }

    fn write_denied(&self, key: &Key, error: &Error) {
        self.shared.audit.push(Happened {
            principal: self.principal.clone(),
            action: Action::Search.name(),
            key: Arc::new(key.clone()),
            outcome: "denied",
            rows: 0,
            witness: None,
            query_digest: None,
            took: Duration::ZERO,
            detail: Some(error.to_string()),
        });
    }

    /// Whether the cache holds an index with this digest: see [`ruvector_core::Index::digest`].
    ///
    /// # Errors
    /// [`Error::Core`] when an index cannot be put in order.
    pub fn holds_index(&self, digest: &str) -> Result<bool> {
        for (_, held, _) in self.shared.cache.all() {
            let index = held.entry.sealed(&self.shared.pool)?;
            if index.is_some_and(|index| index.digest() == digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nobody need be waited for to search a collection so.
    pub fn is_at_hand(&self, key: &Key, options: &SearchOptions) -> bool {
        let reads = !options.predicate.is_empty() || options.columns.is_some() || options.push_down;
        if reads || self.shared.policy.is_some() || self.peek(key).is_none() {
            return false;
        }
        let asks = !options.cache_only && self.settings(key).consistency == Consistency::Fresh;
        !asks || self.member(&key.backend).is_ok_and(|member| member.backend.is_immediate())
    }
}
