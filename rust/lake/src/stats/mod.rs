//! What the cache did: counters and times, per collection, per backend and together.

mod meter;

use std::{ops::AddAssign, time::Duration};

pub(crate) use meter::Meter;

/// Times, counted in steps that double: from less than 1 µs to more than 1 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// How many lasted less than `2^i` µs, and not less than half of that.
    pub counts: [u64; Self::STEPS],
    /// All of them together.
    pub total: Duration,
    /// The last one.
    pub last: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; Self::STEPS], total: Duration::ZERO, last: Duration::ZERO }
    }
}

impl Histogram {
    /// The number of steps.
    pub const STEPS: usize = 33;

    /// The step that a time counts in.
    fn step(took: Duration) -> usize {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let step = (u64::BITS - micros.leading_zeros()) as usize;
        step.min(Self::STEPS - 1)
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean; `None` without any.
    pub fn mean(&self) -> Option<Duration> {
        (self.count() > 0).then(|| self.total.div_f64(self.count() as f64))
    }

    /// A time that this share of them did not exceed, at most twice too long; `None` without any.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (share.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let step = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        step.map(|step| Duration::from_micros(1 << step))
    }
}

impl AddAssign<&Self> for Histogram {
    fn add_assign(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
        self.total += other.total;
        self.last = if other.count() > 0 { other.last } else { self.last };
    }
}

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Hit,
    StaleHit,
    NegativeHit,
    Miss,
    Joined,
    Shared,
    Primed(Duration),
    Extended(Duration),
    Pulled(Duration),
    Checked(Duration),
    Searched(Duration),
    Invalidated,
    Warmed,
    Evicted,
    Spilled,
    Failed,
}

/// Counters of a collection, a backend or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Searches that found the index they wanted, one per call, however many queries it had.
    pub hits: u64,
    /// Hits on an older state while the new one was fetched in the background.
    pub stale_hits: u64,
    /// Unknown collections that were remembered to be unknown.
    pub negative_hits: u64,
    /// Searches that did not find it.
    pub misses: u64,
    /// Misses that waited for somebody else's pull.
    pub joined: u64,
    /// Misses that found the index under another name: nothing was pulled.
    pub shared_hits: u64,
    /// Indexes that were built of all rows.
    pub primes: u64,
    /// Indexes that were made from an older one and the rows that came since.
    pub extensions: u64,
    /// Pointers that were dropped when somebody asked for it or a bundle said so, and indexes that were left behind.
    pub invalidations: u64,
    /// Indexes that came from a folder.
    pub warm_installs: u64,
    /// Indexes that had to make room.
    pub evictions: u64,
    /// Those of them that went to a file and not out of reach.
    pub spills: u64,
    /// Searches that failed.
    pub failures: u64,
    /// How long building took, without the pull.
    pub prime_time: Histogram,
    /// How long pulls took.
    pub pull_time: Histogram,
    /// How long backends took to tell their state.
    pub check_time: Histogram,
    /// How long searches took, one per call, with all that they waited for.
    pub search_time: Histogram,
}

impl Counters {
    /// Hits among hits and misses; `None` before any.
    pub fn hit_rate(&self) -> Option<f64> {
        let all = self.hits + self.misses;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }
}

impl AddAssign<&Self> for Counters {
    fn add_assign(&mut self, other: &Self) {
        self.hits += other.hits;
        self.stale_hits += other.stale_hits;
        self.negative_hits += other.negative_hits;
        self.misses += other.misses;
        self.joined += other.joined;
        self.shared_hits += other.shared_hits;
        self.primes += other.primes;
        self.extensions += other.extensions;
        self.invalidations += other.invalidations;
        self.warm_installs += other.warm_installs;
        self.evictions += other.evictions;
        self.spills += other.spills;
        self.failures += other.failures;
        self.prime_time += &other.prime_time;
        self.pull_time += &other.pull_time;
        self.check_time += &other.check_time;
        self.search_time += &other.search_time;
    }
}

/// The cache as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// What it did.
    pub counters: Counters,
    /// Indexes in it.
    pub entries: usize,
    /// Bytes of memory that they take.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_twice_too_long() {
        let times = meter::Times::default();
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(0.5), histogram.mean()), (None, None));
        for micros in 1..=1000 {
            times.add(Duration::from_micros(micros));
        }
        histogram += &times.read();
        for share in [0.01, 0.5, 0.95, 1.0] {
            let (found, real) =
                (histogram.quantile(share).unwrap(), Duration::from_micros((share * 1000.0) as u64));
            assert!(found > real && found <= real * 2, "{share}: {found:?}");
        }
        assert_eq!(histogram.count(), 1000);
        times.add(Duration::from_secs(1 << 20));
        times.add(Duration::ZERO);
        let histogram = times.read();
        assert_eq!((histogram.counts[0], histogram.counts[Histogram::STEPS - 1]), (1, 1));
    }

    #[test]
    fn rates_are_unknown_before_anything_happened() {
        let (one, other) = (Meter::default(), Meter::default());
        assert_eq!(one.read().hit_rate(), None);
        for event in [Event::Miss, Event::Hit, Event::Hit, Event::Hit] {
            one.count(event);
        }
        other.count(Event::Primed(Duration::from_millis(3)));
        let mut both = one.read();
        both += &other.read();
        assert_eq!((both.hit_rate(), both.primes), (Some(0.75), 1));
        assert_eq!(both.prime_time.last, Duration::from_millis(3));
        one.reset();
        assert_eq!(one.read(), Counters::default());
    }
}
