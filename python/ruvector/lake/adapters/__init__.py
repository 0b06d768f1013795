"""
Places where vectors live, read by the field's own readers.

Each class is imported when it is first asked for, and needs the package of its extra:

- `IcebergBackend` (``ruvector-arrow[iceberg]``): tables of an Iceberg catalog;
- `DeltaBackend` (``ruvector-arrow[delta]``): Delta tables;
- `LanceBackend` (``ruvector-arrow[lance]``): Lance datasets;
- `DuckDBBackend` (``ruvector-arrow[duckdb]``): tables of a DuckDB file or connection;
- `AdbcBackend` (``ruvector-arrow[adbc]``): tables of a database with an ADBC driver, such as PostgreSQL;
- `FlightBackend` (``ruvector-arrow[flight]``): the streams of an Arrow Flight server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ruvector.lake.adapters.adbc import AdbcBackend
    from ruvector.lake.adapters.delta import DeltaBackend
    from ruvector.lake.adapters.duckdb import DuckDBBackend
    from ruvector.lake.adapters.flight import FlightBackend
    from ruvector.lake.adapters.iceberg import IcebergBackend
    from ruvector.lake.adapters.lance import LanceBackend

__all__ = [
    "AdbcBackend",
    "DeltaBackend",
    "DuckDBBackend",
    "FlightBackend",
    "IcebergBackend",
    "LanceBackend",
]

_MODULES = {name: name.removesuffix("Backend").lower() for name in __all__}


def __getattr__(name: str) -> object:
    """Import an adapter when it is first asked for."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List the names that are imported later, too."""
    return sorted({*globals(), *_MODULES})
