//! The lake: backends, settings, the cache, and who may do what when.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use ruvector_core::Pool;

use crate::{
    backend::{Backend, Batches, Pull, State},
    bundle::{Bundle, Coding},
    cache::{Budget, Cache},
    entry::Entry,
    error::{Error, Result},
    flight::Flights,
    folder,
    key::Key,
    rows::Limits,
    settings::{BackendOptions, Consistency, Settings},
    sign::{PublicKey, Signer},
    stats::{CacheStats, Counters, Event, Stats},
    witness::Witness,
    workers::{Gate, Workers},
};

/// A cache of vector indexes before the backends where vectors live.
///
/// A handle: clones share backends, cache and counters. All methods can be called from several threads at once.
#[derive(Clone, Debug)]
pub struct RuLake {
    pub(crate) shared: Arc<Shared>,
    /// The mode of this view, in place of that of the collections.
    consistency: Option<Consistency>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    backends: RwLock<BTreeMap<String, Arc<Member>>>,
    pub(crate) defaults: Settings,
    settings: RwLock<HashMap<Key, Settings>>,
    pub(crate) cache: Cache,
    pub(crate) stats: Stats,
    pub(crate) flights: Flights<Witness, Arc<Entry>>,
    pub(crate) refreshing: Mutex<std::collections::HashSet<Key>>,
    pub(crate) unknown: Mutex<HashMap<Key, Instant>>,
    pub(crate) unknown_ttl: Duration,
    pub(crate) workers: Workers,
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
    pub(crate) spill: Option<PathBuf>,
    pub(crate) signer: Option<Signer>,
    pub(crate) trusted: Vec<PublicKey>,
}

/// A backend and what is known about using it.
pub(crate) struct Member {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: BackendOptions,
    pub(crate) gate: Gate,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Member({:?}, {:?})", self.backend.id(), self.options)
    }
}

/// How a lake is made.
#[derive(Clone, Debug)]
pub struct Builder {
    defaults: Settings,
    budget: Budget,
    threads: Option<usize>,
    limits: Limits,
    spill: Option<PathBuf>,
    unknown_ttl: Duration,
    signer: Option<Signer>,
    trusted: Vec<PublicKey>,
}

impl Builder {
    /// What holds for collections that are not configured.
    #[must_use]
    pub fn settings(self, defaults: Settings) -> Self {
        Self { defaults, ..self }
    }

    /// When backends are asked, for collections that are not configured.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.defaults.consistency = consistency;
        self
    }

    /// How many bytes of memory indexes may take, with the vectors they hold.
    #[must_use]
    pub fn max_cache_bytes(mut self, bytes: usize) -> Self {
        self.budget.bytes = bytes;
        self
    }

    /// How many indexes there may be.
    #[must_use]
    pub fn max_cache_entries(mut self, entries: usize) -> Self {
        self.budget.entries = entries.max(1);
        self
    }

    /// How many threads compute; `None` is as many as the machine has.
    #[must_use]
    pub fn threads(self, threads: Option<usize>) -> Self {
        Self { threads, ..self }
    }

    /// How large a collection may be.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Where indexes go that must leave the memory; without it they are dropped. They are mapped from there, and their
    /// files go with them.
    #[must_use]
    pub fn spill_to(self, folder: impl Into<PathBuf>) -> Self {
        Self { spill: Some(folder.into()), ..self }
    }

    /// How long an unknown collection is taken to be unknown, unless it must be fresh.
    #[must_use]
    pub fn unknown_ttl(self, unknown_ttl: Duration) -> Self {
        Self { unknown_ttl, ..self }
    }

    /// Who signs the bundles that are published.
    #[must_use]
    pub fn signer(self, signer: Signer) -> Self {
        Self { signer: Some(signer), ..self }
    }

    /// Whose bundles are believed; without any, everybody's.
    #[must_use]
    pub fn trusted(self, trusted: Vec<PublicKey>) -> Self {
        Self { trusted, ..self }
    }

    /// The lake.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder for spilled indexes cannot be made, [`Error::Core`] for an impossible number of
    /// threads.
    pub fn build(self) -> Result<RuLake> {
        let shared = Shared {
            backends: RwLock::default(),
            defaults: self.defaults,
            settings: RwLock::default(),
            cache: Cache::new(self.budget),
            stats: Stats::default(),
            flights: Flights::default(),
            refreshing: Mutex::default(),
            unknown: Mutex::default(),
            unknown_ttl: self.unknown_ttl,
            workers: Workers::default(),
            pool: Pool::new(self.threads)?,
            limits: self.limits,
            spill: self.spill.as_deref().map(folder::make).transpose()?,
            signer: self.signer,
            trusted: self.trusted,
        };
        Ok(RuLake { shared: Arc::new(shared), consistency: None })
    }
}

impl RuLake {
    /// A lake to be configured.
    pub fn builder() -> Builder {
        Builder {
            defaults: Settings::default(),
            budget: Budget { bytes: usize::MAX, entries: usize::MAX },
            threads: None,
            limits: Limits::default(),
            spill: None,
            unknown_ttl: Duration::from_secs(1),
            signer: None,
            trusted: Vec::new(),
        }
    }

    /// The same lake seen in another mode, whatever the mode of its collections.
    #[must_use]
    pub fn with_consistency(&self, consistency: Consistency) -> Self {
        Self { consistency: Some(consistency), ..self.clone() }
    }

