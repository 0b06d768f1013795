"""An index changes under its readers, and every answer is that of one state."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.python.conftest import Clustered, Vectors


def same_as(index: rv.Index, rows: dict[Any, Any], queries: Vectors) -> None:
    """Compare with a table that was changed the plain way."""
    table = np.array(list(rows.values()), np.float32)
    truth = rv.exact_search(table, queries, ids=list(rows), metric=index.metric)
    found = index.search(queries, exact=True)
    assert found.to_numpy()[0].tolist() == truth.to_numpy()[0].tolist()
    assert np.array_equal(found.to_numpy()[1], truth.to_numpy()[1])
    assert rv.recall_at_k(index.search(queries), truth) >= 0.98
    assert (len(index), sorted(index)) == (len(rows), sorted(rows))


@pytest.mark.parametrize("metric", ["l2sq", "l2", "cosine", "ip"])
@pytest.mark.parametrize("ids", ["rows", "int64", "uint64", "str"])
def test_changes_are_those_of_a_dict(
    metric: Any, ids: str, docs: Vectors, clustered: Clustered, tmp_path: Path
) -> None:
    queries = clustered(20, 32, seed=1)
    name: Callable[[int], Any] = (lambda row: f"d{row:05}") if ids == "str" else int
    keys: Any = None if ids == "rows" else [name(row) for row in range(2000)]
    if ids == "uint64":
        keys = np.array(keys, np.uint64)
    index = rv.build(docs, keys, metric=metric)
    rows = {name(row): docs[row] for row in range(2000)}
    more = clustered(6000, 32, seed=5)

    added: Any = [name(row) for row in range(2000, 5000)]
    assert index.add(more[:3000], None if ids == "rows" else added) == (
        range(2000, 5000) if ids == "rows" else None
    )
    rows |= dict(zip(added, more[:3000], strict=True))
    same_as(index, rows, queries)

    gone: Any = [name(row) for row in range(0, 5000, 7)]
    unknown: Any = name(10**6)
    assert index.delete([*gone, unknown]) == len(gone)
    rows = {key: row for key, row in rows.items() if key not in set(gone)}
    same_as(index, rows, queries)

    put: Any = [name(row) for row in range(0, 3000, 2)]
    assert index.upsert(more[3000:4500], put) == sum(key in rows for key in put)
    rows |= dict(zip(put, more[3000:4500], strict=True))
    same_as(index, rows, queries)
    assert np.array_equal(index[put[1]], rows[put[1]])
    assert put[1] in index

    done = index.compact()
    assert (done["rows"], done["retrained"]) == (len(rows), False)
    same_as(index, rows, queries)
    assert index.compact(retrain=True)["retrained"]
    same_as(index, rows, queries)

    index.upsert(more[4500:4510], put[:10])
    rows |= dict(zip(put[:10], more[4500:4510], strict=True))
    index.save(tmp_path / "docs")
    opened = rv.open(tmp_path / "docs")
    assert index == opened == pickle.loads(pickle.dumps(index))
    same_as(opened, rows, queries)
    opened.upsert(more[4510:4520], put[:10])
    rows |= dict(zip(put[:10], more[4510:4520], strict=True))
    assert (opened.path, opened.vectors) == (None, "stored")
    same_as(opened, rows, queries)
    opened.compact()
    same_as(opened, rows, queries)


def test_the_column_stays_borrowed(docs: Vectors) -> None:
    index = rv.build(docs)
    before = index.memory_bytes
    index.add(docs[:10])
    assert index.vectors == "borrowed"
    assert index.memory_bytes - before < docs.nbytes


def test_of_rows_with_one_id_the_last_counts() -> None:
    index = rv.build([[0.0], [1.0]])
    assert index.upsert([[5.0], [6.0], [7.0]], [1, 0, 1]) == 2
    assert (index[0].tolist(), index[1].tolist(), len(index)) == ([6.0], [7.0], 2)
    assert index.add([[8.0]]) == range(2, 3)
    assert list(index) == [1, 0, 2] or sorted(index) == [0, 1, 2]


def test_booleans_are_positions_until_the_order_is_lost(docs: Vectors) -> None:
    numbered, named = rv.build(docs), rv.build(docs, np.arange(2000) + 10)
    for index, first in ((numbered, 0), (named, 10)):
        index.delete([first])
        assert index.search(docs[5], k=2, filter=np.arange(2000) < 6).to_numpy()[0][0, 0] == first + 5
    for index, row in ((numbered, 7), (named, 17)):
        for _ in range(2):
            index.upsert(docs[:1], [row])
            index.compact()
    assert numbered.search(docs[0], k=9, filter=np.arange(2000) == 7).to_numpy()[0].tolist() == [[7]]
    with pytest.raises(
        rv.InvalidParameter, match="filter: expected ids: the rows of this index were reordered"
    ):
        named.search(docs[0], filter=np.arange(2000) == 7)
    assert named.search(docs[0], filter=[17]).to_numpy()[0].tolist() == [[17]]


def test_an_index_of_nothing_can_be_filled_again(docs: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs[:5])
    assert index.delete(range(5)) == 5
    assert len(index.search(docs[:3])) == len(index) == 0
    index.compact()
    with pytest.raises(rv.EmptyIndex, match="all rows were deleted"):
        index.save(tmp_path / "docs")
    assert index.add(docs[:2]) == range(5, 7)
    assert sorted(index) == [5, 6]


def test_merged_indexes_have_the_rows_of_both(docs: Vectors, queries: Vectors) -> None:
    one, two = rv.build(docs[:900]), rv.build(docs[900:], np.arange(1100))
    assert one.merge(two) == range(900, 2000)
    truth = rv.exact_search(docs, queries)
    assert one.search(queries, exact=True).to_arrow().equals(truth.to_arrow())
    with pytest.raises(rv.DuplicateId, match="duplicate id 0: rows 0 and 0"):
        two.merge(one)


def test_polars_searches_the_index_as_it_is_when_the_plan_runs(docs: Vectors) -> None:
    frame = pl.DataFrame({"v": docs[:2]})
    index = rv.build(docs)
    plan = frame.lazy().select(rv.polars.knn("v", index, k=1))
    index.delete([0])
    assert [hit[0]["id"] == row for row, hit in enumerate(plan.collect()["v"].to_list())] == [False, True]


def test_readers_see_whole_states(clustered: Clustered) -> None:
    ids = np.arange(300)
    index = rv.build(np.zeros((300, 8), np.float32), ids)
    done, seen = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            near = index.search(np.zeros(8, np.float32), k=300, exact=True).to_numpy()[1]
            seen.append((near.shape, len(np.unique(near))))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for generation in range(1, 60):
        assert index.upsert(np.full((300, 8), generation, np.float32), ids, threads=1) == 300
        if generation % 10 == 0:
            index.compact(retrain=generation % 20 == 0, threads=1)
    done.set()
    for reader in readers:
        reader.join()
    assert set(seen) == {((1, 300), 1)}
    assert clustered(1, 8).shape == (1, 8)


ROWS: Any = [[0.0, 1.0], [2.0, 3.0]]


def numbered() -> Any:
    return rv.build(ROWS)


def named() -> Any:
    return rv.build(ROWS, ["a", "b"])


BAD: dict[str, tuple[Callable[[], Any], type[rv.RuVectorError], str]] = {
    "no ids": (
        lambda: named().add(ROWS),
        rv.InvalidParameter,
        "ids: expected a column of str ids, as in the index, got none",
    ),
    "ids": (
        lambda: numbered().add(ROWS, [5, 6]),
        rv.InvalidParameter,
        "ids: expected none: this index numbers its rows (upsert replaces them), got a column of ids",
    ),
    "there already": (
        lambda: named().add(ROWS, ["c", "b"]),
        rv.DuplicateId,
        'duplicate id "b": rows 1 and 1',
    ),
    "twice": (lambda: named().add(ROWS, ["c", "c"]), rv.DuplicateId, 'duplicate id "c": rows 0 and 1'),
    "other type": (
        lambda: named().add(ROWS, [1, 2]),
        rv.InvalidVectorType,
        "ids: expected str ids, as in the index, got int64",
    ),
    "too few ids": (
        lambda: named().upsert(ROWS, ["c"]),
        rv.InvalidParameter,
        "ids: expected one id per vector (2), got 1 ids",
    ),
    "too wide": (
        lambda: numbered().add([[1.0, 2.0, 3.0]]),
        rv.DimensionMismatch,
        "dimension mismatch: the index has 2, vectors has 3",
    ),
    "nan": (
        lambda: numbered().upsert([[1.0, float("nan")]], [0]),
        rv.InvalidVector,
        "vectors, row 0: element 1 is NaN, expected a finite number",
    ),
    "null": (
        lambda: numbered().upsert([[1.0, 2.0], None], [0, 1]),
        rv.InvalidVector,
        "vectors, row 1: is null, expected a vector (delete takes rows out)",
    ),
    "never given": (
        lambda: numbered().upsert(ROWS, [0, 2]),
        rv.InvalidParameter,
        "ids: expected row numbers below 2, got 2",
    ),
    "delete text": (
        lambda: numbered().delete(["a"]),
        rv.InvalidVectorType,
        "ids: expected int64 ids, as in the index, got str",
    ),
    "delete all": (
        lambda: numbered().delete("all"),
        rv.InvalidVectorType,
        "ids: expected an arrow column, a numpy array or a list of integers or strings, got str",
    ),
    "unknown": (lambda: numbered()[2], rv.UnknownId, "unknown id 2"),
    "unknown text": (lambda: numbered()["a"], rv.UnknownId, "unknown id 'a'"),
    "unknown object": (lambda: numbered()[None], rv.UnknownId, "unknown id None"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_changes_are_refused(case: str) -> None:
    change, error, message = BAD[case]
    with pytest.raises(error) as caught:
        change()
    assert str(caught.value) == message


def test_an_unknown_id_is_a_key_error_that_can_be_pickled() -> None:
    with pytest.raises(KeyError) as caught:
        numbered()[9]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.id, again.code) == ("unknown id 9", "9", "unknown_id")


def test_a_closed_index_does_not_change() -> None:
    index = numbered()
    index.close()
    uses: list[Callable[[], Any]] = [
        lambda: index.add(ROWS),
        lambda: index.upsert(ROWS, [0, 1]),
        lambda: index.delete([0]),
        index.compact,
        lambda: index.merge(numbered()),
        lambda: 0 in index,
        lambda: index[0],
        lambda: list(index),
    ]
    for use in uses:
        with pytest.raises(rv.InvalidParameter, match="index: expected an open one, got one that is closed"):
            use()
