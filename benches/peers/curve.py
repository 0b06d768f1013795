"""What a peer reaches at a recall that none of its settings has exactly."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any, TypeAlias

Curve: TypeAlias = list[tuple[float, float]]


def frontier(points: list[dict[str, Any]], speed: str) -> Curve:
    """Return recall and speed of the settings that no other beats in both, recall rising.

    >>> slow, quick, poor = ({"recall": r, "qps": q} for r, q in ((0.9, 10), (0.9, 40), (0.8, 30)))
    >>> frontier([slow, quick, poor, {"recall": 0.99, "qps": 5}], "qps")
    [(0.9, 40), (0.99, 5)]
    """
    kept: Curve = []
    for recall, qps in sorted(((point["recall"], point[speed]) for point in points), reverse=True):
        if not kept or qps > kept[-1][1]:
            kept.append((recall, qps))
    return kept[::-1]


def at_recall(curve: Curve, recall: float) -> float | None:
    """Return the speed at a recall, the logarithm of the speed interpolated; None if it is never reached.

    Below the lowest recall that was measured, the speed there is what is known.

    >>> at_recall([(0.8, 100.0), (0.9, 10.0)], 0.85)
    31.6...
    >>> at_recall([(0.8, 100.0)], 0.5), at_recall([(0.8, 100.0)], 0.9)
    (100.0, None)
    """
    place = bisect_left(curve, recall, key=lambda point: point[0])
    if place == len(curve):
        return None
    (right, slower) = curve[place]
    if place == 0 or right == recall:
        return slower
    left, quicker = curve[place - 1]
    share = (recall - left) / (right - left)
    return math.exp((1 - share) * math.log(quicker) + share * math.log(slower))
