"""What one tenant must not see of another, and none of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flight.sql_client import QUERY, connect, docs, meta, rows, serve, token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ruvector.flight import FlightServer

HOSTILE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_parquet('/tmp/x.parquet')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_csv(':memory:')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/x''')",
    "SELECT * FROM ruvector_build('meta', 'id', '/tmp/x')",
    "SELECT * FROM ruvector_register('x', '/tmp/x')",
    "SELECT * FROM ruvector_knn('/tmp/x.rbpx', [1.0])",
    "SELECT * FROM ruvector_knn('lake://backend/collection', [1.0])",
    "SELECT * FROM ruvector_index_info('../docs')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM duckdb_extensions()",
    "COPY (SELECT 1) TO '/tmp/x.csv'",
    "COPY (SELECT 1) TO ':memory:'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO ':memory:'",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    "ATTACH '/tmp/x.db'",
    "ATTACH ':memory:' AS other",
    "DETACH memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET memory_limit = '100GB'",
    "RESET memory_limit",
    "SET lock_configuration = false",
    "CALL enable_logging()",
    "CREATE PERSISTENT SECRET s (TYPE S3, KEY_ID 'x')",
    "BEGIN",
    "SELECT 1; DROP VIEW meta",
    "-- nothing",
]


@pytest.fixture(scope="module")
def server() -> Iterator[FlightServer]:
    tokens = [
        token("ann"),
        token("bob", collections=["docs", "mine-*"]),
        token("cy", verbs=["search"]),
        token("dee", verbs=["sql"]),
    ]
    indexes = {"docs": docs(), "secret": docs(), "mine-1": docs()}
    with serve(indexes, tables={"meta": meta(), "docs": meta()}, tokens=tokens) as running:
        yield running


def cursor_of(server: FlightServer, who: str) -> Any:
    return connect(server, who).cursor()


@pytest.fixture
def ann(server: FlightServer) -> Iterator[Any]:
    with connect(server, "ann") as connection, connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def bob(server: FlightServer) -> Iterator[Any]:
    with connect(server, "bob") as connection, connection.cursor() as cursor:
        yield cursor


def test_a_password_is_a_token(server: FlightServer) -> None:
    with pytest.raises(Exception, match="UNAUTHENTICATED"), connect(server, "eve"):
        pass
    with (
        pytest.raises(Exception, match="UNAUTHENTICATED"),
        connect(server) as nobody,
        nobody.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")


def test_tables_of_one_are_not_seen_by_another(ann: Any, bob: Any) -> None:
    rows(ann, "CREATE OR REPLACE TABLE hers AS SELECT 42 AS x")
    assert rows(ann, "SELECT x FROM hers") == [(42,)]
    with pytest.raises(Exception, match="hers does not exist"):
        rows(bob, "SELECT x FROM hers")
    assert rows(bob, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'hers'") == [(0,)]
    rows(bob, "CREATE OR REPLACE TABLE hers AS SELECT 1 AS x")
    assert rows(ann, "SELECT x FROM hers") == [(42,)]


def test_only_what_a_caller_may_know_of_is_searched(ann: Any, bob: Any) -> None:
    sql = f"SELECT id FROM ruvector_knn('{{}}', {QUERY}, k := 1)"
    assert rows(ann, sql.format("secret")) == [(0,)]
    assert rows(bob, sql.format("docs")) == [(0,)]
    assert rows(bob, sql.format("mine-1")) == [(0,)]
    with pytest.raises(Exception, match="expected the name of an index") as hidden:
        rows(bob, sql.format("secret"))
    with pytest.raises(Exception, match="expected the name of an index") as missing:
        rows(bob, sql.format("nothing"))
    assert str(hidden.value).replace("secret", "nothing") == str(missing.value)


def test_only_tables_that_a_caller_may_know_of_are_there(ann: Any, bob: Any) -> None:
    listed = (
        "SELECT table_name FROM information_schema.tables WHERE table_name IN ('meta', 'docs') ORDER BY 1"
    )
    assert rows(ann, listed) == [("docs",), ("meta",)]
    assert rows(bob, listed) == [("docs",)]


def test_who_may_not_run_sql_runs_none(server: FlightServer) -> None:
    with (
        connect(server, "cy") as connection,
        connection.cursor() as cursor,
        pytest.raises(Exception, match="cy may not sql"),
    ):
        cursor.execute("SELECT 1")


def test_who_may_not_search_reads_tables_only(server: FlightServer) -> None:
    with connect(server, "dee") as connection, connection.cursor() as cursor:
        assert rows(cursor, "SELECT count(*) FROM meta") == [(1000,)]
        with pytest.raises(Exception, match="expected a caller who may search"):
            rows(cursor, f"SELECT * FROM ruvector_knn('docs', {QUERY})")


@pytest.mark.parametrize("sql", HOSTILE)
def test_nothing_outside_the_database_is_reached(
    ann: Any, sql: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT|UNAUTHORIZED") as raised:
        rows(ann, sql)
    assert "root:" not in str(raised.value)
    assert not list(tmp_path.iterdir())
    assert rows(ann, "SELECT count(*) FROM meta") == [(1000,)]


def test_settings_tell_nothing_of_the_server(ann: Any) -> None:
    told = rows(ann, "SELECT name, value FROM duckdb_settings() WHERE value LIKE '%/%'")
    assert {name for name, _ in told} <= {"duckdb_api", "secret_directory", "extension_directory", "TimeZone"}
    assert all("/home" not in value and "/root" not in value for _, value in told)


def test_a_statement_takes_no_more_memory_than_its_database_may(ann: Any) -> None:
    with pytest.raises(Exception, match="Out of Memory") as raised:
        rows(
            ann,
            "SELECT count(*) FROM (SELECT DISTINCT hash(i), hash(i + 1), hash(i + 2) FROM range(100000000) t(i))",
        )
    assert "/" not in str(raised.value).partition("Out of Memory")[2].partition("(")[0]
    assert rows(ann, "SELECT 1") == [(1,)]
