"""The SQL functions in DuckDB: their answers, their types, every way in."""

from __future__ import annotations

import doctest
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv
import ruvector.duckdb
from ruvector.duckdb import building, registering
from ruvector.duckdb.registering import MACROS, macros

if TYPE_CHECKING:
    from collections.abc import Callable

    from ruvector.typing import Metric
    from tests.python.conftest import Vectors

IDS: dict[str, Any] = {
    "numbers": None,
    "unsigned": np.arange(2000, dtype=np.uint64) + np.uint64(2**63),
    "texts": [f"doc {row}" for row in range(2000)],
}
TYPES = {"numbers": "BIGINT", "unsigned": "UBIGINT", "texts": "VARCHAR"}
METRICS = ["l2sq", "l2", "cosine", "ip"]
MODERN = tuple(int(part) for part in duckdb.__version__.split(".")[:2]) >= (2, 0)


@pytest.fixture(scope="module")
def indexes(docs: Vectors) -> dict[str, rv.Index]:
    """One index for each type of ids."""
    return {name: rv.build(docs, ids) for name, ids in IDS.items()}


@pytest.fixture
def con(indexes: dict[str, rv.Index], docs: Vectors, queries: Vectors) -> Any:
    """A connection with indexes, a table ``docs`` and a table ``queries`` with one row without a vector."""
    with duckdb.connect() as con:
        rv.duckdb.register(con, **indexes)
        for name, rows in (("docs", docs), ("queries", queries)):
            table = pa.table({"id": range(len(rows)), "v": pa.array(list(rows), pa.list_(pa.float32(), 32))})
            con.register("arrow", table)
            con.execute(f"CREATE TABLE {name} AS FROM arrow")
            con.unregister("arrow")
        con.execute("INSERT INTO queries VALUES (20, NULL)")
        yield con


def pairs(hits: rv.Hits) -> list[tuple[Any, ...]]:
    """Rows of (query, id, distance)."""
    table = hits.to_arrow()
    return list(zip(*(table[name].to_pylist() for name in ("query_row", "id", "distance")), strict=True))


def test_the_version_is_the_one_to_be_tested() -> None:
    assert duckdb.__version__ == os.environ.get("DUCKDB_EXPECTED", duckdb.__version__)


@pytest.mark.parametrize("name", IDS)
def test_a_literal_finds_its_neighbours(name: str, con: Any, indexes: Any, queries: Vectors) -> None:
    relation = con.execute(
        "SELECT * FROM ruvector_knn(?, ?, k := 5) ORDER BY distance, id", [name, queries[0]]
    )
    assert [(column[0], str(column[1])) for column in relation.description] == [
        ("id", TYPES[name]),
        ("distance", "FLOAT"),
    ]
    assert [(0, *row) for row in relation.fetchall()] == pairs(indexes[name].search(queries[:1], k=5))


@pytest.mark.parametrize("name", IDS)
def test_a_join_finds_the_neighbours_of_each_row(name: str, con: Any, indexes: Any, queries: Vectors) -> None:
    rows = con.execute(
        f"SELECT q.id, n.id, n.distance FROM queries q, ruvector_knn('{name}', q.v) n "
        "ORDER BY 1, n.distance, n.id"
    ).fetchall()
    assert rows == pairs(indexes[name].search(queries, k=10))


def test_more_rows_than_a_batch_from_several_threads(con: Any) -> None:
    con.execute("SET threads = 4")
    con.execute("CREATE TABLE many AS SELECT copy * 2000 + id AS id, v FROM docs, range(100) AS r(copy)")
    rows = con.execute(
        "SELECT q.id, n.id FROM many q, ruvector_knn('numbers', q.v, k := 1) n ORDER BY 1"
    ).fetchall()
    assert rows == [(row, row % 2000) for row in range(200_000)]


def test_duplicate_queries_all_have_neighbours(con: Any) -> None:
    rows = con.execute(
        "SELECT count(*), count(DISTINCT n.id) FROM (SELECT v FROM queries WHERE id = 3), range(50), "
        "ruvector_knn('numbers', v, k := 7) n"
    ).fetchall()
    assert rows == [(350, 7)]


