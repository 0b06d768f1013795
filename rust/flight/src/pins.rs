//! States that were told of, held for a while: all tickets of one `FlightInfo` mean the same rows.

use std::{
    cell::OnceCell,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use prost_types::Timestamp;
use ruvector_core::{Error as CoreError, Live, Monitor, Pool, format::Messages, live::Snapshot};
use ruvector_lake::Error;
use tonic::{Code, Status};

use crate::{
    ask::Keeping,
    auth::Verb,
    call::Call,
    catalog::{Source, State},
    status::{named, unknown},
};

/// How long a state is held after it was last told of.
const HELD: Duration = Duration::from_secs(600);
/// How many states are held. Of more, those go first that were told of longest ago.
const MOST: usize = 256;

/// The states that are held.
#[derive(Default)]
pub(crate) struct Pins {
    held: Mutex<HashMap<Key, (Arc<Pinned>, Instant)>>,
}

/// Who was told of what. What somebody may see of a state is theirs alone.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    principal: Option<String>,
    name: String,
    generation: String,
}

/// One state, and what was made of it once for all who read it.
pub(crate) struct Pinned {
    pub(crate) state: State,
    pub(crate) source: Source,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    visible: OnceCell<Option<Arc<Snapshot>>>,
    messages: HashMap<Keeping, Arc<Messages>>,
}

impl Pinned {
    pub(crate) fn new(state: State, source: Source) -> Self {
        Self { state, source, made: Mutex::default() }
    }

    /// The rows that may be seen; `None` if there are none.
    pub(crate) fn visible(&self) -> Result<Option<Arc<Snapshot>>, Error> {
        self.visible_in(&mut lock(&self.made))
    }

    fn visible_in(&self, made: &mut Made) -> Result<Option<Arc<Snapshot>>, Error> {
        if let Some(visible) = made.visible.get() {
            return Ok(visible.clone());
        }
        let visible = match &self.state {
            State::Index { snapshot, .. } => Some(Arc::clone(snapshot)),
            State::Lake(pin) => pin.visible()?,
        };
        Ok(made.visible.get_or_init(|| visible).clone())
    }

    /// The rows that may be seen.
    pub(crate) fn snapshot(&self) -> Result<Arc<Snapshot>, Error> {
        let empty = || CoreError::EmptyIndex("the collection has no rows".into());
        Ok(self.visible()?.ok_or_else(empty)?)
    }

    /// The messages of the file that the index is saved as, with all changes coded and deleted rows gone.
    pub(crate) fn messages(
        &self,
        keep: Keeping,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<Arc<Messages>, Error> {
        // Whoever comes meanwhile wants the same and waits for it.
        let mut made = lock(&self.made);
        if let Some(messages) = made.messages.get(&keep) {
            return Ok(Arc::clone(messages));
        }
        let empty = || CoreError::EmptyIndex("the collection has no rows".into());
        let snapshot = self.visible_in(&mut made)?.ok_or_else(empty)?;
        let index = Live::at(snapshot).sealed(pool, monitor)?;
        let messages = Arc::new(index.messages(keep.into())?);
        made.messages.insert(keep, Arc::clone(&messages));
        Ok(messages)
    }
}

/// The state that somebody means: the one they were told of, if they name it, else the present one.
pub(crate) fn pinned(
    call: &Call,
    verb: Verb,
    name: &str,
    generation: Option<&str>,
) -> Result<Arc<Pinned>, Status> {
    call.about(name);
    call.caller().may_with(verb, name)?;
    let shared = call.shared();
    if let Some(held) = generation.and_then(|generation| shared.pins.find(call, name, generation)) {
        return Ok(held);
    }
    let served = shared.catalog.find(name).ok_or_else(|| unknown(name))?;
    let state = call.state(&served)?;
    match generation {
        Some(generation) if generation != state.generation() => Err(superseded(name)),
        _ => Ok(Arc::new(Pinned::new(state, served.source.clone()))),
    }
}

/// A state that is no more.
pub(crate) fn superseded(name: &str) -> Status {
    let message = format!("collection {name:?} is in another state now: ask for its flight info again");
    named(Code::Aborted, "Superseded", message)
}

impl Pins {
    /// Holds a state for those who were told of it. Until when.
    pub(crate) fn hold(&self, call: &Call, name: &str, pinned: &Arc<Pinned>) -> Timestamp {
        let key = key(call, name, &pinned.state.generation());
        let now = Instant::now();
        let until = now + HELD;
        let mut held = lock(&self.held);
        held.retain(|_, (_, until)| *until > now);
        let entry = held.entry(key).or_insert_with(|| (Arc::clone(pinned), until));
        entry.1 = until;
        while held.len() > MOST {
            let oldest = held.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
            oldest.and_then(|key| held.remove(&key));
        }
        drop(held);
        sweep_later(call);
        in_time(HELD)
    }

    fn find(&self, call: &Call, name: &str, generation: &str) -> Option<Arc<Pinned>> {
        let now = Instant::now();
        let held = lock(&self.held);
        let (pinned, until) = held.get(&key(call, name, generation))?;
        (*until > now).then(|| Arc::clone(pinned))
    }
}

/// Holds nothing longer than was said, although nobody may come by.
fn sweep_later(call: &Call) {
    let weak = call.weak();
    tokio::spawn(async move {
        tokio::time::sleep(HELD + Duration::from_millis(100)).await;
        if let Some(shared) = weak.upgrade() {
            let now = Instant::now();
            lock(&shared.pins.held).retain(|_, (_, until)| *until > now);
        }
    });
}

/// The time it will be then.
pub(crate) fn in_time(wait: Duration) -> Timestamp {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default() + wait;
    Timestamp { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() as i32 }
}

fn key(call: &Call, name: &str, generation: &str) -> Key {
    let principal = call.caller().principal().map(str::to_owned);
    Key { principal, name: name.into(), generation: generation.into() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
