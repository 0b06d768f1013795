"""The option `filter` as text: DuckDB's Python functions take no arguments of whatever type."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ruvector._sql.arrow import pa, pc
from ruvector._sql.refusal import refuse

if TYPE_CHECKING:
    from ruvector._sql.arrow import Array

__all__ = ["digest", "rows"]

INTEGERS = frozenset(
    sign + size for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
)


def digest(filters: Array) -> bytes:
    """Tell one list from another."""
    found = hashlib.blake2b(digest_size=16)
    texts = filters.flatten()
    found.update(f"{filters.null_count} {texts.offset} {len(texts)}".encode())
    for buffer in texts.buffers():
        found.update(b"" if buffer is None else buffer)
    return found.digest()


def rows(filters: Array, kind: str) -> Array | None:
    """
    Read one list.

    Parameters
    ----------
    filters
        One list of text, or a null.
    kind
        The type that the list had in SQL.

    Returns
    -------
    pyarrow.Array or None
        Ids or booleans; None where no filter was given. The null that ``list`` gives over no rows is an empty
        list.

    Raises
    ------
    InvalidParameter
        If the list is of anything but ids or booleans.
    """
    if kind == '"NULL"':
        return None
    texts = filters.flatten()
    element = kind.partition("[")[0]
    if element == '"NULL"' or len(texts) == texts.null_count:
        return pa.array([], pa.int64())
    if element == "BOOLEAN":
        return pc.fill_null(pc.equal(texts, "true"), fill_value=False)
    if element == "VARCHAR":
        return texts
    if element not in INTEGERS:
        raise refuse("filter", "a list of ids or of booleans", kind)
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return texts.cast(pa.uint64())
