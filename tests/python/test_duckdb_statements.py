"""What a statement in DuckDB sees while indexes are replaced, and what it says when it cannot be meant."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

import ruvector as rv
import ruvector.duckdb

if TYPE_CHECKING:
    from pathlib import Path

DIM, ROWS = 8, 300


def generation(number: int) -> rv.Index:
    """An index whose ids tell which one it is."""
    rows = np.random.default_rng(number).standard_normal((ROWS, DIM), dtype=np.float32)
    return rv.build(rows, np.arange(ROWS) + number * ROWS)


@pytest.fixture
def con() -> Any:
    """A connection with an index ``docs`` and a table ``queries`` of several batches."""
    with duckdb.connect() as con:
        con.execute("SET threads = 2")
        rv.duckdb.register(con, docs=generation(0))
        con.execute(
            "CREATE TABLE queries AS "
            "SELECT range AS id, [range % 7, 1, 0, 0, 0, 0, range % 3, 2]::FLOAT[8] AS v FROM range(10000)"
        )
        yield con


JOIN = "SELECT DISTINCT n.id // 300 FROM queries q, ruvector_knn('docs', q.v, k := 3) n"
VECTOR = "[1, 0, 0, 0, 0, 0, 0, 0]"


def test_prepared_statements_see_what_was_replaced(con: Any) -> None:
    con.execute(f"PREPARE a AS {JOIN}")
    con.execute("PREPARE b AS SELECT DISTINCT id // 300 FROM ruvector_knn('docs', $1, k := 2)")
    con.execute("PREPARE c AS SELECT ruvector_search('docs', [1, 0, 0, 0, 0, 0, 0, 0], 1)[1].id // 300")
    con.execute("PREPARE d AS SELECT DISTINCT id // 300 FROM ruvector_knn($1, $2)")
    con.execute(f"CREATE VIEW e AS {JOIN}")
    vector = f"{VECTOR}::FLOAT[8]"
    statements = ["EXECUTE a", f"EXECUTE b({vector})", "EXECUTE c", f"EXECUTE d('docs', {vector})", "FROM e"]
    for number in range(4):
        rv.duckdb.register(con, docs=generation(number))
        for statement in statements:
            for _ in range(2):
                assert con.execute(statement).fetchall() == [(number,)], statement


def test_statements_of_a_transaction_see_what_was_replaced(con: Any) -> None:
    con.execute(f"PREPARE a AS {JOIN}")
    con.execute("BEGIN")
    for number in range(3):
        rv.duckdb.register(con, docs=generation(number))
        assert con.execute(JOIN).fetchall() == con.execute("EXECUTE a").fetchall() == [(number,)]
    con.execute("COMMIT")


def test_a_prepared_statement_follows_the_type_of_the_ids(con: Any) -> None:
    con.execute(f"PREPARE a AS SELECT id FROM ruvector_knn('docs', {VECTOR}, k := 1)")
    assert isinstance(con.execute("EXECUTE a").fetchall()[0][0], int)
    rv.duckdb.register(con, docs=rv.build([[0.0] * DIM], ["only"]))
    assert con.execute("EXECUTE a").fetchall() == [("only",)]


def test_changes_of_an_index_are_seen_by_the_next_statement(con: Any) -> None:
    index = generation(0)
    rv.duckdb.register(con, docs=index)
    count = f"SELECT count(*) FROM ruvector_knn('docs', {VECTOR}, k := 1000)"
    assert con.execute(count).fetchall() == [(300,)]
    index.delete(range(100))
    assert con.execute(count).fetchall() == [(200,)]
    index.close()
    with pytest.raises(duckdb.Error, match="index: expected an open one, got one that is closed"):
        con.execute(count)


def test_one_statement_sees_one_state_of_an_index_it_names_twice(con: Any) -> None:
    """The left side takes its time, and the index is replaced meanwhile."""
    replaced = threading.Event()

    def wait(row: int) -> int:
        if row == 9000:
            rv.duckdb.register(con.cursor(), docs=generation(1))
            replaced.set()
        return row

    con.create_function("wait", wait, ["BIGINT"], "BIGINT")
    rows = con.execute(
        "SELECT DISTINCT n.id // 300, m.id // 300 FROM queries q, ruvector_knn('docs', q.v, k := 1) n, "
        "ruvector_knn('docs', q.v, k := 1) m WHERE wait(q.id) >= 0"
    ).fetchall()
    assert replaced.is_set()
    assert rows == [(rows[0][0], rows[0][0])]
    assert con.execute(JOIN).fetchall() == [(1,)]


def test_connections_ask_while_an_index_is_replaced(con: Any) -> None:
    generations = [generation(number) for number in range(200)]
    done, wrong = threading.Event(), list[str]()
    answered = [0] * 8
    join = f"{JOIN} WHERE q.id < 2500"
    filtered = join.replace("k := 3", "k := 3, filter := (SELECT list(range) FROM range(0, 60000, 20))")
    scalar = "SELECT DISTINCT ruvector_search('docs', v, 1)[1].id // 300 FROM queries WHERE id < 2500"

    def ask(number: int) -> None:
        try:
            with con.cursor() as cursor:
                rv.duckdb.register(cursor)
                while not done.is_set() or not answered[number]:
                    statement = (join, filtered, scalar)[(number + answered[number]) % 3]
                    seen = cursor.execute(statement).fetchall()
                    if len(seen) != 1:
                        wrong.append(f"{statement}: {seen}")
                    answered[number] += 1
        except Exception as error:  # noqa: BLE001 - told below
            wrong.append(repr(error))

    asking = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in asking:
        thread.start()
    with con.cursor() as cursor:
        for index in generations:
            rv.duckdb.register(cursor, docs=index)
            done.wait(0.01)
    done.set()
    for thread in asking:
        thread.join()
    assert wrong == []
    assert min(answered) >= 1
    assert con.execute(JOIN).fetchall() == [(199,)]


BAD = {
    "SELECT * FROM ruvector_knn('nope', [1])": (
        'index: expected the name of a registered index or the path of a saved one, got "nope"'
    ),
    "SELECT ruvector_search('nope', [1], 1)": (
        'index: expected the name of a registered index or the path of a saved one, got "nope"'
    ),
    f"SELECT * FROM ruvector_knn(NULL, {VECTOR})": "index: expected a name or a path, got NULL",
    f"SELECT ruvector_search(NULL, {VECTOR}, 1)": "index: expected a name or a path, got NULL",
    "SELECT * FROM ruvector_index_info(NULL)": "index: expected a name or a path, got NULL",
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, k := NULL)": "k: expected at least 1, got NULL",
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, k := 0)": "k: expected at least 1, got 0",
    f"SELECT ruvector_search('docs', {VECTOR}, -3)": "k: expected at least 1, got -3",
    "SELECT * FROM ruvector_recall('docs', k := 0)": "k: expected at least 1, got 0",
    f"SELECT * FROM ruvector_within('docs', {VECTOR}, NULL)": "radius: expected a number, got NULL",
    f"SELECT * FROM ruvector_within('docs', {VECTOR}, 'nan')": "radius: expected a number, got NaN",
    "SELECT * FROM ruvector_knn('docs', [1, 2, 3])": "dimension mismatch: the index has 8, query has 3",
    "SELECT * FROM ruvector_within('docs', [1, 2, 3], 1)": "dimension mismatch: the index has 8, query has 3",
    "SELECT ruvector_distance([1, 2], [1], 'l2')": "dimension mismatch: a has 2, b has 1",
    "SELECT * FROM ruvector_knn('docs', [0, 0, 'nan'::FLOAT, 0, 0, 0, 0, 0]::FLOAT[])": (
        "query, row 0: element 2 is NaN, expected a finite number"
    ),
    "SELECT * FROM ruvector_knn('docs', [0, 0, 'inf'::FLOAT, 0, 0, 0, 0, 0]::DOUBLE[8])": (
        "query, row 0: element 2 is inf, expected a finite number"
    ),
    "SELECT * FROM ruvector_knn('docs', [0, 0, NULL, 0, 0, 0, 0, 0])": (
        "query, row 0: element 2 is null, expected a number"
    ),
    "SELECT ruvector_quantize([1, 'nan'::FLOAT])": "v, row 0: element 1 is NaN, expected a finite number",
    "SELECT ruvector_quantize([1, 2], bits := 10)": "bits: expected 1 to 9, got 10",
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, metric := 'cosine')": (
        "metric: expected l2sq, which the index was built with, got cosine"
    ),
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, metric := 'foo')": (
        'metric: expected one of l2sq, l2, cosine, ip, got "foo"'
    ),
    "SELECT ruvector_distance([1], [1], 'foo')": 'metric: expected one of l2sq, l2, cosine, ip, got "foo"',
    "SELECT ruvector_distance([1], [1], NULL)": "metric: expected one of l2sq, l2, cosine, ip, got NULL",
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, recall := 2)": (
        "recall: expected above 0, at most 1, got 2"
    ),
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, nprobe := 0)": "nprobe: expected at least 1, got 0",
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, epsilon := -1)": (
        "epsilon: expected a finite number, at least 0, got -1"
    ),
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, exact := true, rerank := false)": (
        "rerank: expected true with exact, got false"
    ),
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, filter := [0.5])": (
        "filter: expected a list of ids or of booleans, got DECIMAL(2,1)[]"
    ),
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, filter := ['x'])": "filter: ",
    f"SELECT * FROM ruvector_knn('docs', {VECTOR}, filter := [true])": "filter: expected one boolean per row",
    f"SELECT ruvector_search('texts', {VECTOR}, 1)": "index: expected one with int64 ids",
    "SELECT * FROM ruvector_register('x', '/nowhere')": "/nowhere: No such file or directory",
    "SELECT * FROM ruvector_register('x', NULL)": "path: expected a path, got NULL",
    "SELECT * FROM ruvector_unregister('x')": 'name: expected the name of a registered index, got "x"',
    "SELECT * FROM ruvector_unregister(NULL)": "name: expected a name, got NULL",
}


@pytest.mark.parametrize("statement", BAD)
def test_what_cannot_be_meant_is_said_and_the_connection_goes_on(statement: str, con: Any) -> None:
    rv.duckdb.register(con, texts=rv.build([[0.0] * DIM], ["only"]))
    with pytest.raises(duckdb.Error) as refused:
        con.execute(statement).fetchall()
    assert BAD[statement] in str(refused.value)
    assert con.execute(JOIN).fetchall() == [(0,)]


@pytest.mark.parametrize("query", ["'x'", "5", "['x']", "DATE '2020-01-01'", "{'a': 1}"])
def test_what_is_no_list_of_numbers_is_refused_by_the_engine(query: str, con: Any) -> None:
    for statement in (
        f"SELECT * FROM ruvector_knn('docs', {query})",
        f"SELECT ruvector_search('docs', {query}, 1)",
    ):
        with pytest.raises(duckdb.Error, match=r"(?i)cast|conver"):
            con.execute(statement).fetchall()
        assert con.execute(JOIN).fetchall() == [(0,)]


def test_an_index_must_be_known_when_a_statement_is_planned(con: Any) -> None:
    with pytest.raises(duckdb.BinderException):
        con.execute(f"SELECT * FROM (VALUES ('docs')) t(i), ruvector_knn(t.i, {VECTOR})")
    rows = con.execute(
        f"SELECT ruvector_search(i, {VECTOR}, k)[1].id // 300, len(ruvector_search(i, {VECTOR}, k)) "
        "FROM (VALUES ('docs', 2), ('docs', 5)) t(i, k)"
    ).fetchall()
    assert rows == [(0, 2), (0, 5)], "a value may name another one, or ask for more, in each row"


def test_a_damaged_file_is_refused(con: Any, tmp_path: Path) -> None:
    path = tmp_path / "docs.arrow"
    generation(0).save(path)
    whole = path.read_bytes()
    query = f"SELECT count(*) FROM ruvector_knn('{path}', {VECTOR})"
    assert con.execute(query).fetchall() == [(10,)]
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(duckdb.Error, match=f"{path}: "):
        con.execute(query)
    path.unlink()
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    with pytest.raises(duckdb.Error, match=f"{path}: "):
        con.execute(query)
    path.unlink()
    with pytest.raises(duckdb.Error, match="the path of a saved one"):
        con.execute(query)
    path.write_bytes(whole)
    assert con.execute(query).fetchall() == [(10,)]


def test_a_batch_with_a_bad_query_says_which(con: Any) -> None:
    con.execute(
        "CREATE TABLE bad AS SELECT v FROM queries UNION ALL "
        "SELECT [0, 'nan'::FLOAT, 0, 0, 0, 0, 0, 0]::FLOAT[8]"
    )
    with pytest.raises(duckdb.Error, match=r"query, row [0-9]+: element 1 is NaN"):
        con.execute("SELECT count(*) FROM bad q, ruvector_knn('docs', q.v)").fetchall()
    assert con.execute(JOIN).fetchall() == [(0,)]
