//! The work of one shard: which index, which rows of it, and what comes with them.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
};

use ruvector_core::{
    Hits, Metric, Monitor, Vectors,
    filter::Filter,
    index::{SearchParams, SharedBounds},
};

use crate::{
    backend::{Pull, State},
    entry::Held,
    error::{Error, Result},
    generation::Generation,
    hedge::{Call, hedged},
    join::{self, Payload},
    key::Key,
    lake::RuLake,
    policy::{Action, Decision, check_asked},
    predicate::Predicate,
    search::SearchOptions,
    stats::Event,
    watch::Watch,
};

/// How often a collection is searched whose rows are replaced before what belongs to them was read.
const ATTEMPTS: u32 = 3;

/// What is asked of a shard.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) queries: &'a Vectors,
    pub(crate) options: &'a SearchOptions,
    /// How far the `k`-th best of all shards is at most.
    pub(crate) bounds: Option<&'a SharedBounds>,
}

/// What a shard found.
pub(crate) struct Found {
    pub(crate) hits: Option<Hits>,
    /// The index that answered; none where the backend itself did.
    pub(crate) held: Option<Held>,
    /// The state of the rows.
    pub(crate) generation: Option<Generation>,
    pub(crate) metric: Metric,
    pub(crate) payload: Option<Payload>,
}

/// A shard's answer, and how long it took; nothing for a backend that does not have the collection.
pub(crate) type Outcome = (Result<Option<Found>>, Duration);

/// An index that may answer at once, what the policy says, and which rows are meant.
pub(crate) struct Ready {
    pub(crate) held: Held,
    pub(crate) decision: Option<Decision>,
    pub(crate) predicate: Predicate,
}

/// The rows that were asked for, as far as they may be seen.
pub(crate) fn narrowed(options: &SearchOptions, decision: Option<&Decision>) -> Predicate {
    decision.map_or_else(|| options.predicate.clone(), |decision| options.predicate.and(&decision.rows))
}

/// Searches one shard. `ready` is what is known already.
pub(crate) fn run(
    lake: &RuLake,
    ask: Ask<'_>,
    optional: bool,
    ready: Option<Ready>,
    watch: Watch<'_>,
) -> Outcome {
    let began = Instant::now();
    let search = || Shard { lake, ask, watch }.found(optional, ready);
    // Adapters are other people's code, and a search is the place where theirs ends.
    let outcome = panic::catch_unwind(AssertUnwindSafe(search))
        .unwrap_or_else(|_| Err(Error::backend(&watch.key.backend, "the adapter panicked")));
    let elapsed = began.elapsed();
    match &outcome {
        Ok(Some(_)) => lake.shared.known.count(watch.key, Event::Searched(elapsed)),
        Err(Error::UnknownBackend { .. } | Error::UnknownCollection { .. } | Error::PolicyDenied { .. })
        | Ok(None) => {}
        Err(_) => lake.shared.known.count(watch.key, Event::Failed),
    }
    (outcome, elapsed)
}