def test_null_queries_have_no_rows_and_scalars_null(con: Any) -> None:
    for function in ("ruvector_knn('texts', q.v)", "ruvector_within('texts', q.v, 1e9)"):
        join = f"SELECT count(*) FROM (SELECT v FROM queries WHERE id = 20) q, {function}"
        assert con.execute(join).fetchall() == [(0,)]
    for literal in ("NULL", "NULL::FLOAT[32]", "NULL::DOUBLE[]"):
        assert con.execute(f"SELECT * FROM ruvector_knn('numbers', {literal})").fetchall() == []
        assert con.execute(f"SELECT * FROM ruvector_within('numbers', {literal}, 1)").fetchall() == []
        scalar = (
            f"SELECT ruvector_search('numbers', {literal}, 1), ruvector_search_text('texts', {literal}, 1)"
        )
        assert con.execute(scalar).fetchall() == [(None, None)]
        alone = f"SELECT ruvector_distance({literal}, [1.0], 'l2'), ruvector_quantize({literal})"
        assert con.execute(alone).fetchall() == [(None, None)]


def test_empty_tables_have_no_rows(con: Any) -> None:
    con.execute("CREATE TABLE nobody (id BIGINT, v FLOAT[32])")
    for function in ("ruvector_knn('texts', q.v)", "ruvector_within('numbers', q.v, 1)"):
        assert con.execute(f"SELECT * FROM nobody q, {function}").fetchall() == []
    assert con.execute("SELECT ruvector_search('numbers', v, 3) FROM nobody").fetchall() == []


def test_k_beyond_the_index_gives_all_rows(con: Any) -> None:
    count = (
        "SELECT count(DISTINCT id) FROM ruvector_knn('numbers', (SELECT v FROM docs WHERE id = 0), k := 5000)"
    )
    assert con.execute(count).fetchall() == [(2000,)]


@pytest.mark.parametrize("cast", ["FLOAT[32]", "FLOAT[]", "DOUBLE[32]", "DOUBLE[]"])
def test_every_type_of_a_vector_binds(cast: str, con: Any, indexes: Any, queries: Vectors) -> None:
    expected = pairs(indexes["numbers"].search(queries, k=2))
    join = (
        f"SELECT q.id, n.id, n.distance FROM (SELECT id, v::{cast} AS v FROM queries) q, "
        "ruvector_knn('numbers', q.v, k := 2) n ORDER BY 1, n.distance"
    )
    assert con.execute(join).fetchall() == expected
    scalar = (
        f"SELECT id, unnest(ruvector_search('numbers', v::{cast}, 2), recursive := true) FROM queries "
        "WHERE v IS NOT NULL"
    )
    assert sorted(con.execute(scalar).fetchall(), key=lambda row: row[::2]) == expected


@pytest.mark.parametrize(
    "bind",
    [
        lambda query: query.tolist(),
        lambda query: query,
        lambda query: query.astype("f8"),
        lambda query: tuple(query.tolist()),
    ],
)
def test_lists_and_arrays_bind_as_parameters(
    bind: Callable[[Vectors], Any], con: Any, indexes: Any, queries: Vectors
) -> None:
    expected = [row[1:] for row in pairs(indexes["numbers"].search(queries[:1], k=4))]
    bound = [bind(queries[0]), 4]
    found = con.execute("SELECT * FROM ruvector_knn('numbers', ?, k := ?) ORDER BY 2", bound).fetchall()
    assert found == expected
    (hits,) = con.execute("SELECT ruvector_search('numbers', ?, ?)", bound).fetchall()[0]
    assert [tuple(hit.values()) for hit in hits] == expected


@pytest.mark.parametrize("name", IDS)
def test_a_radius_finds_all_within_it(name: str, con: Any, indexes: Any, queries: Vectors) -> None:
    rows = con.execute(
        "SELECT q.id, n.id, n.distance FROM queries q, "
        f"ruvector_within('{name}', q.v, 25.0, exact := true) n ORDER BY 1, n.distance, n.id"
    )
    assert str(rows.description[1][1]) == TYPES[name]
    found = rows.fetchall()
    assert found == pairs(indexes[name].within(queries, 25.0, exact=True))
    assert 0 < len(found) < 2000 * 20


