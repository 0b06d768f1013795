"""Tables to write into lakes, and answers that can be compared with theirs."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

    from ruvector.lake.conditions import Dnf

__all__ = ["DIM", "allowed", "make", "nearest", "plain"]

DIM = 8
LANGUAGES = ["en", "de", "Fr", "it's", None, "ß"]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, values: value in values,
    "not in": lambda value, values: value not in values,
}


def make(rows: int, *, first: int = 0, seed: int = 0, nulls: bool = True) -> pa.Table:
    """Rows with ids from `first` on; every seventh one has no vector."""
    rng = np.random.default_rng(seed + first)
    vectors = pa.array(rng.standard_normal((rows, DIM), dtype=np.float32).reshape(-1))
    missing = pa.array([nulls and row % 7 == 3 for row in range(rows)])
    ids = np.arange(first, first + rows)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "lang": pa.array([LANGUAGES[row % len(LANGUAGES)] for row in ids], pa.string()),
            "year": pa.array([None if row % 11 == 5 else 2000 + int(row) % 20 for row in ids], pa.int64()),
            "score": pa.array([float(row) / 4 for row in ids], pa.float64()),
            "weight": pa.array([float(row) / 10 for row in ids], pa.float32()),
            "open": pa.array([row % 3 == 0 for row in ids], pa.bool_()),
            "vector": pa.FixedSizeListArray.from_arrays(vectors, DIM, mask=missing),
        }
    )


def allowed(row: dict[str, Any], filter: Dnf | None) -> bool:
    """Whether a row fulfils a filter, as its definition says: nulls fulfil nothing."""
    if filter is None:
        return True
    return any(
        all(row[name] is not None and _COMPARE[how](row[name], value) for name, how, value in alternative)
        for alternative in filter
    )


def nearest(table: pa.Table, query: Any, k: int, filter: Dnf | None = None) -> list[int]:
    """The ids of the nearest rows, by looking at all."""
    rows = [row for row in table.to_pylist() if row["vector"] is not None and allowed(row, filter)]
    far = [float(((np.array(row["vector"], np.float64) - query) ** 2).sum()) for row in rows]
    return [rows[place]["id"] for place in np.argsort(far, kind="stable")[:k]]


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows in the order of their ids, vectors as lists."""
    return sorted(table.to_pylist(), key=lambda row: row["id"])
