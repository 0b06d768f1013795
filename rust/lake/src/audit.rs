//! Who did what: the last events, as a table.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};

use crate::{error::Result, key::Key, witness::Witness};

/// One thing that somebody did, or was kept from doing.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) principal: Option<Arc<str>>,
    pub(crate) action: &'static str,
    pub(crate) key: Arc<Key>,
    pub(crate) outcome: &'static str,
    pub(crate) rows: usize,
    pub(crate) witness: Option<Witness>,
    pub(crate) query_digest: Option<String>,
    pub(crate) took: Duration,
    pub(crate) detail: Option<String>,
}

/// The events since the last time they were asked for.
#[derive(Clone, Debug)]
pub struct Audit {
    /// `time`, `principal`, `action`, `backend`, `collection`, `outcome`, `rows`, `witness`, `query_digest`, `seconds`,
    /// `detail`, the oldest first.
    pub events: RecordBatch,
    /// How many older ones had to make room.
    pub dropped: u64,
}

/// The last events, as many as there is room for.
#[derive(Debug)]
pub(crate) struct Ring {
    capacity: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    events: VecDeque<(i64, Happened)>,
    dropped: u64,
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, held: Mutex::default() }
    }

    /// Whether anything is written down.
    pub(crate) fn is_on(&self) -> bool {
        self.capacity > 0
    }

    pub(crate) fn push(&self, event: Happened) {
        if !self.is_on() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.events.len() >= self.capacity {
            held.events.pop_front();
            held.dropped += 1;
        }
        held.events.push_back((micros, event));
    }

    /// All events, which are then forgotten.
    pub(crate) fn drain(&self) -> Result<Audit> {
        let Held { events, dropped } =
            std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let each = || events.iter().map(|(_, event)| event);
        let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(|(time, _)| *time));
        let columns: [(&str, ArrayRef); 11] = [
            ("time", Arc::new(times.with_timezone("UTC"))),
            ("principal", Arc::new(each().map(|event| event.principal.as_deref()).collect::<StringArray>())),
            ("action", Arc::new(each().map(|event| Some(event.action)).collect::<StringArray>())),
            (
                "backend",
                Arc::new(each().map(|event| Some(event.key.backend.as_str())).collect::<StringArray>()),
            ),
            (
                "collection",
                Arc::new(each().map(|event| Some(event.key.collection.as_str())).collect::<StringArray>()),
            ),
            ("outcome", Arc::new(each().map(|event| Some(event.outcome)).collect::<StringArray>())),
            ("rows", Arc::new(each().map(|event| event.rows as u64).collect::<UInt64Array>())),
            (
                "witness",
                Arc::new(each().map(|event| event.witness.map(Witness::to_hex)).collect::<StringArray>()),
            ),
            (
                "query_digest",
                Arc::new(each().map(|event| event.query_digest.as_deref()).collect::<StringArray>()),
            ),
            ("seconds", Arc::new(each().map(|event| event.took.as_secs_f64()).collect::<Float64Array>())),
            ("detail", Arc::new(each().map(|event| event.detail.as_deref()).collect::<StringArray>())),
        ];
        let columns = columns.map(|(name, column)| {
            (name, column, matches!(name, "principal" | "witness" | "query_digest" | "detail"))
        });
        let events = RecordBatch::try_from_iter_with_nullable(columns)
            .map_err(|error| crate::Error::from(ruvector_core::Error::from(error)))?;
        Ok(Audit { events, dropped })
    }
}
