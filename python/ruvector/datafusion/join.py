"""The join: each row beside its nearest rows of another table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ruvector import _ruvector
from ruvector._sql.arrow import pa, pc
from ruvector._sql.refusal import refuse
from ruvector._sql.vectors import named
from ruvector.datafusion.engine import engine
from ruvector.datafusion.frames import batches, call, column, expect, list_of, unnested
from ruvector.errors import DimensionMismatch, EmptyIndex, InvalidVectorType

if TYPE_CHECKING:
    from typing import SupportsIndex

    from datafusion import DataFrame, Expr, SessionContext

    from ruvector._ruvector import Index
    from ruvector._sql.arrow import Array
    from ruvector.datafusion.engine import Context, DataType, Frame
    from ruvector.typing import Filter, Metric

__all__ = ["knn_join"]

How: TypeAlias = Literal["inner", "left"]

# Columns of the plan that are gone when it is done.
_HITS, _KEY = "__ruvector_hits", "__ruvector_key"
_ID, _RANK, _DISTANCE = "__ruvector_id", "__ruvector_rank", "__ruvector_distance"

_VECTORS = pa.list_(pa.float32())
_ID_TYPES = {"int64": pa.int64(), "uint64": pa.uint64(), "str": pa.string()}


def knn_join(
    ctx: SessionContext,
    left: DataFrame | str,
    right: DataFrame | str,
    *,
    on: str | None = None,
    left_on: str | None = None,
    right_on: str | None = None,
    k: SupportsIndex = 10,
    how: How = "inner",
    metric: Metric | None = None,
    index: Index | None = None,
    id: str | None = None,
    filter: Filter | DataFrame | Expr | None = None,
    recall: float = 0.99,
    nprobe: SupportsIndex | None = None,
    epsilon: float | None = None,
    rerank: bool = True,
    exact: bool = False,
    suffix: str = "_right",
) -> DataFrame:
    """
    Join each row with the `k` rows of another table whose vectors are nearest.

    The left side is not run: it streams through the join when the result is, and filters on its columns are
    done before any search. The right side is run now, for the index over it. With `id` its vectors come in
    batches; without, all of it is held in memory. Pass `index` to build it once for many joins. What is found
    is found in the index as it is now, whatever changes later.

    Parameters
    ----------
    ctx
        Where tables are looked up that are given by name.
    left, right
        The table with the queries and the one with the neighbours; names are quoted where SQL would need it.
    on, left_on, right_on
        The vector columns, `on` where they have the same name: lists, fixed-size lists or large lists of
        numbers. With `index`, only the left one is needed.
    k
        The number of neighbours.
    how
        ``"inner"`` leaves out rows that have no neighbour, such as those whose vector is null; ``"left"``
        keeps them.
    metric
        The distance, ``"l2sq"`` by default. An index brings its own.
    index
        An index over the right side.
    id
        The column of the right side that holds the index's ids. Default: rows are numbered, from 0.
    filter
        The rows of the right side that may be found: as in `Index.search`; or a `DataFrame` whose one column
        holds ids; or a condition on the right side.
    recall, nprobe, epsilon, rerank, exact
        As in `Index.search`.
    suffix
        Appended to what would otherwise be the second column of a name.

    Returns
    -------
    DataFrame
        The columns of the left side, those of the right side without its vectors, ``rank`` (Int32, 0 is the
        nearest) and ``distance`` (Float32). In no particular order, as ever in SQL.

    Raises
    ------
    InvalidParameter
        If an argument has an impossible value, or a column does not exist.
    DimensionMismatch
        If the left vectors are known to be of another width than the right ones.
    InvalidVectorType
        If a column is none of vectors, or none of ids.
    InvalidVector, DuplicateId
        As `ruvector.build`, for the right side.
    KeyError
        If there is no table of a name.

    Examples
    --------
    >>> from datafusion import SessionContext
    >>> from ruvector.datafusion import knn_join
    >>> ctx = SessionContext()
    >>> docs = ctx.from_pydict({"title": ["cat", "car"], "v": [[1.0, 0.1], [0.0, 1.0]]}, name="docs")
    >>> asked = ctx.from_pydict({"q": [1, 2], "v": [[0.9, 0.2], [0.1, 0.8]]}, name="asked")
    >>> found = knn_join(ctx, asked, "docs", on="v", k=1).sort("q")
    >>> found.select("q", "title", "rank").to_pylist()
    [{'q': 1, 'title': 'cat', 'rank': 0}, {'q': 2, 'title': 'car', 'rank': 0}]
    """
    if how not in ("inner", "left"):
        raise refuse("how", "inner or left", repr(how))
    if index is not None and metric not in (None, index.metric):
        raise refuse("metric", f"the index's own ({index.metric})", repr(metric))
    left_on, right_on = _keys(on, left_on, right_on, needs_right=index is None)
    queries, rows = _frame(ctx, left), _frame(ctx, right)
    vectors = expect(queries, "left_on" if on is None else "on", left_on)
    if index is None:
        expect(rows, "right_on" if on is None else "on", right_on)
    names = _names(queries, rows, right_on, suffix)
    if id is None:
        rows = _numbered(rows)
    id_type = _type_of_ids(id, expect(rows, "id", id or _KEY), index)
    index = _index(rows, right_on, id, metric or "l2sq") if index is None else index.snapshot()
    options = {
        "k": k,
        "filter": _allowed(filter, rows, id or _KEY, id_type),
        "recall": recall,
        "nprobe": nprobe,
        "epsilon": epsilon,
        "rerank": rerank,
        "exact": exact,
    }
    nearest = _Nearest(index, options, id_type, left_on)
    nearest.check(vectors)
    return _plan(nearest, queries, rows, id or _KEY, names, how=how)


def _frame(ctx: Context, table: Frame) -> Frame:
    return ctx.table(table) if isinstance(table, str) else table


def _keys(on: str | None, left_on: str | None, right_on: str | None, *, needs_right: bool) -> tuple[str, str]:
    """Return the names of both columns of vectors; the right one is "" if it is neither known nor needed."""
    if on is not None:
        if left_on is not None or right_on is not None:
            raise refuse("on", "None with left_on or right_on", "both")
        return on, on
    if left_on is None or (needs_right and right_on is None):
        expected = "on, or left_on and right_on" if needs_right else "on or left_on"
        raise refuse("on", expected, f"left_on={left_on!r}, right_on={right_on!r}")
    return left_on, right_on or ""


@dataclass(frozen=True)
class _Names:
    """What the columns of the answer are called; those of the right side by what they were called there."""

    rank: str
    distance: str
    right: dict[str, str]


def _names(left: Frame, right: Frame, right_on: str, suffix: str) -> _Names:
    taken = set(left.schema().names)

    def free(name: str) -> str:
        new = name + suffix if name in taken else name
        if new in taken:
            raise refuse("suffix", f"one that makes {name!r} a new name", repr(suffix))
        taken.add(new)
        return new

    rank, distance = free("rank"), free("distance")
    return _Names(rank, distance, {name: free(name) for name in right.schema().names if name != right_on})


def _numbered(frame: Frame) -> Frame:
    """Return the frame with its row numbers as a column: in memory, for no engine keeps the order of rows."""
    table = pa.Table.from_batches(batches(frame), frame.schema())
    numbered = table.append_column(_KEY, pa.array(range(table.num_rows), pa.int64()))
    return engine.SessionContext().from_arrow(numbered)


def _type_of_ids(id: str | None, found: DataType, index: Index | None) -> DataType:
    """Return the type of the ids of the index that searches, and refuse a column that cannot be one."""
    is_text = any(
        is_kind(found) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )
    if not is_text and not pa.types.is_integer(found):
        message = f"{id}: expected integers or strings, got {found}"
        raise InvalidVectorType(message, column=id or "", expected="integers or strings", actual=str(found))
    if index is not None:
        if (index.id_type == "str") != is_text or (id is None and index.id_type != "int64"):
            got = "row numbers" if id is None else f"{id} ({found})"
            raise refuse("id", f"a column of the index's ids ({index.id_type})", got)
        return _ID_TYPES[index.id_type]
    return pa.string() if is_text else pa.uint64() if pa.types.is_unsigned_integer(found) else pa.int64()


def _index(rows: Frame, vectors: str, id: str | None, metric: Metric) -> Index | None:
    """Build an index over the right side; None if it has no vector."""
    element = list_of(expect(rows, "right_on", vectors))
    if element == pa.float64() or (element is not None and pa.types.is_integer(element)):
        rows = rows.with_column(vectors, column(vectors).cast(_VECTORS))
    kept: Literal["f16", "f32"] = "f16" if element == pa.float16() else "f32"
    try:
        if id is None:
            lent = pa.Table.from_batches(
                batches(rows.select(column(vectors))), rows.select(column(vectors)).schema()
            )
            return _ruvector.build(lent, column=vectors, metric=metric)
        needed = rows.select(column(vectors), column(id))
        return _ruvector.build_stream(
            partial(batches, needed), column=vectors, ids=id, vectors=kept, metric=metric
        )
    except EmptyIndex:
        return None


def _allowed(given: Any, rows: Frame, key: str, id_type: DataType) -> Filter | None:  # noqa: ANN401 - as `knn_join`
    """Return a filter that an index understands."""
    frame = rows.filter(given).select(column(key)) if isinstance(given, engine.Expr) else given
    if isinstance(frame, engine.DataFrame):
        names = frame.schema().names
        if len(names) != 1:
            raise refuse("filter", "a frame of one column", f"the columns {', '.join(names)}")
        frame = frame.select(column(names[0]).cast(id_type)).to_arrow_table().column(0)
    allowed: Filter | None = frame
    return allowed


def _plan(nearest: _Nearest, queries: Frame, rows: Frame, key: str, names: _Names, *, how: How) -> DataFrame:
    """Return the plan: the hits of each query as a column, one row for each, and beside it what it is of."""
    hits = call("ruvector_knn", nearest, [column(nearest.column)], [_VECTORS], nearest.type, folds=True)
    asked = queries.select(*map(column, queries.schema().names), hits.alias(_HITS))
    parts = {"id": _ID, "rank": _RANK, "distance": _DISTANCE}
    found = unnested(asked, _HITS, parts, keep_nulls=how == "left")
    answers = rows.select(
        column(key).cast(nearest.id_type).alias(_KEY),
        *(column(name).alias(new) for name, new in names.right.items()),
    )
    joined: DataFrame = found.join(answers, left_on=_ID, right_on=_KEY, how=how).select(
        *map(column, queries.schema().names),
        *map(column, names.right.values()),
        column(_RANK).alias(names.rank),
        column(_DISTANCE).alias(names.distance),
    )
    return joined


@dataclass(frozen=True)
class _Nearest:
    """Finds, for each batch of vectors, the nearest rows of one state of an index."""

    index: Index | None
    options: dict[str, Any]
    id_type: DataType
    column: str

    @property
    def type(self) -> DataType:
        """The type of the answers."""
        return pa.list_(pa.struct([("id", self.id_type), ("rank", pa.int32()), ("distance", pa.float32())]))

    def __call__(self, vectors: Array) -> Array:
        """Return one list of hits per vector, null where there is none."""
        if self.index is None:
            return pa.nulls(len(vectors), self.type)
        hits = self.index.search(named(vectors, self.column), **self.options)
        lists = pa.array(hits.nested())
        ids, distances = lists.values.flatten()
        ranks = pa.table(hits).column("rank").combine_chunks()
        parts = [ids.cast(self.id_type), ranks, distances]
        rows = pa.StructArray.from_arrays(parts, fields=list(self.type.value_type))
        offsets = lists.offsets.cast(pa.int32())
        nothing = pc.equal(offsets[1:], offsets[:-1])
        return pa.ListArray.from_arrays(offsets, rows, type=self.type, mask=nothing)

    def check(self, vectors: DataType) -> None:
        """Refuse now what every search would refuse."""
        if self.index is None:
            return
        dim = self.index.dim
        if pa.types.is_fixed_size_list(vectors) and vectors.list_size != dim:
            message = (
                f"dimension mismatch: the index has {dim}, left column {self.column} has {vectors.list_size}"
            )
            raise DimensionMismatch(message, expected=dim, actual=vectors.list_size)
        self.index.search(pa.array([], pa.list_(pa.float32(), dim)), **self.options)
