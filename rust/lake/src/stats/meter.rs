//! Counters that many threads add to at once.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{Counters, Event, Histogram};

/// Times as they come.
#[derive(Debug)]
pub(super) struct Times {
    counts: [AtomicU64; Histogram::STEPS],
    nanos: AtomicU64,
    last: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; Histogram::STEPS], nanos: 0.into(), last: 0.into() }
    }
}

impl Times {
    pub(super) fn add(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[Histogram::step(took)].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
        self.last.store(nanos, Relaxed);
    }

    pub(super) fn read(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|step| self.counts[step].load(Relaxed)),
            total: Duration::from_nanos(self.nanos.load(Relaxed)),
            last: Duration::from_nanos(self.last.load(Relaxed)),
        }
    }

    fn reset(&self) {
        self.counts.iter().chain([&self.nanos, &self.last]).for_each(|count| count.store(0, Relaxed));
    }
}

/// The counters of one collection.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    hits: AtomicU64,
    stale_hits: AtomicU64,
    negative_hits: AtomicU64,
    misses: AtomicU64,
    joined: AtomicU64,
    shared_hits: AtomicU64,
    primes: AtomicU64,
    extensions: AtomicU64,
    invalidations: AtomicU64,
    warm_installs: AtomicU64,
    evictions: AtomicU64,
    spills: AtomicU64,
    failures: AtomicU64,
    prime_time: Times,
    pull_time: Times,
    check_time: Times,
    search_time: Times,
}

impl Meter {
    pub(crate) fn count(&self, event: Event) {
        let counter = match event {
            Event::Hit => &self.hits,
            Event::StaleHit => &self.stale_hits,
            Event::NegativeHit => &self.negative_hits,
            Event::Miss => &self.misses,
            Event::Joined => &self.joined,
            Event::Shared => &self.shared_hits,
            Event::Primed(took) => {
                self.prime_time.add(took);
                &self.primes
            }
            Event::Extended(took) => {
                self.prime_time.add(took);
                &self.extensions
            }
            Event::Pulled(took) => return self.pull_time.add(took),
            Event::Checked(took) => return self.check_time.add(took),
            Event::Searched(took) => return self.search_time.add(took),
            Event::Invalidated => &self.invalidations,
            Event::Warmed => &self.warm_installs,
            Event::Evicted => &self.evictions,
            Event::Spilled => &self.spills,
            Event::Failed => &self.failures,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Counters {
        Counters {
            hits: self.hits.load(Relaxed),
            stale_hits: self.stale_hits.load(Relaxed),
            negative_hits: self.negative_hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            joined: self.joined.load(Relaxed),
            shared_hits: self.shared_hits.load(Relaxed),
            primes: self.primes.load(Relaxed),
            extensions: self.extensions.load(Relaxed),
            invalidations: self.invalidations.load(Relaxed),
            warm_installs: self.warm_installs.load(Relaxed),
            evictions: self.evictions.load(Relaxed),
            spills: self.spills.load(Relaxed),
            failures: self.failures.load(Relaxed),
            prime_time: self.prime_time.read(),
            pull_time: self.pull_time.read(),
            check_time: self.check_time.read(),
            search_time: self.search_time.read(),
        }
    }

    pub(crate) fn reset(&self) {
        let counters = [
            &self.hits,
            &self.stale_hits,
            &self.negative_hits,
            &self.misses,
            &self.joined,
            &self.shared_hits,
            &self.primes,
            &self.extensions,
            &self.invalidations,
            &self.warm_installs,
            &self.evictions,
            &self.spills,
            &self.failures,
        ];
        for counter in counters {
            counter.store(0, Relaxed);
        }
        [&self.prime_time, &self.pull_time, &self.check_time, &self.search_time]
            .into_iter()
            .for_each(Times::reset);
    }
}
