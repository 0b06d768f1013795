//! How much of one client's is in memory at once, and how many calls it makes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

use crate::{config::Limits, status::named};

/// Permits of a semaphore are 32 bits: bytes are counted in units.
const UNIT: usize = 1 << 10;

/// What each client has left.
#[derive(Debug)]
pub(crate) struct Quotas {
    clients: Mutex<HashMap<String, Weak<Quota>>>,
    units: usize,
    calls: usize,
}

/// What one client has left. Its calls share it.
#[derive(Debug)]
pub(crate) struct Quota {
    bytes: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    units: usize,
}

impl Quotas {
    pub(crate) fn new(limits: &Limits) -> Self {
        let units = limits.client_bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS);
        Self { clients: Mutex::default(), units, calls: limits.client_calls }
    }

    /// The quota of a client, for as long as it has calls.
    pub(crate) fn of(&self, client: &str) -> Arc<Quota> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = clients.get(client).and_then(Weak::upgrade) {
            return quota;
        }
        clients.retain(|_, quota| quota.strong_count() > 0);
        let quota = Arc::new(Quota {
            bytes: Arc::new(Semaphore::new(self.units)),
            calls: Arc::new(Semaphore::new(self.calls)),
            units: self.units,
        });
        clients.insert(client.to_owned(), Arc::downgrade(&quota));
        quota
    }
}

impl Quota {
    /// The right to one more call.
    pub(crate) fn call(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            let message = "too many calls at once: wait for one to end";
            named(Code::ResourceExhausted, "TooLarge", message)
        })
    }

    /// Waits until so many bytes more may be in memory. More than there may ever be wait until there are no others.
    pub(crate) async fn bytes(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT).clamp(1, self.units.max(1)) as u32;
        Arc::clone(&self.bytes).acquire_many_owned(units).await.ok()
    }
}
