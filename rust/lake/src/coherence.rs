//! Which index answers: the one in the cache, or a new one.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use ruvector_core::{Monitor, Unwatched};

use crate::{
    backend::State,
    bundle::Bundle,
    cache::Evicted,
    cancel::StopsWhen,
    entry::{Entry, Held},
    error::{Error, Result},
    flight::Role,
    hedge::{Call, hedged},
    key::Key,
    known::Configured,
    lake::{Member, RuLake},
    policy::Action,
    rows::{self, Reading},
    settings::Consistency,
    stats::Event,
    watch::{Deadline, Watch},
};

/// The digest of a schema, and rows.
type Pulled = (String, Option<rows::Rows>);

/// How often a collection is read that changes while it is read.
const ATTEMPTS: u32 = 3;
/// Unknown collections that are remembered at once.
const MAX_UNKNOWN: usize = 10_000;

impl RuLake {
    /// The index that may answer for a collection without anybody being waited for, if there is one.
    pub(crate) fn at_once(&self, key: &Key, cache_only: bool) -> Result<Option<Held>> {
        if let Some(held) = self.pinned(key) {
            self.count_hit(key, Event::Hit);
            return Ok(Some(held));
        }
        let Some(known) = self.shared.known.get(key) else { return Ok(None) };
        let configured = known.configured();
        let Some((held, age)) = self.coded_so(key, &configured) else { return Ok(None) };
        match self.consistency_of(&configured) {
            _ if cache_only => known.meter.count(Event::Hit),
            Consistency::Frozen => known.meter.count(Event::Hit),
            Consistency::Eventual { ttl, .. } if age < ttl => known.meter.count(Event::Hit),
            Consistency::Eventual { ttl, stale } if age < ttl.saturating_add(stale) => {
                self.refresh_behind(key, &self.member(&key.backend)?);
                known.meter.count(Event::Hit);
                known.meter.count(Event::StaleHit);
            }
            Consistency::Eventual { .. } | Consistency::Fresh => {
                let member = self.member(&key.backend)?;
                if !member.backend.is_immediate() {
                    return Ok(None);
                }
                let asked = Instant::now();
                match member.backend.generation(&key.collection) {
                    Ok(generation) if generation == held.entry.state.generation => {}
                    _ => return Ok(None),
                }
                known.meter.count(Event::Checked(asked.elapsed()));
                known.meter.count(Event::Hit);
                self.shared.cache.checked(key, held.entry.address, asked);
            }
        }
        Ok(Some(self.pin(key, held)))
    }

    /// The index that may answer for a collection, made if there is none. With `anew` the backend is asked whatever the
    /// consistency.
    pub(crate) fn entry(&self, watch: Watch<'_>, anew: bool) -> Result<Held> {
        let key = watch.key;
        if !anew && let Some(held) = self.at_once(key, false)? {
            return Ok(held);
        }
        let configured = self.shared.known.configured(key);
        if self.consistency_of(&configured) != Consistency::Fresh && !anew && self.is_known_unknown(key) {
            return Err(crate::backend::unknown(&key.backend, &key.collection));
        }
        let member = self.member(&key.backend)?;
        let entry = self.checked(&member, &configured, watch)?;
        let held = self.shared.cache.get(key).map(|(held, _)| held);
        let held = held.filter(|held| Arc::ptr_eq(&held.entry, &entry));
        Ok(self.pin(key, held.unwrap_or_else(|| self.held(key, entry))))
    }

    /// The index that answers for a collection now, without asking any backend.
    pub(crate) fn cached(&self, key: &Key) -> Result<Held> {
        let (backend, collection) = (key.backend.clone(), key.collection.clone());
        self.at_once(key, true)?.ok_or(Error::CacheMiss { backend, collection })
    }

    fn coded_so(&self, key: &Key, configured: &Configured) -> Option<(Held, Duration)> {
        self.shared.cache.get(key).filter(|(held, _)| is_coded_so(&held.entry.bundle, configured))
    }

    fn count_hit(&self, key: &Key, event: Event) {
        self.shared.known.count(key, event);
    }

