"""Bad input: each a typed error that names the column, the row, what was got and what was expected."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.conftest import Vectors

# What is wrong on purpose has no type.
GOOD: Any = np.arange(12, dtype=np.float32).reshape(4, 3)
build: Any = rv.build
exact_search: Any = rv.exact_search


def column(rows: list[Any], dtype: pa.DataType) -> pa.Table:
    return pa.table({"embedding": pa.array(rows, dtype)})


def with_value(value: float) -> Vectors:
    rows: Vectors = GOOD.copy()
    rows[2, 1] = value
    return rows


class Exporter:
    """An Arrow stream that fails when it is read."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        def batches() -> Any:
            yield pa.record_batch({"v": pa.array([[1.0]], pa.list_(pa.float32(), 1))})
            raise RuntimeError("the disk is gone")

        schema = pa.schema({"v": pa.list_(pa.float32(), 1)})
        return pa.RecordBatchReader.from_batches(schema, batches()).__arrow_c_stream__(requested_schema)


# name: what is done, the class, the message
BUILD: dict[str, tuple[Callable[[], Any], type[rv.RuVectorError], str]] = {
    "nan": (
        lambda: build(with_value(np.nan)),
        rv.InvalidVector,
        "vectors, row 2: element 1 is NaN, expected a finite number",
    ),
    "infinity": (
        lambda: build(column(with_value(-np.inf).tolist(), pa.list_(pa.float32(), 3))),
        rv.InvalidVector,
        "embedding, row 2: element 1 is -inf, expected a finite number",
    ),
    "null element": (
        lambda: build(column([[1, 2], [3, None]], pa.list_(pa.float32(), 2))),
        rv.InvalidVector,
        "embedding, row 1: element 1 is null, expected a number",
    ),
    "unequal lengths": (
        lambda: build(column([[1, 2], [3]], pa.list_(pa.float32()))),
        rv.InvalidVector,
        "embedding, row 1: has 1 elements, expected 2 as in the rows before",
    ),
    "unequal lists": (
        lambda: build([[1, 2], [3, 4], [5, 6, 7]]),
        rv.InvalidVector,
        "vectors, row 2: has 3 elements, expected 2 as in the rows before",
    ),
    "only nulls": (
        lambda: build(column([None, None], pa.list_(pa.float32(), 2))),
        rv.EmptyIndex,
        "empty index: embedding has no vector that is not null",
    ),
    "empty array": (
        lambda: build(GOOD[:0]),
        rv.EmptyIndex,
        "empty index: vectors has no vector that is not null",
    ),
    "empty frame": (
        lambda: build(pl.DataFrame(schema={"v": pl.Array(pl.Float32, 3)})),
        rv.EmptyIndex,
        "empty index: v has no vector that is not null",
    ),
    "empty list": (
        lambda: build([]),
        rv.EmptyIndex,
        "empty index: vectors has no row that tells its dimension",
    ),
    "no dimensions": (
        lambda: build(np.zeros((4, 0), np.float32)),
        rv.InvalidParameter,
        "vectors: dimensions: expected 1 to 65535, got 0",
    ),
    "float64": (
        lambda: build(GOOD.astype(np.float64)),
        rv.InvalidVectorType,
        "vectors: expected float32 or float16 (call .astype(numpy.float32)), got float64",
    ),
    "big endian": (
        lambda: build(GOOD.astype(">f4")),
        rv.InvalidVectorType,
        "vectors: expected float32 or float16 (call .astype(numpy.float32)), got >f4",
    ),
    "objects": (
        lambda: build(GOOD.astype(object)),
        rv.InvalidVectorType,
        "vectors: expected float32 or float16 (call .astype(numpy.float32)), got object",
    ),
    "dates": (
        lambda: build(np.zeros((2, 2), "M8[D]")),
        rv.InvalidVectorType,
        "expected float32 or float16 (call .astype(numpy.float32)), got numpy.ndarray of datetime64[D]",
    ),
    "transposed": (
        lambda: build(GOOD.T),
        rv.InvalidVectorType,
        "expected a C-contiguous array (call numpy.ascontiguousarray), got shape (3, 4) with strides (4, 12)",
    ),
    "every other row": (
        lambda: build(GOOD[::2]),
        rv.InvalidVectorType,
        "expected a C-contiguous array (call numpy.ascontiguousarray), got shape (2, 3) with strides (24, 4)",
    ),
    "odd address": (
        lambda: build(np.frombuffer(b"x" * 25, np.float32, 6, 1).reshape(2, 3)),
        rv.InvalidVectorType,
        "vectors: expected aligned memory (call .copy()), got an odd address",
    ),
    "three dimensions": (
        lambda: build(GOOD[None]),
        rv.InvalidVectorType,
        "vectors: expected two dimensions (row, dim), got shape (1, 4, 3)",
    ),
    "one dimension": (
        lambda: build(GOOD[0]),
        rv.InvalidVectorType,
        "vectors: expected two dimensions (row, dim), got shape (3,)",
    ),
    "text in a list": (
        lambda: build([[1.0, "2"]]),
        rv.InvalidVectorType,
        "vectors, row 0: expected numbers, got str",
    ),
    "no column": (
        lambda: build(object()),
        rv.InvalidVectorType,
        "vectors: expected an arrow column or table, a numpy array or nested lists, got object",
    ),
    "column of integers": (
        lambda: build(pl.Series("v", [1, 2, 3])),
        rv.InvalidVectorType,
        "v: expected fixed_size_list<float | halffloat>, list<float> of equal lengths or fixed_size_binary",
    ),
    "column of doubles": (
        lambda: build(pl.DataFrame({"v": [[1.0, 2.0]]})),
        rv.InvalidVectorType,
        'vectors: expected a column of vectors (float or halffloat), got columns "v": LargeList(Float64)',
    ),
    "null table": (
        lambda: build(pa.array([{"v": [1.0]}, None], pa.struct({"v": pa.list_(pa.float32(), 1)}))),
        rv.InvalidVectorType,
        "vectors: expected a table or a column of vectors, got a struct column with nulls",
    ),
    "no columns": (
        lambda: build(pa.table({})),
        rv.InvalidVectorType,
        "vectors: expected at least one column, got none",
    ),
    "failing stream": (
        lambda: build(Exporter()),
        rv.VectorIndexError,
        "the disk is gone",
    ),
    "name of a column in a column": (
        lambda: build(GOOD, "id"),
        rv.InvalidParameter,
        'ids: expected a table whose column it may name, got a single column and "id"',
    ),
    "duplicate ids": (
        lambda: build(GOOD, [7, 8, 9, 8]),
        rv.DuplicateId,
        "duplicate id 8: rows 1 and 3",
    ),
    "duplicate names": (
        lambda: build(GOOD, pl.Series(["a", "b", "c", "a"])),
        rv.DuplicateId,
        'duplicate id "a": rows 0 and 3',
    ),
    "null id": (
        lambda: build(GOOD, [1, 2, None, 4]),
        rv.InvalidVector,
        "ids, row 2: is null, expected an id",
    ),
    "too few ids": (
        lambda: build(GOOD, [1, 2, 3]),
        rv.InvalidParameter,
        "ids: expected one id per vector (4), got 3 ids",
    ),
    "float ids": (
        lambda: build(GOOD, np.arange(4.0)),
        rv.InvalidVectorType,
        "ids: expected integers (or strings: call .tolist()), got float64",
    ),
    "arrow float ids": (
        lambda: build(GOOD, pl.Series("key", [1.0, 2.0, 3.0, 4.0])),
        rv.InvalidVectorType,
        "key: expected integers or strings, got Float64",
    ),
    "mixed ids": (
        lambda: build(GOOD, [1, "a", 2, 3]),
        rv.InvalidVectorType,
        "ids, row 0: expected strings, got int",
    ),
    "ids of both ends": (
        lambda: build(GOOD, [-1, 2**63, 0, 1]),
        rv.InvalidParameter,
        "ids: expected integers that all fit int64 or all fit uint64, got -1 to 9223372036854775808",
    ),
    "ids of 65 bits": (
        lambda: build(GOOD, [0, 2**64, 1, 2]),
        rv.InvalidParameter,
        "ids: expected integers that all fit int64 or all fit uint64, got 0 to 18446744073709551616",
    ),
    "table of ids": (
        lambda: build(GOOD, pa.table({"a": range(4), "b": range(4)})),
        rv.InvalidParameter,
        "ids: expected one column, got a table of 2 columns",
    ),
    "metric": (
        lambda: build(GOOD, metric="euclid"),
        rv.InvalidParameter,
        'metric: expected one of l2sq, l2, cosine, ip, got "euclid"',
    ),
    "nlist": (lambda: build(GOOD, nlist=0), rv.InvalidParameter, "nlist: expected at least 1, got 0"),
    "threads": (
        lambda: build(GOOD, threads=-2),
        rv.InvalidParameter,
        "threads: expected at least 1, got -2",
    ),
    "seed": (lambda: build(GOOD, seed=-1), rv.InvalidParameter, "seed: expected 0 to 2**64 - 1, got -1"),
    "progress": (
        lambda: build(GOOD, progress=3),
        rv.InvalidParameter,
        "progress: expected a bool or a callable, got int",
    ),
    "dim": (
        lambda: build(column(GOOD.tolist(), pa.list_(pa.float32(), 3)), dim=4),
        rv.DimensionMismatch,
        "dimension mismatch: dim has 4, embedding has 3",
    ),
    "no index": (
        lambda: rv.open("/no/such/file"),
        rv.IndexFileNotFound,
        "/no/such/file: No such file or directory",
    ),
    "a folder": (lambda: rv.open("/dev"), rv.PersistError, "/dev: not a regular file"),
}