def test_a_radius_may_be_another_for_each_row(con: Any, indexes: Any, queries: Vectors) -> None:
    rows = con.execute(
        "SELECT q.id, count(*) FROM queries q, ruvector_within('numbers', q.v, 15 + q.id, exact := true) "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    counts = [
        len(indexes["numbers"].within(query, 15 + row, exact=True)) for row, query in enumerate(queries)
    ]
    assert rows == [(row, count) for row, count in enumerate(counts) if count]


def test_a_search_is_a_value_too(con: Any, indexes: Any, queries: Vectors) -> None:
    def lists(text: str) -> list[Any]:
        found = con.execute(f"SELECT {text} FROM queries ORDER BY id").fetchall()
        return [hits and [(hit["id"], hit["distance"]) for hit in hits] for (hits,) in found]

    expected: list[Any] = [[] for _ in queries]
    for query, id_, distance in pairs(indexes["numbers"].search(queries, k=3)):
        expected[query].append((id_, distance))
    assert lists("ruvector_search('numbers', v, 3)") == [*expected, None]
    written = [[(str(id_), distance) for id_, distance in hits] for hits in expected]
    assert lists("ruvector_search_text('numbers', v, 3)") == [*written, None]
    assert lists("ruvector_search_text('texts', v, 3)")[0][0][0] == f"doc {expected[0][0][0]}"
    assert lists("ruvector_search_text('unsigned', v, 3)")[0][0][0] == str(expected[0][0][0] + 2**63)
    types = con.execute(
        "SELECT ruvector_search('numbers', v, 1), ruvector_search_text('texts', v, 1) FROM queries"
    )
    assert [str(column[1]).replace('"', "") for column in types.description] == [
        "STRUCT(id BIGINT, distance FLOAT)[]",
        "STRUCT(id VARCHAR, distance FLOAT)[]",
    ]


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        ("exact := true", {"exact": True}),
        ("recall := 0.5", {"recall": 0.5}),
        ("nprobe := 2, epsilon := 1.5", {"nprobe": 2, "epsilon": 1.5}),
        ("rerank := false", {"rerank": False}),
        ("metric := 'l2sq'", {}),
        ("epsilon := NULL, recall := NULL, exact := NULL, filter := NULL, metric := NULL", {}),
        ("filter := [1, 5, 9, 400000]", {"filter": [1, 5, 9]}),
        ("filter := [1, 5, 9]::UTINYINT[]", {"filter": [1, 5, 9]}),
        ("filter := [1, 5, NULL]::BIGINT[3]", {"filter": [1, 5]}),
        ("filter := []", {"filter": []}),
        ("filter := [NULL]", {"filter": []}),
        ("filter := (SELECT list(id) FROM docs WHERE id < 20)", {"filter": range(20)}),
        ("filter := (SELECT list(id) FROM docs WHERE id < 0)", {"filter": []}),
        ("filter := (SELECT list(id % 7 = 0 ORDER BY id) FROM docs)", {"filter": range(0, 2000, 7)}),
        ("filter := (SELECT list(nullif(id < 7, false) ORDER BY id) FROM docs)", {"filter": range(7)}),
    ],
)
def test_options_do_what_they_do_in_python(
    options: str, keywords: Any, con: Any, indexes: Any, queries: Vectors
) -> None:
    expected = pairs(indexes["numbers"].search(queries, k=6, **keywords))
    join = (
        "SELECT q.id, n.id, n.distance FROM queries q, "
        f"ruvector_knn('numbers', q.v, {options}, k := 6) n ORDER BY 1, n.distance, n.id"
    )
    assert con.execute(join).fetchall() == expected
    one = f"SELECT 0, * FROM ruvector_knn('numbers', ?, k := 6, {options}) ORDER BY distance, id"
    assert con.execute(one, [queries[0]]).fetchall() == [row for row in expected if row[0] == 0]
    scalar = f"SELECT ruvector_search('numbers', v, 6, {options}) FROM queries WHERE id = 0"
    ((hits,),) = con.execute(scalar).fetchall()
    assert [(0, *hit.values()) for hit in hits] == [row for row in expected if row[0] == 0]


def test_filters_are_of_the_type_that_the_ids_have(con: Any, indexes: Any, queries: Vectors) -> None:
    def found(name: str, text: str, *bound: Any) -> list[Any]:
        query = f"SELECT id FROM ruvector_knn('{name}', ?, k := 9, filter := {text}) ORDER BY distance"
        return [id_ for (id_,) in con.execute(query, [queries[0], *bound]).fetchall()]

    near = [row[1] for row in pairs(indexes["numbers"].search(queries[0], k=9, filter=range(3, 6)))]
    assert found("texts", "['doc 3', 'doc 4', 'doc 5']") == [f"doc {row}" for row in near]
    assert found("unsigned", "[9223372036854775811, 9223372036854775812, 9223372036854775813]") == [
        row + 2**63 for row in near
    ]
    assert found("numbers", "?", [3, 4, 5]) == near
    assert found("numbers", "?", np.array([3, 4, 5])) == near
    assert len(found("numbers", "?", None)) == 9


