"""What every test run shares."""

from __future__ import annotations

import os

import polars as pl
import pytest
from hypothesis import settings

# The same examples on every run, and no clock in a test.
settings.register_profile("house", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("house")


def pytest_configure() -> None:
    """Refuse to run on another Polars than the one that was asked for."""
    expected = os.environ.get("POLARS_EXPECTED", pl.__version__)
    if pl.__version__ != expected:
        message = f"asked for polars {expected}, found {pl.__version__} in {pl.__file__}"
        raise pytest.UsageError(message)


def pytest_report_header() -> str:
    """Show which Polars is under test."""
    return f"polars: {pl.__version__}"
