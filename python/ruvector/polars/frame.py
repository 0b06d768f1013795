"""An index over a column of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ruvector import _ruvector

if TYPE_CHECKING:
    from typing import SupportsIndex

    import polars as pl

    from ruvector._ruvector import Index
    from ruvector.typing import Metric, ProgressCallback

__all__ = ["build_index"]


def build_index(
    frame: pl.DataFrame | pl.LazyFrame,
    column: str,
    id: str | None = None,
    *,
    metric: Metric = "l2sq",
    nlist: SupportsIndex | None = None,
    bits: SupportsIndex = 1,
    seed: SupportsIndex = 0,
    threads: SupportsIndex | None = None,
    progress: bool | ProgressCallback = False,
) -> Index:
    """
    Build an index over a column of vectors.

    A lazy frame is run for the columns that are needed. The index borrows the column, which stays in memory
    as long as the index.

    Parameters
    ----------
    frame
        Where the column is.
    column
        The vectors.
    id
        A column of integers or strings to answer with. Default: the row number.
    metric, nlist, bits, seed, threads, progress
        As in `ruvector.build`.

    Raises
    ------
    RuVectorError
        As `ruvector.build` does.
    polars.exceptions.ColumnNotFoundError
        If there is no such column.

    Examples
    --------
    >>> import polars as pl
    >>> import ruvector as rv
    >>> docs = pl.LazyFrame(
    ...     {"title": ["cat", "car"], "v": [[1.0, 0.1], [0.0, 1.0]]},
    ...     schema={"title": pl.String, "v": pl.Array(pl.Float32, 2)},
    ... )
    >>> rv.polars.build_index(docs, "v", id="title").search([0.9, 0.2], k=1).to_numpy()[0].tolist()
    [['cat']]
    """
    needed = list(dict.fromkeys([column] if id is None else [column, id]))
    table = frame.lazy().select(needed).collect()
    return _ruvector.build(
        table.get_column(column),
        None if id is None else table.get_column(id),
        metric=metric,
        nlist=nlist,
        bits=bits,
        seed=seed,
        threads=threads,
        progress=progress,
    )
