"""Collections of a lake as lazy frames of Polars."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from ruvector._ruvector import LakeRows
    from ruvector.lake.conditions import RowFilter
    from ruvector.lake.rulake import RuLake
    from ruvector.lake.searching import Key

__all__ = ["scan_polars"]


class _Stream:
    """Rows that cannot be iterated: older versions of Polars take what can be for a sequence of rows."""

    def __init__(self, rows: LakeRows) -> None:
        self._rows = rows

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._rows.__arrow_c_stream__(requested_schema)


def scan_polars(
    lake: RuLake,
    collection: Key,
    *,
    backend: str | None = None,
    columns: Sequence[str] | None = None,
    filter: RowFilter | None = None,
) -> pl.LazyFrame:
    """
    Read the rows of a collection lazily, as its backend has them when the plan runs.

    The backend is asked only for the columns that the plan needs, and stops after the rows that it needs. The
    plan's own filters are applied to each batch; those that the backend should apply are given as `filter`.

    Parameters
    ----------
    lake
        The lake. Its policy says what may be seen.
    collection, backend
        The collection.
    columns
        The columns, in this order. Default: all.
    filter
        What rows must fulfil: conditions that all must hold, ``[("lang", "=", "en")]``, or a list of such
        lists, one of which must. A backend that can leaves the others out while it reads.

    Returns
    -------
    LazyFrame
        Its schema is that of the collection now.

    Raises
    ------
    UnknownBackend, UnknownCollection, AmbiguousCollection
        If there is no such collection, or several.
    InvalidParameter
        If it has no such column.
    BackendError, PolicyDenied
        If the backend fails, or the policy says no; also when the plan runs, inside Polars' ``ComputeError``.

    Examples
    --------
    >>> import polars as pl
    >>> import ruvector as rv
    >>> docs = rv.LocalBackend("memory")
    >>> docs.upsert("docs", ids=[7, 8], vectors=[[0.0, 0.0], [3.0, 4.0]])
    0
    >>> lake = rv.RuLake.builder().build()
    >>> lake.register_backend(docs)
    >>> rv.lake.scan_polars(lake, "docs").filter(pl.col("id") > 7).select("id").collect()["id"].to_list()
    [8]
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    chosen = None if columns is None else list(columns)

    def read(
        wanted: list[str] | None, predicate: pl.Expr | None, limit: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        del size  # batches come as the backend makes them
        left = limit
        names = wanted if wanted is not None else chosen
        for batch in lake.scan(collection, backend=backend, columns=names, filter=filter):
            frame = pl.DataFrame(_Stream(batch))
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            yield frame if predicate is None else frame.filter(predicate)
            if left == 0:
                return

    rows = lake.scan(collection, backend=backend, columns=chosen, filter=filter)
    # Not every version sees columns in a stream without batches: the first batch tells, where there is one.
    first = next(iter(rows), None)
    schema = pl.DataFrame(_Stream(rows.empty() if first is None else first)).schema
    return register_io_source(read, schema=schema)
