//! What the server holds for its tenants between two calls: prepared statements, answers that nobody reads yet,
//! transactions. Each has a handle that cannot be guessed, is its tenant's alone, and is let go of when it is not used.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tonic::{Code, Status};

use super::{
    answer::{Answer, asked, elsewhere},
    engine::{Described, SqlConnection},
};
use crate::status::named;

/// How many things one tenant may hold.
const MOST: usize = 1_000;
/// How long an answer waits for a reader.
pub(super) const ANSWER: Duration = Duration::from_secs(300);
/// How long a prepared statement waits to be used.
const PREPARED: Duration = Duration::from_secs(3600);
/// How long a transaction waits for its next statement. It is rolled back after that.
const TRANSACTION: Duration = Duration::from_secs(600);
/// Bytes of a handle.
const HANDLE: usize = 16;

/// A statement that is run more than once.
pub(super) struct Prepared {
    pub(super) sql: String,
    pub(super) described: Described,
    /// The transaction that it belongs to.
    pub(super) transaction: Option<Bytes>,
    /// Values that were bound, one row each.
    pub(super) rows: Mutex<VecDeque<RecordBatch>>,
}

impl Prepared {
    /// The transaction that it runs in, which must still be open: outside of it, it would do something else.
    pub(super) fn transaction(&self, held: &Held, tenant: &str) -> Result<Option<&[u8]>, Status> {
        let Some(transaction) = &self.transaction else { return Ok(None) };
        held.transaction(tenant, transaction).map_err(|_| {
            let message =
                "prepared statement: the transaction that it was prepared in is over, prepare it again";
            named(Code::FailedPrecondition, "InvalidParameter", message)
        })?;
        Ok(Some(transaction))
    }
}

/// A connection with a transaction, whose statements take turns.
pub(super) struct Transaction {
    pub(super) connection: Arc<dyn SqlConnection>,
    /// The answer of the last statement, which must be read before the next one begins.
    turn: Arc<tokio::sync::Mutex<Option<Weak<Answer>>>>,
}

/// A connection that is free for a statement, for as long as this lives.
pub(super) struct Turn {
    pub(super) connection: Arc<dyn SqlConnection>,
    last: Option<OwnedMutexGuard<Option<Weak<Answer>>>>,
}

impl Transaction {
    pub(super) fn new(connection: Arc<dyn SqlConnection>) -> Self {
        Self { connection, turn: Arc::default() }
    }

    /// Waits until the statements before are over. What is left of the last one's answer is read ahead.
    pub(super) async fn turn(&self) -> Result<Turn, Status> {
        let mut last = Arc::clone(&self.turn).lock_owned().await;
        if let Some(answer) = last.take().and_then(|answer| answer.upgrade()) {
            let settle = move |_: &Arc<dyn SqlConnection>| {
                answer.settle();
                Ok(())
            };
            asked(&self.connection, settle).await?;
        }
        Ok(Turn { connection: Arc::clone(&self.connection), last: Some(last) })
    }
}

impl Turn {
    /// A connection that no other statement has.
    pub(super) fn alone(connection: Arc<dyn SqlConnection>) -> Self {
        Self { connection, last: None }
    }

    /// Whether it is in a transaction that goes on.
    pub(super) fn goes_on(&self) -> bool {
        self.last.is_some()
    }

    /// Ends the turn with an answer that is still to be read.
    pub(super) fn leave(self, answer: &Arc<Answer>) {
        if let Some(mut last) = self.last {
            *last = Some(Arc::downgrade(answer));
        }
    }
}

/// Something that is held.
#[derive(Clone)]
pub(super) enum Thing {
    Prepared(Arc<Prepared>),
    Answer(Arc<Answer>),
    /// An answer that has its reader.
    Reading(Weak<Answer>),
    Transaction(Arc<Transaction>),
}

impl Thing {
    fn keep(&self) -> Duration {
        match self {
            Self::Prepared(_) => PREPARED,
            Self::Answer(_) | Self::Reading(_) => ANSWER,
            Self::Transaction(_) => TRANSACTION,
        }
    }
}

struct Entry {
    tenant: String,
    keep: Duration,
    until: Instant,
    thing: Thing,
}

/// All of it.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashMap<Bytes, Entry>>>);

impl Held {
    /// Holds something, and gives its handle.
    pub(super) fn put(&self, tenant: &str, thing: Thing) -> Result<Bytes, Status> {
        let keep = thing.keep();
        self.put_for(keep, tenant, thing)
    }