def test_a_filter_of_a_range_search(con: Any) -> None:
    rows = con.execute(
        "SELECT q.id, n.id FROM queries q, "
        "ruvector_within('numbers', q.v, 1e9, filter := [7, 8], exact := true) n"
    ).fetchall()
    assert sorted(rows) == [(query, row) for query in range(20) for row in (7, 8)]


@pytest.mark.parametrize("metric", METRICS)
def test_a_distance_is_that_of_an_exact_search(
    metric: Metric, con: Any, docs: Vectors, queries: Vectors
) -> None:
    ids, near = rv.exact_search(docs, queries[2], k=2000, metric=metric).to_numpy()
    rows = con.execute(
        f"SELECT d.id, ruvector_distance((SELECT v FROM queries WHERE id = 2), d.v, '{metric}') FROM docs d"
    ).fetchall()
    assert dict(rows) == dict(zip(ids[0].tolist(), near[0].tolist(), strict=True))
    literal = con.execute("SELECT ruvector_distance([0, 3], [4.0, 0.0], ?)", [metric]).fetchall()
    assert literal[0][0] == pytest.approx({"l2sq": 25, "l2": 5, "cosine": 1, "ip": 0}[metric])


def test_codes_are_those_of_the_package(con: Any, queries: Vectors) -> None:
    plain = con.execute("SELECT ruvector_quantize(v) FROM queries ORDER BY id").fetchall()
    assert [row for (row,) in plain] == [*pa.array(rv.quantize(queries)).to_pylist(), None]
    asked = con.execute(
        "SELECT ruvector_quantize(v, bits := 4, seed := 9) FROM queries WHERE id = 1"
    ).fetchall()
    assert asked[0][0] == pa.array(rv.quantize(queries, 4, 9))[1].as_py()


def test_an_index_tells_of_itself(con: Any, indexes: Any, tmp_path: Path) -> None:
    rows = con.execute("SELECT * FROM ruvector_index_info('texts')")
    names = [column[0] for column in rows.description]
    (told,) = (dict(zip(names, row, strict=True)) for row in rows.fetchall())
    index = indexes["texts"]
    assert told == {
        "name": "texts",
        "path": None,
        "rows": 2000,
        "dim": 32,
        "metric": "l2sq",
        "bits": 1,
        "nlist": index.nlist,
        "id_type": "string",
        "vectors": "borrowed",
        "null_count": 0,
        "memory_bytes": index.memory_bytes,
        "mapped_bytes": 0,
    }
    path = str(tmp_path / "texts.arrow")
    index.save(path, vectors="none")
    found = con.execute("SELECT name, path, vectors FROM ruvector_index_info(?)", [path]).fetchall()
    assert found == [(path, path, "none")]
    index.save(tmp_path / "with.arrow")


def test_recall_is_measured(con: Any) -> None:
    (good,) = con.execute("SELECT * FROM ruvector_recall('numbers')").fetchall()
    (poor,) = con.execute("SELECT * FROM ruvector_recall('numbers', k := 5, nprobe := 1)").fetchall()
    assert (good[0], poor[0]) == (200, 200)
    assert 0.95 < good[1] <= 1
    assert poor[1] < good[1]


def test_names_are_given_and_taken_in_sql(con: Any, indexes: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "texts.arrow")
    indexes["texts"].save(path)
    told = con.execute("SELECT name, path, rows FROM ruvector_register('mine', ?)", [path]).fetchall()
    assert told == [("mine", path, 2000)]
    assert con.execute("SELECT count(*) FROM ruvector_knn('mine', ?, k := 3)", [[0.0] * 32]).fetchall() == [
        (3,)
    ]
    assert con.execute("SELECT * FROM ruvector_unregister('mine')").fetchall() == [("mine",)]
    with pytest.raises(duckdb.Error, match='the path of a saved one, got "mine"'):
        con.execute("SELECT * FROM ruvector_knn('mine', [0.0])")


def test_a_path_is_as_good_as_a_name(con: Any, indexes: Any, docs: Vectors, tmp_path: Path) -> None:
    path = str(tmp_path / "docs.arrow")
    indexes["texts"].save(path)
    query = f"SELECT count(*), min(id)::VARCHAR FROM ruvector_knn('{path}', ?, k := 5000)"
    assert con.execute(query, [docs[0]]).fetchall() == [(2000, "doc 0")]
    rv.build(docs[:9]).save(path)
    assert con.execute(query, [docs[0]]).fetchall() == [(9, "0")], (
        "replaced, with other ids, for the next statement"
    )


