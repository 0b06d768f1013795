//! The lake: backends, settings, the cache, and who may do what when.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use ruvector_core::Pool;

use crate::{
    audit::{Audit, Happened, Ring},
    backend::{Backend, State},
    bundle::{Bundle, Coding},
    cache::{Budget, Cache},
    entry::{Entry, Held},
    error::{Error, Result},
    flight::Flights,
    folder, holdings,
    key::Key,
    known::{Configured, Register},
    policy::{self, Action, Decision, Policy, Request},
    rows::Limits,
    settings::{BackendOptions, Consistency, Settings},
    sign::{PublicKey, Signer},
    stats::{CacheStats, Counters, Event},
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
    /// Who asks.
    pub(crate) principal: Option<Arc<str>>,
    /// What this view has seen.
    session: Option<Arc<Session>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    backends: RwLock<BTreeMap<String, Arc<Member>>>,
    pub(crate) known: Register,
    pub(crate) cache: Cache,
    pub(crate) policy: Option<Ruled>,
    pub(crate) audit: Ring,
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

/// The states that a view has seen.
#[derive(Debug, Default)]
struct Session {
    seen: Mutex<HashMap<Key, Held>>,
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
pub(crate) struct Ruled(Arc<dyn Policy>);

impl std::fmt::Debug for Ruled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Policy")
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
    policy: Option<Ruled>,
    audit: usize,
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

    /// Who decides who may do what; without it, everybody may do everything.
    #[must_use]
    pub fn policy(self, policy: Arc<dyn Policy>) -> Self {
        Self { policy: Some(Ruled(policy)), ..self }
    }

    /// How many events are kept until [`RuLake::audit_events`] is called; 0, as long as nothing else is said, keeps none.
    #[must_use]
    pub fn audit(self, capacity: usize) -> Self {
        Self { audit: capacity, ..self }
    }

    /// The lake.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder for spilled indexes cannot be made, [`Error::Core`] for an impossible number of
    /// threads.
    pub fn build(self) -> Result<RuLake> {
        let shared = Shared {
            backends: RwLock::default(),
            known: Register::new(self.defaults),
            cache: Cache::new(self.budget),
            policy: self.policy,
            audit: Ring::new(self.audit),
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
        Ok(RuLake { shared: Arc::new(shared), consistency: None, principal: None, session: None })
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
            policy: None,
            audit: 0,
        }
    }

    /// The same lake seen in another mode, whatever the mode of its collections.
    #[must_use]
    pub fn with_consistency(&self, consistency: Consistency) -> Self {
        Self { consistency: Some(consistency), ..self.clone() }
    }

    /// The same lake as somebody sees it: the policy is asked about them.
    #[must_use]
    pub fn acting_as(&self, principal: &str) -> Self {
        Self { principal: Some(principal.into()), ..self.clone() }
    }

    /// A view in which each collection stays in the state of its first search here. Payload and predicates are of that
    /// state, too, as long as the backend has it; after that they are refused with [`Error::Superseded`].
    #[must_use]
    pub fn session(&self) -> Self {
        Self { session: Some(Arc::default()), ..self.clone() }
    }

    /// What this view has seen of a collection.
    pub(crate) fn pinned(&self, key: &Key) -> Option<Held> {
        let session = self.session.as_ref()?;
        session.seen.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Keeps what this view sees first of a collection, if it does such things.
    pub(crate) fn pin(&self, key: &Key, held: Held) -> Held {
        let Some(session) = &self.session else { return held };
        session.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_insert(held).clone()
    }

    /// Whether what this view sees of a collection may change.
    pub(crate) fn may_move(&self, key: &Key) -> bool {
        self.session.is_none() && self.settings(key).consistency != Consistency::Frozen
    }

    pub(crate) fn consistency_of(&self, configured: &Configured) -> Consistency {
        self.consistency.unwrap_or(configured.settings.consistency)
    }

    /// What the policy says about something that is about to be done.
    pub(crate) fn decide(&self, key: &Key, action: Action) -> Result<Option<Decision>> {
        let policy = self.shared.policy.as_ref().map(|policy| &*policy.0);
        let decision = policy::decide(policy, &self.request(key, action));
        if action != Action::Search
            && let Err(error) = &decision
        {
            self.note(action.name(), key, "denied", 0, error);
        }
        decision
    }

    pub(crate) fn request<'a>(&'a self, key: &'a Key, action: Action) -> Request<'a> {
        Request { principal: self.principal.as_deref(), key, action }
    }

    fn note(&self, action: &'static str, key: &Key, outcome: &'static str, rows: usize, detail: &Error) {
        self.shared.audit.push(Happened {
            principal: self.principal.clone(),
            action,
            key: Arc::new(key.clone()),
            outcome,
            rows,
            witness: None,
            query_digest: None,
            took: Duration::ZERO,
            detail: Some(detail.to_string()),
        });
    }

    /// The events since this was last called.
    ///
    /// # Errors
    /// None in practice; Arrow's own check of the columns is passed on.
    pub fn audit_events(&self) -> Result<Audit> {
        self.shared.audit.drain()
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
        let _ = key;
        Held::whole(entry)
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
