"""Places where tests keep vectors: a real table of each kind, with what reads it and what writes it."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import closing
from typing import TYPE_CHECKING, Any

import duckdb
import lance
import pyarrow as pa
import pyarrow.flight
from adbc_driver_sqlite import dbapi as sqlite_driver
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

from ruvector.lake.adapters import (
    AdbcBackend,
    DeltaBackend,
    DuckDBBackend,
    FlightBackend,
    IcebergBackend,
    LanceBackend,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["KINDS", "Place"]


class Place(ABC):
    """One table of one kind."""

    collection = "docs"
    appends_in_pieces = False
    """Whether the backend tells which rows an append has brought."""

    counts_changes = True
    """Whether a generation never comes back, not even with the rows that it stood for."""

    backend: Any

    def register(self, collection: str, columns: dict[str, str]) -> None:
        """Give the table another name, and say which columns are meant."""
        self.backend.register(collection, self.collection, **columns)

    @abstractmethod
    def replace(self, table: pa.Table) -> None:
        """Make the table what is given."""

    @abstractmethod
    def append(self, table: pa.Table) -> None:
        """Add rows."""

    @abstractmethod
    def delete(self, id: int) -> None:
        """Take one row away."""

    def close(self) -> None:  # noqa: B027 - most have started nothing
        """Stop what was started."""


def lists(table: pa.Table) -> pa.Table:
    """Vectors as lists of any width, for formats that know no other ones."""
    place = table.schema.get_field_index("vector")
    return table.set_column(place, "vector", table.column(place).cast(pa.list_(pa.float32())))


class Iceberg(Place):
    """A table of a catalog in SQLite."""

    collection = "library.docs"
    appends_in_pieces = True

    def __init__(self, folder: Path, servers: Any) -> None:
        del servers
        self.catalog = SqlCatalog(
            "c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse"
        )
        self.catalog.create_namespace("library")
        self.backend = IcebergBackend("iceberg", self.catalog)

    def replace(self, table: pa.Table) -> None:
        rows = lists(table)
        if self.catalog.table_exists(self.collection):
            self.catalog.load_table(self.collection).overwrite(rows)
        else:
            self.catalog.create_table(self.collection, schema=rows.schema).append(rows)

    def append(self, table: pa.Table) -> None:
        self.catalog.load_table(self.collection).append(lists(table))

    def delete(self, id: int) -> None:
        self.catalog.load_table(self.collection).delete(f"id == {id}")

    def close(self) -> None:
        self.catalog.close()


class Delta(Place):
    """A table in a folder."""

    appends_in_pieces = True

    def __init__(self, folder: Path, servers: Any) -> None:
        del servers
        self.folder = folder / "docs"
        self.backend = DeltaBackend("delta", folder)

    def register(self, collection: str, columns: dict[str, str]) -> None:
        self.backend.register(collection, self.folder, **columns)

    def replace(self, table: pa.Table) -> None:
        write_deltalake(self.folder, lists(table), mode="overwrite")

    def append(self, table: pa.Table) -> None:
        write_deltalake(self.folder, lists(table), mode="append")

    def delete(self, id: int) -> None:
        DeltaTable(self.folder).delete(f"id = {id}")


class Lance(Place):
    """A dataset in a folder."""

    appends_in_pieces = True

    def __init__(self, folder: Path, servers: Any) -> None:
        del servers
        self.folder = folder / "docs.lance"
        self.backend = LanceBackend("lance", folder)

    def register(self, collection: str, columns: dict[str, str]) -> None:
        self.backend.register(collection, self.folder, **columns)

    def replace(self, table: pa.Table) -> None:
        lance.write_dataset(table, self.folder, mode="overwrite")

    def append(self, table: pa.Table) -> None:
        lance.write_dataset(table, self.folder, mode="append")

    def delete(self, id: int) -> None:
        lance.dataset(self.folder).delete(f"id = {id}")


class DuckDBFile(Place):
    """A table in a file that is opened for each change."""

    counts_changes = False

    def __init__(self, folder: Path, servers: Any) -> None:
        del servers
        self.file = folder / "library.db"
        self.backend = DuckDBBackend("duckdb", self.file)

    def _run(self, statement: str, table: pa.Table | None = None) -> None:
        with duckdb.connect(self.file) as connection:
            if table is not None:
                connection.register("given", table)
            connection.execute(statement)

    def replace(self, table: pa.Table) -> None:
        self._run("CREATE OR REPLACE TABLE docs AS SELECT * FROM given", table)

    def append(self, table: pa.Table) -> None:
        self._run("INSERT INTO docs SELECT * FROM given", table)

    def delete(self, id: int) -> None:
        self._run(f"DELETE FROM docs WHERE id = {id}")


class DuckDBMemory(DuckDBFile):
    """A table in the database of a connection."""

    def __init__(self, folder: Path, servers: Any) -> None:
        del folder, servers
        self.connection = duckdb.connect()
        self.backend = DuckDBBackend("duckdb", self.connection)

    def _run(self, statement: str, table: pa.Table | None = None) -> None:
        if table is not None:
            self.connection.register("given", table)
        self.connection.execute(statement)

    def close(self) -> None:
        self.connection.close()


class Postgres(Place):
    """A table of a server, with pgvector."""

    counts_changes = False

    def __init__(self, folder: Path, servers: Any) -> None:
        del folder
        self.server = servers("postgres_server")
        self.server.run("DROP TABLE IF EXISTS docs")
        self.database = AdbcBackend("postgres", self.server.uri)
        self.backend = self.database

    def replace(self, table: pa.Table) -> None:
        self.server.write("docs", table)

    def append(self, table: pa.Table) -> None:
        self.server.append("docs", table)

    def delete(self, id: int) -> None:
        self.server.run(f"DELETE FROM docs WHERE id = {id}")

    def close(self) -> None:
        self.database.close()


class SQLite(Place):
    """A table of a database that knows no vectors, with triggers that count its changes."""

    def __init__(self, folder: Path, servers: Any) -> None:
        del servers
        self.file = str(folder / "library.db")
        self._run("CREATE TABLE changes (number INTEGER)", "INSERT INTO changes VALUES (0)")
        self.database = AdbcBackend("sqlite", lambda: sqlite_driver.connect(self.file, autocommit=True))
        self.database.register("docs", vector="vector", generation="SELECT number FROM changes")
        self.backend = self.database

    def register(self, collection: str, columns: dict[str, str]) -> None:
        generation = "SELECT number FROM changes"
        self.database.register(collection, self.collection, generation=generation, **columns)

    def _run(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    def replace(self, table: pa.Table) -> None:
        count = "BEGIN UPDATE changes SET number = number + 1; END"
        self._run(
            "DROP TABLE IF EXISTS docs",
            "CREATE TABLE docs "
            "(id INTEGER, lang TEXT, year INTEGER, score REAL, weight REAL, open INTEGER, vector TEXT)",
            f"CREATE TRIGGER added AFTER INSERT ON docs {count}",
            f"CREATE TRIGGER gone AFTER DELETE ON docs {count}",
        )
        self.append(table)

    def append(self, table: pa.Table) -> None:
        rows = [
            tuple(None if v is None else str(v) if isinstance(v, list) else v for v in row.values())
            for row in table.to_pylist()
        ]
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executemany("INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def delete(self, id: int) -> None:
        self._run(f"DELETE FROM docs WHERE id = {id}")

    def close(self) -> None:
        self.database.close()


class Flight(Place):
    """A flight of a server."""

    def __init__(self, folder: Path, servers: Any) -> None:
        del folder
        location = servers("flight_server")
        self.client = pyarrow.flight.FlightClient(location)
        self.client.do_action(pyarrow.flight.Action("clear", b""))
        self.backend = FlightBackend("flight", location)

    def register(self, collection: str, columns: dict[str, str]) -> None:
        descriptor = pyarrow.flight.FlightDescriptor.for_path(self.collection)
        self.backend.register(collection, descriptor, **columns)

    def _put(self, way: str, table: pa.Table) -> None:
        descriptor = pyarrow.flight.FlightDescriptor.for_path(self.collection, way)
        writer, _ = self.client.do_put(descriptor, table.schema)
        with writer:
            writer.write_table(table)

    def replace(self, table: pa.Table) -> None:
        self._put("replace", table)

    def append(self, table: pa.Table) -> None:
        self._put("append", table)

    def delete(self, id: int) -> None:
        list(self.client.do_action(pyarrow.flight.Action("delete", f"{self.collection} {id}".encode())))

    def close(self) -> None:
        self.client.close()


KINDS: dict[str, Callable[[Path, Any], Place]] = {
    "iceberg": Iceberg,
    "delta": Delta,
    "lance": Lance,
    "duckdb-file": DuckDBFile,
    "duckdb-memory": DuckDBMemory,
    "postgres": Postgres,
    "sqlite": SQLite,
    "flight": Flight,
}