@pytest.mark.parametrize("case", BUILD)
def test_refused(case: str) -> None:
    act, error, message = BUILD[case]
    with pytest.raises(error) as caught:
        act()
    assert message in str(caught.value)
    assert isinstance(caught.value, rv.RuVectorError)
    assert type(caught.value).__module__ == "ruvector.errors"


INDEX: Any = build(GOOD, metric="l2")

SEARCH: dict[str, tuple[Callable[[], Any], type[rv.RuVectorError], str]] = {
    "wrong dim": (
        lambda: INDEX.search(GOOD[:, :2].copy()),
        rv.DimensionMismatch,
        "dimension mismatch: the index has 3, queries has 2",
    ),
    "wrong dim of one": (
        lambda: INDEX.search([1.0, 2.0]),
        rv.DimensionMismatch,
        "dimension mismatch: the index has 3, queries has 2",
    ),
    "wrong dim of a column": (
        lambda: INDEX.search(pl.DataFrame({"q": [[1.0]]}, schema={"q": pl.List(pl.Float32)})),
        rv.DimensionMismatch,
        "dimension mismatch: the index has 3, q has 1",
    ),
    "wrong dim of nothing": (
        lambda: INDEX.search(pl.Series("q", [], dtype=pl.Array(pl.Float32, 2))),
        rv.DimensionMismatch,
        "dimension mismatch: the index has 3, q has 2",
    ),
    "wrong type of nothing": (
        lambda: INDEX.search(pl.Series("q", [], dtype=pl.String)),
        rv.InvalidVectorType,
        "q: expected fixed_size_list",
    ),
    "float64": (
        lambda: INDEX.search(GOOD.astype(np.float64)),
        rv.InvalidVectorType,
        "queries: expected float32 or float16 (call .astype(numpy.float32)), got float64",
    ),
    "three dimensions": (
        lambda: INDEX.search(GOOD[None]),
        rv.InvalidVectorType,
        "queries: expected one dimension (a query) or two (query, dim), got shape (1, 4, 3)",
    ),
    "nan": (
        lambda: INDEX.search(with_value(np.nan)),
        rv.InvalidVector,
        "queries, row 2: element 1 is NaN, expected a finite number",
    ),
    "nan, exact": (
        lambda: exact_search(GOOD, with_value(np.nan)),
        rv.InvalidVector,
        "queries, row 2: element 1 is NaN, expected a finite number",
    ),
    "exact, wrong dim": (
        lambda: exact_search(GOOD, GOOD[:, :2].copy()),
        rv.DimensionMismatch,
        "vectors has 3, queries has 2",
    ),
    "exact, nothing": (
        lambda: exact_search(GOOD[:0], GOOD),
        rv.EmptyIndex,
        "empty index: vectors has no vector",
    ),
    "k = 0": (lambda: INDEX.search(GOOD, k=0), rv.InvalidParameter, "k: expected at least 1, got 0"),
    "k < 0": (lambda: INDEX.search(GOOD, k=-(10**30)), rv.InvalidParameter, "k: expected at least 1, got -"),
    "exact, k = 0": (
        lambda: exact_search(GOOD, GOOD, 0),
        rv.InvalidParameter,
        "k: expected at least 1, got 0",
    ),
    "recall": (
        lambda: INDEX.search(GOOD, recall=1.5),
        rv.InvalidParameter,
        "recall: expected above 0, at most 1, got 1.5",
    ),
    "recall nan": (
        lambda: INDEX.search(GOOD, recall=float("nan")),
        rv.InvalidParameter,
        "recall: expected above 0, at most 1, got NaN",
    ),
    "nprobe": (
        lambda: INDEX.search(GOOD, nprobe=0),
        rv.InvalidParameter,
        "nprobe: expected at least 1, got 0",
    ),
    "epsilon": (
        lambda: INDEX.search(GOOD, epsilon=-1.0),
        rv.InvalidParameter,
        "epsilon: expected a finite number, at least 0, got -1",
    ),
    "both": (
        lambda: INDEX.search(GOOD, nprobe=1, exact=True),
        rv.InvalidParameter,
        "nprobe: expected None with exact=True, got both",
    ),
    "threads": (
        lambda: INDEX.search(GOOD, threads=0),
        rv.InvalidParameter,
        "threads: expected at least 1, got 0",
    ),
    "recall of other queries": (
        lambda: rv.recall_at_k(INDEX.search(GOOD), INDEX.search(GOOD[0])),
        rv.InvalidParameter,
        "found: expected 1 queries, as in the truth, got 4",
    ),
}


