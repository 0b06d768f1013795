"""One connection of a tenant's."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from ruvector._sql.arrow import pa
from ruvector.duckdb.building import quote
from ruvector.flight._sql import listing
from ruvector.flight._sql.parsing import described, one
from ruvector.flight._sql.refusing import Refusal, refusing

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

__all__ = ["Connection"]

# Rows that are read at once.
BATCH = 8192
# The name of what is being written into a table.
COMING = "__ruvector_coming"


class Connection:
    """A cursor on a tenant's database. One statement runs at a time."""

    def __init__(self, cursor: DuckDBPyConnection) -> None:
        self._cursor = cursor

    @refusing
    def describe(self, sql: str) -> tuple[Any, Any]:
        """Return the schemas of a statement's answer (empty if it has none) and of its parameters."""
        return described(self._cursor, sql)

    @refusing
    def run(self, sql: str, row: object = None) -> Any:  # noqa: ANN401 - a pyarrow.RecordBatchReader
        """Run a statement, and return a reader of its rows."""
        statement = one(self._cursor, sql)
        relation = self._cursor.sql(statement.query, params=values(statement.named_parameters, row))
        if relation is None:
            return pa.RecordBatchReader.from_batches(pa.schema([("Count", pa.int64())]), [])
        untyped: Any = relation
        read: Callable[[int], Any] = getattr(untyped, "to_arrow_reader", None) or untyped.fetch_arrow_reader
        return read(BATCH)

    @refusing
    def update(self, sql: str, row: object = None) -> int:
        """Run a statement, and return how many rows it changed."""
        with closing(self.run(sql, row)) as reader:
            changed = 0
            counts = reader.schema.names == ["Count"]
            for batch in reader:
                changed += sum(batch.column(0).to_pylist()) if counts else 0
        return changed

    @refusing
    def ingest(  # noqa: PLR0917 - called from Rust
        self,
        catalog: str | None,
        schema: str | None,
        table: str,
        create: bool,
        existing: str,
        rows: object,  # noqa: FBT001
    ) -> int:
        """Write rows into a table, and return how many."""
        place = ".".join(quote(part) for part in (catalog, schema, table) if part is not None)
        there = listing.is_there(self._cursor, catalog, schema, table)
        if there and existing == "refuse":
            raise Refusal("refused", f"table: expected a name that is free, got {place}")
        if not there and not create:
            raise Refusal("refused", f"table: expected one that exists, got {place}")
        self._cursor.register(COMING, pa.RecordBatchReader.from_stream(rows))
        try:
            if there and existing == "append":
                text = f"INSERT INTO {place} BY NAME FROM {COMING}"  # noqa: S608 - names are quoted
            else:
                replace = "OR REPLACE " if there else ""
                text = f"CREATE {replace}TABLE {place} AS FROM {COMING}"
            return int(self._cursor.execute(text).fetchall()[0][0])
        finally:
            self._cursor.unregister(COMING)

    @refusing
    def begin(self) -> None:
        """Begin a transaction."""
        self._cursor.execute("BEGIN TRANSACTION")

    @refusing
    def end(self, commit: bool) -> None:  # noqa: FBT001 - called from Rust
        """End the transaction."""
        self._cursor.execute("COMMIT" if commit else "ROLLBACK")

    def interrupt(self) -> None:
        """Stop the statement that runs, from another thread."""
        self._cursor.interrupt()

    @refusing
    def tables(self, with_columns: bool) -> list[tuple[str, str, list[tuple[str, str, Any]]]]:  # noqa: FBT001
        """Return catalog and name of each schema, with its tables: name, kind and columns."""
        return listing.tables(self._cursor, with_columns=with_columns)

    @refusing
    def keys(self) -> list[listing.Key]:
        """Return primary and foreign keys."""
        return listing.keys(self._cursor)

    def close(self) -> None:
        """Close it; a transaction is rolled back."""
        self._cursor.close()


def values(names: set[str], row: object) -> list[Any] | dict[str, Any] | None:
    """Return the values of one row, by place or by name as the statement has it."""
    if row is None:
        return None
    table = pa.table(row)
    found = [column[0].as_py() for column in table.columns]
    if all(name.isdigit() for name in names):
        return found
    return dict(zip(table.column_names, found, strict=True))
