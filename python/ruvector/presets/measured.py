"""What the presets did where they were measured."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["POINTS", "Point"]


class Point(NamedTuple):
    """One preset at one size.

    Attributes
    ----------
    n, dim
        Rows and dimensions.
    index
        The name of the class.
    recall
        What `search` was asked for, if anything.
    measured_recall
        The share of the ten true neighbours that were found, over 100 queries.
    queries_per_second
        One query at a time.
    bytes_beside
        Bytes per row besides the vectors.
    """

    n: int
    dim: int
    index: Literal["FlatF32Index", "RabitqIndex", "RabitqPlusIndex"]
    recall: float | None
    measured_recall: float
    queries_per_second: float
    bytes_beside: float


POINTS = (
    Point(1000, 128, "FlatF32Index", None, 1.0, 1, 1),
)
