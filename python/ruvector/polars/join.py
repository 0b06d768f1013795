"""The join: each row beside its nearest rows of another frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

import polars as pl

from ruvector import _ruvector
from ruvector.errors import DimensionMismatch, EmptyIndex, InvalidVectorType
from ruvector.polars import plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, SupportsIndex

    from ruvector._ruvector import Index
    from ruvector.flight import RemoteCollection
    from ruvector.lake import LakeCollection
    from ruvector.typing import Filter, IdType, Metric

__all__ = ["knn_join"]

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
How: TypeAlias = Literal["inner", "left"]

# Columns of the plan that are gone when it is done.
_ID, _HITS, _INDEX = "__ruvector_id", "__ruvector_hits", "__ruvector_index"
# Older versions (1.20 was seen to) copy the index's name, and drop the original and the index with it, before
# a plan that `collect_all` runs is done. There the eight indexes built last stay in memory.
_LETS_GO_EARLY = tuple(int(part) for part in pl.__version__.split(".")[:2]) < (1, 41)
_ID_TYPES: dict[str, type[pl.DataType]] = {"int64": pl.Int64, "uint64": pl.UInt64, "str": pl.String}


def knn_join(
    left: Frame,
    right: pl.DataFrame | pl.LazyFrame,
    on: str | None = None,
    *,
    left_on: str | None = None,
    right_on: str | None = None,
    k: SupportsIndex = 10,
    how: How = "inner",
    metric: Metric | None = None,
    index: Index | LakeCollection | RemoteCollection | None = None,
    id: str | None = None,
    filter: Filter | None = None,
    recall: float = 0.99,
    nprobe: SupportsIndex | None = None,
    epsilon: float | None = None,
    exact: bool = False,
    suffix: str = "_right",
) -> Frame:
    """
    Join each row with the `k` rows of another frame whose vectors are nearest.

    With a lazy frame nothing is run. The plan builds an index over the right frame when it runs, streams
    the left one through it, and lets filters on columns of the left frame through to it. A plan that is run
    often, or over a right frame that is large, is better off with an index that is built once: pass
    `index`.

    Parameters
    ----------
    left
        The frame with the queries. It may be larger than memory.
    right
        The frame with the neighbours. Its vectors must fit into memory while the plan runs, unless `index`
        is given.
    on, left_on, right_on
        The vector columns, `on` where they have the same name. With `index`, only the left one is needed.
    k
        The number of neighbours.
    how
        ``"inner"`` leaves out rows whose vector is null; ``"left"`` keeps them, without a neighbour.
    metric
        The distance, ``"l2sq"`` by default. An index brings its own.
    index
        An index over the right frame, or the collection of a lake or of a server that holds its rows.
    id
        A column of the right frame whose values identify its rows, integers or strings; with `index`, the
        one whose values are the index's ids. Default: the row number. The right frame is read twice then,
        once for the vectors and once for the other columns, and must have its rows in the same order both
        times: give an `id` if it may not, for instance after a ``group_by``.
    filter
        With `index`: the rows that may be neighbours, as in `Index.search`. Without one, filter `right`.
    recall, nprobe, epsilon, exact
        As in `Index.search`.
    suffix
        Goes behind a name that is taken. The left frame's columns take theirs first, then ``rank`` and
        ``distance``, then the right frame's columns.

    Returns
    -------
    DataFrame or LazyFrame
        Like `left`. Its columns, those of `right`, ``rank`` (``Int32``, 0 is the nearest) and ``distance``
        (``Float32``), in the order of the left rows and then of the ranks (but for the first streaming engine
        of Polars, ``collect(streaming=True)``, which keeps no order). The right vector column is left
        out, as the right key is by Polars' own joins; to have it, add a copy of it to `right`.

    Raises
    ------
    InvalidParameter
        If an argument has an impossible value, or names a column that is not there.
    DimensionMismatch
        If the types of the two vector columns, or the index, tell that the widths differ.
    InvalidVectorType
        If the ids are neither integers nor strings.
    polars.exceptions.ComputeError
        When the plan runs: if a vector holds NaN or infinity, or two rows of `right` have one id.

    Examples
    --------
    >>> import polars as pl
    >>> import ruvector as rv
    >>> vector = pl.Array(pl.Float32, 2)
    >>> docs = pl.LazyFrame(
    ...     {"title": ["cat", "dog", "car"], "v": [[1.0, 0.1], [0.9, 0.3], [0.0, 1.0]]},
    ...     schema={"title": pl.String, "v": vector},
    ... )
    >>> questions = pl.LazyFrame({"q": ["pet?"], "v": [[1.0, 0.2]]}, schema={"q": pl.String, "v": vector})
    >>> near = rv.polars.knn_join(questions, docs, on="v", k=2, metric="cosine")
    >>> near.select("q", "title", "rank").collect().rows()
    [('pet?', 'cat', 0), ('pet?', 'dog', 1)]
    """
    if how not in ("inner", "left"):
        raise plugin.refuse("how", "inner or left", repr(how))
    options = plugin.search_options(k, recall=recall, nprobe=nprobe, epsilon=epsilon, exact=exact)
    if index is None:
        metric = metric or "l2sq"
        plugin.check_metric(metric)
        if filter is not None:
            raise plugin.refuse("filter", "None without an index: filter the right frame", "a filter")
    elif metric not in (None, index.metric):
        raise plugin.refuse("metric", f"the index's own ({index.metric})", repr(metric))
    keys = _keys(on, left_on, right_on, needs_right=index is None)
    if isinstance(left, pl.LazyFrame):
        join = _Join(left, right.lazy(), keys, id, how, suffix, options)
        if index is not None:
            return join.with_index(index, filter)  # pyright: ignore[reportReturnType]
        return join.building(metric or "l2sq")  # pyright: ignore[reportReturnType]
    # Nothing is lazy here: the right frame is run once, and the left column is lent as it lies.
    right = right.lazy().collect()
    join = _Join(left.lazy(), right.lazy(), keys, id, how, suffix, options)
    if index is None and right.schema[join.right_on] == pl.Binary:
        # Only the plugin reads Polars' binary columns.
        return join.building(metric or "l2sq").collect()  # pyright: ignore[reportReturnType]
    if index is None:
        join.id_type()
        ids = None if id is None else right.get_column(id)
        try:
            index = _ruvector.build(right.get_column(join.right_on), ids, metric=metric or "l2sq")
        except EmptyIndex:
            return join.building(metric or "l2sq").collect()  # pyright: ignore[reportReturnType]
    return join.with_index(index, filter, keep=False).collect()  # pyright: ignore[reportReturnType]


class _Keys(NamedTuple):
    left: str
    right: str | None
    # Whether the right one was asked for, and is not just the left one's name.
    explicit: bool


def _keys(on: str | None, left_on: str | None, right_on: str | None, *, needs_right: bool) -> _Keys:
    if on is not None:
        if left_on is not None or right_on is not None:
            raise plugin.refuse("on", "None with left_on or right_on", "both")
        return _Keys(on, on, needs_right)
    if left_on is None or (needs_right and right_on is None):
        expected = "on, or left_on and right_on" if needs_right else "on or left_on"
        raise plugin.refuse("on", expected, f"left_on={left_on!r}, right_on={right_on!r}")
    return _Keys(left_on, right_on, right_on is not None)


@dataclass
class _Join:
    left: pl.LazyFrame
    right: pl.LazyFrame
    keys: _Keys
    id: str | None
    how: How
    suffix: str
    options: dict[str, Any]

    def __post_init__(self) -> None:
        """Look at the schemas: all that is known before the plan runs."""
        self.left_schema = self.left.collect_schema()
        self.right_schema = self.right.collect_schema()
        _expect(self.left_schema, "on" if self.keys.left == self.keys.right else "left_on", self.keys.left)
        if self.keys.explicit and self.keys.right is not None:
            _expect(self.right_schema, "right_on", self.keys.right)
        if self.id is not None:
            _expect(self.right_schema, "id", self.id)
        self.right_on = self.keys.right or ""

    def with_index(
        self,
        index: Index | LakeCollection | RemoteCollection,
        filter: Filter | None = None,
        *,
        keep: bool = True,
    ) -> pl.LazyFrame:
        """Search an index that is there."""
        options = self.options | plugin.index_options(index, filter, keep=keep)
        self._check_dims("the index", options["dim"])
        id_type: IdType = options["id_type"]
        if self.id_type(id_type) != id_type:
            found = "row numbers" if self.id is None else f"{self.id} ({self.right_schema[self.id]})"
            raise plugin.refuse("id", f"a column of the index's ids ({id_type})", found)
        return self._finish(self._queries(), [], options)

    def building(self, metric: Metric) -> pl.LazyFrame:
        """
        Search an index that the plan builds when it runs.

        The index is a value of the plan: one row that names it, paired with every left row by a cross join.
        That keeps everything in one plan that Polars understands, with nothing run in Python. Handing the
        left frame to a Python function would be simpler, and would neither stream nor let a filter through.
        """
        dtype = self.right_schema[self.right_on]
        dim = dtype.shape[0] if isinstance(dtype, pl.Array) else None
        if dim is not None:
            self._check_dims(f"right column {self.right_on}", dim)
        columns = [pl.col(name) for name in (self.right_on, self.id) if name is not None]
        options = {"metric": metric, "nlist": None, "seed": 0, "keep": _LETS_GO_EARLY}
        build = plugin.call("build", columns, options, is_elementwise=False)
        # The one row comes first: with the left frame there, Polars 1.41 holds all of it.
        queries = self.right.select(build.alias(_INDEX)).join(self._queries(), how="cross")
        options = self.options | {"index": None, "dim": dim, "id_type": self.id_type()}
        return self._finish(queries, [pl.col(_INDEX)], options)

    def _queries(self) -> pl.LazyFrame:
        return self.left.filter(pl.col(self.keys.left).is_not_null()) if self.how == "inner" else self.left

    def _finish(self, queries: pl.LazyFrame, index: list[pl.Expr], options: dict[str, Any]) -> pl.LazyFrame:
        hits = plugin.call("knn", [pl.col(self.keys.left), *index], options | {"ranked": True})
        rank, distance, renamed = self._names()
        left = list(self.left_schema)
        hit = pl.col(_HITS).struct
        found = (
            queries.with_columns(hits.alias(_HITS))
            .select(*left, _HITS)
            .explode(_HITS)
            .with_columns(
                hit.field("id").alias(_ID),
                hit.field("rank").alias(rank),
                hit.field("distance").alias(distance),
            )
            .select(*left, rank, distance, _ID)
        )
        id_type = _ID_TYPES[options["id_type"]]
        right = (
            self.right.with_row_index(_ID)
            if self.id is None
            else self.right.with_columns(pl.col(self.id).alias(_ID))
        )
        right = right.select(
            pl.col(_ID).cast(id_type), *(pl.col(name).alias(new) for name, new in renamed.items())
        )
        # In the order of the left side, which also makes Polars stream it: otherwise it may hold the longer
        # side.
        joined = found.join(right, on=_ID, how=self.how, maintain_order="left", coalesce=True)
        return joined.select(*left, *renamed.values(), rank, distance)

    def _names(self) -> tuple[str, str, dict[str, str]]:
        """Return the names of rank and distance, and of the right frame's columns."""
        taken = set(self.left_schema)

        def free(name: str) -> str:
            new = name + self.suffix if name in taken else name
            if new in taken:
                raise plugin.refuse("suffix", f"one that makes {name!r} a new name", repr(self.suffix))
            taken.add(new)
            return new

        rank, distance = free("rank"), free("distance")
        return rank, distance, {name: free(name) for name in self.right_schema if name != self.keys.right}

    def _check_dims(self, expected_by: str, expected: int) -> None:
        dtype = self.left_schema[self.keys.left]
        actual = dtype.shape[0] if isinstance(dtype, pl.Array) else expected
        if actual != expected:
            actual_by = f"left column {self.keys.left}"
            message = f"dimension mismatch: {expected_by} has {expected}, {actual_by} has {actual}"
            raise DimensionMismatch(message, expected=expected, actual=actual)

    def id_type(self, given: IdType | None = None) -> str:
        """Return the type of the ids of an index over the right frame; of integers, the one given."""
        if self.id is None:
            return "int64"
        dtype = self.right_schema[self.id]
        if dtype.is_integer():
            if given is not None and given != "str":
                return given
            return "int64" if dtype.is_signed_integer() else "uint64"
        if dtype == pl.String:
            return "str"
        message = f"{self.id}: expected integers or strings, got {dtype}"
        raise InvalidVectorType(message, column=self.id, expected="integers or strings", actual=str(dtype))


def _expect(schema: Mapping[str, object], argument: str, name: str) -> None:
    if name not in schema:
        raise plugin.refuse(argument, f"one of the columns {_listed(schema)}", repr(name))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
