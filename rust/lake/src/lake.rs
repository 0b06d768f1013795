//! The lake: backends, settings, the cache, and who may do what when.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use ruvector_core::Pool;

use crate::{
    audit::Ring,
    backend::{Backend, State},
    bundle::{Bundle, Coding},
    cache::Cache,
    entry::{Entry, Held},
    error::{Error, Result},
    flight::Flights,
    forgotten::Memory,
    holdings,
    key::Key,
    known::{Configured, Register},
    policy::Policy,
    rows::Limits,
    settings::{BackendOptions, Consistency, Settings},
    sign::{PublicKey, Signer},
    spill::Spill,
    stats::{CacheStats, Counters, Event},
    view::Session,
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
    pub(crate) consistency: Option<Consistency>,
    /// Who asks.
    pub(crate) principal: Option<Arc<str>>,
    /// What this view has seen.
    pub(crate) session: Option<Arc<Session>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) backends: RwLock<BTreeMap<String, Arc<Member>>>,
    pub(crate) known: Register,
    pub(crate) cache: Cache,
    pub(crate) policy: Option<Ruled>,
    pub(crate) audit: Ring,
    pub(crate) forgotten: Memory,
    pub(crate) flights: Flights<Witness, Arc<Entry>>,
    pub(crate) refreshing: Mutex<std::collections::HashSet<Key>>,
    pub(crate) unknown: Mutex<HashMap<Key, Instant>>,
    pub(crate) unknown_ttl: Duration,
    pub(crate) workers: Workers,
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
    pub(crate) spill: Option<Spill>,
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

/// A policy.
#[derive(Clone)]
pub(crate) struct Ruled(pub(crate) Arc<dyn Policy>);

impl std::fmt::Debug for Ruled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Policy")
    }
}

impl RuLake {
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
        self.shared.known.configure(key, settings);
    }

    /// How a collection is indexed and kept.
    pub fn settings(&self, key: &Key) -> Settings {
        let mut settings = self.shared.known.configured(key).settings.clone();
        settings.consistency = self.consistency.unwrap_or(settings.consistency);
        settings
    }

    /// Forgets the index of a collection. Without one, nothing happens.
    pub fn invalidate_cache(&self, key: &Key) {
        if self.shared.cache.invalidate(key) {
            self.shared.known.count(key, Event::Invalidated);
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

    /// What is held, a row for each collection: `backend`, `collection`, `witness`, `generation`, `rows`, `bytes`,
    /// `pinned`, `spilled`, `pii_policy`, `lineage_id`, `memory_class`. Collections that share an index share its bytes.
    ///
    /// # Errors
    /// None in practice; Arrow's own check of the columns is passed on.
    pub fn cache_entries(&self) -> Result<RecordBatch> {
        holdings::table(&self.shared.cache.all())
    }

    /// What the cache did and holds.
    pub fn cache_stats(&self) -> CacheStats {
        let (entries, bytes) = self.shared.cache.size();
        CacheStats { counters: self.shared.known.total(), entries, bytes }
    }

    /// What it did for each backend.
    pub fn cache_stats_by_backend(&self) -> HashMap<String, Counters> {
        self.shared.known.by_backend()
    }

    /// What it did for each collection.
    pub fn cache_stats_by_collection(&self) -> HashMap<Key, Counters> {
        self.shared.known.by_collection()
    }

    /// Counts from zero.
    pub fn reset_stats(&self) {
        self.shared.known.reset();
    }

    pub(crate) fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        self.pinned(key).map(|held| held.entry).or_else(|| self.shared.cache.peek(key))
    }

    /// An index as it answers for a collection.
    pub(crate) fn held(&self, key: &Key, entry: Arc<Entry>) -> Held {
        let forgotten = self.shared.forgotten.get(key);
        let shown = forgotten.zip(entry.table.as_ref()).map(|(forgotten, table)| {
            let ids = forgotten.as_ids(table.snapshot.id_type());
            Arc::new(table.snapshot.without(&ids))
        });
        Held { entry, shown }
    }

    pub(crate) fn member(&self, backend: &str) -> Result<Arc<Member>> {
        let backends = self.shared.backends.read().unwrap_or_else(PoisonError::into_inner);
        backends.get(backend).cloned().ok_or_else(|| Error::UnknownBackend {
            backend: backend.into(),
            known: backends.keys().cloned().collect(),
        })
    }

    /// The bundle of a state, without its content.
    pub(crate) fn describe(configured: &Configured, state: &State) -> Bundle {
        let settings = &configured.settings;
        Bundle {
            data_ref: state.data_ref.clone(),
            dim: state.dim as u64,
            rotation_seed: settings.rotation_seed,
            rerank_factor: settings.rerank_factor,
            generation: state.generation.clone(),
            coding: Coding::new(settings.metric, settings.bits),
            selection: configured.selection.clone(),
            content: None,
            index: None,
            source: None,
            forgotten: None,
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
