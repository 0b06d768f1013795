"""The engines that run the logic tests, each behind the same small face."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import datafusion
import duckdb

import ruvector.datafusion
import ruvector.duckdb

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

__all__ = ["ENGINES", "Engine"]


class Engine(Protocol):
    """One connection to an engine in which the functions are registered."""

    labels: frozenset[str]

    def run(self, sql: str) -> pa.Table | None:
        """Run one statement; return its rows if it has any."""
        ...


class DuckDBPython:
    """DuckDB, by the functions of the Python package."""

    labels = frozenset({"duckdb", "duckdb-python"})

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        ruvector.duckdb.register(self._connection)

    def run(self, sql: str) -> pa.Table | None:
        relation: Any = self._connection.sql(sql)
        return None if relation is None else relation.to_arrow_table()


class DuckDBExtension:
    """DuckDB, by the loadable extension and its macros."""

    labels = frozenset({"duckdb", "duckdb-extension"})

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"allow_unsigned_extensions": True})
        ruvector.duckdb.install(self._connection)

    def run(self, sql: str) -> pa.Table | None:
        relation: Any = self._connection.sql(sql)
        return None if relation is None else relation.to_arrow_table()


class DataFusion:
    """DataFusion, with options written its way."""

    labels = frozenset({"datafusion"})

    def __init__(self) -> None:
        self._context = datafusion.SessionContext()
        ruvector.datafusion.register(self._context)

    def run(self, sql: str) -> pa.Table | None:
        return self._context.sql(with_struct_of_options(sql)).to_arrow_table()


ENGINES: dict[str, Callable[[], Engine]] = {
    "duckdb-python": DuckDBPython,
    "duckdb-extension": DuckDBExtension,
    "datafusion": DataFusion,
}


def with_struct_of_options(sql: str) -> str:
    """Write ``f(a, k := 1)``, which DataFusion cannot read, as ``f(a, {k: 1})``."""
    option = re.compile(r",\s*(\w+)\s*:=\s*")
    while (first := option.search(sql)) is not None:
        end = _closing(sql, first.end())
        body = option.sub(r", \1: ", sql[first.start() : end]).removeprefix(", ")
        sql = f"{sql[: first.start()]}, {{{body}}}{sql[end:]}"
    return sql


def _closing(sql: str, start: int) -> int:
    """Return where the bracket closes that is open at `start`; SQL of the tests has none in its strings."""
    depth = 0
    for place in range(start, len(sql)):
        depth += (sql[place] in "([{") - (sql[place] in ")]}")
        if depth < 0:
            return place
    message = f"no closing bracket in {sql!r}"
    raise ValueError(message)
