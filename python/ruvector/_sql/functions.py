"""The functions, over columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from ruvector import _ruvector
from ruvector._sql import answers
from ruvector._sql.arrow import one_array, pa, pc
from ruvector._sql.asked import Asked, check_metric, check_radius
from ruvector._sql.refusal import quoted, refuse
from ruvector._sql.vectors import named, vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike
    from typing import SupportsIndex

    from ruvector._ruvector import Index
    from ruvector._sql.arrow import Array, Column, Table
    from ruvector._sql.catalog import Pin

__all__ = ["Info", "build", "distance", "info", "measure_recall", "quantize", "search", "within"]

# Queries that recall is measured with.
SAMPLE = 200
FACTORS = ("norm", "f_add", "f_rescale", "f_error")
CODE = pa.struct([("code", pa.binary()), *((name, pa.float32()) for name in FACTORS)])
# A kind of ids as SQL calls it.
ID_TYPES = {"int64": "int64", "uint64": "uint64", "str": "string"}


class Info(TypedDict):
    """The row that tells of an index."""

    name: str
    path: str | None
    rows: int
    dim: int
    metric: str
    bits: int
    nlist: int
    id_type: str
    vectors: str
    null_count: int
    memory_bytes: int
    mapped_bytes: int


def search(asked: Asked, queries: Column) -> Array:
    """
    Find the nearest rows of each query.

    Parameters
    ----------
    asked
        From `Asked.nearest`.
    queries
        Vectors: lists, of one size or not, of numbers.

    Returns
    -------
    pyarrow.Array
        ``list<struct<id, distance>>``, null where the query is. `id` is int64, uint64 or string, as in the
        index.

    Raises
    ------
    DimensionMismatch, InvalidParameter, InvalidVector, InvalidVectorType, KeyboardInterrupt
        As `Index.search`; the column is called ``query``.
    """
    index, array = asked.pin.index, vectors(queries, "query")
    if array.null_count == len(array):
        return answers.no_hits(len(array), index.id_type)
    found = index.search(named(array, "query"), asked.k or 0, **asked.how)
    return answers.hits(found, index.id_type)


def within(asked: Asked, queries: Column, radius: Column) -> Array:
    """
    Find all rows within a radius of each query.

    Parameters
    ----------
    asked
        From `Asked.within`.
    queries
        As in `search`.
    radius
        float64, one per query.

    Returns
    -------
    pyarrow.Array
        As `search`.
    """
    index, array = asked.pin.index, vectors(queries, "query")

    def one(radius: float | None, rows: Array) -> Array:
        checked = check_radius(radius)
        if rows.null_count == len(rows):
            return answers.no_hits(len(rows), index.id_type)
        return answers.hits(index.within(named(rows, "query"), checked, **asked.how), index.id_type)

    return for_each(radius, array, one, answers.no_hits(0, index.id_type))


def distance(a: Column, b: Column, metric: Column) -> Array:
    """
    Measure the distance between the vectors of each row.

    Parameters
    ----------
    a, b
        As `queries` in `search`.
    metric
        The name of a metric, one per row.

    Returns
    -------
    pyarrow.Array
        float32, null where `a` or `b` is.
    """
    pairs = pa.table({"a": vectors(a, "a"), "b": vectors(b, "b")})

    def measure(metric: str | None, pairs: Table) -> Array:
        checked = check_metric(metric)
        if any(side.null_count == len(pairs) for side in pairs.columns):
            return pa.nulls(len(pairs), pa.float32())
        return pa.array(_ruvector.distance(pairs.select(["a"]), pairs.select(["b"]), checked))

    return for_each(metric, pairs, measure, pa.array([], pa.float32()))


def quantize(vectors_: Column, bits: Column, seed: Column) -> Array:
    """
    Code each vector by itself.

    Parameters
    ----------
    vectors_
        As `queries` in `search`.
    bits, seed
        Whole numbers, one of each per row.

    Returns
    -------
    pyarrow.Array
        ``struct<code: binary, norm, f_add, f_rescale, f_error: float>``, null where the vector is.
    """
    rows = pa.table({"v": vectors(vectors_, "v"), "seed": seed})

    def seeded(bits: int | None, rows: Table) -> Array:
        def code(seed: int | None, vectors: Array) -> Array:
            if vectors.null_count == len(vectors):
                return pa.nulls(len(vectors), CODE)
            number = 1 if bits is None else bits
            return pa.array(_ruvector.quantize(named(vectors, "v"), number, seed or 0))

        return for_each(rows.column("seed"), one_array(rows.column("v")), code, pa.array([], CODE))

    return for_each(bits, rows, seeded, pa.array([], CODE))


def info(pin: Pin) -> Info:
    """Tell of an index what `ruvector_index_info` tells."""
    index = pin.index
    return {
        "name": pin.name,
        "path": pin.path,
        "rows": len(index),
        "dim": index.dim,
        "metric": index.metric,
        "bits": index.bits,
        "nlist": index.nlist,
        "id_type": ID_TYPES[index.id_type],
        "vectors": index.vectors,
        "null_count": index.null_count,
        "memory_bytes": index.memory_bytes,
        "mapped_bytes": index.mapped_bytes,
    }


def measure_recall(
    pin: Pin, k: int | None, recall: float | None, nprobe: int | None, epsilon: float | None
) -> tuple[int, float]:
    """
    Search for rows of the index, search exactly, and compare.

    Returns
    -------
    queries
        How many rows were searched for: 200, or all if there are fewer, spread over the index.
    recall
        The share of the true neighbours that were found.
    """
    how = Asked.nearest(pin, k, recall=recall, nprobe=nprobe, epsilon=epsilon)
    ids = list(pin.index)
    count = min(SAMPLE, len(ids))
    queries = pin.index.reconstruct([ids[at * len(ids) // count] for at in range(count)])
    return count, pin.index.measure_recall(queries, how.k or 0, **how.how)


def build(
    batches: Callable[[], Iterable[Table]],
    *,
    column: str | None,
    id: str | None,
    path: str | PathLike[str] | None,
    metric: str | None = None,
    bits: SupportsIndex | None = None,
    nlist: SupportsIndex | None = None,
    seed: SupportsIndex | None = None,
    vectors: str | None = None,
) -> Index:
    """
    Build an index over batches, which are read twice, and write it to `path` if there is one.

    Parameters
    ----------
    batches
        Gives the batches from the beginning each time it is called. Vectors are of any type that `search`
        takes.
    column, id
        Names of columns. Without an `id`, ids are row numbers.
    metric, bits, nlist, seed, vectors
        As in `build_stream`, None for the default; `vectors` are kept as floats by default.

    Raises
    ------
    DimensionMismatch, DuplicateId, EmptyIndex, InvalidParameter, InvalidVector, InvalidVectorType
        As `build_stream`.
    PersistError
        If `path` cannot be written; what it held is still there.
    """
    if column is None:
        raise refuse("column", "the name of a column", None)
    name = check_metric("l2sq" if metric is None else metric)
    kept = "f32" if vectors is None else vectors
    if kept not in ("none", "f16", "f32"):
        raise refuse("vectors", "one of none, f16, f32", quoted(kept))

    def read() -> Iterable[Table]:
        return widths_known((_batch(batch, column, id) for batch in batches()), column)

    index = _ruvector.build_stream(
        read,
        column=column,
        ids=id,
        vectors=_kept(kept),
        metric=name,
        nlist=nlist,
        bits=1 if bits is None else bits,
        seed=seed or 0,
    )
    if path is not None:
        index.save(path)
    return index


def _kept(vectors: str) -> Literal["none", "f16", "f32"]:
    return "none" if vectors == "none" else "f16" if vectors == "f16" else "f32"


def _batch(batch: Table, column: str, id: str | None) -> Table:
    names = batch.schema.names
    for parameter, name in (("column", column), ("id", id)):
        if name is not None and name not in names:
            raise refuse(parameter, f"one of {', '.join(map(quoted, names))}", quoted(name))
    columns: dict[str, Any] = {column: vectors(batch.column(column), column)}
    if id is not None:
        columns[id] = batch.column(id)
    return pa.table(columns)


def widths_known(batches: Iterable[Table], column: str) -> Iterator[Table]:
    """
    Give batches whose vectors all have a width: lists that are all null get that of the others.

    Batches that come before the first vector wait for it. They hold next to nothing.
    """
    waiting: list[Table] = []
    width: int | None = None
    for batch in batches:
        rows = one_array(batch.column(column))
        if pa.types.is_fixed_size_list(rows.type):
            width = rows.type.list_size
        elif rows.null_count < len(rows):
            width = pc.list_value_length(rows).drop_null()[0].as_py()
        if width is None:
            waiting.append(batch)
            continue
        yield from (_with_width(other, column, width) for other in (*waiting, batch))
        waiting = []
    yield from waiting


def _with_width(batch: Table, column: str, width: int) -> Table:
    rows = batch.column(column)
    if rows.null_count < len(rows):
        return batch
    nulls = pa.nulls(len(rows), pa.list_(pa.float32(), width))
    return batch.set_column(batch.schema.names.index(column), column, nulls)


def for_each(knob: Column, rows: Any, answer: Callable[[Any, Any], Array], nothing: Array) -> Array:  # noqa: ANN401
    """
    Answer rows together that have the same value of a knob: usually all of them.

    Parameters
    ----------
    knob
        A column of options.
    rows
        A column or table of as many rows.
    answer
        Takes a value of the knob, and rows, and answers each.
    nothing
        The answer to no rows.
    """
    encoded = pc.dictionary_encode(one_array(knob), null_encoding="encode")
    values = cast("list[Any]", encoded.dictionary.to_pylist())
    if not values:
        return nothing
    if len(values) == 1:
        return answer(values[0], rows)
    places: list[list[int]] = [[] for _ in values]
    for row, value in enumerate(cast("list[int]", encoded.indices.to_pylist())):
        places[value].append(row)
    given = [pa.array(at, pa.int64()) for at in places]
    parts = [answer(value, rows.take(at)) for value, at in zip(values, given, strict=True)]
    return answers.in_order(parts, given)
