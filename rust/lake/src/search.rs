//! Searching: one collection, several, or all of a name; and what happens when some do not answer.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use ruvector_core::{
    Hits, Metric, Vectors,
    ids::Ids,
    index::{DEFAULT_RECALL, Effort, SearchParams},
};

use crate::{
    answer::{Answer, Shard, Status, merge},
    backend::Pull,
    coherence::Deadline,
    entry::Entry,
    error::{Error, Result},
    key::Key,
    lake::RuLake,
    predicate::Predicate,
    stats::Event,
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
    /// Which rows may be found. Their ids are asked of the backend each time.
    pub predicate: Predicate,
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
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            k: 10,
            effort: Effort::Recall(DEFAULT_RECALL),
            predicate: Predicate::default(),
            cache_only: false,
            dedupe: false,
            deadline: None,
            on_error: OnError::default(),
            push_down: false,
        }
    }
}

/// What a shard found.
struct Found {
    hits: Option<Hits>,
    entry: Option<Arc<Entry>>,
    metric: Metric,
}

/// A shard's answer, and how long it took; nothing for a backend that does not have the collection.
type Outcome = (Result<Option<Found>>, Duration);

/// The work of one shard.
#[derive(Clone)]
struct Task {
    lake: RuLake,
    key: Arc<Key>,
    queries: Arc<Vectors>,
    options: Arc<SearchOptions>,
    /// Whether the backend may lack the collection.
    optional: bool,
    deadline: Deadline,
}

impl RuLake {
    /// The nearest rows of one vector in one collection.
    ///
    /// # Errors
    /// As [`RuLake::search`].
    pub fn search_one(&self, key: &Key, query: &[f32], options: &SearchOptions) -> Result<Answer> {
        let query = Vectors::from_f32("query", query.len(), query.to_vec().into())?;
        self.search(&Targets::Keys(vec![key.clone()]), &query, options)
    }

    /// The nearest rows of each query. The backend of a collection is asked at most once for all of them.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::UnknownCollection`], [`Error::Ambiguous`]; [`Error::DimensionMismatch`] for
    /// queries of another width; [`Error::InvalidParameter`] when collections are searched by different metrics; and, as
    /// [`OnError`] says, [`Error::Deadline`], [`Error::CacheMiss`], [`Error::Unsettled`] and whatever backends say.
    pub fn search(&self, targets: &Targets, queries: &Vectors, options: &SearchOptions) -> Result<Answer> {
        let (keys, optional) = self.keys(targets);
        let (queries, options) = (Arc::new(queries.clone()), Arc::new(options.clone()));
        let tasks: Vec<Task> = keys
            .into_iter()
            .map(|key| {
                let own = self.member(&key.backend).ok().and_then(|member| member.options.deadline);
                let time = options.deadline.into_iter().chain(own).min();
                Task {
                    lake: self.clone(),
                    key: Arc::new(key),
                    queries: Arc::clone(&queries),
                    options: Arc::clone(&options),
                    optional,
                    deadline: Deadline::after(time),
                }
            })
            .collect();
        let outcomes = match tasks.as_slice() {
            [task] if task.deadline.at.is_none() => vec![task.run()],
            tasks => fan_out(tasks),
        };
        let mut shards: Vec<(Arc<Key>, Result<Found>, Duration)> = Vec::new();
        for (task, (outcome, elapsed)) in tasks.iter().zip(outcomes) {
            if let Some(outcome) = outcome.transpose() {
                shards.push((Arc::clone(&task.key), outcome, elapsed));
            }
        }
        self.check_found(targets, &shards)?;
        answer(shards, &queries, &options)
    }

    /// The collections that are meant, and whether backends may lack them.
    fn keys(&self, targets: &Targets) -> (Vec<Key>, bool) {
        match targets {
            Targets::Keys(keys) => (keys.clone(), false),
            Targets::Only(collection) | Targets::Everywhere(collection) => {
                (self.backend_ids().into_iter().map(|backend| Key::new(backend, collection)).collect(), true)
            }
        }
    }

