"""The counters of a lake as Prometheus and OpenTelemetry read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import ruvector as rv
from ruvector.lake.metrics import PrometheusCollector, observe


@pytest.fixture
def lake() -> rv.RuLake:
    """A lake that has answered three times from one collection and once from another."""
    backend = rv.LocalBackend("memory")
    rows = np.eye(8, dtype=np.float32)
    for collection in ("docs", "notes"):
        backend.put_collection(collection, ids=list(range(8)), vectors=rows)
    made = rv.RuLake.builder().build()
    made.register_backend(backend)
    for _ in range(3):
        made.search_one("docs", rows[0], k=2)
    made.search_one("notes", rows[0], k=2)
    return made


def test_prometheus_reads_what_is_written_for_it(lake: rv.RuLake) -> None:
    registry = CollectorRegistry()
    PrometheusCollector(lake, registry)
    text = generate_latest(registry).decode()
    found = {
        (sample.name, sample.labels.get("collection"), sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["ruvector_lake_hits_total", "docs", None] == 2
    assert found["ruvector_lake_misses_total", "docs", None] == 1
    assert found["ruvector_lake_primes_total", "notes", None] == 1
    assert found["ruvector_lake_search_seconds_count", "docs", None] == 3
    assert found["ruvector_lake_search_seconds_bucket", "docs", "+Inf"] == 3
    assert found["ruvector_lake_search_seconds_sum", "docs", None] > 0
    assert found["ruvector_lake_entries", None, None] == 2
    assert found["ruvector_lake_bytes", None, None] == lake.cache_stats().bytes
    steps = [
        value
        for (name, of, le), value in found.items()
        if name.endswith("search_seconds_bucket") and of == "docs" and le
    ]
    assert steps == sorted(steps)


def test_prometheus_asks_anew_each_time(lake: rv.RuLake) -> None:
    registry = CollectorRegistry()
    PrometheusCollector(lake, registry, prefix="lake")
    labels = {"backend": "memory", "collection": "docs"}
    before = registry.get_sample_value("lake_hits_total", labels)
    lake.search_one("docs", np.zeros(8, np.float32), k=1)
    assert registry.get_sample_value("lake_hits_total", labels) == (before or 0) + 1


def test_opentelemetry_observes(lake: rv.RuLake) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    observe(lake, provider.get_meter("test"))
    found: dict[tuple[str, Any], float] = {}
    data = reader.get_metrics_data()
    assert data is not None
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            attributes = point.attributes or {}
            assert isinstance(point, NumberDataPoint)
            found[metric.name, attributes.get("collection")] = point.value
    assert found["ruvector.lake.hits", "docs"] == 2
    assert found["ruvector.lake.misses", "notes"] == 1
    assert found["ruvector.lake.search.count", "docs"] == 3
    assert found["ruvector.lake.search.time", "docs"] > 0
    assert found["ruvector.lake.entries", None] == 2
    assert found["ruvector.lake.bytes", None] == lake.cache_stats().bytes
    provider.shutdown()
