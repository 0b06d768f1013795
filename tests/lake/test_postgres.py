"""What is particular to PostgreSQL: types, names, its state, search by pgvector, servers that go away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi as postgres_driver

import ruvector as rv
from ruvector.lake import PullRequest
from ruvector.lake.adapters import AdbcBackend
from tests.lake.rows import DIM, make, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lake.conftest import PostgresServer


@pytest.fixture
def backend(postgres_server: PostgresServer) -> Iterator[AdbcBackend]:
    """A backend over a server whose only table is made by the test."""
    postgres_server.run("DROP SCHEMA IF EXISTS library CASCADE")
    postgres_server.run("DROP TABLE IF EXISTS docs CASCADE")
    made = AdbcBackend("postgres", postgres_server.uri)
    yield made
    made.close()


def pulled(backend: AdbcBackend, collection: str, **request: Any) -> pa.Table:
    return pa.Table.from_batches(list(backend.pull(collection, PullRequest(**request))))


@pytest.mark.parametrize(
    ("kind", "item"),
    [
        ("vector(3)", pa.float32()),
        ("vector", pa.float32()),
        ("halfvec(3)", pa.float16()),
        ("real[]", pa.float32()),
        ("double precision[]", pa.float32()),
    ],
)
@pytest.mark.parametrize("null", [False, True])
def test_every_type_of_vectors(
    postgres_server: PostgresServer, backend: AdbcBackend, kind: str, item: Any, *, null: bool
) -> None:
    postgres_server.run(f"CREATE TABLE docs (id bigint PRIMARY KEY, v {kind})")
    array = "ARRAY[1, -2.5, 0.25]::real[]"
    postgres_server.run(
        f"INSERT INTO docs VALUES (1, {array}::{kind}), (2, {'NULL' if null else array}::{kind})"
    )
    layout = backend.layout("docs")
    assert (layout.vector, layout.dim) == ("v", 3)
    column = pulled(backend, "docs").column("v")
    assert column.type == pa.list_(item, 3)
    row = [1.0, -2.5, 0.25]
    assert column.to_pylist() == [row, None if null else row]


def test_vectors_of_several_widths_are_left_to_the_lake_to_refuse(
    postgres_server: PostgresServer, backend: AdbcBackend
) -> None:
    postgres_server.run("CREATE TABLE docs (id bigint PRIMARY KEY, v vector)")
    postgres_server.run("INSERT INTO docs VALUES (1, '[1,2]'), (2, '[1,2,3]')")
    with pytest.raises(ValueError, match="of 12 and of 16 bytes"):
        pulled(backend, "docs")


def test_texts_are_read_as_vectors_where_they_are_named(
    postgres_server: PostgresServer, backend: AdbcBackend
) -> None:
    postgres_server.run("CREATE TABLE docs (id bigint PRIMARY KEY, v text)")
    postgres_server.run("INSERT INTO docs VALUES (1, '[1, 2.5,-3e2]'), (2, NULL), (3, '{4,5,6}')")
    backend.register("texts", "docs", vector="v")
    assert backend.layout("texts").dim == 3
    assert pulled(backend, "texts").column("v").to_pylist() == [[1.0, 2.5, -300.0], None, [4.0, 5.0, 6.0]]


def test_schemas_and_odd_names(postgres_server: PostgresServer, backend: AdbcBackend) -> None:
    postgres_server.run("CREATE SCHEMA library")
    postgres_server.run('CREATE TABLE library."a ""b"".c" ("the id" bigint, "my v" vector(2))')
    postgres_server.run('INSERT INTO library."a ""b"".c" VALUES (1, \'[1,2]\')')
    assert 'library.a "b".c' in backend.list_collections()
    backend.register("odd", ("library", 'a "b".c'), id="the id")
    assert pulled(backend, "odd", columns=("the id", "my v")).to_pylist() == [
        {"the id": 1, "my v": [1.0, 2.0]}
    ]


def test_types_that_have_an_order_of_their_own_are_left_to_the_lake(
    postgres_server: PostgresServer, backend: AdbcBackend
) -> None:
    postgres_server.run("CREATE SCHEMA library")
    postgres_server.run("CREATE TYPE library.size AS ENUM ('small', 'large')")
    postgres_server.run(
        "CREATE TABLE docs (id bigint, size library.size, code char(4), word varchar(9), v vector(1))"
    )
    postgres_server.run(
        "INSERT INTO docs VALUES (1, 'small', 'a', 'a', '[1]'), (2, 'large', 'b', 'b', '[1]')"
    )
    for column, how, value, kept in [
        ("size", "<", "small", [1, 2]),
        ("code", "!=", "a", [1, 2]),
        ("word", "!=", "a", [2]),
    ]:
        asked = (((column, how, value),),)
        assert pulled(backend, "docs", columns=("id",), filter=asked).column("id").to_pylist() == kept


def test_writes_to_other_tables_change_nothing(postgres_server: PostgresServer, backend: AdbcBackend) -> None:
    postgres_server.write("docs", make(20))
    told = backend.generation("docs")
    postgres_server.run("CREATE SCHEMA library")
    postgres_server.run("CREATE TABLE library.other AS SELECT * FROM docs")
    postgres_server.run("ANALYZE docs")
    assert backend.generation("docs") == told
    postgres_server.run("UPDATE docs SET lang = 'xx' WHERE id = 5")
    assert backend.generation("docs") != told


def test_what_is_rolled_back_changes_nothing(postgres_server: PostgresServer, backend: AdbcBackend) -> None:
    postgres_server.write("docs", make(20))
    told = backend.generation("docs")
    postgres_server.run("BEGIN")
    postgres_server.run("DELETE FROM docs")
    assert backend.generation("docs") == told
    postgres_server.run("ROLLBACK")
    assert backend.generation("docs") == told


def test_a_view_needs_a_query_for_its_generation(
    postgres_server: PostgresServer, backend: AdbcBackend
) -> None:
    postgres_server.write("docs", make(20, nulls=False))
    postgres_server.run("CREATE SCHEMA library")
    postgres_server.run("CREATE VIEW library.young AS SELECT * FROM docs WHERE id < 7")
    with pytest.raises(rv.InvalidParameter, match="a query that tells the generation"):
        backend.generation("library.young")
    backend.register("young", "library.young", generation="SELECT max(xmin::text::bigint) FROM docs")
    assert int(backend.generation("young")) > 0
    assert pulled(backend, "young").num_rows == 7


def test_partitions_are_one_table(postgres_server: PostgresServer, backend: AdbcBackend) -> None:
    postgres_server.run("CREATE TABLE docs (id bigint, v vector(1)) PARTITION BY RANGE (id)")
    postgres_server.run("CREATE TABLE docs_low PARTITION OF docs FOR VALUES FROM (0) TO (10)")
    postgres_server.run("CREATE TABLE docs_high PARTITION OF docs FOR VALUES FROM (10) TO (20)")
    postgres_server.run("INSERT INTO docs VALUES (1, '[1]'), (11, '[2]')")
    told = backend.generation("docs")
    assert sorted(pulled(backend, "docs").column("id").to_pylist()) == [1, 11]
    postgres_server.run("UPDATE docs SET v = '[3]' WHERE id = 11")
    assert backend.generation("docs") != told


@pytest.mark.parametrize("kind", ["vector", "halfvec"])
def test_pgvector_searches(postgres_server: PostgresServer, backend: AdbcBackend, kind: str) -> None:
    table = make(200)
    postgres_server.write("docs", table)
    postgres_server.run(f"ALTER TABLE docs ALTER COLUMN vector TYPE {kind}({DIM})")
    queries = np.random.default_rng(5).standard_normal((3, DIM)).astype(np.float32)
    column = pa.array([queries[0], None, queries[2]], pa.list_(pa.float32(), DIM))
    found = backend.search("docs", column, 10)
    assert found.column_names == ["query_row", "rank", "id", "distance"]
    for row in (0, 2):
        hits = [hit for hit in found.to_pylist() if hit["query_row"] == row]
        assert [hit["rank"] for hit in hits] == list(range(10))
        assert [hit["id"] for hit in hits] == nearest(table, queries[row], 10)
        vectors = dict(zip(table.column("id").to_pylist(), table.column("vector").to_pylist(), strict=True))
        for hit in hits:
            exact = ((np.array(vectors[hit["id"]]) - queries[row]) ** 2).sum()
            assert hit["distance"] == pytest.approx(exact, rel=1e-2)
    assert set(found.column("query_row").to_pylist()) == {0, 2}


def test_arrays_are_not_searched_by_pgvector(postgres_server: PostgresServer, backend: AdbcBackend) -> None:
    postgres_server.run("CREATE TABLE docs AS SELECT 1::bigint AS id, ARRAY[1, 2]::real[] AS v")
    assert backend.search("docs", pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), 1) is None


def test_threads_have_connections_of_their_own(postgres_server: PostgresServer, backend: AdbcBackend) -> None:
    postgres_server.write("docs", make(500))
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: pulled(backend, "docs", columns=("id",)), range(24)))
        told = set(pool.map(lambda _: backend.generation("docs"), range(24)))
    assert all(table.num_rows == 500 for table in tables)
    assert len(told) == 1


def test_rows_that_nobody_wants_any_more_hold_no_connection(
    postgres_server: PostgresServer, backend: AdbcBackend
) -> None:
    postgres_server.write("docs", make(5000))
    for _ in range(12):
        rows = iter(backend.pull("docs", PullRequest()))
        next(rows)
        rows.close()
    count = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    with postgres_server.connection.cursor() as cursor:
        cursor.execute(count)
        assert cursor.fetchone()[0] == 0
    assert pulled(backend, "docs").num_rows == 5000


def test_a_connection_that_was_cut_is_made_anew(
    postgres_server: PostgresServer, backend: AdbcBackend
) -> None:
    postgres_server.write("docs", make(5))
    told = backend.generation("docs")
    others = "pid <> pg_backend_pid() AND backend_type = 'client backend'"
    postgres_server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    with pytest.raises(postgres_driver.OperationalError):
        backend.generation("docs")
    assert backend.generation("docs") == told


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    backend = AdbcBackend("postgres", f"postgresql:///postgres?host={tmp_path}")
    with pytest.raises(postgres_driver.Error):
        backend.generation("docs")
