"""Packages that are not installed, and the examples of what needs them."""

from __future__ import annotations

import doctest
import importlib
import pickle
import subprocess
import sys

import pytest

import ruvector as rv
from ruvector.lake import adapters

MODULES = [
    "ruvector.lake.adapters.adbc",
    "ruvector.lake.adapters.delta",
    "ruvector.lake.adapters.duckdb",
    "ruvector.lake.adapters.flight",
    "ruvector.lake.adapters.iceberg",
    "ruvector.lake.adapters.lance",
    "ruvector.lake.metrics",
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_run(module: str) -> None:
    done = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert done.failed == 0
    assert done.attempted > 0


@pytest.mark.parametrize(
    ("package", "extra", "code"),
    [
        ("pyiceberg", "iceberg", "adapters.IcebergBackend('x', None)"),
        ("deltalake", "delta", "adapters.DeltaBackend('x', '.')"),
        ("lance", "lance", "adapters.LanceBackend('x', '.')"),
        ("duckdb", "duckdb", "adapters.DuckDBBackend('x', 'x.db')"),
        ("adbc_driver_postgresql", "adbc", "adapters.AdbcBackend('x', 'postgresql:///x')"),
        ("pyarrow", "arrow", "adapters.FlightBackend('x', 'grpc://x:1')"),
        ("prometheus_client", "prometheus", "metrics.PrometheusCollector(None)"),
        ("opentelemetry", "opentelemetry", "metrics.observe(None)"),
        ("openlineage", "openlineage", "next(openlineage.run_events({}))"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(package: str, extra: str, code: str) -> None:
    script = f"""
import sys
sys.modules[{package!r}] = None
import ruvector as rv
from ruvector.lake import adapters, metrics, openlineage
try:
    {code}
except rv.errors.MissingExtra as error:
    assert isinstance(error, ImportError) and isinstance(error, rv.errors.LakeError)
    print(error.package, error.extra, error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{package} {extra} "), done.stderr
    assert f"install ruvector-arrow[{extra}]" in done.stdout


def test_what_is_imported_later_is_listed() -> None:
    assert set(adapters.__all__) <= set(dir(adapters))
    with pytest.raises(AttributeError, match="has no attribute 'Nope'"):
        _ = adapters.Nope


def test_the_error_survives_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(rv.errors.MissingExtra("m", package="p", extra="e")))
    assert (str(error), error.package, error.extra) == ("m", "p", "e")
