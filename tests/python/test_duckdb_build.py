"""Building indexes of what DuckDB can query: in SQL, from Python, in bounded memory, until Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

import ruvector as rv
import ruvector.duckdb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.python.conftest import Vectors


@pytest.fixture
def con(docs: Vectors) -> Any:
    """A connection with a table of which every tenth vector is missing."""
    with duckdb.connect() as con:
        rv.duckdb.register(con)
        rows = [None if key % 10 == 3 else row for key, row in enumerate(docs)]
        table = pa.table({"key": range(len(docs)), "v": pa.array(rows, pa.list_(pa.float32(), 32))})
        con.register("arrow", table)
        con.execute("CREATE TABLE docs AS SELECT key, 'doc ' || key AS name, v FROM arrow")
        con.unregister("arrow")
        yield con


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("cast", ["FLOAT[32]", "FLOAT[]", "DOUBLE[32]", "DOUBLE[]"])
def test_a_table_is_built_and_searched(
    threads: int, cast: str, con: Any, tmp_path: Path, docs: Vectors
) -> None:
    con.execute(f"SET threads = {threads}")
    con.execute(f"CREATE VIEW seen AS SELECT key, v::{cast} AS v FROM docs")
    path = str(tmp_path / "docs.arrow")
    build = (
        "SELECT name, path, rows, dim, metric, bits, nlist, id_type, vectors, null_count FROM ruvector_build"
    )
    told = con.execute(
        f"{build}('seen', 'v', ?, id := 'key', metric := 'cosine', bits := 2, nlist := 9, seed := 3)", [path]
    ).fetchall()
    assert told == [(path, path, 1800, 32, "cosine", 2, 9, "int64", "stored", 200)]
    assert rv.open(path).seed == 3
    near = con.execute(
        "SELECT id FROM ruvector_knn(?, ?, k := 1, exact := true)", [path, docs[1999]]
    ).fetchall()
    assert near == [(1999,)]


@pytest.mark.parametrize("vectors", ["none", "f16", "f32"])
def test_vectors_are_kept_as_asked(vectors: str, con: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "docs.arrow")
    query = "SELECT vectors, id_type FROM ruvector_build('docs', 'v', ?, id := 'name', vectors := ?)"
    kept = "none" if vectors == "none" else "stored"
    assert con.execute(query, [path, vectors]).fetchall() == [(kept, "string")]


def test_without_an_id_rows_are_numbered(con: Any, tmp_path: Path, docs: Vectors) -> None:
    path = str(tmp_path / "docs.arrow")
    con.execute("SELECT * FROM ruvector_build('docs', 'v', ?)", [path]).fetchall()
    near = con.execute("SELECT id FROM ruvector_knn(?, ?, k := 1)", [path, docs[1234]]).fetchall()
    assert near == [(1234,)]


def test_names_are_quoted_where_sql_needs_quotes(con: Any, tmp_path: Path) -> None:
    con.execute('CREATE SCHEMA "a b"')
    con.execute('CREATE TABLE "a b"."select" AS SELECT key AS "the ""key""", v AS "the.v" FROM docs')
    path = str(tmp_path / "docs.arrow")
    query = "SELECT rows FROM ruvector_build(?, ?, ?, id := ?)"
    names = ['"a b"."select"', '"the.v"', path, '"the ""key"""']
    assert con.execute(query, names).fetchall() == [(1800,)]
    assert con.execute(query, ["memory.main.docs", "V", path, None]).fetchall() == [(1800,)]


