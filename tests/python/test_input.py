"""Every form in which Python holds vectors gives the same hits, and none but lists is copied."""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, Any

import arro3.core as arro3
import datafusion
import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import ruvector as rv
from ruvector._ruvector import buffer_addresses

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.conftest import Vectors


def fixed(rows: Vectors) -> pa.FixedSizeListArray:
    """A pyarrow column over numpy's memory."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def halves(rows: Vectors) -> pa.ChunkedArray:
    column = fixed(rows)
    return pa.chunked_array([column[:700], column[700:]])


def table(rows: Vectors) -> pa.Table:
    return pa.table({"title": [str(row) for row in range(len(rows))], "embedding": fixed(rows)})


def binary(rows: Vectors) -> pa.FixedSizeBinaryArray:
    width = rows.shape[1] * rows.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, pa.py_buffer(rows)])


def misaligned(rows: Vectors) -> pa.FixedSizeBinaryArray:
    width = rows.shape[1] * rows.itemsize
    buffer = pa.py_buffer(b"x" + rows.tobytes()).slice(1)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [None, buffer])


def sliced_parent(rows: Vectors) -> pa.FixedSizeListArray:
    padded = np.concatenate([np.full((3, rows.shape[1]), np.nan, np.float32), rows])
    return fixed(padded)[3:]


def polars_sliced(rows: Vectors) -> pl.Series:
    padded = np.concatenate([np.full((3, rows.shape[1]), np.nan, np.float32), rows])
    return pl.Series("embedding", padded, dtype=pl.Array(pl.Float32, rows.shape[1]))[3:]


def polars_chunked(rows: Vectors) -> pl.Series:
    dtype = pl.Array(pl.Float32, rows.shape[1])
    return pl.concat(
        [pl.Series("v", rows[:5], dtype=dtype), pl.Series("v", rows[5:], dtype=dtype)], rechunk=False
    )


def moved(rows: Vectors) -> Any:
    """An arro3 slice: not an offset but a moved pointer."""
    padded = np.concatenate([np.full((3, rows.shape[1]), np.nan, np.float32), rows])
    return arro3.Array.from_arrow(fixed(padded)).slice(3)


def from_duckdb(rows: Vectors) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    connection.register("rows", table(rows))
    assert rows.shape[1] == 32
    return connection.sql("SELECT embedding::FLOAT[32] AS embedding FROM rows ORDER BY title::INT")


def from_datafusion(rows: Vectors) -> datafusion.DataFrame:
    return datafusion.SessionContext().from_arrow(table(rows))


def tensor(rows: Vectors) -> pa.FixedShapeTensorArray:
    return pa.FixedShapeTensorArray.from_numpy_ndarray(rows)


class Both(np.ndarray[Any, Any]):
    """Lends its memory, as numpy's arrays do, and gives capsules: of the same rows, the other way round."""

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return fixed(np.ascontiguousarray(np.asarray(self)[::-1])).__arrow_c_array__(requested_schema)


KINDS: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda rows: rows,
    "numpy slice": lambda rows: np.concatenate([rows, rows])[len(rows) :],
    "memoryview": memoryview,
    "numpy with capsules": lambda rows: np.ascontiguousarray(rows[::-1]).view(Both),
    "lists": lambda rows: rows.tolist(),
    "tuple of arrays": tuple,
    "pyarrow array": fixed,
    "pyarrow slice": sliced_parent,
    "pyarrow chunks": halves,
    "pyarrow list": lambda rows: fixed(rows).cast(pa.list_(pa.float32())),
    "pyarrow large list": lambda rows: fixed(rows).cast(pa.large_list(pa.float32())),
    "pyarrow binary": binary,
    "pyarrow binary, misaligned": misaligned,
    "pyarrow tensor": tensor,
    "pyarrow table": table,
    "pyarrow batch": lambda rows: table(rows).to_batches()[0],
    "pyarrow reader": lambda rows: table(rows).to_reader(max_chunksize=300),
    "polars array": lambda rows: pl.Series("v", rows, dtype=pl.Array(pl.Float32, rows.shape[1])),
    "polars slice": polars_sliced,
    "polars chunks": polars_chunked,
    "polars list": lambda rows: pl.Series("v", rows.tolist(), dtype=pl.List(pl.Float32)),
    "polars frame": lambda rows: pl.DataFrame(table(rows)),
    "arro3 array": lambda rows: arro3.Array.from_arrow(fixed(rows)),
    "arro3 slice": moved,
    "arro3 table": lambda rows: arro3.Table.from_arrow(table(rows)),
    "duckdb": from_duckdb,
    "datafusion": from_datafusion,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_hits(kind: str, docs: Vectors, queries: Vectors) -> None:
    expected = rv.build(docs).search(queries, k=5)
    index = rv.build(KINDS[kind](docs))
    assert index == rv.build(docs)
    assert index.search(KINDS[kind](queries), k=5).to_arrow().equals(expected.to_arrow())
    assert (
        rv.exact_search(KINDS[kind](docs), KINDS[kind](queries), 5)
        .to_arrow()
        .equals(rv.exact_search(docs, queries, 5).to_arrow())
    )