    /// Asks the backend, and pulls if it has other rows.
    fn checked(&self, member: &Arc<Member>, configured: &Configured, watch: Watch<'_>) -> Result<Arc<Entry>> {
        let key = watch.key;
        let asked = Instant::now();
        let state = self.ask(member, watch);
        if matches!(state, Err(Error::UnknownCollection { .. })) {
            self.remember_unknown(key);
        }
        let state = state?;
        let known = self.shared.known.keep(key);
        known.meter.count(Event::Checked(asked.elapsed()));
        let own = self.coded_so(key, configured).filter(|(held, _)| held.entry.is_of(&state));
        if let Some((held, _)) = own {
            known.meter.count(Event::Hit);
            self.shared.cache.checked(key, held.entry.address, asked);
            return Ok(held.entry);
        }
        let bundle = Self::describe(configured, &state);
        let address = bundle.address();
        if let Some(entry) = self.shared.cache.find(address) {
            let own = self.shared.cache.peek(key).is_some_and(|own| own.address == address);
            known.meter.count(if own { Event::Hit } else { Event::Miss });
            if !own {
                known.meter.count(Event::Shared);
            }
            self.install(key, &entry, asked);
            return Ok(entry);
        }
        known.meter.count(Event::Miss);
        self.decide(key, Action::Pull)?;
        let (outcome, role) = loop {
            let landed = self.shared.flights.run(&address, watch, |others| {
                let stop = StopsWhen(|| watch.monitor.interrupted() && !others());
                self.fetch(member, configured, (state.clone(), asked), watch, &stop)
            });
            match landed? {
                // Whoever led had less patience than we have.
                (Err(error), Role::Joined)
                    if matches!(error, Error::Deadline { .. }) || error.is_interrupted() => {}
                landed => break landed,
            }
        };
        let entry = outcome?;
        if role == Role::Joined {
            known.meter.count(Event::Joined);
            // The leader may have had another name for the same place.
            if self.shared.cache.peek(key).is_none_or(|own| !Arc::ptr_eq(&own, &entry)) {
                self.install(key, &entry, asked);
            }
        }
        Ok(entry)
    }

    /// The state of a collection, as its backend tells it.
    pub(crate) fn ask(&self, member: &Arc<Member>, watch: Watch<'_>) -> Result<State> {
        let (member, collection) = (Arc::clone(member), watch.key.collection.clone());
        let _permit = member.gate.enter(watch)?;
        let asked = Arc::clone(&member);
        let call: Call<State> = Arc::new(move |_: &dyn Monitor| asked.backend.state(&collection));
        hedged(&self.shared.workers, watch, &call)
    }

    /// Pulls rows and asks for the generation once more: rows of one state never lie under the witness of another.
    fn fetch(
        &self,
        member: &Arc<Member>,
        configured: &Configured,
        (mut state, mut asked): (State, Instant),
        watch: Watch<'_>,
        stop: &dyn Monitor,
    ) -> Result<Arc<Entry>> {
        let key = watch.key;
        let mut before = self.shared.cache.peek(key);
        for _ in 0..ATTEMPTS {
            let bundle = Self::describe(configured, &state);
            if let Some(entry) = self.shared.cache.find(bundle.address()) {
                self.install(key, &entry, asked);
                return Ok(entry);
            }
            let permit = member.gate.enter(Watch { monitor: stop, ..watch })?;
            let known =
                before.as_ref().filter(|entry| is_coded_so(&entry.bundle, configured) && entry.can_grow());
            let since = known.and_then(|entry| Some((entry, state.rows_since(&entry.state)?)));
            let began = Instant::now();
            // What fails because the rows are being replaced is tried again, like rows that were replaced unnoticed.
            let reading = Reading {
                state: state.clone(),
                limits: self.shared.limits,
                selection: configured.settings.rows.clone(),
                first: since.map_or(0, |(_, rows)| rows),
            };
            let pulled = self.pull(member, reading, watch.unhurried(stop));
            if stop.interrupted() {
                return Err(ruvector_core::Error::Interrupted.into());
            }
            let checked = Instant::now();
            let now = member.backend.state(&key.collection)?;
            drop(permit);
            if now.generation != state.generation {
                (state, asked) = (now, checked);
                continue;
            }
            let pulled = pulled?;
            self.shared.known.count(key, Event::Pulled(began.elapsed()));
            let grown = since.map(|(entry, _)| entry);
            let entry = self.code(key, bundle, state.clone(), grown, pulled, stop)?;
            let Some(entry) = entry else {
                before = None;
                continue;
            };
            self.install(key, &entry, asked);
            return Ok(entry);
        }
        let (backend, collection) = (key.backend.clone(), key.collection.clone());
        Err(Error::Unsettled { backend, collection, attempts: ATTEMPTS })
    }

