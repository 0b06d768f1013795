"""The databases of a server's tenants."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import duckdb

from ruvector._sql import Catalog, Pin
from ruvector._sql.arrow import pa
from ruvector._sql.refusal import refuse
from ruvector.duckdb.registering import reading
from ruvector.flight._sql.connection import Connection
from ruvector.flight._sql.refusing import refusing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckdb import DuckDBPyConnection

    from ruvector._ruvector import FlightTenant, Index
    from ruvector._sql.arrow import Table

__all__ = ["Engine"]

# Nothing that names a place outside the database may be reached, and nobody may change that.
LOCKS = (
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET allow_persistent_secrets = false",
    "SET temp_directory = ''",
    "SET secret_directory = '/nowhere'",
    "SET extension_directory = '/nowhere'",
    # DuckDB lets a database reach its own file, and takes ':memory:' for the name of one.
    "SET allowed_paths = []",
    "SET allowed_directories = []",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


class Engine:
    """
    DuckDB for the tenants of a server.

    Parameters
    ----------
    tables
        What all tenants may read, by name: anything that can be read as an Arrow table. A tenant who may not
        know of a name does not see its table.
    memory_limit
        How much each tenant's database may take, as DuckDB writes it.
    threads
        How many threads a statement of one tenant may use. Default: DuckDB's.
    """

    def __init__(
        self,
        tables: Mapping[str, object] | None = None,
        *,
        memory_limit: str = "1GB",
        threads: int | None = None,
    ) -> None:
        self._tables: dict[str, Table] = {name: as_table(rows) for name, rows in (tables or {}).items()}
        self._config: dict[str, str | bool | int | float | list[str]] = {"memory_limit": memory_limit}
        if threads is not None:
            self._config["threads"] = threads
        self._lock = threading.Lock()
        self._databases: dict[str, DuckDBPyConnection] = {}
        # What cannot be meant is refused here, and not to the first client.
        duckdb.connect(":memory:", config=self._config).close()

    @classmethod
    def of(cls, tables: Mapping[str, object], options: Mapping[str, object]) -> Engine:
        """
        Make one of options as a user gives them.

        Raises
        ------
        InvalidParameter
            If an option is not known, or cannot be meant.
        """
        unknown = sorted(set(options) - {"memory_limit", "threads"})
        if unknown:
            raise refuse("sql", "options memory_limit and threads", ", ".join(unknown))
        limit, threads = options.get("memory_limit", "1GB"), options.get("threads")
        if not isinstance(limit, str):
            raise refuse("memory_limit", "a text such as '1GB'", limit)
        if threads is not None and not isinstance(threads, int):
            raise refuse("threads", "a whole number", threads)
        try:
            return cls(tables, memory_limit=limit, threads=threads)
        except duckdb.Error as error:
            raise refuse("sql", "options that DuckDB takes", error) from None

    def version(self) -> tuple[str, str]:
        """Return the name and the version of the engine."""
        return "DuckDB", str(duckdb.__version__)

    @refusing
    def connect(self, tenant: FlightTenant) -> Connection:
        """Return a new connection to a tenant's database, which is made when it is asked for first."""
        with self._lock:
            database = self._databases.get(tenant.key)
            if database is None:
                database = self._databases[tenant.key] = self._open(tenant)
            return Connection(database.cursor())

    def _open(self, tenant: FlightTenant) -> DuckDBPyConnection:
        con = duckdb.connect(":memory:", config=self._config)
        reading(con, Served(tenant))
        for name, rows in self._tables.items():
            if tenant.knows(name):
                con.from_arrow(rows).create_view(name)
        for lock in LOCKS:
            con.execute(lock)
        return con


class Served(Catalog):
    """What a tenant may search: what the server serves under a name, and no files."""

    def __init__(self, tenant: FlightTenant) -> None:
        super().__init__()
        self._tenant = tenant

    def find(self, name: str | None) -> Index:
        """
        Find what a name means.

        Raises
        ------
        InvalidParameter
            If it means nothing that the tenant may know of.
        """
        if name is None:
            raise refuse("index", "a name", None)
        return self._tenant.find(name)

    def pin(self, name: str | None) -> Pin:
        """Find an index, and hold on to the state that it is in. Where it lies is the server's affair."""
        return Pin(name or "", self.find(name).snapshot(), None)


def as_table(rows: object) -> Table:
    """Read rows of whatever library as an Arrow table."""
    return rows if isinstance(rows, pa.Table) else pa.table(rows)