    fn put_for(&self, keep: Duration, tenant: &str, thing: Thing) -> Result<Bytes, Status> {
        let mut handle = [0; HANDLE];
        openssl::rand::rand_bytes(&mut handle)
            .map_err(|error| named(Code::Internal, "RuVectorError", format!("no randomness: {error}")))?;
        let handle = Bytes::copy_from_slice(&handle);
        let until = Instant::now() + keep;
        let mut all = lock(&self.0);
        if all.values().filter(|entry| entry.tenant == tenant).count() >= MOST {
            drop(all);
            elsewhere(move || drop(thing));
            let message = format!("more than {MOST} statements and transactions are open: close some");
            return Err(named(Code::ResourceExhausted, "TooLarge", message));
        }
        all.insert(handle.clone(), Entry { tenant: tenant.to_owned(), keep, until, thing });
        drop(all);
        tokio::spawn(expire(Arc::downgrade(&self.0), handle.clone(), until));
        Ok(handle)
    }

    /// Finds something, which counts as using it.
    pub(super) fn find(&self, tenant: &str, handle: &[u8]) -> Option<Thing> {
        let mut all = lock(&self.0);
        let entry = all.get_mut(handle).filter(|entry| entry.tenant == tenant)?;
        entry.until = Instant::now() + entry.keep;
        Some(entry.thing.clone())
    }

    /// The same, and lets go of it.
    pub(super) fn take(&self, tenant: &str, handle: &[u8]) -> Option<Thing> {
        let mut all = lock(&self.0);
        all.get(handle).filter(|entry| entry.tenant == tenant)?;
        all.remove(handle).map(|entry| entry.thing)
    }

    /// Gives an answer to its one reader. It can be found until `take`, to be stopped.
    pub(super) fn reading(&self, tenant: &str, handle: &[u8]) -> Result<Arc<Answer>, Status> {
        let mut all = lock(&self.0);
        let entry = all.get_mut(handle).filter(|entry| entry.tenant == tenant);
        let Some(Entry { thing, .. }) = entry else { return Err(gone("ticket")) };
        let Thing::Answer(answer) = thing else { return Err(gone("ticket")) };
        let answer = Arc::clone(answer);
        *thing = Thing::Reading(Arc::downgrade(&answer));
        Ok(answer)
    }

    pub(super) fn prepared(&self, tenant: &str, handle: &[u8]) -> Result<Arc<Prepared>, Status> {
        match self.find(tenant, handle) {
            Some(Thing::Prepared(prepared)) => Ok(prepared),
            _ => Err(gone("prepared statement")),
        }
    }

    pub(super) fn transaction(&self, tenant: &str, handle: &[u8]) -> Result<Arc<Transaction>, Status> {
        match self.find(tenant, handle) {
            Some(Thing::Transaction(transaction)) => Ok(transaction),
            _ => Err(gone("transaction")),
        }
    }
}

/// Lets go of an entry when it was not used for as long as it may be.
async fn expire(held: Weak<Mutex<HashMap<Bytes, Entry>>>, handle: Bytes, mut until: Instant) {
    loop {
        tokio::time::sleep_until(until.into()).await;
        let Some(held) = held.upgrade() else { return };
        let mut all = lock(&held);
        match all.get(&handle) {
            None => return,
            Some(entry) if entry.until > Instant::now() => until = entry.until,
            Some(_) => {
                let entry = all.remove(&handle);
                drop(all);
                elsewhere(move || drop(entry));
                return;
            }
        }
    }
}

/// There is no such thing, or it is another tenant's.
pub(super) fn gone(what: &str) -> Status {
    let message =
        format!("{what}: expected one that is open, got one that was closed, has expired or never was");
    named(Code::NotFound, "InvalidParameter", message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use arrow_schema::Schema;

    use super::*;

    fn statement() -> Thing {
        let none = Arc::new(Schema::empty());
        let described = Described { answer: Arc::clone(&none), parameters: none };
        let sql = "SELECT 1".into();
        Thing::Prepared(Arc::new(Prepared { sql, described, transaction: None, rows: Mutex::default() }))
    }

    #[tokio::test]
    async fn what_is_used_is_held_and_what_is_not_is_let_go_of() {
        let held = Held::default();
        let keep = Duration::from_secs(1);
        let (used, unused) = (held.put_for(keep, "ann", statement()), held.put_for(keep, "ann", statement()));
        let (used, unused) = (used.unwrap(), unused.unwrap());
        for _ in 0..8 {
            tokio::time::sleep(keep / 4).await;
            assert!(held.prepared("ann", &used).is_ok());
            // One that may not use it does not make it live on.
            assert!(held.prepared("bob", &unused).is_err());
        }
        assert_eq!(held.prepared("ann", &unused).err().unwrap().code(), Code::NotFound);
        // Nobody needs to ask for it.
        for _ in 0..100 {
            if lock(&held.0).is_empty() {
                return;
            }
            tokio::time::sleep(keep / 4).await;
        }
        unreachable!("what is not used is held");
    }
}