@pytest.mark.parametrize("case", SEARCH)
def test_refused_by_a_search(case: str) -> None:
    act, error, message = SEARCH[case]
    with pytest.raises(error) as caught:
        act()
    assert message in str(caught.value)
    assert isinstance(caught.value, rv.RuVectorError)


@pytest.mark.parametrize("case", [*BUILD, *SEARCH])
def test_errors_survive_a_pickle(case: str) -> None:
    with pytest.raises(rv.RuVectorError) as caught:
        {**SEARCH, **BUILD}[case][0]()
    error = caught.value
    error.add_note("seen by a worker")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.code, vars(again)) == (str(error), error.code, vars(error))
    assert again.args == error.args


# Documented answers.


@pytest.mark.parametrize("k", [5, 1000, 2**70])
def test_a_k_beyond_the_rows_gives_them_all(k: int) -> None:
    hits = INDEX.search(GOOD[:2], k=k)
    assert (len(hits), hits.to_numpy()[0].shape) == (8, (2, 4))


def test_zero_vectors_are_vectors() -> None:
    rows = np.array([[0, 0], [1, 0], [0, 2]], np.float32)
    for metric, expected in {
        "l2sq": [0, 1, 4],
        "l2": [0, 1, 2],
        "cosine": [1, 1, 1],
        "ip": [0, 0, 0],
    }.items():
        for hits in (
            build(rows, metric=metric).search(rows[0], k=3),
            exact_search(rows, rows[0], metric=metric),
        ):
            ids, near = hits.to_numpy()
            assert (ids.tolist(), near.tolist()) == ([[0, 1, 2]], [expected])


def test_an_argument_of_a_foreign_type_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        INDEX.search(GOOD, k="ten")
    with pytest.raises(TypeError):
        build(GOOD, metric=2)
