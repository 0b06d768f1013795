//! Searching: one collection, several, or all of a name; and what happens when some do not answer.

use std::{sync::Arc, time::Duration};

use ruvector_core::{
    Monitor, Vectors,
    index::{DEFAULT_RECALL, Effort},
};

use crate::{
    answer::{Answer, assemble},
    audit::Happened,
    error::{Error, Result},
    fan::fan_out,
    key::Key,
    lake::RuLake,
    policy::Action,
    predicate::Predicate,
    shard::{self, Ask, Outcome, Ready, narrowed},
    watch::{Deadline, Watch},
};

/// Where to search.
#[derive(Clone, Debug)]
pub enum Targets {
    /// In these collections.
    Keys(Vec<Key>),
    /// In the collection of this name, of the one backend that has it.
    Only(String),
    /// In the collections of this name, of every backend that has one.
    Everywhere(String),
}

/// What happens when a shard fails or is late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The search fails with the error of the first such shard, in the order of the targets.
    #[default]
    Raise,
    /// The others answer; if there are none, it fails.
    Skip,
    /// The others answer, even if there are none.
    Partial,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// The number of neighbours.
    pub k: usize,
    /// How hard to look.
    pub effort: Effort,
    /// How wide the error bound is, in place of what the effort says; as in the core's search.
    pub epsilon: Option<f32>,
    /// Which rows may be found. The backend is asked for them once for each state.
    pub predicate: Predicate,
    /// The columns of the hits' rows to bring along, of the same state as the hits.
    pub columns: Option<Vec<String>>,
    /// Whether only the cache is asked.
    pub cache_only: bool,
    /// Whether of rows with one id only the nearest counts.
    pub dedupe: bool,
    /// How long to wait, for each shard; a backend's own deadline may be shorter.
    pub deadline: Option<Duration>,
    /// What happens when a shard fails or is late.
    pub on_error: OnError,
    /// Whether a backend that searches by itself is asked to, where the cache has nothing.
    pub push_down: bool,
    /// How long a call of a backend may take before a second one is made beside it; the first answer counts.
    pub hedge: Option<Duration>,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            k: 10,
            effort: Effort::Recall(DEFAULT_RECALL),
            epsilon: None,
            predicate: Predicate::default(),
            columns: None,
            cache_only: false,
            dedupe: false,
            deadline: None,
            on_error: OnError::default(),
            push_down: false,
            hedge: None,
        }
    }
}

/// One collection that is searched.
pub(crate) struct Target {
    pub(crate) key: Arc<Key>,
    /// Whether the backend may lack it.
    pub(crate) optional: bool,
    pub(crate) deadline: Deadline,
}

/// How a target fared.
pub(crate) struct Searched {
    pub(crate) key: Arc<Key>,
    pub(crate) found: Result<shard::Found>,
    pub(crate) elapsed: Duration,
}

impl RuLake {
    /// The nearest rows of one vector in one collection.
    ///
    /// # Errors
    /// As [`RuLake::search`].
    pub fn search_one(&self, key: &Key, query: &[f32], options: &SearchOptions) -> Result<Answer> {
        let query = Vectors::from_f32("query", query.len(), query.to_vec().into())?;
        let target = self.target(key, options, false);
        self.search_targets(vec![target], &query, options, &ruvector_core::Unwatched)
    }

    /// The nearest rows of each query. The backend of a collection is asked at most once for all of them.
    ///
    /// When the monitor says so nobody waits any more, and scans and pulls that nobody else waits for stop.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::UnknownCollection`], [`Error::Ambiguous`]; [`Error::DimensionMismatch`] for
    /// queries of another width; [`Error::InvalidParameter`] when collections are searched by different metrics; the
    /// core's `Interrupted`; and, as [`OnError`] says, [`Error::Deadline`], [`Error::CacheMiss`], [`Error::Unsettled`],
    /// [`Error::Superseded`], [`Error::PolicyDenied`] and whatever backends say.
    pub fn search(
        &self,
        targets: &Targets,
        queries: &Vectors,
        options: &SearchOptions,
        monitor: &dyn Monitor,
    ) -> Result<Answer> {
        let (keys, optional) = self.keys(targets);
        let named = if let Targets::Keys(_) = targets { None } else { Some(targets) };
        let each = keys.iter().map(|key| self.target(key, options, optional)).collect();
        let searched = self.run(each, queries, options, monitor)?;
        named.map_or(Ok(()), |named| self.check_found(named, &searched))?;
        self.finish(searched, queries, options)
    }

    fn search_targets(
        &self,
        targets: Vec<Target>,
        queries: &Vectors,
        options: &SearchOptions,
        monitor: &dyn Monitor,
    ) -> Result<Answer> {
        let searched = self.run(targets, queries, options, monitor)?;
        self.finish(searched, queries, options)
    }