# Not every Polars has halves.
HALVES = ["numpy", "pyarrow array", "pyarrow list", "pyarrow binary"]
HALVES += ["polars array"] if hasattr(pl, "Float16") else []


@pytest.mark.parametrize("kind", HALVES)
def test_halves_are_read_as_they_are(kind: str, docs: Vectors, queries: Vectors) -> None:
    rows = docs.astype(np.float16)
    make: Callable[[Any], Any] = {
        **KINDS,
        "pyarrow list": lambda rows: fixed(rows).cast(pa.list_(pa.float16())),
        "polars array": lambda rows: pl.Series(fixed(rows)),
    }[kind]
    index = rv.build(make(rows), dim=32)
    assert index == rv.build(rows.astype(np.float32))
    hits = index.search(queries, k=3, exact=True).to_arrow()
    assert hits.equals(rv.exact_search(rows.astype(np.float32), queries, 3).to_arrow())


# Zero copy: the addresses that the core sees are those of the dataframe.


def test_numpy_is_lent(docs: Vectors) -> None:
    start = docs.ctypes.data
    assert buffer_addresses(docs) == [start]
    assert buffer_addresses(docs[10:20]) == [start + 10 * 32 * 4]
    assert buffer_addresses(docs.astype(np.float16)) != [start]
    half = docs.astype(np.float16)
    assert buffer_addresses(half) == [half.ctypes.data]


def test_pyarrow_is_lent(docs: Vectors) -> None:
    start = docs.ctypes.data
    column = fixed(docs)
    assert buffer_addresses(column) == [start]
    assert buffer_addresses(column[3:9]) == [start + 3 * 32 * 4]
    assert buffer_addresses(halves(docs)) == [start, start + 700 * 32 * 4]
    assert buffer_addresses(table(docs)) == [start]
    assert buffer_addresses(table(docs)[5:], column="embedding") == [start + 5 * 32 * 4]
    assert buffer_addresses(binary(docs)) == [start]
    column = misaligned(docs)
    assert buffer_addresses(column) == [column.buffers()[1].address]


def test_polars_is_lent(docs: Vectors) -> None:
    column = pl.Series("v", docs, dtype=pl.Array(pl.Float32, 32))
    start = column.reshape((-1,)).to_numpy(allow_copy=False).ctypes.data
    assert buffer_addresses(column) == [start]
    assert buffer_addresses(column[100:200]) == [start + 100 * 32 * 4]
    assert buffer_addresses(column.to_frame()[7:]) == [start + 7 * 32 * 4]
    chunked = pl.concat([column[:5], column[50:]], rechunk=False)
    assert buffer_addresses(chunked) == [start, start + 50 * 32 * 4]


def test_arro3_is_lent(docs: Vectors) -> None:
    column = arro3.Array.from_arrow(fixed(docs))
    assert buffer_addresses(column) == [docs.ctypes.data]
    assert buffer_addresses(column.slice(3)) == [docs.ctypes.data + 3 * 32 * 4]


def test_the_index_keeps_the_column_alive(clustered: Any) -> None:
    rows = clustered(500, 16)
    expected = rv.exact_search(rows.copy(), rows[:5].copy(), 1).to_arrow()
    asked = rows[:5].copy()
    index = rv.build(rows)
    del rows
    junk = [np.full((500, 16), 9, np.float32) for _ in range(50)]
    assert index.search(asked, k=1, exact=True).to_arrow().equals(expected)
    del junk


def test_memory_that_is_not_aligned_is_copied_and_said_so(docs: Vectors, queries: Vectors) -> None:
    buffer = pa.py_buffer(b"x" + docs.tobytes()).slice(1)
    values = pa.Array.from_buffers(pa.float32(), docs.size, [None, buffer])
    column = pa.FixedSizeListArray.from_arrays(values, 32)
    with pytest.warns(rv.CopyWarning, match="embedding: its memory is not aligned"):
        index = rv.build(pa.table({"embedding": column}))
    assert index == rv.build(docs)
    assert index.search(queries).to_arrow().equals(rv.build(docs).search(queries).to_arrow())


# One query, or many.


ONE: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda query: query,
    "halves": lambda query: query.astype(np.float16),
    "list": lambda query: query.tolist(),
    "integers": lambda query: query.astype(int).tolist(),
    "tuple of decimals": lambda query: tuple(decimal.Decimal(float(value)) for value in query),
    "polars": pl.Series,
    "a polars row": lambda query: pl.Series([query], dtype=pl.Array(pl.Float32, 32))[0],
    "pyarrow": pa.array,
    "pyarrow chunks": lambda query: pa.chunked_array([query[:9], query[9:]]),
}


@pytest.mark.parametrize("kind", ONE)
def test_one_query_is_a_batch_of_one(kind: str, docs: Vectors) -> None:
    query = np.round(docs[17] * 3).astype(np.float16).astype(np.float32)
    hits = rv.build(docs).search(ONE[kind](query), k=4)
    assert (hits.num_queries, len(hits)) == (1, 4)
    assert hits.to_arrow().equals(rv.build(docs).search(query[None], k=4).to_arrow())


