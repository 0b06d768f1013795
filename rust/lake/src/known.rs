//! What the lake keeps for each collection that it was asked about: settings and counters, found once per search.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::{
    key::Key,
    settings::Settings,
    stats::{Counters, Event, Meter},
};

/// Settings, with what is computed from them once.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) settings: Settings,
    /// The text of the predicate that rows are chosen by when they are pulled, if there is one.
    pub(crate) selection: Option<String>,
}

impl From<Settings> for Configured {
    fn from(settings: Settings) -> Self {
        let selection = (!settings.rows.is_empty()).then(|| settings.rows.to_string());
        Self { settings, selection }
    }
}

/// One collection.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) key: Arc<Key>,
    pub(crate) meter: Meter,
    configured: Mutex<Arc<Configured>>,
}

impl Known {
    pub(crate) fn configured(&self) -> Arc<Configured> {
        Arc::clone(&self.configured.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All of them. A name that nobody has is not kept, so that asking for names costs no memory.
#[derive(Debug)]
pub(crate) struct Register {
    known: RwLock<HashMap<Key, Arc<Known>>>,
    defaults: Arc<Configured>,
}

impl Register {
    pub(crate) fn new(defaults: Settings) -> Self {
        Self { known: RwLock::default(), defaults: Arc::new(defaults.into()) }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The collection, known from now on.
    pub(crate) fn keep(&self, key: &Key) -> Arc<Known> {
        self.get(key).unwrap_or_else(|| {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            let new = || Known {
                key: Arc::new(key.clone()),
                meter: Meter::default(),
                configured: Mutex::new(Arc::clone(&self.defaults)),
            };
            Arc::clone(known.entry(key.clone()).or_insert_with(|| Arc::new(new())))
        })
    }

    pub(crate) fn configure(&self, key: &Key, settings: Settings) {
        let configured = Arc::new(settings.into());
        *self.keep(key).configured.lock().unwrap_or_else(PoisonError::into_inner) = configured;
    }

    pub(crate) fn configured(&self, key: &Key) -> Arc<Configured> {
        self.get(key).map_or_else(|| Arc::clone(&self.defaults), |known| known.configured())
    }

    pub(crate) fn count(&self, key: &Key, event: Event) {
        self.keep(key).meter.count(event);
    }

    /// What was counted for each collection that something was counted for.
    pub(crate) fn by_collection(&self) -> HashMap<Key, Counters> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let counted = known.iter().map(|(key, known)| (key.clone(), known.meter.read()));
        counted.filter(|(_, counters)| *counters != Counters::default()).collect()
    }

    pub(crate) fn by_backend(&self) -> HashMap<String, Counters> {
        let mut found: HashMap<String, Counters> = HashMap::new();
        for (key, counters) in self.by_collection() {
            *found.entry(key.backend).or_default() += &counters;
        }
        found
    }

    pub(crate) fn total(&self) -> Counters {
        let mut total = Counters::default();
        self.by_collection().values().for_each(|counters| total += counters);
        total
    }

    pub(crate) fn reset(&self) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().for_each(|known| known.meter.reset());
    }
}
