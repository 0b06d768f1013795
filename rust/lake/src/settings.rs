//! What can be set, for the lake and for each collection.

use std::time::Duration;

use ruvector_core::Metric;

use crate::{bundle::Tags, predicate::Predicate};

/// When a backend is asked whether its rows are still the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Before every search.
    #[default]
    Fresh,
    /// When the last answer is older than `ttl`. Until it is older than `ttl + stale`, searches go on with the rows there
    /// are while the new ones are fetched in the background; after that they wait.
    Eventual {
        /// How long an answer counts.
        ttl: Duration,
        /// How long it may be used besides while another one is on its way. Zero: not at all.
        stale: Duration,
    },
    /// Never, once there are rows. If they had to make room and could not go to a file, they are fetched again.
    Frozen,
}

impl Consistency {
    /// [`Consistency::Eventual`] without answers from older rows.
    pub fn eventual(ttl: Duration) -> Self {
        Self::Eventual { ttl, stale: Duration::ZERO }
    }
}

/// How a collection is indexed and kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// When its backend is asked.
    pub consistency: Consistency,
    /// The distance that is searched by.
    pub metric: Metric,
    /// Bits per dimension of the codes, 1 to 9.
    pub bits: u32,
    /// Fixes what is drawn by lot.
    pub rotation_seed: u64,
    /// Upstream's number of candidates per neighbour: part of the witness, and of nothing else.
    pub rerank_factor: u64,
    /// Whether its index stays although others need its room.
    pub pinned: bool,
    /// Which of its rows are pulled; empty: all of them.
    pub rows: Predicate,
    /// What its bundles carry.
    pub tags: Tags,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consistency: Consistency::default(),
            metric: Metric::default(),
            bits: 1,
            rotation_seed: 42,
            rerank_factor: 20,
            pinned: false,
            rows: Predicate::default(),
            tags: Tags::default(),
        }
    }
}

/// How a backend is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendOptions {
    /// How long a search waits for it; `None` is as long as the search allows.
    pub deadline: Option<Duration>,
    /// How many calls may be under way at once.
    pub concurrency: usize,
}

impl Default for BackendOptions {
    fn default() -> Self {
        Self { deadline: None, concurrency: 16 }
    }
}