def test_no_queries_give_no_hits(docs: Vectors) -> None:
    index = rv.build(docs)
    nothings: list[Any] = [[], docs[:0], pl.Series([], dtype=pl.List(pl.Float32)), fixed(docs)[:0]]
    for nothing in nothings:
        hits = index.search(nothing, k=3)
        assert (hits.num_queries, len(hits)) == (0, 0)
        assert [part.shape for part in hits.to_numpy()] == [(0, 3), (0, 3)]


# Tables, ids, nulls.


def test_a_table_names_its_columns(docs: Vectors) -> None:
    frame = pl.DataFrame(
        {"key": [f"d{row}" for row in range(2000)], "a": docs, "b": docs[::-1].copy()},
        schema={"key": pl.String, "a": pl.Array(pl.Float32, 32), "b": pl.Array(pl.Float32, 32)},
    )
    index = rv.build(frame, ids="key", column="b")
    assert index.id_type == "str"
    assert index.search(docs[0], k=1).to_arrow()["id"].to_pylist() == ["d1999"]
    with pytest.raises(rv.InvalidParameter, match='column: expected one of "a", "b", got none'):
        rv.build(frame)
    with pytest.raises(rv.InvalidParameter, match='column: expected one of "key", "a", "b", got "c"'):
        rv.build(frame, column="c")
    with pytest.raises(rv.InvalidParameter, match='ids: expected one of "key", "a", "b", got "id"'):
        rv.build(frame, column="a", ids="id")


BIG = 2**40
IDS: dict[str, tuple[Any, str]] = {
    "numpy int64": (np.arange(2000) + BIG, "int64"),
    "numpy int32": (np.arange(2000, dtype=np.int32), "int64"),
    "numpy uint64": (np.arange(2000, dtype=np.uint64) + np.uint64(2**63), "uint64"),
    "list": ([row - BIG for row in range(2000)], "int64"),
    "list of huge": ([row + 2**63 for row in range(2000)], "uint64"),
    "range": (range(10, 2010), "int64"),
    "polars": (pl.Series(range(2000), dtype=pl.UInt32), "uint64"),
    "pyarrow": (pa.array(range(2000), pa.int16()), "int64"),
    "chunks": (pa.chunked_array([pa.array(range(50)), pa.array(range(50, 2000))]), "int64"),
    "strings": ([f"doc {row}" for row in range(2000)], "str"),
    "polars strings": (pl.Series([f"doc {row}" for row in range(2000)]), "str"),
    "string view": (pa.array([f"doc {row}" for row in range(2000)], pa.string_view()), "str"),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_come_back_as_they_are(kind: str, docs: Vectors) -> None:
    ids, id_type = IDS[kind]
    index = rv.build(docs, ids)
    assert index.id_type == id_type
    found = index.search(docs, k=1, exact=True)
    expected = ids.to_pylist() if hasattr(ids, "to_pylist") else list(ids)
    assert found.to_arrow()["id"].to_pylist() == expected
    assert found.to_polars()["id"].to_list() == expected
    assert found.to_numpy()[0][:, 0].tolist() == expected
    assert [row[0]["id"] for row in pa.array(found.nested()).to_pylist()] == expected


@pytest.mark.parametrize("missing", ["pyarrow", "polars", "lists"])
def test_null_vectors_are_left_out(missing: str, docs: Vectors, queries: Vectors) -> None:
    rows = [row if at % 3 else None for at, row in enumerate(docs.tolist())]
    column: Any = {
        "pyarrow": pa.array(rows, pa.list_(pa.float32(), 32)),
        "polars": pl.Series(rows, dtype=pl.Array(pl.Float32, 32)),
        "lists": rows,
    }[missing]
    index = rv.build(column)
    assert (len(index), index.null_count) == (1333, 667)
    kept = np.flatnonzero(np.arange(2000) % 3)
    expected = rv.build(docs[kept], ids=kept).search(queries, k=5, exact=True)
    assert index.search(queries, k=5, exact=True).to_arrow().equals(expected.to_arrow())


def test_a_null_query_has_no_hits(docs: Vectors) -> None:
    asked = [docs[0].tolist(), None, docs[2].tolist()]
    names = [f"{row}" for row in range(2000)]
    cases: list[tuple[Any, Any]] = [(None, -1), (np.arange(2000, dtype=np.uint64), 2**64 - 1), (names, None)]
    for ids, blank in cases:
        hits = rv.build(docs, ids).search(asked, k=2)
        assert (hits.num_queries, len(hits)) == (3, 4)
        assert hits.to_arrow()["query_row"].to_pylist() == [0, 0, 2, 2]
        found, near = hits.to_numpy()
        assert found[1].tolist() == [blank, blank]
        assert near[1].tolist() == [np.inf, np.inf]
        assert pa.array(hits.nested()).is_null().to_pylist() == [False, True, False]
