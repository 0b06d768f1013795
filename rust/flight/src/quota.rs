//! How much of one client's is in memory at once, and how many calls it makes.
//!
//! Requests and answers have budgets of their own, so that no two calls of a client can wait for each other. A request
//! takes its share before its first byte is read, when it holds none, and may then wait for the share of its answer;
//! whoever holds the share of an answer waits for nothing but its reader. What outlives its message (uploads,
//! dictionaries) has a third budget, which is refused and never waited for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

use crate::{config::Limits, status::named};

/// Permits of a semaphore are 32 bits: bytes are counted in units.
const UNIT: usize = 1 << 10;

/// A share of a budget, given back when it is dropped.
pub(crate) type Share = OwnedSemaphorePermit;

/// What each client has left.
#[derive(Debug)]
pub(crate) struct Quotas {
    clients: Mutex<HashMap<String, Weak<Quota>>>,
    units: usize,
    upload_units: usize,
    calls: usize,
}

/// What one client has left. Its calls share it.
#[derive(Debug)]
pub(crate) struct Quota {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    units: usize,
    upload_units: usize,
    most_calls: usize,
}

/// What of a quota is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) requests: usize,
    pub(crate) answers: usize,
    pub(crate) uploads: usize,
    pub(crate) calls: usize,
}

impl Quotas {
    pub(crate) fn new(limits: &Limits) -> Self {
        // A semaphore of tokio gives out 32 bits of permits at a time.
        let units =
            |bytes: usize| bytes.div_ceil(UNIT).clamp(1, (u32::MAX as usize).min(Semaphore::MAX_PERMITS));
        Self {
            clients: Mutex::default(),
            units: units(limits.client_bytes),
            upload_units: units(limits.upload_bytes),
            calls: limits.client_calls.min(Semaphore::MAX_PERMITS),
        }
    }

    /// The quota of a client, for as long as it has calls.
    pub(crate) fn of(&self, client: &str) -> Arc<Quota> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = clients.get(client).and_then(Weak::upgrade) {
            return quota;
        }
        clients.retain(|_, quota| quota.strong_count() > 0);
        let quota = Arc::new(Quota {
            requests: Arc::new(Semaphore::new(self.units)),
            answers: Arc::new(Semaphore::new(self.units)),
            uploads: Arc::new(Semaphore::new(self.upload_units)),
            calls: Arc::new(Semaphore::new(self.calls)),
            units: self.units,
            upload_units: self.upload_units,
            most_calls: self.calls,
        });
        clients.insert(client.to_owned(), Arc::downgrade(&quota));
        quota
    }

    /// What all clients have taken together.
    pub(crate) fn taken(&self) -> Taken {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.values().filter_map(Weak::upgrade).fold(Taken::default(), |sum, quota| {
            let taken = quota.taken();
            Taken {
                requests: sum.requests + taken.requests,
                answers: sum.answers + taken.answers,
                uploads: sum.uploads + taken.uploads,
                calls: sum.calls + taken.calls,
            }
        })
    }
}

impl Quota {
    /// The right to one more call.
    pub(crate) fn call(&self) -> Result<Share, Status> {
        Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            let most = self.most_calls;
            exhausted(format!("calls of one client: expected at most {most} at once, got one more"))
        })
    }

    /// Waits until so many bytes more of requests may be in memory. More than there may ever be wait until there are no
    /// others.
    pub(crate) async fn request(self: Arc<Self>, bytes: usize) -> Option<Share> {
        Arc::clone(&self.requests).acquire_many_owned(of(bytes, self.units)).await.ok()
    }

    /// The same for answers.
    pub(crate) async fn answer(self: Arc<Self>, bytes: usize) -> Option<Share> {
        Arc::clone(&self.answers).acquire_many_owned(of(bytes, self.units)).await.ok()
    }

    /// A share for what is kept while more of it comes. Nobody waits for it: two that hold some would wait for each other.
    pub(crate) fn keep(&self, bytes: usize) -> Result<Share, Status> {
        let refused = || {
            let most = self.upload_units.saturating_mul(UNIT);
            let left = self.uploads.available_permits().saturating_mul(UNIT);
            exhausted(format!(
                "uploads of one client: expected at most {most} bytes, got {bytes} with {left} left"
            ))
        };
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| refused())?;
        Arc::clone(&self.uploads).try_acquire_many_owned(units).map_err(|_| refused())
    }

    fn taken(&self) -> Taken {
        Taken {
            requests: (self.units - self.requests.available_permits()) * UNIT,
            answers: (self.units - self.answers.available_permits()) * UNIT,
            uploads: (self.upload_units - self.uploads.available_permits()) * UNIT,
            calls: self.most_calls - self.calls.available_permits(),
        }
    }
}

fn of(bytes: usize, units: usize) -> u32 {
    bytes.div_ceil(UNIT).clamp(1, units) as u32
}

/// More than a client may have.
pub(crate) fn exhausted(message: String) -> Status {
    named(Code::ResourceExhausted, "TooLarge", message)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn quotas(client_bytes: usize) -> Quotas {
        Quotas::new(&Limits { client_bytes, client_calls: 2, upload_bytes: 4 << 10, ..Limits::default() })
    }

    #[test]
    fn clients_share_nothing_and_calls_of_one_share_all() {
        let quotas = quotas(8 << 10);
        let ann = quotas.of("ann");
        let (_one, _two) = (ann.call().unwrap(), quotas.of("ann").call().unwrap());
        assert_eq!(ann.call().unwrap_err().code(), Code::ResourceExhausted);
        assert!(quotas.of("bob").call().is_ok());
        assert_eq!(quotas.taken().calls, 2);
    }

    #[test]
    fn bytes_are_waited_for_and_given_back() {
        let quotas = quotas(8 << 10);
        let ann = quotas.of("ann");
        let all = Arc::clone(&ann).request(100 << 20).now_or_never().unwrap();
        assert!(all.is_some(), "what is above the budget takes all of it");
        assert!(Arc::clone(&ann).request(1).now_or_never().is_none());
        assert!(
            Arc::clone(&ann).answer(8 << 10).now_or_never().is_some(),
            "answers do not wait for requests"
        );
        drop(all);
        assert!(Arc::clone(&ann).request(1).now_or_never().is_some());
        assert_eq!(quotas.taken(), Taken::default());
    }

    #[test]
    fn what_is_kept_is_refused_at_once() {
        let ann = quotas(8 << 10).of("ann");
        let kept = ann.keep(3 << 10).unwrap();
        assert_eq!(ann.keep(2 << 10).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(ann.keep(usize::MAX).unwrap_err().code(), Code::ResourceExhausted);
        drop(kept);
        assert!(ann.keep(4 << 10).is_ok());
    }
}
