//! Which index answers for which collection, within a budget of bytes.
//!
//! Two maps: from a collection to the address of its index, and from addresses to indexes. Collections that lie in the
//! same place share an index. One lock is held for look-ups and moves of pointers, never while rows are read, coded,
//! searched or written.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ruvector_core::live::Snapshot;

use crate::{
    entry::{Entry, Held},
    key::Key,
    witness::Witness,
};

/// What the cache may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
}

#[derive(Debug)]
pub(crate) struct Cache {
    state: Mutex<State>,
    budget: Budget,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Witness, Slot>,
    pointers: HashMap<Key, Pointer>,
    pinned: HashSet<Key>,
    clock: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    entry: Arc<Entry>,
    used: u64,
}

#[derive(Clone, Debug)]
struct Pointer {
    address: Witness,
    checked: Instant,
    /// The index without the rows that were forgotten, if any were.
    shown: Option<Arc<Snapshot>>,
}

/// An index that had to make room, and the collections it was for.
#[derive(Debug)]
pub(crate) struct Evicted {
    pub(crate) entry: Arc<Entry>,
    pub(crate) keys: Vec<Key>,
}

/// A collection, and what is to be shown in place of its whole index.
type Shown = (Key, Option<Arc<Snapshot>>);

/// What a new pointer did.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// Whether the collection's last index was left by its last user.
    pub(crate) freed: bool,
    pub(crate) evicted: Vec<Evicted>,
}