def test_a_plan_streams_the_left_side(con: Any) -> None:
    """DuckDB before 2.0 puts every correlated function behind a join of its distinct queries."""
    join = "SELECT q.id, n.* FROM queries q, ruvector_knn('texts', q.v) n WHERE q.id > 3"
    ((_, plan),) = con.execute(f"EXPLAIN {join}").fetchall()
    assert "unnest" in plan.lower()
    if MODERN:
        assert "join" not in plan.lower()
        assert "cross" not in plan.lower()
        assert plan.lower().index("unnest") < plan.lower().index("filter") < plan.lower().index("scan")


def test_cursors_see_names_and_get_the_functions_by_register(con: Any) -> None:
    cursor = con.cursor()
    rv.duckdb.register(cursor)
    count = "SELECT count(*) FROM ruvector_knn('texts', ?, k := 4)"
    assert cursor.execute(count, [[0.0] * 32]).fetchall() == [(4,)]
    rv.duckdb.register(cursor, more=rv.build([[0.0] * 32]))
    assert con.execute(count.replace("texts", "more"), [[0.0] * 32]).fetchall() == [(1,)]
    cursor.close()
    rv.duckdb.unregister(con, "more")
    with pytest.raises(
        rv.InvalidParameter, match=r'^name: expected the name of a registered index, got "more"$'
    ):
        rv.duckdb.unregister(con, "more")


def test_registering_again_changes_nothing_else(con: Any, indexes: Any) -> None:
    con.execute("BEGIN")
    con.execute("CREATE TABLE kept AS SELECT 1 AS one")
    for _ in range(3):
        rv.duckdb.register(con, **indexes)
    con.execute("COMMIT")
    assert con.execute("SELECT one FROM kept").fetchall() == [(1,)]
    assert con.execute("SELECT count(*) FROM ruvector_knn('texts', ?)", [[0.0] * 32]).fetchall() == [(10,)]
    rows: Any = [[0.0]]
    with pytest.raises(
        rv.InvalidParameter, match=r"^docs: expected an index, a lake or a collection of one, got list$"
    ):
        rv.duckdb.register(con, docs=rows)


def test_two_databases_have_names_of_their_own(con: Any) -> None:
    with duckdb.connect() as other:
        rv.duckdb.register(other, texts=rv.build([[0.0] * 32]))
        count = "SELECT count(*) FROM ruvector_knn('texts', ?, k := 5)"
        found = [each.execute(count, [[0.0] * 32]).fetchall()[0][0] for each in (con, other)]
    assert found == [5, 1]


def test_a_closed_database_lets_go_of_file_and_index(tmp_path: Path) -> None:
    import gc
    import weakref

    path = str(tmp_path / "a.duckdb")
    con = duckdb.connect(path)
    rv.duckdb.register(con, docs=rv.build([[0.0]]))
    con.execute("SELECT * FROM ruvector_knn('docs', [0.0])").fetchall()
    door = weakref.ref(max(registering._doors.items())[1])
    assert door() is not None
    con.close()
    del con
    gc.collect()
    assert door() is None
    with duckdb.connect(path, read_only=True) as again:
        rv.duckdb.register(again, docs=rv.build([[0.0]]))
        assert again.execute("SELECT * FROM ruvector_knn('docs', [0.0])").fetchall() == [(0, 0.0)]


def test_the_wheel_brings_the_macros_that_the_repository_shows() -> None:
    shown = Path(__file__).parents[2] / "sql" / "duckdb" / "python"
    texts = {file.stem: file.read_text(encoding="utf-8") for file in shown.glob("*.sql")}
    assert sorted(texts) == sorted(MACROS)
    assert [texts[name] for name in MACROS] == macros()
    assert (resources.files("ruvector.duckdb") / "sql").is_dir()


@pytest.mark.parametrize("module", [building, registering])
def test_examples_of_the_docstrings_run(module: Any) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    done = doctest.testmod(module, optionflags=flags)
    assert (done.failed, done.attempted) == (0, len(module_examples(module)))
    assert done.attempted > 0


def module_examples(module: Any) -> list[doctest.Example]:
    """The lines that a module's docstrings show."""
    return [example for test in doctest.DocTestFinder().find(module) for example in test.examples]