    fn finish(&self, searched: Vec<Searched>, queries: &Vectors, options: &SearchOptions) -> Result<Answer> {
        self.write_down(&searched, queries);
        assemble(searched, queries, options)
    }

    /// Searches each target: here, if nobody need be waited for, and on threads of their own otherwise.
    fn run(
        &self,
        targets: Vec<Target>,
        queries: &Vectors,
        options: &SearchOptions,
        monitor: &dyn Monitor,
    ) -> Result<Vec<Searched>> {
        let alone = if let [target] = targets.as_slice() { self.ready(target, options) } else { None };
        let outcomes: Vec<Outcome> = match (alone, targets.as_slice()) {
            (Some(ready), [target]) => {
                let watch = Watch { deadline: target.deadline, ..Watch::new(&target.key, monitor) };
                vec![shard::run(self, Ask { queries, options, bounds: None }, false, Some(ready), watch)]
            }
            _ => fan_out(self, &targets, queries, options, monitor)?,
        };
        let mut searched = Vec::with_capacity(targets.len());
        for (target, (found, elapsed)) in targets.into_iter().zip(outcomes) {
            if let Some(found) = found.transpose() {
                if let Err(error) = &found
                    && error.is_interrupted()
                {
                    return Err(error.clone());
                }
                searched.push(Searched { key: target.key, found, elapsed });
            }
        }
        Ok(searched)
    }

    /// What a search needs that nobody need be waited for; `None` where somebody must be asked, or something goes wrong:
    /// that is told in its place.
    fn ready(&self, target: &Target, options: &SearchOptions) -> Option<Ready> {
        if target.optional || options.push_down || options.columns.is_some() {
            return None;
        }
        let decision = self.decide(&target.key, Action::Search).ok()?;
        let predicate = narrowed(options, decision.as_ref());
        // Which rows are allowed must have been found out before.
        if !predicate.is_empty() {
            self.peek(&target.key)?.remembered(&predicate)?;
        }
        let held = self.at_once(&target.key, options.cache_only).ok()??;
        Some(Ready { held, decision, predicate })
    }

    fn target(&self, key: &Key, options: &SearchOptions, optional: bool) -> Target {
        let own = self.member(&key.backend).ok().and_then(|member| member.options.deadline);
        let time = options.deadline.into_iter().chain(own).min();
        let known = self.shared.known.get(key);
        let key = known.map_or_else(|| Arc::new(key.clone()), |known| Arc::clone(&known.key));
        Target { key, optional, deadline: Deadline::after(time) }
    }

    /// The collections that are meant, and whether backends may lack them.
    fn keys(&self, targets: &Targets) -> (Vec<Key>, bool) {
        match targets {
            Targets::Keys(keys) => (keys.clone(), false),
            Targets::Only(collection) | Targets::Everywhere(collection) => {
                let keys = self.backend_ids().into_iter().map(|backend| Key::new(backend, collection));
                let keys: Vec<Key> = keys.collect();
                // The one backend there is need not be asked for a list first.
                let optional = !(keys.len() == 1 && matches!(targets, Targets::Only(_)));
                (keys, optional)
            }
        }
    }

    /// Refuses a name that no backend knows, or several where one is meant.
    fn check_found(&self, targets: &Targets, searched: &[Searched]) -> Result<()> {
        let (Targets::Only(collection) | Targets::Everywhere(collection)) = targets else { return Ok(()) };
        let backends: Vec<String> = searched.iter().map(|shard| shard.key.backend.clone()).collect();
        match (targets, backends.len()) {
            (_, 0) => {
                let backend = self.backend_ids().join(", ");
                Err(Error::UnknownCollection { backend, collection: collection.clone() })
            }
            (Targets::Only(_), 2..) => Err(Error::Ambiguous { collection: collection.clone(), backends }),
            _ => Ok(()),
        }
    }

    /// Tells the audit what was searched, and what came of it.
    fn write_down(&self, searched: &[Searched], queries: &Vectors) {
        if !self.shared.audit.is_on() {
            return;
        }
        let digest = shard::digest(queries);
        for Searched { key, found, elapsed } in searched {
            let outcome = match found {
                Ok(found) if found.hits.is_some() => "answered",
                Ok(_) => "empty",
                Err(Error::PolicyDenied { .. }) => "denied",
                Err(Error::Deadline { .. }) => "late",
                Err(_) => "failed",
            };
            let ok = found.as_ref().ok();
            self.shared.audit.push(Happened {
                principal: self.principal.clone(),
                action: "search",
                key: Arc::clone(key),
                outcome,
                rows: ok.and_then(|found| found.hits.as_ref()).map_or(0, ruvector_core::Hits::len),
                witness: ok.and_then(|found| found.held.as_ref()).map(|held| held.entry.witness),
                query_digest: Some(digest.clone()),
                took: *elapsed,
                detail: found.as_ref().err().map(ToString::to_string),
            });
        }
    }
}