/// The digest of queries, for whoever must tell one search from another without seeing it.
pub(crate) fn digest(queries: &Vectors) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut scratch = vec![0.0; queries.dim()];
    for row in queries.valid_rows(0..queries.len()) {
        for value in queries.row(row, &mut scratch) {
            hasher.update(&value.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[derive(Clone, Copy)]
struct Shard<'a> {
    lake: &'a RuLake,
    ask: Ask<'a>,
    watch: Watch<'a>,
}

impl Shard<'_> {
    fn found(&self, optional: bool, ready: Option<Ready>) -> Result<Option<Found>> {
        let Self { lake, watch, .. } = self;
        let asked = lake.request(watch.key, Action::Search);
        if let Some(Ready { held, decision, predicate }) = ready {
            check_asked(decision.as_ref(), &self.ask.options.predicate, asked)?;
            return self.search(held, &predicate, decision.as_ref()).map(Some);
        }
        if optional && !self.is_there()? {
            return Ok(None);
        }
        let decision = lake.decide(watch.key, Action::Search)?;
        check_asked(decision.as_ref(), &self.ask.options.predicate, asked)?;
        let mut attempt = 1;
        loop {
            match self.attempt(decision.as_ref(), attempt > 1) {
                Err(Error::Superseded { .. })
                    if attempt < ATTEMPTS && !self.ask.options.cache_only && lake.may_move(watch.key) =>
                {
                    attempt += 1;
                }
                found => return found.map(Some),
            }
        }
    }

    /// Searches once; `anew` asks the backend for its rows whatever the consistency.
    fn attempt(&self, decision: Option<&Decision>, anew: bool) -> Result<Found> {
        let Self { lake, ask: Ask { options, .. }, watch } = self;
        let predicate = narrowed(options, decision);
        if let Some(found) = self.push_down(&predicate, decision)? {
            return Ok(found);
        }
        let held = if options.cache_only { lake.cached(watch.key)? } else { lake.entry(*watch, anew)? };
        self.search(held, &predicate, decision)
    }

    /// What the backend itself finds, where the cache has nothing and nothing is to be left out.
    fn push_down(&self, predicate: &Predicate, decision: Option<&Decision>) -> Result<Option<Found>> {
        let Self { lake, ask: Ask { queries, options, .. }, watch } = self;
        let configured = lake.shared.known.configured(watch.key);
        let plain = predicate.is_empty()
            && configured.selection.is_none()
            && lake.shared.forgotten.get(watch.key).is_none();
        if !options.push_down || options.cache_only || !plain || lake.peek(watch.key).is_some() {
            return Ok(None);
        }
        let member = lake.member(&watch.key.backend)?;
        let before = lake.ask(&member, *watch)?;
        self.check_dim(before.dim)?;
        let (asked, collection, k) = (Arc::clone(&member), watch.key.collection.clone(), options.k);
        let queries = (*queries).clone();
        let call: Call<Option<Hits>> =
            Arc::new(move |_: &dyn Monitor| asked.backend.push_down_topk(&collection, &queries, k));
        let hits = {
            let _permit = member.gate.enter(*watch)?;
            hedged(&lake.shared.workers, *watch, &call)?
        };
        let Some(hits) = hits else { return Ok(None) };
        let generation = Some(before.generation.clone());
        let found = Found {
            hits: Some(hits),
            held: None,
            generation,
            metric: configured.settings.metric,
            payload: None,
        };
        self.joined(found, &before, decision).map(Some)
    }

    fn search(&self, held: Held, predicate: &Predicate, decision: Option<&Decision>) -> Result<Found> {
        let Self { lake, ask: Ask { queries, options, bounds }, watch } = self;
        self.check_dim(held.entry.bundle.dim as usize)?;
        let mut params = SearchParams {
            k: options.k,
            effort: options.effort,
            epsilon: options.epsilon,
            ..SearchParams::default()
        };
        if !predicate.is_empty() {
            let reader = Reader { lake, watch: *watch };
            params.filter = reader.allowed(&held, predicate)?;
        }
        let hits = held.search(queries, &params, *bounds, &lake.shared.pool, watch.monitor)?;
        let generation = Some(held.entry.bundle.generation.clone());
        let (metric, state) = (held.entry.bundle.coding.metric, Arc::clone(&held.entry));
        let found = Found { hits, held: Some(held), generation, metric, payload: None };
        self.joined(found, &state.state, decision)
    }

    /// With the payload, if any was asked for.
    fn joined(&self, mut found: Found, state: &State, decision: Option<&Decision>) -> Result<Found> {
        let Some(columns) = &self.ask.options.columns else { return Ok(found) };
        let none = std::collections::BTreeMap::new();
        let mask = decision.map_or(&none, |decision| &decision.mask);
        let reader = Reader { lake: self.lake, watch: self.watch };
        found.payload = Some(join::payload(reader, state, found.hits.as_ref(), columns, mask)?);
        Ok(found)
    }

    fn check_dim(&self, expected: usize) -> Result<()> {
        let (queries, key) = (self.ask.queries, self.watch.key);
        if queries.dim() == expected {
            return Ok(());
        }
        Err(Error::DimensionMismatch {
            backend: key.backend.clone(),
            collection: key.collection.clone(),
            expected,
            actual_by: queries.column().into(),
            actual: queries.dim(),
        })
    }

    /// Whether the backend has the collection.
    fn is_there(&self) -> Result<bool> {
        let Self { lake, watch, .. } = self;
        if lake.peek(watch.key).is_some() {
            return Ok(true);
        }
        if self.ask.options.cache_only {
            return Ok(false);
        }
        let member = lake.member(&watch.key.backend)?;
        let _permit = member.gate.enter(*watch)?;
        Ok(member.backend.list_collections()?.contains(&watch.key.collection))
    }
}

/// Reads rows of a certain state.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) lake: &'a RuLake,
    pub(crate) watch: Watch<'a>,
}

impl Reader<'_> {
    pub(crate) fn key(&self) -> &Key {
        self.watch.key
    }

    /// The rows of an index that fulfil a predicate: found out once.
    pub(crate) fn allowed(self, held: &Held, predicate: &Predicate) -> Result<Option<Arc<Filter>>> {
        let Some(table) = &held.entry.table else { return Ok(None) };
        if let Some(filter) = held.entry.remembered(predicate) {
            return Ok(Some(filter));
        }
        let ids = join::ids_where(self, &held.entry.state, predicate, table.snapshot.id_type())?;
        let filter = Arc::new(table.snapshot.filter_of_ids(&ids));
        held.entry.remember(predicate, &filter);
        Ok(Some(filter))
    }

    /// Reads rows as they are now, and makes sure that this is the state that is meant. `read` is told the state as the
    /// backend tells it, and says what to pull and what to do with it.
    ///
    /// # Errors
    /// [`Error::Superseded`] when the backend is in another state, and whatever it says.
    pub(crate) fn rows<T>(
        &self,
        wanted: &Generation,
        pull: impl FnOnce(&State) -> Pull,
        mut each: impl FnMut(&State, arrow_array::RecordBatch) -> Result<()>,
        done: impl FnOnce(&State, arrow_schema::SchemaRef) -> Result<T>,
    ) -> Result<T> {
        let Self { lake, watch } = self;
        let member = lake.member(&watch.key.backend)?;
        let state = lake.ask(&member, *watch)?;
        self.check(wanted, &state.generation)?;
        let _permit = member.gate.enter(*watch)?;
        let read = || {
            let stream = member.backend.pull(&watch.key.collection, &pull(&state))?;
            let schema = stream.schema();
            for batch in stream {
                if watch.monitor.interrupted() {
                    return Err(ruvector_core::Error::Interrupted.into());
                }
                let batch = batch.map_err(|error| crate::backend::stream_error(&watch.key.backend, error))?;
                each(&state, batch)?;
            }
            done(&state, schema)
        };
        let read = read();
        if read.as_ref().is_err_and(Error::is_interrupted) {
            return read;
        }
        // What fails because rows are being replaced is no failure of the backend.
        self.check(wanted, &member.backend.generation(&watch.key.collection)?)?;
        read
    }

    fn check(&self, wanted: &Generation, found: &Generation) -> Result<()> {
        if wanted == found {
            return Ok(());
        }
        Err(Error::Superseded {
            backend: self.watch.key.backend.clone(),
            collection: self.watch.key.collection.clone(),
            wanted: wanted.to_string(),
            found: found.to_string(),
        })
    }
}