    /// Adds a backend.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when there is one of this name, or nothing may be under way.
    pub fn register_backend(&self, backend: Arc<dyn Backend>, options: BackendOptions) -> Result<()> {
        if options.concurrency == 0 {
            return Err(Error::invalid_parameter("concurrency", "at least 1", "0"));
        }
        let id = backend.id().to_owned();
        let mut backends = self.shared.backends.write().unwrap_or_else(PoisonError::into_inner);
        if backends.contains_key(&id) {
            return Err(Error::invalid_parameter(
                "backend",
                "a name that is not registered",
                format!("{id:?}"),
            ));
        }
        backends.insert(id, Arc::new(Member { backend, options, gate: Gate::new(options.concurrency) }));
        Ok(())
    }

    /// The names of all backends, sorted.
    pub fn backend_ids(&self) -> Vec<String> {
        self.shared.backends.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Sets how a collection is indexed and kept. An index that was coded otherwise is not used any more.
    pub fn configure(&self, key: &Key, settings: Settings) {
        self.shared.cache.pin(key, settings.pinned);
        self.shared.settings.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), settings);
    }

    /// How a collection is indexed and kept.
    pub fn settings(&self, key: &Key) -> Settings {
        let settings = self.shared.settings.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let mut settings = settings.unwrap_or_else(|| self.shared.defaults.clone());
        settings.consistency = self.consistency.unwrap_or(settings.consistency);
        settings
    }

    /// The rows of a collection as its backend has them now, past the cache: only what fulfils the predicate.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::UnknownCollection`] and whatever the backend says.
    pub fn scan(&self, key: &Key, pull: &Pull) -> Result<Batches> {
        let member = self.member(&key.backend)?;
        let _permit = member.gate.enter(None);
        let mut wider = pull.clone();
        if let Some(columns) = &mut wider.projection {
            let missing: Vec<String> = pull
                .predicate
                .columns()
                .filter(|name| !columns.iter().any(|column| column == name))
                .map(Into::into)
                .collect();
            columns.extend(missing);
        }
        let rows = member.backend.pull(&key.collection, &wider)?;
        let schema = crate::backend::project_schema(&rows.schema(), pull.projection.as_deref())?;
        let (backend, pull) = (key.backend.clone(), pull.clone());
        let rows = rows.map(move |batch| {
            let batch = batch.map_err(|error| crate::backend::stream_error(&backend, error))?;
            crate::backend::project(&pull.predicate.apply(&batch)?, pull.projection.as_deref())
        });
        Ok(crate::backend::batches(schema, rows))
    }

    /// Forgets the index of a collection. Without one, nothing happens.
    pub fn invalidate_cache(&self, key: &Key) {
        if self.shared.cache.invalidate(key) {
            self.shared.stats.count(key, Event::Invalidated);
        }
    }

    /// The witness, of version 1, of the index that answers for a collection.
    pub fn cache_witness_of(&self, key: &Key) -> Option<Witness> {
        self.bundle_of(key).map(|bundle| bundle.witness())
    }

    /// What the index that answers for a collection is of.
    pub fn bundle_of(&self, key: &Key) -> Option<Bundle> {
        self.shared.cache.peek(key).map(|entry| entry.bundle.clone())
    }

    /// How many collections an index answers for: the one of this witness of version 1.
    pub fn cache_refcount_of(&self, witness: Witness) -> usize {
        self.shared.cache.refcount(|entry| entry.bundle.witness() == witness)
    }

    /// What the cache did and holds.
    pub fn cache_stats(&self) -> CacheStats {
        let (entries, bytes) = self.shared.cache.size();
        CacheStats { counters: self.shared.stats.total(), entries, bytes }
    }

    /// What it did for each backend.
    pub fn cache_stats_by_backend(&self) -> HashMap<String, Counters> {
        self.shared.stats.by_backend()
    }

    /// What it did for each collection.
    pub fn cache_stats_by_collection(&self) -> HashMap<Key, Counters> {
        self.shared.stats.by_collection()
    }

    /// Counts from zero.
    pub fn reset_stats(&self) {
        self.shared.stats.reset();
    }

    pub(crate) fn member(&self, backend: &str) -> Result<Arc<Member>> {
        let backends = self.shared.backends.read().unwrap_or_else(PoisonError::into_inner);
        backends.get(backend).cloned().ok_or_else(|| Error::UnknownBackend {
            backend: backend.into(),
            known: backends.keys().cloned().collect(),
        })
    }

    /// The bundle of a state, without its content.
    pub(crate) fn describe(settings: &Settings, state: &State) -> Bundle {
        Bundle {
            data_ref: state.data_ref.clone(),
            dim: state.dim as u64,
            rotation_seed: settings.rotation_seed,
            rerank_factor: settings.rerank_factor,
            generation: state.generation.clone(),
            coding: Coding::new(settings.metric, settings.bits),
            content: None,
            index: None,
            tags: settings.tags.clone(),
        }
    }

    /// Refuses a folder's bundle that nobody we know has signed.
    pub(crate) fn trust(&self, signer: Option<PublicKey>, folder: &Path) -> Result<()> {
        let trusted = &self.shared.trusted;
        if trusted.is_empty() || signer.is_some_and(|signer| trusted.contains(&signer)) {
            return Ok(());
        }
        Err(Error::WitnessMismatch {
            what: format!("{}: signer", folder.join(crate::bundle::FILE).display()),
            expected: "one of the trusted keys".into(),
            actual: signer.map_or_else(|| "none".into(), PublicKey::to_hex),
        })
    }
}
