"""Hits as columns of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ruvector._sql.arrow import SEARCHED, pa, pc
from ruvector._sql.refusal import refuse

if TYPE_CHECKING:
    from ruvector._ruvector import Hits
    from ruvector._sql.arrow import Array

__all__ = ["as_text", "hits", "no_hits"]

# Lists in SQL have offsets of 32 bits.
MOST = 2**31 - 1


def hits(found: Hits, kind: str) -> Array:
    """Give one list of ``struct<id, distance>`` per query, null for a null query."""
    if len(found) > MOST:
        raise refuse("k", f"at most {MOST} hits in one batch", len(found))
    return pa.array(found.nested()).cast(SEARCHED[kind])


def no_hits(rows: int, kind: str) -> Array:
    """Give the answer to as many null queries."""
    return pa.nulls(rows, SEARCHED[kind])


def as_text(answer: Array) -> Array:
    """Write the ids out."""
    return answer.cast(SEARCHED["str"])


def in_order(parts: list[Array], rows: list[Array]) -> Array:
    """Put answers to some rows each where they belong."""
    if len(parts) == 1:
        return parts[0]
    places = pc.array_sort_indices(pa.concat_arrays(rows))
    return pa.concat_arrays(parts).take(places)
