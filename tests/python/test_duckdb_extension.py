"""The loadable extension of DuckDB answers what the Python package answers, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.python.conftest import Loaded, Vectors

IDS: dict[str, Any] = {
    "int64": np.arange(2000) * 3 - 1000,
    "uint64": np.arange(2000, dtype=np.uint64) + np.uint64(2**63),
    "string": [f"row {at:04}, {'with more than twelve bytes' if at % 2 else ''}" for at in range(2000)],
}


@pytest.fixture(params=["l2sq", "l2", "cosine", "ip"])
def metric(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=sorted(IDS))
def index(
    request: pytest.FixtureRequest, metric: Any, docs: Vectors, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[rv.Index]:
    path = tmp_path_factory.mktemp("saved") / "docs.rbpx"
    rv.build(docs, ids=IDS[request.param], metric=metric, nlist=40, bits=2).save(path, vectors="f32")
    with rv.open(path) as opened:
        yield opened


def pairs(hits: rv.Hits) -> list[list[tuple[Any, float]]]:
    return [
        [(hit["id"], hit["distance"]) for hit in row or []] for row in pa.array(hits.nested()).to_pylist()
    ]


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    (", nprobe := 3", {"nprobe": 3}),
    (", recall := 0.5", {"recall": 0.5}),
    (", exact := true", {"exact": True}),
    (", epsilon := 0.5, nprobe := 2", {"epsilon": 0.5, "nprobe": 2}),
    (", rerank := false", {"rerank": False}),
]


@pytest.mark.parametrize(("written", "given"), OPTIONS)
def test_each_row_of_a_table_has_the_neighbours_that_python_finds(
    loaded: Loaded, index: rv.Index, queries: Vectors, written: str, given: dict[str, Any]
) -> None:
    loaded.table("queries", v=pa.FixedSizeListArray.from_arrays(pa.array(queries.ravel()), 32))
    expected = pairs(index.search(queries, k=7, **given))
    found = loaded.rows(
        f"SELECT q.id, n.id, n.distance FROM queries q, ruvector_knn('{index.path}', q.v, k := 7{written}) n "
        "ORDER BY 1, 3, 2"
    )
    assert found == [(at, *hit) for at, row in enumerate(expected) for hit in row]
    for at in (0, 13):
        literal = loaded.rows(
            f"SELECT * FROM system.main.ruvector_knn('{index.path}', $1, k := 7{written})",
            [queries[at].tolist()],
        )
        assert literal == expected[at]


def test_the_type_of_the_ids_is_the_index_s(loaded: Loaded, index: rv.Index) -> None:
    names = {"int64": "BIGINT", "uint64": "UBIGINT", "str": "VARCHAR"}
    for function in ("ruvector_knn", "system.main.ruvector_knn"):
        described = loaded.rows(f"DESCRIBE SELECT * FROM {function}('{index.path}', NULL)")
        assert [(row[0], row[1]) for row in described] == [
            ("id", names[index.id_type]),
            ("distance", "FLOAT"),
        ]


@pytest.mark.parametrize("type_", ["FLOAT[32]", "FLOAT[]", "DOUBLE[32]", "DOUBLE[]"])
def test_vectors_of_all_four_types_mean_the_same(
    loaded: Loaded, saved: rv.Index, queries: Vectors, type_: str
) -> None:
    loaded.table("given", v=pa.array(queries.tolist(), pa.list_(pa.float64())))
    loaded.con.execute(f"CREATE TABLE queries AS SELECT id, v::{type_} AS v FROM given")
    loaded.con.execute("UPDATE queries SET v = NULL WHERE id IN (3, 19)")
    found = loaded.rows(
        f"SELECT q.id, list((n.id, n.distance) ORDER BY n.distance, n.id) "
        f"FROM queries q, ruvector_knn('{saved.path}', q.v, k := 3) n GROUP BY 1 ORDER BY 1"
    )
    expected = pairs(saved.search(queries, k=3))
    assert found == [(at, expected[at]) for at in range(20) if at not in (3, 19)]
    lists = loaded.rows(f"SELECT ruvector_search('{saved.path}', v, 3) FROM queries ORDER BY id")
    assert [row[0] is None for row in lists] == [at in (3, 19) for at in range(20)]


def test_ranges_are_those_of_python(loaded: Loaded, saved: rv.Index, queries: Vectors) -> None:
    radius = float(saved.search(queries, k=60).to_numpy()[1][:, -1].max())
    loaded.table("queries", v=pa.FixedSizeListArray.from_arrays(pa.array(queries.ravel()), 32))
    expected = pairs(saved.within(queries, radius=radius, exact=True))
    assert sum(map(len, expected)) > 20 * 60
    found = loaded.rows(
        f"SELECT q.id, n.id, n.distance FROM queries q, "
        f"ruvector_within('{saved.path}', q.v, {radius!r}, exact := true) n ORDER BY 1, 3, 2"
    )
    assert found == [(at, *hit) for at, row in enumerate(expected) for hit in row]
    literal = f"SELECT * FROM system.main.ruvector_within('{saved.path}', $1, {radius!r}, exact := true)"
    assert loaded.rows(literal, [queries[5].tolist()]) == expected[5]


def test_lists_of_hits_are_values(loaded: Loaded, index: rv.Index, queries: Vectors) -> None:
    loaded.table("queries", v=pa.FixedSizeListArray.from_arrays(pa.array(queries.ravel()), 32))
    expected = pairs(index.search(queries, k=4, nprobe=2))
    texts = [[{"id": str(id_), "distance": distance} for id_, distance in row] for row in expected]
    for call in (
        f"ruvector_search_text('{index.path}', v, 4, nprobe := 2)",
        f"system.main.ruvector_search_text('{index.path}', v, 4, {{'nprobe': 2}})",
    ):
        assert [row[0] for row in loaded.rows(f"SELECT {call} FROM queries ORDER BY id")] == texts
    numbers = f"SELECT ruvector_search('{index.path}', v, 4, nprobe := 2) FROM queries ORDER BY id"
    if index.id_type == "int64":
        ints = [[{"id": id_, "distance": distance} for id_, distance in row] for row in expected]
        assert [row[0] for row in loaded.rows(numbers)] == ints
    else:
        with pytest.raises(
            loaded.error, match=r"expected one with int64 ids \(ruvector_search_text takes any\)"
        ):
            loaded.rows(numbers)


def test_rows_of_one_chunk_may_ask_different_things(
    loaded: Loaded, saved: rv.Index, queries: Vectors
) -> None:
    loaded.table(
        "queries",
        v=pa.FixedSizeListArray.from_arrays(pa.array(queries.ravel()), 32),
        k=pa.array([1 + at % 5 for at in range(20)]),
        nprobe=pa.array([None if at % 3 else at % 4 + 1 for at in range(20)], pa.int64()),
    )
    found = loaded.rows(
        f"SELECT system.main.ruvector_search('{saved.path}', v, k, {{'nprobe': nprobe}}) "
        "FROM queries ORDER BY id"
    )
    for at in range(20):
        nprobe = None if at % 3 else at % 4 + 1
        expected = pairs(saved.search(queries[at], k=1 + at % 5, nprobe=nprobe))[0]
        assert [(hit["id"], hit["distance"]) for hit in found[at][0]] == expected


def test_filters_are_ids_or_booleans(loaded: Loaded, index: rv.Index, queries: Vectors) -> None:
    ids = list(IDS["string" if index.id_type == "str" else index.id_type])
    allowed = [id_ if isinstance(id_, str) else int(id_) for id_ in ids[::50]]
    mask = [at % 50 == 0 for at in range(2000)]
    expected = pairs(index.search(queries, k=5, filter=np.array(mask)))
    loaded.table("queries", v=pa.FixedSizeListArray.from_arrays(pa.array(queries.ravel()), 32))
    keys = pa.array(allowed, pa.uint64() if index.id_type == "uint64" else None)
    loaded.table("allowed", key=keys)
    loaded.table("flags", flag=pa.array(mask))
    for written in (
        "(SELECT list(key) FROM allowed)",
        "(SELECT list(flag ORDER BY id) FROM flags)",
    ):
        found = loaded.rows(
            f"SELECT q.id, n.id, n.distance FROM queries q, "
            f"ruvector_knn('{index.path}', q.v, k := 5, filter := {written}) n ORDER BY 1, 3, 2"
        )
        assert found == [(at, *hit) for at, row in enumerate(expected) for hit in row]
        scalar = loaded.rows(
            f"SELECT system.main.ruvector_search_text('{index.path}', v, 5, {{'filter': {written}}}) "
            "FROM queries ORDER BY id"
        )
        assert [[hit["id"] for hit in row[0]] for row in scalar] == [
            [str(hit[0]) for hit in row] for row in expected
        ]
    literal = f"SELECT * FROM system.main.ruvector_knn('{index.path}', $1, k := 5, filter := $2)"
    for filter_ in (allowed, mask):
        assert loaded.rows(literal, [queries[0].tolist(), filter_]) == expected[0]
    for nobody in ("[]", "NULL::BIGINT[]", "[]::BOOLEAN[]"):
        assert loaded.rows(literal.replace("$2", nobody), [queries[0].tolist()]) == []
        macro = f"SELECT * FROM ruvector_knn('{index.path}', $1, k := 5, filter := {nobody})"
        assert loaded.rows(macro, [queries[0].tolist()]) == []
    nothing = "(SELECT list(key) FROM allowed WHERE false)"
    macro = f"SELECT n.* FROM queries q, ruvector_knn('{index.path}', q.v, filter := {nothing}) n"
    assert loaded.rows(macro) == []
    assert len(loaded.rows(literal.replace("$2", "NULL"), [queries[0].tolist()])) == 5


def test_distances_are_those_of_an_exact_search(
    loaded: Loaded, metric: Any, docs: Vectors, queries: Vectors
) -> None:
    loaded.table("docs", v=pa.FixedSizeListArray.from_arrays(pa.array(docs.ravel()), 32))
    found = loaded.rows(
        f"SELECT ruvector_distance($1, v, '{metric}') FROM docs ORDER BY id", [queries[0].tolist()]
    )
    assert [row[0] for row in found] == pa.array(rv.distance(queries[0], docs, metric)).to_pylist()
    assert loaded.rows("SELECT ruvector_distance(NULL, [1.0], 'l2'), ruvector_distance([1], NULL, 'l2')") == [
        (None, None)
    ]


@pytest.mark.parametrize("bits", [1, 4, 9])
def test_codes_of_vectors_are_those_of_python(loaded: Loaded, docs: Vectors, bits: int) -> None:
    loaded.table("docs", v=pa.FixedSizeListArray.from_arrays(pa.array(docs[:50].ravel()), 32))
    loaded.con.execute("UPDATE docs SET v = NULL WHERE id = 7")
    found = loaded.rows(f"SELECT ruvector_quantize(v, bits := {bits}, seed := 3) FROM docs ORDER BY id")
    expected = pa.array(rv.quantize(docs[:50], bits=bits, seed=3)).to_pylist()
    expected[7] = None
    assert [row[0] for row in found] == expected


def test_an_index_tells_what_it_is(loaded: Loaded, index: rv.Index) -> None:
    (row,) = loaded.rows(f"SELECT * FROM ruvector_register('docs', '{index.path}')")
    assert loaded.rows("SELECT * FROM ruvector_index_info('docs')") == [row]
    id_type = {"str": "string"}.get(index.id_type, index.id_type)
    told = ("docs", index.path, len(index), index.dim, index.metric, 2, 40, id_type, "stored", 0)
    assert row[:10] == told
    assert row[11] == index.mapped_bytes
    assert loaded.rows("SELECT * FROM ruvector_unregister('docs')") == [("docs",)]


def test_recall_is_measured(loaded: Loaded, saved: rv.Index) -> None:
    everywhere = f"SELECT * FROM ruvector_recall('{saved.path}', nprobe := 40, epsilon := 8)"
    assert loaded.rows(everywhere) == [(200, 1.0)]
    ((queries, recall),) = loaded.rows(f"SELECT * FROM ruvector_recall('{saved.path}', k := 50, nprobe := 1)")
    assert queries == 200
    assert 0.05 < recall < 0.9


def test_only_columns_that_are_read_are_written(loaded: Loaded, saved: rv.Index, queries: Vectors) -> None:
    path, query = saved.path, queries[0].tolist()
    hits = pairs(saved.search(queries[0], k=3))[0]
    call = f"system.main.ruvector_knn('{path}', $1, k := 3)"
    assert loaded.rows(f"SELECT distance FROM {call}", [query]) == [(hit[1],) for hit in hits]
    assert loaded.rows(f"SELECT distance, id, distance FROM {call}", [query]) == [
        (hit[1], hit[0], hit[1]) for hit in hits
    ]
    assert loaded.rows(f"SELECT count(*) FROM {call}", [query]) == [(3,)]


def test_many_hits_come_in_many_chunks(loaded: Loaded, saved: rv.Index, docs: Vectors) -> None:
    path = saved.path
    call = f"SELECT count(*), count(DISTINCT id) FROM system.main.ruvector_knn('{path}', $1, k := 10000)"
    assert loaded.rows(call, [docs[0].tolist()]) == [(2000, 2000)]
    loaded.table("docs", v=pa.FixedSizeListArray.from_arrays(pa.array(docs.ravel()), 32))
    call = f"SELECT count(*), count(n.id), min(n.id) FROM docs d, ruvector_knn('{path}', d.v, k := 100) n"
    assert loaded.rows(call) == [(200_000, 200_000, -1000)]


MADE = [
    "v",
    "v[1:16:1]",
    "v[16:1:-1]",
    "list_reverse(v)",
    "list_sort(v)",
    "list_concat(v[1:8], v[9:16])",
    "[x + 1 FOR x IN v]",
    "[x FOR x IN v IF x = x]",
    "s.v",
    "nested[1]",
    "nested[1 + id % 2]",
    "list_value(v[1], v[2], id::FLOAT, 0.5)",
    "array_value(v[1], id::FLOAT, 0.5::FLOAT)",
    "CASE WHEN id % 3 = 0 THEN v ELSE [0.25 FOR x IN range(16)] END",
    "coalesce(CASE WHEN id % 5 = 0 THEN NULL ELSE v END, v)",
    "v::FLOAT[16]",
    "v::DECIMAL(18, 6)[]",
    "CAST(v AS VARCHAR)::FLOAT[]",
    "map_values(MAP {'a': v, 'b': v})[1]",
    "(SELECT list(x ORDER BY x) FROM (SELECT unnest(v) AS x))",
    "[id, id + 1, NULL][1:2]",
    "id_list",
]


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("rows", ["", "WHERE id % 7 = 3", "WHERE id % 900 = 5 OR id > 2900"])
def test_a_vector_is_what_it_is_however_it_was_made(loaded: Loaded, made: str, rows: str) -> None:
    loaded.con.execute("SELECT setseed(0.5)")
    loaded.con.execute(
        "CREATE TABLE t AS SELECT id, v, {'v': v} AS s, [v, v] AS nested, [id, 7] AS id_list "
        "FROM (SELECT i AS id, [random() FOR x IN range(16)]::FLOAT[] AS v FROM range(3000) r(i))"
    )
    found = loaded.rows(
        f"SELECT m, ruvector_distance(m, m::FLOAT[], 'l2'), ruvector_distance(m, [0 FOR x IN m], 'l2') "
        f"FROM (SELECT id, {made} AS m FROM t {rows})"
    )
    assert found
    for vector, own, far in found:
        assert own == 0.0
        assert far == pytest.approx(sum(float(x) ** 2 for x in vector) ** 0.5, rel=1e-5)
