"""What the SQL doors share: the catalog, pins, options, and the functions over columns."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv
from ruvector import _sql
from ruvector._sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.python.conftest import Vectors

FORMS: dict[str, Callable[[Any], Any]] = {
    "FLOAT[n]": lambda rows: pa.array(list(rows), pa.list_(pa.float32(), 32)),
    "FLOAT[]": lambda rows: pa.array(list(rows), pa.list_(pa.float32())),
    "DOUBLE[n]": lambda rows: pa.array(list(rows.astype("f8")), pa.list_(pa.float64(), 32)),
    "DOUBLE[]": lambda rows: pa.array(list(rows.astype("f8")), pa.list_(pa.float64())),
    "large": lambda rows: pa.array(list(rows.astype("f8")), pa.large_list(pa.float64())),
    "half": lambda rows: pa.array(list(rows.astype("f2")), pa.list_(pa.float16(), 32)),
    "chunks": lambda rows: pa.chunked_array([pa.array(list(rows[:7])), pa.array(list(rows[7:]))]),
    "no chunk": lambda _: pa.chunked_array([], pa.list_(pa.float32(), 32)),
}


def pin(index: rv.Index) -> _sql.Pin:
    catalog = _sql.Catalog()
    catalog.register("docs", index)
    return catalog.pin("docs")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_vector_is_read(form: str, docs: Vectors, queries: Vectors) -> None:
    index, column = rv.build(docs), FORMS[form](queries)
    found = _sql.search(_sql.Asked.nearest(pin(index), 5), column)
    asked = queries.astype("f2").astype("f4") if form == "half" else queries
    expected = index.search(asked, k=5).nested()
    assert found.to_pylist() == (pa.array(expected).to_pylist() if form != "no chunk" else [])
    assert found.type == pa.list_(pa.struct([("id", pa.int64()), ("distance", pa.float32())]))


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        (None, pa.int64()),
        (np.arange(2000, dtype=np.uint64) + np.uint64(2**63), pa.uint64()),
        ([f"doc {row}" for row in range(2000)], pa.string()),
    ],
)
def test_ids_are_of_the_type_that_the_index_has(ids: Any, kind: Any, docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs, ids)
    found = _sql.search(_sql.Asked.nearest(pin(index), 3), FORMS["FLOAT[]"](queries))
    assert found.type.value_type.field("id").type == kind
    assert [hit["id"] for hits in found.to_pylist() for hit in hits] == [
        one for row in index.search(queries, k=3).to_numpy()[0].tolist() for one in row
    ]


def test_null_queries_have_no_answer(docs: Vectors) -> None:
    asked = _sql.Asked.nearest(pin(rv.build(docs)), 1)
    some = pa.array([docs[0], None, docs[1]], pa.list_(pa.float32()))
    assert [hits and hits[0]["id"] for hits in _sql.search(asked, some).to_pylist()] == [0, None, 1]
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float64(), 32)):
        assert _sql.search(asked, pa.nulls(2, kind)).to_pylist() == [None, None]
        nothing = _sql.within(_sql.Asked.within(asked.pin), pa.nulls(2, kind), pa.array([1.0, 2.0]))
        assert nothing.to_pylist() == [None, None]
        metrics = pa.array(["l2", "ip"])
        assert _sql.distance(pa.nulls(2, kind), some.slice(0, 2), metrics).to_pylist() == [None, None]
        assert _sql.quantize(pa.nulls(1, kind), pa.array([1]), pa.array([0])).to_pylist() == [None]


def test_options_may_differ_from_row_to_row(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs)
    radius = np.repeat([10.0, 20.0, 30.0, 40.0], 5)
    mixed = np.random.default_rng(0).permutation(radius)
    found = _sql.within(_sql.Asked.within(pin(index), exact=True), FORMS["FLOAT[]"](queries), pa.array(mixed))
    for query, each, hits in zip(queries, mixed, found.to_pylist(), strict=True):
        assert [hit["id"] for hit in hits] == index.within(query, each, exact=True).to_numpy()[0][0].tolist()
    column, metrics = FORMS["FLOAT[]"](queries), ["l2", "ip", "cosine", "l2sq"] * 5
    measured = _sql.distance(column, column.take(pa.array(range(19, -1, -1))), pa.array(metrics)).to_pylist()
    for row, metric in enumerate(metrics):
        one = rv.distance(queries[row], queries[19 - row], metric)  # type: ignore[arg-type]
        assert measured[row] == pa.array(one)[0].as_py()
    codes = _sql.quantize(column, pa.array([1, 3] * 10), pa.array([0, 1, 2, 3] * 5)).to_pylist()
    assert codes[6] == pa.array(rv.quantize(queries[6], 1, 2))[0].as_py()
    assert codes[7] == pa.array(rv.quantize(queries[7], 3, 3))[0].as_py()


def test_a_pin_outlives_every_change(docs: Vectors, queries: Vectors) -> None:
    catalog, index = _sql.Catalog(), rv.build(docs)
    catalog.register("docs", index)
    pinned = catalog.pin("docs")
    asked = _sql.Asked.nearest(pinned, 5)
    before = _sql.search(asked, FORMS["FLOAT[n]"](queries))
    index.delete(range(1000))
    catalog.register("docs", rv.build(docs[:10]))
    index.close()
    assert _sql.search(asked, FORMS["FLOAT[n]"](queries)).equals(before)
    assert len(catalog.pin("docs").index) == 10
    catalog.unregister("docs")
    assert _sql.search(asked, FORMS["FLOAT[n]"](queries)).equals(before)


def test_a_file_is_opened_once_and_again_when_it_was_replaced(docs: Vectors, tmp_path: Path) -> None:
    catalog, path = _sql.Catalog(), tmp_path / "docs.arrow"
    rv.build(docs).save(path)
    first = catalog.pin(str(path))
    assert catalog.find(str(path)) is catalog.find(str(path))
    rv.build(docs[:10]).save(path)
    assert (len(first.index), len(catalog.pin(str(path)).index)) == (2000, 10)
    assert first.path == str(path)
    os.utime(path, (1, 1))
    assert len(catalog.pin(str(path)).index) == 10
    path.unlink()
    with pytest.raises(rv.InvalidParameter, match="the path of a saved one"):
        catalog.pin(str(path))


def test_a_name_comes_before_a_path(docs: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rv.build(docs).save("docs")
    catalog = _sql.Catalog()
    assert len(catalog.pin("docs").index) == 2000
    catalog.register("docs", rv.build(docs[:5]))
    assert (len(catalog.pin("docs").index), catalog.names()) == (5, ["docs"])
    catalog.unregister("docs")
    assert len(catalog.pin("docs").index) == 2000


def test_what_is_no_name_is_refused(docs: Vectors) -> None:
    catalog = _sql.Catalog()
    with pytest.raises(rv.InvalidParameter, match=r"^name: expected at least one character"):
        catalog.register("", rv.build(docs))
    with pytest.raises(
        rv.InvalidParameter, match=r'^name: expected the name of a registered index, got "x"$'
    ):
        catalog.unregister("x")


def test_a_statement_sees_one_state_and_the_next_statement_the_next(docs: Vectors) -> None:
    catalog = _sql.Catalog()
    running = _sql.Statements(catalog)
    catalog.register("docs", rv.build(docs[:10]))
    first = running.pin("1", "a", "docs")
    token = running.ask("1", "a", ("docs", 5), lambda: _sql.Asked.nearest(running.pin("1", "a", "docs"), 5))
    catalog.register("docs", rv.build(docs[:20]))
    assert running.pin("1", "a", "docs") is first
    again = running.ask("1", "a", ("docs", 5), lambda: pytest.fail("asked before"))
    assert (again, running.asked(token).pin) == (token, first)
    assert len(running.pin("2", "a", "docs").index) == 20, "another connection, another statement"
    assert running.pin("1", "a", "docs") is first
    assert len(running.pin("1", "b", "docs").index) == 20
    with pytest.raises(rv.InvalidParameter, match=r"^index: expected one that the statement still holds"):
        running.asked(token)


def test_a_statement_that_asks_nothing_more_is_let_go(docs: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = _sql.Catalog()
    catalog.register("docs", rv.build(docs))
    running = _sql.Statements(catalog)
    running.pin("1", "a", "docs")
    running.pin("2", "a", "docs")
    assert len(running._running) == 2
    monkeypatch.setattr(statements, "KEEP", -1.0)
    running.pin("3", "a", "docs")
    assert list(running._running) == ["3"]


def test_threads_of_one_statement_agree(docs: Vectors) -> None:
    catalog = _sql.Catalog()
    catalog.register("docs", rv.build(docs[:50]))
    running, done = _sql.Statements(catalog), threading.Event()
    others = [rv.build(docs[: 50 + size]) for size in range(4)]

    def replace() -> None:
        while not done.is_set():
            for index in others:
                catalog.register("docs", index)

    replacing = threading.Thread(target=replace)
    replacing.start()
    try:
        for statement in range(200):
            barrier, seen = threading.Barrier(4), list[int]()

            def ask(key: str, barrier: threading.Barrier, seen: list[int]) -> None:
                barrier.wait()
                make = lambda: _sql.Asked.nearest(running.pin("1", key, "docs"), 5)  # noqa: E731
                seen.append(id(running.asked(running.ask("1", key, 5, make)).pin))

            asking = [threading.Thread(target=ask, args=(str(statement), barrier, seen)) for _ in range(4)]
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
            assert len(seen) == 4
            assert len(set(seen)) == 1
    finally:
        done.set()
        replacing.join()


def test_filters_are_ids_or_booleans(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs)
    pinned, column = pin(index), FORMS["FLOAT[n]"](queries)

    def found(rows: Any) -> set[int]:
        hits = _sql.search(_sql.Asked.nearest(pinned, 3, filter=rows), column).to_pylist()
        return {hit["id"] for each in hits for hit in each}

    assert found(pa.array([5, None, 7, 10**6])) == {5, 7}
    assert found(pa.array([True, None] + [False] * 1998)) == {0}
    assert found(pa.array([5], pa.int32())) == {5}
    assert found(pa.array([], pa.int64())) == found(pa.nulls(0)) == found(pa.nulls(4)) == set()
    with pytest.raises(rv.InvalidVectorType, match=r"^filter: "):
        found(pa.array(["5"]))


def test_an_index_is_built_of_batches(docs: Vectors, tmp_path: Path) -> None:
    passes = list[int]()

    def batches() -> Any:
        passes.append(1)
        for start in range(0, 2000, 500):
            part = slice(start, start + 500)
            yield pa.table(
                {"v": pa.array(list(docs[part].astype("f8"))), "key": pa.array(range(start, start + 500))}
            )

    path = str(tmp_path / "docs.arrow")
    built = _sql.build(batches, column="v", id="key", path=path, metric="cosine", bits=2, vectors="f16")
    told = _sql.info(_sql.Catalog().pin(path))
    assert (told["rows"], told["dim"], told["metric"], told["bits"]) == (2000, 32, "cosine", 2)
    assert (told["name"], told["path"], told["id_type"], told["vectors"]) == (path, path, "int64", "stored")
    assert len(passes) == 2
    assert built.search(docs[:5], k=1, exact=True).to_numpy()[0].ravel().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": None}, "column: expected the name of a column, got NULL"),
        ({"column": "w"}, 'column: expected one of "v", "key", got "w"'),
        ({"id": "w"}, 'id: expected one of "v", "key", got "w"'),
        ({"column": "key"}, "key: expected a list of numbers, got int64"),
        ({"metric": "foo"}, 'metric: expected one of l2sq, l2, cosine, ip, got "foo"'),
        ({"vectors": "f64"}, 'vectors: expected one of none, f16, f32, got "f64"'),
        ({"bits": 0}, "bits: expected at least 1, got 0"),
        ({"nlist": 0}, "nlist: expected at least 1, got 0"),
    ],
)
def test_a_build_that_cannot_be_meant_is_refused(options: Any, message: str, tmp_path: Path) -> None:
    table = pa.table({"v": pa.array([[0.0, 1.0]]), "key": pa.array([1])})
    with pytest.raises(rv.RuVectorError) as refused:
        _sql.build(lambda: [table], **{"column": "v", "id": None, "path": str(tmp_path / "x"), **options})
    assert str(refused.value) == message
    assert not (tmp_path / "x").exists()


def test_recall_is_measured_on_rows_of_the_index(docs: Vectors) -> None:
    queries, recall = _sql.measure_recall(pin(rv.build(docs)), 10, None, None, None)
    assert (queries, recall > 0.95) == (200, True)
    assert _sql.measure_recall(pin(rv.build(docs)), 10, None, 1, None)[1] < recall
    assert _sql.measure_recall(pin(rv.build(docs[:7])), 10, 0.9, None, None) == (7, 1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": None}, "k: expected at least 1, got NULL"),
        ({"k": 0}, "k: expected at least 1, got 0"),
        ({"k": -3}, "k: expected at least 1, got -3"),
        ({"recall": 2.0}, "recall: expected above 0, at most 1, got 2"),
        ({"nprobe": 0}, "nprobe: expected at least 1, got 0"),
        ({"nprobe": 2, "exact": True}, "nprobe: expected NULL with exact, got 2"),
        ({"epsilon": -1.0}, "epsilon: expected a finite number, at least 0, got -1"),
        ({"exact": True, "rerank": False}, "rerank: expected true with exact, got false"),
        ({"metric": "cosine"}, "metric: expected l2sq, which the index was built with, got cosine"),
        ({"metric": "foo"}, 'metric: expected one of l2sq, l2, cosine, ip, got "foo"'),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: Any, message: str, docs: Vectors) -> None:
    with pytest.raises(rv.InvalidParameter) as refused:
        _sql.search(
            _sql.Asked.nearest(pin(rv.build(docs)), **{"k": 1, **options}), FORMS["FLOAT[n]"](docs[:1])
        )
    assert str(refused.value) == message


def test_an_option_given_as_null_is_the_default(docs: Vectors, queries: Vectors) -> None:
    pinned, column = pin(rv.build(docs)), FORMS["FLOAT[n]"](queries)
    names = ("recall", "nprobe", "epsilon", "rerank", "exact", "metric", "filter")
    plain = _sql.search(_sql.Asked.nearest(pinned, 5), column)
    assert _sql.search(_sql.Asked.nearest(pinned, 5, **dict.fromkeys(names)), column).equals(plain)


def test_batches_without_a_vector_wait_for_one(docs: Vectors) -> None:
    """Lists that are all null do not tell how wide they are."""
    kind = pa.list_(pa.float64())
    some = pa.array(list(docs[:500].astype("f8")), kind)
    batches = [
        pa.nulls(7, kind),
        pa.nulls(0, kind),
        some,
        pa.nulls(5, kind),
        some.slice(0, 20),
        pa.nulls(1, kind),
    ]
    index = _sql.build(lambda: [pa.table({"v": batch}) for batch in batches], column="v", id=None, path=None)
    assert (len(index), index.null_count) == (520, 13)
    found = index.search(docs[3], k=2, exact=True).to_numpy()[0].ravel().tolist()
    assert found == [7 + 3, 7 + 500 + 5 + 3]
    with pytest.raises(rv.EmptyIndex):
        _sql.build(lambda: [pa.table({"v": pa.nulls(7, kind)})], column="v", id=None, path=None)
