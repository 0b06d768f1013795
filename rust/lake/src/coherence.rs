//! Which index answers: the one in the cache, or a new one.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    backend::{Pull, State},
    bundle::Bundle,
    cache::Evicted,
    entry::Entry,
    error::{Error, Result},
    flight::Role,
    key::Key,
    lake::{Member, RuLake},
    rows,
    settings::{Consistency, Settings},
    stats::Event,
};

/// How often a collection is read that changes while it is read.
const ATTEMPTS: u32 = 3;
/// Unknown collections that are remembered at once.
const MAX_UNKNOWN: usize = 10_000;

/// Until when somebody waits, and how long that was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Option<Instant>,
    pub(crate) time: Duration,
}

impl Deadline {
    pub(crate) fn after(time: Option<Duration>) -> Self {
        let at = time.and_then(|time| Instant::now().checked_add(time));
        Self { at, time: time.unwrap_or_default() }
    }

    pub(crate) fn missed(self, key: &Key) -> Error {
        Error::Deadline {
            backend: key.backend.clone(),
            collection: key.collection.clone(),
            millis: u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl RuLake {
    /// The index that may answer for a collection, made if there is none.
    pub(crate) fn entry(&self, key: &Key, deadline: Deadline) -> Result<Arc<Entry>> {
        let member = self.member(&key.backend)?;
        let settings = self.settings(key);
        let found = self.shared.cache.get(key).filter(|(entry, _)| is_coded_so(&entry.bundle, &settings));
        if let Some((entry, age)) = found {
            match settings.consistency {
                Consistency::Frozen => return Ok(self.hit(key, entry, Event::Hit)),
                Consistency::Eventual { ttl, .. } if age < ttl => {
                    return Ok(self.hit(key, entry, Event::Hit));
                }
                Consistency::Eventual { ttl, stale } if age < ttl.saturating_add(stale) => {
                    self.refresh_behind(key, &member);
                    return Ok(self.hit(key, entry, Event::StaleHit));
                }
                Consistency::Eventual { .. } | Consistency::Fresh => {}
            }
        } else if settings.consistency != Consistency::Fresh && self.is_known_unknown(key) {
            return Err(crate::backend::unknown(&key.backend, &key.collection));
        }
        self.checked(key, &member, &settings, deadline)
    }

    /// The index that answers for a collection now, without asking any backend.
    pub(crate) fn cached(&self, key: &Key) -> Result<Arc<Entry>> {
        let settings = self.settings(key);
        let found = self.shared.cache.get(key).filter(|(entry, _)| is_coded_so(&entry.bundle, &settings));
        match found {
            Some((entry, _)) => Ok(self.hit(key, entry, Event::Hit)),
            None => {
                Err(Error::CacheMiss { backend: key.backend.clone(), collection: key.collection.clone() })
            }
        }
    }

    fn hit(&self, key: &Key, entry: Arc<Entry>, event: Event) -> Arc<Entry> {
        if event == Event::StaleHit {
            self.shared.stats.count(key, Event::Hit);
        }
        self.shared.stats.count(key, event);
        entry
    }

    /// Asks the backend, and pulls if it has other rows.
    fn checked(
        &self,
        key: &Key,
        member: &Member,
        settings: &Settings,
        deadline: Deadline,
    ) -> Result<Arc<Entry>> {
        let asked = Instant::now();
        let state = {
            let _permit = member.gate.enter(deadline.at).ok_or_else(|| deadline.missed(key))?;
            let state = member.backend.state(&key.collection);
            if matches!(state, Err(Error::UnknownCollection { .. })) {
                self.remember_unknown(key);
            }
            state?
        };
        self.shared.stats.count(key, Event::Checked(asked.elapsed()));
        let bundle = Self::describe(settings, &state);
        let address = bundle.address();
        if let Some(entry) = self.shared.cache.find(address) {
            let own = self.shared.cache.peek(key).is_some_and(|own| own.bundle.address() == address);
            self.shared.stats.count(key, if own { Event::Hit } else { Event::Miss });
            if !own {
                self.shared.stats.count(key, Event::Shared);
            }
            self.install(key, &entry, asked);
            return Ok(entry);
        }
        self.shared.stats.count(key, Event::Miss);
        let (outcome, role) = loop {
            let fetch = || self.fetch(key, member, settings, (state.clone(), asked), deadline);
            let landed = self.shared.flights.run(&address, deadline.at, fetch);
            match landed.ok_or_else(|| deadline.missed(key))? {
                // Whoever led had less time than we have.
                (Err(Error::Deadline { .. }), Role::Joined) => {}
                landed => break landed,
            }
        };
        let entry = outcome?;
        if role == Role::Joined {
            self.shared.stats.count(key, Event::Joined);
            // The leader may have had another name for the same place.
            if self.shared.cache.peek(key).is_none_or(|own| !Arc::ptr_eq(&own, &entry)) {
                self.install(key, &entry, asked);
            }
        }
        Ok(entry)
    }

    /// Pulls rows and asks for the generation once more: rows of one state never lie under the witness of another.
    fn fetch(
        &self,
        key: &Key,
        member: &Member,
        settings: &Settings,
        (mut state, mut asked): (State, Instant),
        deadline: Deadline,
    ) -> Result<Arc<Entry>> {
        let before = self.shared.cache.peek(key);
        for _ in 0..ATTEMPTS {
            let bundle = Self::describe(settings, &state);
            if let Some(entry) = self.shared.cache.find(bundle.address()) {
                self.install(key, &entry, asked);
                return Ok(entry);
            }
            let _permit = member.gate.enter(deadline.at).ok_or_else(|| deadline.missed(key))?;
            let known =
                before.as_ref().filter(|entry| is_coded_so(&entry.bundle, settings) && entry.can_grow());
            let since = known.and_then(|entry| Some((entry, state.rows_since(&entry.state)?)));
            let pull = Pull {
                projection: Some(state.id.iter().chain([&state.vector]).cloned().collect()),
                skip_rows: since.map_or(0, |(_, rows)| rows),
                ..Pull::default()
            };
            let began = Instant::now();
            // What fails because the rows are being replaced is tried again, like rows that were replaced unnoticed.
            let pulled = member.backend.pull(&key.collection, &pull).and_then(|stream| {
                let schema = rows::fingerprint(&stream.schema(), &state)?;
                Ok((schema, rows::read(&key.backend, stream, &state, &self.shared.limits)?))
            });
            let checked = Instant::now();
            let now = member.backend.state(&key.collection)?;
            if now.generation != state.generation {
                (state, asked) = (now, checked);
                continue;
            }
            let (schema, pulled) = pulled?;
            self.shared.stats.count(key, Event::Pulled(began.elapsed()));
            let entry =
                self.code(key, bundle, state.clone(), since.map(|(entry, _)| entry), pulled, schema)?;
            let Some(entry) = entry else { continue };
            self.install(key, &entry, asked);
            return Ok(entry);
        }
        let (backend, collection) = (key.backend.clone(), key.collection.clone());
        Err(Error::Unsettled { backend, collection, attempts: ATTEMPTS })
    }

    /// Codes rows: those that are new, or all. `None` if the index they were to be added to has gone on without us.
    fn code(
        &self,
        key: &Key,
        bundle: Bundle,
        state: State,
        before: Option<&Arc<Entry>>,
        rows: Option<rows::Rows>,
        schema: String,
    ) -> Result<Option<Arc<Entry>>> {
        let (began, pool) = (Instant::now(), &self.shared.pool);
        let Some(before) = before else {
            let entry = Entry::build(bundle, state, rows, schema, pool)?;
            self.shared.stats.count(key, Event::Primed(began.elapsed()));
            return Ok(Some(Arc::new(entry)));
        };
        let extended = before.extended(&bundle, state, rows, pool)?;
        if extended.is_some() {
            self.shared.stats.count(key, Event::Extended(began.elapsed()));
        }
        Ok(extended.map(Arc::new))
    }

    /// Lets an index answer for a collection, and makes room for it.
    pub(crate) fn install(&self, key: &Key, entry: &Arc<Entry>, since: Instant) {
        self.shared.unknown.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.shared.cache.pin(key, self.settings(key).pinned);
        let moved = self.shared.cache.install(key, entry, since);
        if moved.freed {
            self.shared.stats.count(key, Event::Invalidated);
        }
        self.clear_out(moved.evicted);
    }

    /// Takes indexes that had to make room to files, if there is a folder for them.
    fn clear_out(&self, mut evicted: Vec<Evicted>) {
        while let Some(Evicted { entry, keys }) = evicted.pop() {
            for key in &keys {
                self.shared.stats.count(key, Event::Evicted);
            }
            let Some(folder) = &self.shared.spill else { continue };
            // What cannot be written is gone, as it would be without a folder; the next search fetches it again.
            if let Ok(Some(spilled)) = entry.spilled(folder, &self.shared.pool) {
                let (kept, more) = self.shared.cache.reinstall(&Arc::new(spilled), &keys);
                if kept {
                    for key in &keys {
                        self.shared.stats.count(key, Event::Spilled);
                    }
                }
                evicted.extend(more);
            }
        }
    }

    /// Fetches the rows there are now while searches go on with those of before.
    fn refresh_behind(&self, key: &Key, member: &Arc<Member>) {
        let new = self.shared.refreshing.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        if !new {
            return;
        }
        let (lake, key, member) = (self.clone(), key.clone(), Arc::clone(member));
        self.shared.workers.spawn(move || {
            let refreshing = Refreshing { lake: &lake, key: &key };
            let settings = lake.settings(&key);
            // An error is the next search's to report: the old rows grow too old, and it asks itself.
            let outcome = lake.checked(&key, &member, &settings, Deadline::after(member.options.deadline));
            if outcome.is_err() {
                lake.shared.stats.count(&key, Event::Failed);
            }
            drop(refreshing);
        });
    }

    fn remember_unknown(&self, key: &Key) {
        let mut unknown = self.shared.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() >= MAX_UNKNOWN {
            unknown.clear();
        }
        unknown.insert(key.clone(), Instant::now());
    }

    fn is_known_unknown(&self, key: &Key) -> bool {
        let unknown = self.shared.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let known = unknown.get(key).is_some_and(|since| since.elapsed() < self.shared.unknown_ttl);
        if known {
            // All together, under no name: asking for names must cost no memory.
            self.shared.stats.count(&Key::new(&key.backend, ""), Event::NegativeHit);
        }
        known
    }
}

/// Ends a refresh in the background, also one that panicked.
struct Refreshing<'a> {
    lake: &'a RuLake,
    key: &'a Key,
}

impl Drop for Refreshing<'_> {
    fn drop(&mut self) {
        self.lake.shared.refreshing.lock().unwrap_or_else(PoisonError::into_inner).remove(self.key);
    }
}

/// Whether an index is coded as the settings want it.
fn is_coded_so(bundle: &Bundle, settings: &Settings) -> bool {
    (bundle.rotation_seed, bundle.rerank_factor) == (settings.rotation_seed, settings.rerank_factor)
        && (bundle.coding.metric, bundle.coding.bits) == (settings.metric, settings.bits)
}
