"""Which preset to take, by what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Literal

from ruvector.presets.base import refuse
from ruvector.presets.measured import POINTS, Point

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["Recommendation", "recommend"]

ESTIMATES_COUNT = 0.75
"""Estimates must be faster than exact scores by more than rates differ between two runs."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A preset, and what it did where it was measured.

    Attributes
    ----------
    index
        The name of the class.
    bits
        What to build it with.
    recall
        What to ask of `search`; None for `FlatF32Index`, which has no such keyword, and for `RabitqIndex`,
        which was measured with the default.
    measured_recall
        The share of the ten true neighbours that were found, at the nearest point that was measured.
    queries_per_second
        At that point, one query at a time.
    measured_n, measured_dim
        That point: the numbers of rows and dimensions.
    memory_bytes
        What the index would take for the rows that were asked about, vectors included where it keeps them.
    """

    index: Literal["FlatF32Index", "RabitqIndex", "RabitqPlusIndex"]
    bits: int
    recall: float | None
    measured_recall: float
    queries_per_second: float
    measured_n: int
    measured_dim: int
    memory_bytes: int


def recommend(n: SupportsIndex, dim: SupportsIndex, recall_target: float = 0.99) -> Recommendation:
    """
    Return the fastest preset that reached a recall, where it was measured nearest to this many rows.

    `RabitqIndex`, whose scores are estimates, is chosen where it was faster by a third; a recall of 1 is only
    promised by `FlatF32Index`.

    The points are those of `ruvector.presets.measured`, which says how they were measured: on clustered data
    that was generated. Real data are easier or harder; measure with `ruvector.recall_at_k` on your own.

    Parameters
    ----------
    n, dim
        Rows and dimensions.
    recall_target
        The share of the ten true neighbours to find, above 0, at most 1.

    Raises
    ------
    InvalidParameter
        If `n` or `dim` is below 1, or `recall_target` is impossible.

    Examples
    --------
    >>> import ruvector as rv
    >>> rv.recommend(500, 128, 1.0).index
    'FlatF32Index'
    >>> rv.recommend(100_000, 128, 0.95).index
    'RabitqPlusIndex'
    """
    rows, width = n.__index__(), dim.__index__()
    for name, value in (("n", rows), ("dim", width)):
        if value < 1:
            refuse(name, "at least 1", str(value))
    if not 0 < recall_target <= 1:
        refuse("recall_target", "above 0, at most 1", str(recall_target))

    def apart(point: Point) -> float:
        return abs(log(point.n / rows)) + abs(log(point.dim / width))

    def suits(point: Point) -> bool:
        # Of a hundred queries, none may have missed by chance: only comparing with every row is sure.
        return (
            point.preset == "FlatF32Index" if recall_target == 1 else point.measured_recall >= recall_target
        )

    def rank(point: Point) -> float:
        return point.queries_per_second * (ESTIMATES_COUNT if point.preset == "RabitqIndex" else 1.0)

    nearest = min(POINTS, key=apart)
    here = [point for point in POINTS if (point.n, point.dim) == (nearest.n, nearest.dim)]
    best = max((point for point in here if suits(point)), key=rank)
    vectors = 0 if best.preset == "RabitqIndex" else 4 * rows * width
    return Recommendation(
        index=best.preset,
        bits=best.bits,
        recall=best.recall,
        measured_recall=best.measured_recall,
        queries_per_second=best.queries_per_second,
        measured_n=best.n,
        measured_dim=best.dim,
        memory_bytes=round(best.bytes_beside * rows) + vectors,
    )
