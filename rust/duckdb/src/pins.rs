//! Which state of an index a running statement sees.
//!
//! The C API does not tell a scalar function when its statement begins or ends, but a table function it does: what it
//! keeps for a run is deleted with the run. So the macros fetch a number from `__ruvector_pin(index)`, a table of one row,
//! and pass it on to the scalar functions; the number means one state of the index, and one filter, until the run is over.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ruvector_core::{Filter, live::Snapshot};

use crate::refusal::{Refusal, Result};

/// What a statement asks.
#[derive(Clone, Debug)]
pub(crate) struct Pin {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) filter: Option<Arc<Filter>>,
}

/// The pins of the statements that run.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    next: AtomicU64,
    held: Mutex<HashMap<u64, Pin>>,
}

impl Pins {
    /// Holds a state for as long as the answer lives.
    pub(crate) fn hold(self: &Arc<Self>, snapshot: Arc<Snapshot>) -> Held {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Pin { snapshot, filter: None });
        Held { pins: Arc::clone(self), number }
    }

    /// What a number means.
    pub(crate) fn get(&self, number: u64) -> Result<Pin> {
        self.lock().get(&number).cloned().ok_or_else(|| {
            Refusal(format!("pin {number} is not of a statement that runs: call the macros of ruvector_macros()"))
        })
    }

    /// Lets only some rows be found by a statement.
    pub(crate) fn narrow(&self, number: u64, filter: Arc<Filter>) {
        if let Some(pin) = self.lock().get_mut(&number) {
            pin.filter = Some(filter);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Pin>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hold on a state.
#[derive(Debug)]
pub(crate) struct Held {
    pins: Arc<Pins>,
    pub(crate) number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let pin = self.pins.lock().remove(&self.number);
        // Unlocked first: it may be the last hold on a large table.
        drop(pin);
    }
}