BAD = {
    "('nope', 'v', $path)": "nope",
    "('docs', 'w', $path)": '"w"',
    "('docs', 'v', $path, id := 'w')": '"w"',
    "('docs; DROP TABLE docs', 'v', $path)": "table: expected a name, quoted where SQL needs quotes, got",
    "('docs', 'v FROM docs --', $path)": "column: expected a name, quoted where SQL needs quotes, got",
    "('docs', 'a.v', $path)": 'column: expected the name of a column, got "a.v"',
    "(NULL, 'v', $path)": "table: expected a name, quoted where SQL needs quotes, got NULL",
    "('docs', NULL, $path)": "column: expected a name, quoted where SQL needs quotes, got NULL",
    "('docs', 'v', NULL)": "path: expected a path, got NULL",
    "('docs', 'name', $path)": "name: expected a list of numbers, got string",
    "('docs', 'v', $path, metric := 'foo')": 'metric: expected one of l2sq, l2, cosine, ip, got "foo"',
    "('docs', 'v', $path, bits := 10)": "bits: expected 1 to 9, got 10",
    "('docs', 'v', $path, vectors := 'f64')": 'vectors: expected one of none, f16, f32, got "f64"',
    "('nothing', 'v', $path)": "empty index",
    "('broken', 'v', $path)": "v, row 5: element 1 is NaN, expected a finite number",
    "('twice', 'v', $path, id := 'key')": "duplicate id 1: rows",
    "('docs', 'v', '/nowhere/at/all')": "/nowhere/at/all: cannot write into /nowhere/at",
}


