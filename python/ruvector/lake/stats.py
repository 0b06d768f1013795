"""What the cache did and holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruvector.lake.shapes import LakeCounters

__all__ = ["CacheStats", "Histogram", "PerBackendStats"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Times, counted in steps that double."""

    counts: tuple[int, ...]
    """How many lasted less than ``2**i`` microseconds, and not less than half of that."""
    total: float
    """All of them together, in seconds."""
    last: float
    """The last one, in seconds."""

    def __len__(self) -> int:
        """Return how many there were."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """The mean in seconds; None without any."""
        return self.total / len(self) if len(self) else None

    def quantile(self, share: float) -> float | None:
        """
        Return a time in seconds that this share of them did not exceed, at most twice too long.

        None without any.
        """
        if not len(self):
            return None
        wanted = max(1, math.ceil(min(max(share, 0.0), 1.0) * len(self)))
        seen = 0
        for step, count in enumerate(self.counts):
            seen += count
            if seen >= wanted:
                return float(2**step) / 1e6
        return None


@dataclass(frozen=True, slots=True)
class PerBackendStats:
    """What the cache did for a backend or a collection."""

    hits: int
    """Searches that found the index they wanted: one per call, however many queries it had."""
    stale_hits: int
    """Hits on an older state while the new one was fetched in the background."""
    negative_hits: int
    """Unknown collections that were remembered to be unknown."""
    misses: int
    """Searches that did not find it."""
    joined: int
    """Misses that waited for somebody else's pull."""
    shared_hits: int
    """Misses that found the index under another name: nothing was pulled."""
    primes: int
    """Indexes that were built of all rows."""
    extensions: int
    """Indexes that were made from an older one and the rows that came since."""
    invalidations: int
    """Pointers that were dropped, and indexes that were left behind."""
    warm_installs: int
    """Indexes that came from a folder."""
    evictions: int
    """Indexes that had to make room."""
    spills: int
    """Those of them that went to a file and not out of reach."""
    failures: int
    """Searches that failed."""
    prime_time: Histogram
    """How long building took, without the pull."""
    pull_time: Histogram
    """How long pulls took."""
    check_time: Histogram
    """How long backends took to tell their state."""
    search_time: Histogram
    """How long searches took, one per call, with all that they waited for."""

    @property
    def hit_rate(self) -> float | None:
        """Hits among hits and misses; None before any."""
        both = self.hits + self.misses
        return self.hits / both if both else None

    @property
    def avg_prime_ms(self) -> float | None:
        """The mean time of building an index, in milliseconds; None before any."""
        mean = self.prime_time.mean
        return None if mean is None else mean * 1000

    @property
    def last_prime_ms(self) -> float | None:
        """The time of the last build, in milliseconds; None before any."""
        return self.prime_time.last * 1000 if len(self.prime_time) else None

    @property
    def total_prime_ms(self) -> float:
        """The time of all builds, in milliseconds."""
        return self.prime_time.total * 1000


@dataclass(frozen=True, slots=True)
class CacheStats(PerBackendStats):
    """What the cache did for all, and what it holds."""

    entries: int
    """Indexes in it."""
    bytes: int
    """Bytes of memory that they take."""


def counted(counters: LakeCounters) -> dict[str, Any]:
    """Return counters by name, times as histograms."""
    each = counters.items()
    return {name: Histogram(*value) if isinstance(value, tuple) else value for name, value in each}
