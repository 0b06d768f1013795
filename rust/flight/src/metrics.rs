//! What the server did, as figures.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tonic::Code;

/// Counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    calls: Mutex<BTreeMap<(&'static str, String), Row>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    calls: u64,
    seconds: f64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Metrics {
    /// Counts a call that is over.
    pub(crate) fn count(&self, method: &'static str, code: Code, took: Duration, bytes: (u64, u64)) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let row = calls.entry((method, format!("{code:?}"))).or_default();
        row.calls += 1;
        row.seconds += took.as_secs_f64();
        row.bytes_in += bytes.0;
        row.bytes_out += bytes.1;
    }
}