@pytest.mark.parametrize("arguments", BAD)
def test_a_build_that_fails_leaves_the_file_as_it_was(arguments: str, con: Any, tmp_path: Path) -> None:
    con.execute("CREATE TABLE nothing (v FLOAT[32])")
    con.execute(
        "CREATE TABLE broken AS SELECT CASE WHEN range = 5 THEN [1, 'nan'::FLOAT] ELSE [1, 2] END::FLOAT[] "
        "AS v FROM range(9)"
    )
    con.execute("CREATE TABLE twice AS SELECT 1 AS key, [1.0, 2.0] AS v FROM range(2)")
    path = tmp_path / "docs.arrow"
    rv.build([[0.0]]).save(path)
    before = path.read_bytes()
    parameters = {"path": str(path)} if "$path" in arguments else None
    with pytest.raises(duckdb.Error) as refused:
        con.execute(f"SELECT * FROM ruvector_build{arguments}", parameters).fetchall()
    assert BAD[arguments] in str(refused.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert con.execute("SELECT count(*) FROM docs").fetchall() == [(2000,)]


def test_a_build_replaces_what_statements_find(con: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "docs.arrow")
    for rows in (100, 1000):
        con.execute(f"CREATE OR REPLACE VIEW part AS SELECT * FROM docs WHERE key < {rows}")
        con.execute("SELECT * FROM ruvector_build('part', 'v', ?)", [path]).fetchall()
        count = "SELECT count(*) FROM ruvector_knn(?, ?, k := 5000)"
        assert con.execute(count, [path, [0.0] * 32]).fetchall() == [(rows * 9 // 10,)]


def over_a_variable(con: Any) -> Any:
    """A relation over what only this function sees."""
    rows = con.sql("SELECT * FROM docs WHERE key < 500")
    variable = pa.table(rows.to_arrow_table())
    assert variable.num_rows == 500
    return con.sql("SELECT * FROM variable")


@pytest.mark.parametrize(
    "data",
    [
        lambda con: con.sql("SELECT name, v FROM docs WHERE key < 500"),
        lambda con: con.table("docs").filter("key < 500"),
        lambda _: "SELECT * FROM docs WHERE key < 500",
        over_a_variable,
        lambda con: con.execute("CREATE TEMP TABLE own AS FROM docs WHERE key < 500").sql("FROM own"),
    ],
)
def test_python_builds_of_a_query_or_a_relation(
    data: Callable[[Any], Any], con: Any, tmp_path: Path, docs: Vectors
) -> None:
    path = tmp_path / "docs.arrow"
    index = rv.duckdb.build(con, data(con), "v", path, id="name", metric="l2", bits=3)
    assert (len(index), index.null_count, index.metric, index.bits, index.id_type) == (
        450,
        50,
        "l2",
        3,
        "str",
    )
    assert index == rv.open(path)
    assert index.search(docs[7], k=1).to_numpy()[0].tolist() == [["doc 7"]]
    assert con.execute("SELECT 1").fetchall() == [(1,)]


def test_python_says_what_is_wrong(con: Any) -> None:
    with pytest.raises(rv.InvalidParameter, match=r'^column: expected one of "key", "name", "v", got "w"$'):
        rv.duckdb.build(con, "FROM docs", "w")
    with pytest.raises(duckdb.CatalogException, match="nope"):
        rv.duckdb.build(con, "FROM nope", "v")
    with pytest.raises(rv.InvalidParameter, match=r"^data: expected a query, got no query$"):
        rv.duckdb.build(con, "-- nothing", "v")
    assert con.execute("SELECT count(*) FROM docs").fetchall() == [(2000,)]


MEMORY = """
import resource
import duckdb, numpy as np, pyarrow as pa
import ruvector.duckdb

con = duckdb.connect(config={"memory_limit": "150MB", "threads": "2"})
con.execute("SET enable_progress_bar = false")
rows = np.random.default_rng(0).standard_normal((1000, 128), dtype=np.float32)
given = pa.table({"v": pa.array(list(rows), pa.list_(pa.float32(), 128))})
con.execute("CREATE TABLE base AS FROM given")
con.execute("CREATE VIEW docs AS SELECT r.range AS part, v FROM base, range(400) r")
ruvector.duckdb.register(con)

def built(rows):
    con.execute(f"CREATE OR REPLACE VIEW seen AS FROM docs LIMIT {rows}")
    query = "FROM ruvector_build('seen', 'v', $path, vectors := 'none', nlist := 100)"
    con.execute(query, {"path": PATH}).fetchall()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = built(4000)
print(built(400_000) - before)
"""


def test_a_table_larger_than_memory_is_built_batch_by_batch(
    python: Callable[..., str], tmp_path: Path
) -> None:
    """195 MB of vectors, 150 MB for DuckDB, which holds some: what grows is codes, a sample, a batch."""
    grown = float(python(f"PATH = {str(tmp_path / 'docs.arrow')!r}\n{MEMORY}"))
    assert grown < 140, grown


INTERRUPTED = """
import duckdb, numpy as np
import ruvector as rv
import ruvector.duckdb

con = duckdb.connect(config={"threads": "1"})
con.execute("SET enable_progress_bar = false")
rows = np.random.default_rng(0).standard_normal((20_000, 64), dtype=np.float32)
rv.duckdb.register(con, docs=rv.build(rows))
con.execute("CREATE TABLE queries AS SELECT [range % 7, range % 11] || range(62) AS v FROM range(1_000_000)")
try:
    print("ready", flush=True)
    WORK
except (KeyboardInterrupt, duckdb.Error, RuntimeError) as error:
    print("stopped", "nterrupt" in type(error).__name__ + str(error), flush=True)
print(con.execute("SELECT count(*) FROM ruvector_knn('docs', ?, k := 3)", [[0.0] * 64]).fetchall())
"""


@pytest.mark.parametrize(
    "work",
    [
        "con.execute(\"SELECT count(*) FROM queries q, ruvector_knn('docs', q.v, exact := true)\")",
        "con.execute(\"FROM ruvector_build('queries', 'v', '/nowhere/at/all', bits := 9)\")",
        "rv.duckdb.build(con, 'FROM queries', 'v', bits=9)",
    ],
)
def test_ctrl_c_stops_a_statement(work: str) -> None:
    code = INTERRUPTED.replace("WORK", work)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == "ready\n"
            time.sleep(1)
            running.send_signal(signal.SIGINT)
            asked = time.monotonic()
            assert running.stdout.readline() == "stopped True\n"
            assert time.monotonic() - asked < 5
            assert running.stdout.read() == "[(3,)]\n"
        finally:
            running.kill()
