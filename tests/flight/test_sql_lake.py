"""SQL over the collections of a served lake: the bearer of the token is the principal of its policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import ruvector as rv
from ruvector.lake import Decision, RowPolicy
from tests.flight.sql_client import QUERY, VECTORS, connect, rows, serve, token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruvector.flight import FlightServer

ALL = list(range(40))


@pytest.fixture(scope="module")
def memory() -> rv.LocalBackend:
    backend = rv.LocalBackend("memory")
    for name in ("docs", "more", "shut"):
        backend.put_collection(name, ids=ALL, vectors=VECTORS[: len(ALL)])
    return backend


@pytest.fixture(scope="module")
def server(memory: rv.LocalBackend) -> Iterator[FlightServer]:
    policy = RowPolicy(
        {
            "ann": Decision(rows=[("id", "<", 10)]),
            "bob": Decision(rows=[("id", ">=", 30)]),
            "eve": Decision(allow=False),
            "fay": Decision(rows=[("id", "<", 0)]),
        },
        default=Decision(),
    )
    lake = rv.RuLake.builder().policy(policy).build()
    lake.register_backend(memory)
    tokens = [
        token("ann"),
        token("bob"),
        token("cy", collections=["memory/docs"]),
        token("eve"),
        token("fay"),
        token("gus", verbs=["sql"]),
        token("hal"),
    ]
    with serve({}, lake=lake, tokens=tokens) as running:
        yield running


def found(server: FlightServer, who: str, name: str = "memory/docs", parameters: Any = None) -> list[int]:
    query = "?" if parameters is not None else str(QUERY)
    sql = f"SELECT id FROM ruvector_knn('{name}', {query}, k := 100)"
    with connect(server, who) as connection, connection.cursor() as cursor:
        return sorted(row for (row,) in rows(cursor, sql, parameters))


@pytest.mark.parametrize(("who", "seen"), [("ann", ALL[:10]), ("bob", ALL[30:]), ("hal", ALL), ("cy", ALL)])
def test_each_principal_sees_their_own_rows(server: FlightServer, who: str, seen: list[int]) -> None:
    assert found(server, who) == seen
    assert found(server, who, parameters=(QUERY,)) == seen
    with connect(server, who) as connection, connection.cursor() as cursor:
        sql = "SELECT DISTINCT n.id FROM queries, ruvector_knn('memory/docs', v, k := 100) n ORDER BY 1"
        both = f"[{QUERY}, {QUERY[::-1]}]::FLOAT[][]"
        rows(cursor, f"CREATE OR REPLACE TABLE queries AS SELECT unnest({both}) AS v")
        assert [row for (row,) in rows(cursor, sql)] == seen
        assert rows(cursor, "SELECT rows FROM ruvector_index_info('memory/docs')") == [(len(seen),)]


def test_what_one_was_shown_is_not_shown_to_the_next(server: FlightServer) -> None:
    for _ in range(3):
        assert found(server, "ann") == ALL[:10]
        assert found(server, "hal") == ALL
        assert found(server, "bob") == ALL[30:]


def test_filters_see_visible_rows_only(server: FlightServer) -> None:
    sql = f"SELECT count(*) FROM ruvector_knn('memory/docs', {QUERY}, k := 100) WHERE id >= 20"
    for who, count in (("ann", 0), ("bob", 10), ("hal", 20)):
        with connect(server, who) as connection, connection.cursor() as cursor:
            assert rows(cursor, sql) == [(count,)]


def test_rows_that_change_are_searched_as_they_are(server: FlightServer, memory: rv.LocalBackend) -> None:
    assert found(server, "ann", "memory/more") == ALL[:10]
    memory.delete("more", [3])
    assert found(server, "ann", "memory/more") == [0, 1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("who", ["ann", "cy"])
@pytest.mark.parametrize("name", ["memory/nothing", "nothing/docs", "docs", "memory", "lake://memory/docs"])
def test_an_unknown_collection_is_unknown(server: FlightServer, who: str, name: str) -> None:
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT.*(unknown|expected)"):
        found(server, who, name)


def test_a_collection_that_one_must_not_know_of_is_one_that_is_not_there(server: FlightServer) -> None:
    with pytest.raises(Exception, match="expected the name of an index or a collection") as hidden:
        found(server, "cy", "memory/shut")
    with pytest.raises(Exception, match="expected the name of an index or a collection") as missing:
        found(server, "cy", "memory/gone")
    assert str(hidden.value).replace("shut", "gone") == str(missing.value)


def test_whom_the_policy_denies_sees_nothing(server: FlightServer) -> None:
    with pytest.raises(Exception, match=r"eve: search of .* is denied: the policy says no") as denied:
        found(server, "eve")
    assert "UNAUTHORIZED" in str(denied.value), "as the driver calls PERMISSION_DENIED"
    assert "Traceback" not in str(denied.value)
    assert found(server, "fay") == []
    with pytest.raises(Exception, match="expected a caller who may search"):
        found(server, "gus")


def test_collections_join_tables_of_the_tenant(server: FlightServer) -> None:
    with connect(server, "ann") as connection, connection.cursor() as cursor:
        table = pa.table({"id": ALL, "title": [f"title {row}" for row in ALL]})
        cursor.adbc_ingest("titles", table, mode="replace")
        sql = f"SELECT title FROM ruvector_knn('memory/docs', {QUERY}, k := 1) JOIN titles USING (id)"
        assert rows(cursor, sql) == [("title 0",)]