    /// Refuses a name that no backend knows, or several where one is meant.
    fn check_found(&self, targets: &Targets, shards: &[(Arc<Key>, Result<Found>, Duration)]) -> Result<()> {
        let (Targets::Only(collection) | Targets::Everywhere(collection)) = targets else { return Ok(()) };
        let backends: Vec<String> = shards.iter().map(|(key, ..)| key.backend.clone()).collect();
        match (targets, backends.len()) {
            (_, 0) => {
                let backend = self.backend_ids().join(", ");
                Err(Error::UnknownCollection { backend, collection: collection.clone() })
            }
            (Targets::Only(_), 2..) => Err(Error::Ambiguous { collection: collection.clone(), backends }),
            _ => Ok(()),
        }
    }
}

/// Runs the shards beside each other and waits for each as long as it may take.
fn fan_out(tasks: &[Task]) -> Vec<Outcome> {
    let began = Instant::now();
    let waiting: Vec<mpsc::Receiver<Outcome>> = tasks
        .iter()
        .map(|task| {
            let (tell, told) = mpsc::sync_channel(1);
            let work = task.clone();
            // Nobody may be listening any more: what is late goes on, for the cache.
            task.lake.shared.workers.spawn(move || drop(tell.send(work.run())));
            told
        })
        .collect();
    let wait = |(task, told): (&Task, mpsc::Receiver<Outcome>)| {
        let outcome = match task.deadline.at {
            None => told.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            Some(at) => told.recv_timeout(at.saturating_duration_since(Instant::now())),
        };
        outcome.unwrap_or_else(|error| {
            let error = match error {
                mpsc::RecvTimeoutError::Timeout => task.deadline.missed(&task.key),
                mpsc::RecvTimeoutError::Disconnected => Error::backend(&task.key.backend, "the thread ended"),
            };
            (Err(error), began.elapsed())
        })
    };
    tasks.iter().zip(waiting).map(wait).collect()
}