impl Cache {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { state: Mutex::default(), budget }
    }

    /// The index of a collection, and how long ago it was known to be the right one.
    pub(crate) fn get(&self, key: &Key) -> Option<(Held, Duration)> {
        let mut state = self.lock();
        let Pointer { address, checked, shown } = state.pointers.get(key)?.clone();
        let entry = state.touch(address)?;
        drop(state);
        Some((Held { entry, shown }, checked.elapsed()))
    }

    /// Notes that a collection's index was found to be the right one.
    pub(crate) fn checked(&self, key: &Key, address: Witness, since: Instant) {
        let mut state = self.lock();
        if let Some(pointer) = state.pointers.get_mut(key).filter(|pointer| pointer.address == address) {
            pointer.checked = pointer.checked.max(since);
        }
    }

    /// Shows a collection's index without the rows that were forgotten.
    pub(crate) fn show(&self, key: &Key, address: Witness, shown: Option<Arc<Snapshot>>) {
        let mut state = self.lock();
        if let Some(pointer) = state.pointers.get_mut(key).filter(|pointer| pointer.address == address) {
            pointer.shown = shown;
        }
    }

    /// The index at an address.
    pub(crate) fn find(&self, address: Witness) -> Option<Arc<Entry>> {
        self.lock().touch(address)
    }

    /// The index of a collection, which is not thereby used.
    pub(crate) fn peek(&self, key: &Key) -> Option<Arc<Entry>> {
        let state = self.lock();
        let pointer = state.pointers.get(key)?;
        state.entries.get(&pointer.address).map(|slot| Arc::clone(&slot.entry))
    }

    /// Lets an index answer for a collection from now on. Doing so twice changes nothing.
    ///
    /// `since` is when the index was known to be the right one: an answer that took long is not younger for it.
    pub(crate) fn install(&self, key: &Key, held: &Held, since: Instant) -> Moved {
        let Held { entry, shown } = held;
        let address = entry.address;
        let mut state = self.lock();
        let pointer = Pointer { address, checked: since, shown: shown.clone() };
        let before = state.pointers.insert(key.clone(), pointer);
        if state.touch(address).is_none() {
            state.insert(address, entry);
        }
        let freed =
            before.is_some_and(|before| before.address != address && state.free_unused(before.address));
        Moved { freed, evicted: state.make_room(self.budget, address) }
    }

    /// Puts an index that went to a file in the place it had to leave, if it is still wanted there.
    pub(crate) fn reinstall(&self, entry: &Arc<Entry>, keys: Vec<Shown>) -> (bool, Vec<Evicted>) {
        let address = entry.address;
        let mut state = self.lock();
        if state.entries.contains_key(&address) {
            return (false, Vec::new());
        }
        for (key, shown) in keys {
            state.pointers.entry(key).or_insert_with(|| Pointer { address, checked: entry_age(), shown });
        }
        if !state.pointers.values().any(|pointer| pointer.address == address) {
            return (false, Vec::new());
        }
        state.insert(address, entry);
        let evicted = state.make_room(self.budget, address);
        (state.entries.contains_key(&address), evicted)
    }

    /// Drops a collection's pointer, and its index with the last one; tells whether there was one.
    pub(crate) fn invalidate(&self, key: &Key) -> bool {
        let mut state = self.lock();
        let Some(pointer) = state.pointers.remove(key) else { return false };
        state.free_unused(pointer.address);
        true
    }

    /// Whether an index stays although others need its room.
    pub(crate) fn pin(&self, key: &Key, pinned: bool) {
        let mut state = self.lock();
        if pinned {
            state.pinned.insert(key.clone());
        } else {
            state.pinned.remove(key);
        }
    }

    /// Indexes and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.entries.len(), state.bytes)
    }

    /// Every collection that an index answers for, in their order; whether it is pinned.
    pub(crate) fn all(&self) -> Vec<(Key, Held, bool)> {
        let state = self.lock();
        let each = state.pointers.iter().filter_map(|(key, pointer)| {
            let entry = Arc::clone(&state.entries.get(&pointer.address)?.entry);
            let held = Held { entry, shown: pointer.shown.clone() };
            Some((key.clone(), held, state.pinned.contains(key)))
        });
        let mut all: Vec<_> = each.collect();
        drop(state);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// How many collections an index answers for.
    pub(crate) fn refcount(&self, wanted: impl Fn(&Entry) -> bool) -> usize {
        let state = self.lock();
        let held =
            |pointer: &&Pointer| state.entries.get(&pointer.address).is_some_and(|slot| wanted(&slot.entry));
        state.pointers.values().filter(held).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pointer that was lost and found is to be checked: it counts as old.
fn entry_age() -> Instant {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
}

impl State {
    fn touch(&mut self, address: Witness) -> Option<Arc<Entry>> {
        let slot = self.entries.get_mut(&address)?;
        self.clock += 1;
        slot.used = self.clock;
        Some(Arc::clone(&slot.entry))
    }

    fn insert(&mut self, address: Witness, entry: &Arc<Entry>) {
        self.clock += 1;
        self.bytes += entry.bytes;
        self.entries.insert(address, Slot { entry: Arc::clone(entry), used: self.clock });
    }

    fn remove(&mut self, address: Witness) -> Option<Arc<Entry>> {
        let slot = self.entries.remove(&address)?;
        self.bytes -= slot.entry.bytes;
        Some(slot.entry)
    }

    /// Removes an index that nobody points to; tells whether it did.
    fn free_unused(&mut self, address: Witness) -> bool {
        let used = self.pointers.values().any(|pointer| pointer.address == address);
        !used && self.remove(address).is_some()
    }

    /// Evicts what was not used for longest until the rest fits; the newest goes last, and only if it alone is too large.
    /// Where bytes are short, what lies in a file goes after what does not: there is little to be had from it.
    fn make_room(&mut self, budget: Budget, newest: Witness) -> Vec<Evicted> {
        let mut evicted = Vec::new();
        while self.bytes > budget.bytes || self.entries.len() > budget.entries {
            let held = |address: &Witness| {
                self.pointers
                    .iter()
                    .any(|(key, pointer)| pointer.address == *address && self.pinned.contains(key))
            };
            let crowded = self.entries.len() > budget.entries;
            let free = self.entries.iter().filter(|(address, _)| !held(address));
            let Some(victim) = free
                .min_by_key(|(address, slot)| {
                    (**address == newest, !crowded && slot.entry.is_spilled(), slot.used)
                })
                .map(|(&address, _)| address)
            else {
                break;
            };
            let keys: Vec<Key> = self
                .pointers
                .extract_if(|_, pointer| pointer.address == victim)
                .map(|(key, _)| key)
                .collect();
            evicted.extend(self.remove(victim).map(|entry| Evicted { entry, keys }));
        }
        evicted
    }
}
