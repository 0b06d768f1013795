"""What every test run shares."""

from __future__ import annotations

import os

import datafusion
import duckdb
import polars as pl
import pytest
from hypothesis import settings

# The same examples on every run, and no clock in a test.
settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("house")

ENGINES = (pl, duckdb, datafusion)


def pytest_configure() -> None:
    """Refuse to run on another version of an engine than the one that was asked for."""
    for engine in ENGINES:
        name, version = engine.__name__, engine.__version__
        expected = os.environ.get(f"{name.upper()}_EXPECTED", version)
        if version != expected:
            message = f"asked for {name} {expected}, found {version} in {engine.__file__}"
            raise pytest.UsageError(message)


def pytest_report_header() -> str:
    """Show which engines are under test."""
    return ", ".join(f"{engine.__name__}: {engine.__version__}" for engine in ENGINES)