impl Task {
    fn run(&self) -> Outcome {
        let began = Instant::now();
        // Adapters are other people's code, and a search is the place where theirs ends.
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| self.found()))
            .unwrap_or_else(|_| Err(Error::backend(&self.key.backend, "the adapter panicked")));
        let elapsed = began.elapsed();
        match &outcome {
            Ok(Some(_)) => self.lake.shared.stats.count(&self.key, Event::Searched(elapsed)),
            Err(Error::UnknownBackend { .. } | Error::UnknownCollection { .. }) | Ok(None) => {}
            Err(_) => self.lake.shared.stats.count(&self.key, Event::Failed),
        }
        (outcome, elapsed)
    }

    fn found(&self) -> Result<Option<Found>> {
        let Self { lake, key, queries, options, .. } = self;
        let metric = lake.settings(key).metric;
        if self.optional && !self.is_there()? {
            return Ok(None);
        }
        if options.push_down && options.predicate.is_empty() && lake.shared.cache.peek(key).is_none() {
            let member = lake.member(&key.backend)?;
            let _permit = member.gate.enter(self.deadline.at).ok_or_else(|| self.deadline.missed(key))?;
            if let Some(hits) = member.backend.push_down_topk(&key.collection, queries, options.k)? {
                return Ok(Some(Found { hits: Some(hits), entry: None, metric }));
            }
        }
        let entry = if options.cache_only { lake.cached(key)? } else { lake.entry(key, self.deadline)? };
        let expected = entry.bundle.dim as usize;
        if queries.dim() != expected {
            return Err(Error::DimensionMismatch {
                backend: key.backend.clone(),
                collection: key.collection.clone(),
                expected,
                actual_by: queries.column().into(),
                actual: queries.dim(),
            });
        }
        let mut params = SearchParams { k: options.k, effort: options.effort, ..SearchParams::default() };
        if !options.predicate.is_empty()
            && let Some(table) = &entry.table
        {
            let allowed = self.allowed(&entry)?;
            params.filter = Some(Arc::new(table.snapshot.filter_of_ids(&allowed)));
        }
        let hits = entry.search(queries, &params, &lake.shared.pool)?;
        Ok(Some(Found { hits, entry: Some(entry), metric }))
    }

    /// Whether the backend has the collection.
    fn is_there(&self) -> Result<bool> {
        let Self { lake, key, .. } = self;
        if lake.shared.cache.peek(key).is_some() {
            return Ok(true);
        }
        if self.options.cache_only {
            return Ok(false);
        }
        let member = lake.member(&key.backend)?;
        let _permit = member.gate.enter(self.deadline.at).ok_or_else(|| self.deadline.missed(key))?;
        Ok(member.backend.list_collections()?.contains(&key.collection))
    }

    /// The ids of the rows that fulfil the predicate.
    fn allowed(&self, entry: &Entry) -> Result<Ids> {
        // An index that came from a folder does not know the names of columns.
        let state = self.lake.member(&self.key.backend)?.backend.state(&self.key.collection)?;
        let Some(id) = &state.id else {
            let expected = format!("a collection with ids: {} has none", self.key);
            return Err(Error::invalid_parameter("predicate", expected, "a predicate"));
        };
        let pull = Pull {
            projection: Some(vec![id.clone()]),
            predicate: self.options.predicate.clone(),
            ..Pull::default()
        };
        let mut columns = Vec::new();
        for batch in self.lake.scan(&self.key, &pull)? {
            let batch = batch.map_err(|error| crate::backend::stream_error(&self.key.backend, error))?;
            columns.push(Arc::clone(batch.column(0)));
        }
        let kind =
            entry.table.as_ref().map_or(ruvector_core::ids::IdType::Int64, |table| table.snapshot.id_type());
        Ok(Ids::from_list(id, &columns)?.cast(id, kind)?)
    }
}

/// Makes one answer of what the shards found.
fn answer(
    shards: Vec<(Arc<Key>, Result<Found>, Duration)>,
    queries: &Vectors,
    options: &SearchOptions,
) -> Result<Answer> {
    let first = shards.iter().find_map(|(_, outcome, _)| outcome.as_ref().ok()).map(|found| found.metric);
    let (mut parts, mut statuses, mut failed) = (Vec::new(), Vec::new(), None);
    for (key, outcome, elapsed) in shards {
        let mut shard = Shard {
            key: Arc::clone(&key),
            status: Status::Answered,
            generation: None,
            witness: None,
            rows: 0,
            elapsed,
        };
        match outcome {
            Ok(found) => {
                if let Some(metric) = first.filter(|&metric| metric != found.metric) {
                    let expected = format!("collections searched by one metric ({metric})");
                    return Err(Error::invalid_parameter(
                        "targets",
                        expected,
                        format!("{key}: {}", found.metric),
                    ));
                }
                if let Some(entry) = &found.entry {
                    shard.generation = Some(entry.bundle.generation.clone());
                    shard.witness = Some(entry.bundle.witness());
                    shard.rows = entry.len();
                }
                match found.hits {
                    Some(hits) => parts.push((key, hits)),
                    None => shard.status = Status::Empty,
                }
            }
            Err(error) => {
                failed.get_or_insert_with(|| error.clone());
                let late = matches!(error, Error::Deadline { .. });
                shard.status = if late { Status::Late(error) } else { Status::Failed(error) };
            }
        }
        statuses.push(shard);
    }
    let none = statuses.iter().all(|shard| shard.error().is_some());
    match (failed, options.on_error) {
        (Some(error), OnError::Raise) => return Err(error),
        (Some(error), OnError::Skip) if none => return Err(error),
        _ => {}
    }
    Ok(Answer { hits: merge(queries.len(), options.k, options.dedupe, &parts), shards: statuses })
}