    /// Reads rows, and the digest of their schema.
    fn pull(&self, member: &Arc<Member>, reading: Reading, watch: Watch<'_>) -> Result<Pulled> {
        let (member, collection) = (Arc::clone(member), watch.key.collection.clone());
        let call: Call<Pulled> = Arc::new(move |monitor: &dyn Monitor| {
            let stream = member.backend.pull(&collection, &reading.pull())?;
            let schema = rows::fingerprint(&stream.schema(), &reading.state)?;
            Ok((schema, rows::read(member.backend.id(), stream, &reading, monitor)?))
        });
        hedged(&self.shared.workers, watch, &call)
    }

    /// Codes rows: those that are new, or all. `None` if the index they were to be added to has gone on without us.
    fn code(
        &self,
        key: &Key,
        bundle: Bundle,
        state: State,
        before: Option<&Arc<Entry>>,
        (schema, rows): Pulled,
        stop: &dyn Monitor,
    ) -> Result<Option<Arc<Entry>>> {
        let (began, pool) = (Instant::now(), &self.shared.pool);
        let Some(before) = before else {
            let entry = Entry::build(bundle, state, rows, schema, pool, stop)?;
            self.shared.known.count(key, Event::Primed(began.elapsed()));
            return Ok(Some(Arc::new(entry)));
        };
        let extended = before.extended(&bundle, state, rows, pool, stop)?;
        if extended.is_some() {
            self.shared.known.count(key, Event::Extended(began.elapsed()));
        }
        Ok(extended.map(Arc::new))
    }

    /// Lets an index answer for a collection, and makes room for it.
    pub(crate) fn install(&self, key: &Key, entry: &Arc<Entry>, since: Instant) {
        self.shared.unknown.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.shared.cache.pin(key, self.shared.known.keep(key).configured().settings.pinned);
        let moved = loop {
            let forgotten = self.shared.forgotten.get(key);
            let moved = self.shared.cache.install(key, &self.held(key, Arc::clone(entry)), since);
            // Rows that were forgotten in between must not be shown.
            if forgotten.as_ref().map(Arc::as_ptr) == self.shared.forgotten.get(key).as_ref().map(Arc::as_ptr)
            {
                break moved;
            }
        };
        if moved.freed {
            self.shared.known.count(key, Event::Invalidated);
        }
        self.clear_out(moved.evicted);
    }

    /// Takes indexes that had to make room to files, if there is a folder for them.
    fn clear_out(&self, mut evicted: Vec<Evicted>) {
        while let Some(Evicted { entry, keys }) = evicted.pop() {
            for key in &keys {
                self.shared.known.count(key, Event::Evicted);
            }
            let Some(folder) = &self.shared.spill else { continue };
            // What cannot be written is gone, as it would be without a folder; the next search fetches it again.
            if let Ok(Some(spilled)) = entry.spilled(&folder.path(), &self.shared.pool) {
                let spilled = Arc::new(spilled);
                let held = keys.iter().map(|key| (key.clone(), self.held(key, Arc::clone(&spilled)).shown));
                let (kept, more) = self.shared.cache.reinstall(&spilled, held.collect());
                for key in &keys {
                    self.show(key);
                }
                if kept {
                    for key in &keys {
                        self.shared.known.count(key, Event::Spilled);
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
            let configured = lake.shared.known.configured(&key);
            let deadline = Deadline::after(member.options.deadline);
            let watch = Watch { deadline, ..Watch::new(&key, &Unwatched) };
            // An error is the next search's to report: the old rows grow too old, and it asks itself.
            let outcome = lake.checked(&member, &configured, watch);
            if outcome.is_err() {
                lake.shared.known.count(&key, Event::Failed);
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
            self.shared.known.count(&Key::new(&key.backend, ""), Event::NegativeHit);
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
fn is_coded_so(bundle: &Bundle, configured: &Configured) -> bool {
    let settings = &configured.settings;
    (bundle.rotation_seed, bundle.rerank_factor) == (settings.rotation_seed, settings.rerank_factor)
        && (bundle.coding.metric, bundle.coding.bits) == (settings.metric, settings.bits)
        && bundle.selection == configured.selection
}
