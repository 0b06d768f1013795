"""
What the cache of a lake did, for those who watch it: Prometheus and OpenTelemetry.

Both read `RuLake.cache_stats_by_collection` and `RuLake.cache_stats` when they are asked, and cost nothing
in between. Every counter and every time of `PerBackendStats` is there, by its name, backend and collection.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, cast

from ruvector.lake.adapters._extras import load
from ruvector.lake.stats import CacheStats, Histogram, PerBackendStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.metrics import Meter
    from prometheus_client import CollectorRegistry

__all__ = ["Counted", "PrometheusCollector", "observe"]

_COUNTERS = tuple(field.name for field in fields(PerBackendStats) if field.type == "int")
_TIMES = tuple(field.name for field in fields(PerBackendStats) if field.type == "Histogram")
_GAUGES = tuple(field.name for field in fields(CacheStats) if field.name not in {*_COUNTERS, *_TIMES})


class Counted(Protocol):
    """What has such counters: a `RuLake`."""

    def cache_stats(self) -> CacheStats:
        """Return what the cache did and holds."""
        ...

    def cache_stats_by_collection(self) -> Mapping[tuple[str, str], PerBackendStats]:
        """Return what it did for each collection."""
        ...


class PrometheusCollector:
    """
    The counters of a lake as Prometheus wants them.

    ``<prefix>_hits_total`` and its like are counters, ``<prefix>_pull_seconds`` and its like histograms, both
    with the labels ``backend`` and ``collection``; ``<prefix>_entries`` and ``<prefix>_bytes`` are gauges.

    Parameters
    ----------
    lake
        The lake.
    registry
        Where it registers itself, such as ``prometheus_client.REGISTRY``; by default nowhere.
    prefix
        What the names begin with.

    Raises
    ------
    MissingExtra
        If prometheus_client is not installed: ``ruvector-arrow[prometheus]``.

    Examples
    --------
    >>> import ruvector as rv
    >>> from prometheus_client import CollectorRegistry
    >>> from ruvector.lake.metrics import PrometheusCollector
    >>> registry = CollectorRegistry()
    >>> collector = PrometheusCollector(rv.RuLake.builder().build(), registry)
    >>> registry.get_sample_value("ruvector_lake_entries") == 0
    True
    """

    def __init__(
        self, lake: Counted, registry: CollectorRegistry | None = None, *, prefix: str = "ruvector_lake"
    ) -> None:
        self._families: Any = load("prometheus_client.core", "prometheus")
        self._lake = lake
        self._prefix = prefix
        if registry is not None:
            # It has collect(), which is all that is asked of a collector.
            registry.register(cast("Any", self))

    def collect(self) -> Iterator[Any]:
        """Yield all metrics as they are now."""
        collections = self._lake.cache_stats_by_collection()
        labels = ["backend", "collection"]
        for name in _COUNTERS:
            family = self._families.CounterMetricFamily(f"{self._prefix}_{name}", _told(name), labels=labels)
            for key, stats in collections.items():
                family.add_metric(key, getattr(stats, name))
            yield family
        for name in _TIMES:
            called = f"{self._prefix}_{name.removesuffix('_time')}_seconds"
            family = self._families.HistogramMetricFamily(called, _told(name), labels=labels)
            for key, stats in collections.items():
                times: Histogram = getattr(stats, name)
                family.add_metric(key, _buckets(times), times.total)
            yield family
        held = self._lake.cache_stats()
        for name in _GAUGES:
            yield self._families.GaugeMetricFamily(f"{self._prefix}_{name}", _told(name), getattr(held, name))


def observe(lake: Counted, meter: Meter | None = None, *, prefix: str = "ruvector.lake") -> None:
    """
    Let a meter of OpenTelemetry observe a lake.

    ``<prefix>.hits`` and its like are counters, ``<prefix>.pull.time`` and ``<prefix>.pull.count`` and their
    like too (seconds, and how many there were), all with the attributes ``backend`` and ``collection``;
    ``<prefix>.entries`` and ``<prefix>.bytes`` are gauges.

    Parameters
    ----------
    lake
        The lake.
    meter
        The meter; by default one of the global provider.
    prefix
        What the names begin with.

    Raises
    ------
    MissingExtra
        If opentelemetry-api is not installed: ``ruvector-arrow[opentelemetry]``.

    Examples
    --------
    >>> import ruvector as rv
    >>> from ruvector.lake.metrics import observe
    >>> observe(rv.RuLake.builder().build())
    """
    metrics: Any = load("opentelemetry.metrics", "opentelemetry")
    watcher: Any = metrics.get_meter("ruvector.lake") if meter is None else meter

    def counter(name: str, unit: str, told: str, value: Callable[[PerBackendStats], float]) -> None:
        def callback(options: object) -> Iterator[Any]:
            del options
            for (backend, collection), stats in lake.cache_stats_by_collection().items():
                yield metrics.Observation(value(stats), {"backend": backend, "collection": collection})

        watcher.create_observable_counter(f"{prefix}.{name}", [callback], unit=unit, description=told)

    def gauge(name: str, unit: str) -> None:
        def callback(options: object) -> Iterator[Any]:
            del options
            yield metrics.Observation(getattr(lake.cache_stats(), name))

        watcher.create_observable_gauge(f"{prefix}.{name}", [callback], unit=unit, description=_told(name))

    for name in _COUNTERS:
        counter(name, "1", _told(name), attrgetter(name))
    for name in _TIMES:
        short = name.removesuffix("_time")
        counter(f"{short}.time", "s", _told(name), attrgetter(f"{name}.total"))
        counter(f"{short}.count", "1", _told(short), _number_of(name))
    for name in _GAUGES:
        gauge(name, "By" if name == "bytes" else "1")


def _number_of(name: str) -> Callable[[PerBackendStats], int]:
    def number(stats: PerBackendStats) -> int:
        return len(getattr(stats, name))

    return number


def _buckets(times: Histogram) -> list[tuple[str, int]]:
    """Return how many times were not above each limit, as Prometheus counts them."""
    seen = 0
    buckets: list[tuple[str, int]] = []
    for step, count in enumerate(times.counts):
        seen += count
        buckets.append((repr(2**step / 1e6), seen))
    return [*buckets, ("+Inf", seen)]


def _told(name: str) -> str:
    return f"{name.replace('_', ' ')} of a lake's cache"
