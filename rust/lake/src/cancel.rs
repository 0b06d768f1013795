//! Stopping what nobody waits for any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ruvector_core::Monitor;

/// How often whoever waits looks up.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Tells other threads to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Monitor for Cancel {
    fn interrupted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Stops when this is so.
pub(crate) struct StopsWhen<F>(pub(crate) F);

impl<F: Fn() -> bool + Sync> Monitor for StopsWhen<F> {
    fn interrupted(&self) -> bool {
        self.0()
    }
}
