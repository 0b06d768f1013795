"""Expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ruvector.polars import plugin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, SupportsIndex, TypeAlias

    import numpy as np
    import numpy.typing as npt

    from ruvector._ruvector import Index
    from ruvector.flight import RemoteCollection
    from ruvector.lake import LakeCollection
    from ruvector.typing import Filter, Metric

    Vector: TypeAlias = Sequence[float] | npt.NDArray[np.floating[Any]]

__all__ = ["distance", "knn"]


def knn(
    expr: pl.Expr | str,
    index: Index | LakeCollection | RemoteCollection,
    k: SupportsIndex = 10,
    *,
    filter: Filter | None = None,
    recall: float = 0.99,
    nprobe: SupportsIndex | None = None,
    epsilon: float | None = None,
    rerank: bool = True,
    exact: bool = False,
) -> pl.Expr:
    """
    Find the nearest rows of an index for each vector of a column.

    The expression is elementwise: it streams, and filters on other columns are done before it. A plan made
    with it can be serialized. In another process it opens the file that the index was saved to or opened
    from (`Index.path`); an index that has none exists only here.

    Parameters
    ----------
    expr
        The query vectors: ``Array`` of ``Float32`` or ``Float16`` as wide as the index, ``List(Float32)``,
        or ``Binary`` (what ``fixed_size_binary`` becomes in Polars).
    index
        What to search. The eight indexes used last in expressions are kept in memory, so that one that no
        variable holds is still there when the plan runs. A collection of a lake is searched in the state that
        it has when the plan runs: its backend is asked for each batch, as its consistency says. A collection
        of a server (`ruvector.flight.connect`) is searched there, batch by batch.
    filter
        The rows that may be found, as in `Index.search`. The expression holds the ids that are allowed now:
        rows that are added later are not found.
    k, recall, nprobe, epsilon, rerank, exact
        As in `Index.search`.

    Returns
    -------
    Expr
        ``List(Struct{id, distance})``, best first, null where the vector is null; named after the vectors.

    Raises
    ------
    InvalidParameter
        If an argument has an impossible value.
    polars.exceptions.ComputeError
        From ``collect_schema()`` on, if the column is of another type or width; when the plan runs, if a
        vector holds NaN or infinity, or the index cannot be found.

    Examples
    --------
    >>> import polars as pl
    >>> import ruvector as rv
    >>> docs = pl.DataFrame(
    ...     {"v": [[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]}, schema={"v": pl.Array(pl.Float32, 2)}
    ... )
    >>> index = rv.build(docs)
    >>> docs.select(rv.polars.knn("v", index, k=2))["v"].to_list()[1]
    [{'id': 1, 'distance': 0.0}, {'id': 0, 'distance': 25.0}]
    >>> docs.select(rv.polars.knn("v", index, k=2, filter=[0, 2]))["v"].to_list()[1]
    [{'id': 0, 'distance': 25.0}, {'id': 2, 'distance': 25.0}]
    """
    options = plugin.search_options(
        k, recall=recall, nprobe=nprobe, epsilon=epsilon, rerank=rerank, exact=exact
    )
    options |= plugin.index_options(index, filter)
    return plugin.call("knn", [column(expr)], options | {"ranked": False})


def distance(expr: pl.Expr | str, other: pl.Expr | str | Vector, metric: Metric = "l2sq") -> pl.Expr:
    """
    Measure the distance between the vectors of two columns, row by row.

    With the same query, the same bits as the distances that a search returns.

    Parameters
    ----------
    expr
        Vectors, as in `knn`.
    other
        An expression or the name of a column; or one vector, as a list, a tuple or an array of numbers.
    metric
        ``"l2sq"``, ``"l2"``, ``"cosine"`` or ``"ip"``, as in `ruvector.build`.

    Returns
    -------
    Expr
        ``Float32``, null where either vector is null; named after the first column.

    Raises
    ------
    InvalidParameter
        If there is no such metric, or `other` is not one vector.
    polars.exceptions.ComputeError
        From ``collect_schema()`` on, if a column is of another type or the widths differ; when the plan
        runs, if a vector holds NaN or infinity.

    Examples
    --------
    >>> import polars as pl
    >>> import ruvector as rv
    >>> docs = pl.DataFrame({"v": [[0.0, 0.0], [3.0, 4.0]]}, schema={"v": pl.Array(pl.Float32, 2)})
    >>> docs.select(rv.polars.distance("v", [0.0, 0.0], metric="l2"))["v"].to_list()
    [0.0, 5.0]
    """
    plugin.check_metric(metric)
    is_column = isinstance(other, (pl.Expr, str))
    second = column(other) if isinstance(other, (pl.Expr, str)) else literal(other)
    # In a search the vector that is given is the query, and the column what it is compared with. Of two
    # columns, the first asks.
    options = {"metric": metric, "query_is_other": not is_column}
    return plugin.call("distance", [column(expr), second], options)


def column(expr: pl.Expr | str) -> pl.Expr:
    """Return an expression for it."""
    return pl.col(expr) if isinstance(expr, str) else expr


def literal(vector: Vector) -> pl.Expr:
    """Return one vector as a scalar. Polars would push no filter past a literal `Series`."""
    try:
        values = [float(value) for value in vector]
    except (TypeError, ValueError):
        values = []
    if not values:
        raise plugin.refuse("other", "a column, or one vector of at least one number", repr(vector)[:60])
    return pl.lit(values, dtype=pl.Array(pl.Float32, len(values)))
