"""What the lake writes down, and what it holds, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from ruvector._ruvector import LakeTable
    from ruvector._sql.arrow import Table

__all__ = ["ArrowTable", "AuditEvents"]


class ArrowTable:
    """A table for whatever reads Arrow: pyarrow, polars, arro3, ..."""

    __slots__ = ("_table",)

    def __init__(self, table: LakeTable) -> None:
        self._table = table

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._table)

    def __repr__(self) -> str:
        """Return the number of rows."""
        return f"{type(self).__name__}({len(self)} rows)"

    def to_arrow(self) -> Table:
        """Return it as a ``pyarrow.Table``."""
        from ruvector._sql.arrow import pa

        return pa.table(self._table)

    def to_polars(self) -> pl.DataFrame:
        """Return it as a ``polars.DataFrame``."""
        import polars as pl

        return pl.DataFrame(self._table)

    def __arrow_c_schema__(self) -> object:
        """Return the schema as a capsule."""
        return self._table.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the rows as a stream, in a capsule."""
        del requested_schema
        return self._table.__arrow_c_stream__()


class AuditEvents(ArrowTable):
    """
    Who did what, the oldest first.

    Columns: ``time`` (UTC, microseconds), ``principal``, ``action``, ``backend``, ``collection``, ``outcome``
    (``answered``, ``empty``, ``late``, ``failed``, ``denied``), ``rows``, ``witness``, ``query_digest``,
    ``seconds``, ``detail``.
    """

    __slots__ = ("_dropped",)

    def __init__(self, table: LakeTable, dropped: int) -> None:
        super().__init__(table)
        self._dropped = dropped

    @property
    def dropped(self) -> int:
        """How many older events had to make room since the last call."""
        return self._dropped
