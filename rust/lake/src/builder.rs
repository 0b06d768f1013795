//! How a lake is made.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use ruvector_core::Pool;

use crate::{
    audit::Ring,
    cache::{Budget, Cache},
    error::Result,
    flight::Flights,
    forgotten::Memory,
    known::Register,
    lake::{RuLake, Ruled, Shared},
    policy::Policy,
    rows::Limits,
    settings::{Consistency, Settings},
    sign::{PublicKey, Signer},
    spill::Spill,
    workers::Workers,
};

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
    /// files go with them; those of a process that was killed go when the next lake is made over the folder.
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
    /// [`crate::Error::Io`] when the folder for spilled indexes cannot be made, [`crate::Error::Core`] for an impossible number of
    /// threads.
    pub fn build(self) -> Result<RuLake> {
        let shared = Shared {
            backends: RwLock::default(),
            known: Register::new(self.defaults),
            cache: Cache::new(self.budget),
            policy: self.policy,
            audit: Ring::new(self.audit),
            forgotten: Memory::default(),
            flights: Flights::default(),
            refreshing: Mutex::default(),
            unknown: Mutex::default(),
            unknown_ttl: self.unknown_ttl,
            workers: Workers::default(),
            pool: Pool::new(self.threads)?,
            limits: self.limits,
            spill: self.spill.as_deref().map(Spill::new).transpose()?,
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
}
