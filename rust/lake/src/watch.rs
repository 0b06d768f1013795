//! How long somebody waits for something, and who may tell them to stop.

use std::time::{Duration, Instant};

use ruvector_core::Monitor;

use crate::{
    cancel::TICK,
    error::{Error, Result},
    key::Key,
};

/// Until when somebody waits, and how long that was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deadline {
    pub(crate) at: Option<Instant>,
    pub(crate) time: Duration,
}

impl Deadline {
    pub(crate) fn after(time: Option<Duration>) -> Self {
        let at = time.and_then(|time| Instant::now().checked_add(time));
        Self { at, time: time.unwrap_or_default() }
    }
}

/// The patience of one search with one collection.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) key: &'a Key,
    pub(crate) deadline: Deadline,
    pub(crate) monitor: &'a dyn Monitor,
    /// How long a call of the backend may take before a second one is made beside it.
    pub(crate) hedge: Option<Duration>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(key: &'a Key, monitor: &'a dyn Monitor) -> Self {
        Self { key, deadline: Deadline::default(), monitor, hedge: None }
    }

    /// How long to wait before looking up again.
    ///
    /// # Errors
    /// [`Error::Deadline`] when time is over, the core's `Interrupted` when the monitor says so.
    pub(crate) fn step(&self) -> Result<Duration> {
        if self.monitor.interrupted() {
            return Err(ruvector_core::Error::Interrupted.into());
        }
        let Some(at) = self.deadline.at else { return Ok(TICK) };
        let left = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        left.map(|left| left.min(TICK)).ok_or_else(|| self.missed())
    }

    pub(crate) fn missed(&self) -> Error {
        Error::Deadline {
            backend: self.key.backend.clone(),
            collection: self.key.collection.clone(),
            millis: u64::try_from(self.deadline.time.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// The same without an end: what was begun goes on for whoever asks next.
    pub(crate) fn unhurried(self, monitor: &'a dyn Monitor) -> Self {
        Self { deadline: Deadline::default(), monitor, ..self }
    }
}
