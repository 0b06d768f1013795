"""Measure the presets at the points that `ruvector.recommend` chooses between.

``python -m benches.presets`` prints the rows of ``python/ruvector/presets/measured.py``: recall@10 and queries
per second, one query at a time, on 100 Gaussian clusters.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from ruvector.presets import Neighbor

SIZES = [(n, dim) for dim in (128, 768) for n in (1_000, 10_000, 100_000)]
QUERIES = 100
K = 10


def clustered(rows: int, dim: int, seed: int) -> npt.NDArray[np.float32]:
    """Return rows around 100 centres; the seed draws the rows, not the centres."""
    centres = np.random.default_rng(7).standard_normal((100, dim), dtype=np.float32)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, dim), dtype=np.float32)
    noise *= np.float32(0.7)
    noise += centres[rng.integers(0, len(centres), rows)]
    return noise


def measure(
    search: Callable[[npt.NDArray[np.float32]], list[Neighbor]],
    queries: npt.NDArray[np.float32],
    truth: list[set[int]],
) -> tuple[float, float]:
    """Return recall and queries per second of the faster of two passes."""
    took = float("inf")
    found: list[set[int]] = []
    for _ in range(2):
        started = time.perf_counter()
        found = [{hit.id for hit in search(query)} for query in queries]
        took = min(took, time.perf_counter() - started)
    hits = sum(len(one & other) for one, other in zip(found, truth, strict=True))
    return hits / (K * len(queries)), len(queries) / took


def main() -> None:
    """Print one line per point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="one small point only")
    sizes = [(500, 16)] if parser.parse_args().smoke else SIZES
    for n, dim in sizes:
        vectors, queries = clustered(n, dim, 0), clustered(QUERIES, dim, 1)
        flat = rv.FlatF32Index.build(vectors)
        truth = [{hit.id for hit in flat.search(query, K)} for query in queries]
        points = [("FlatF32Index", None, flat, lambda query: flat.search(query, K))]
        print_points(points, n, dim, queries, truth)
        plus = rv.RabitqPlusIndex.build(vectors)
        points = [
            (
                "RabitqPlusIndex",
                recall,
                plus,
                lambda query, recall=recall: plus.search(query, K, recall=recall),
            )
            for recall in (0.8, 0.9, 0.95, 0.99)
        ]
        print_points(points, n, dim, queries, truth)
        codes = rv.RabitqIndex.build(vectors)
        print_points([("RabitqIndex", None, codes, lambda query: codes.search(query, K))], n, dim, queries, truth)


def print_points(
    points: list[tuple[str, float | None, rv.AnyIndex, Callable[[npt.NDArray[np.float32]], list[Neighbor]]]],
    n: int,
    dim: int,
    queries: npt.NDArray[np.float32],
    truth: list[set[int]],
) -> None:
    """Print the line of each point."""
    for name, recall, index, search in points:
        found, rate = measure(search, queries, truth)
        kept = 0 if name == "RabitqIndex" else 4 * n * dim
        beside = (index.memory_bytes - kept) / n
        print(f'    Point({n}, {dim}, "{name}", {recall}, {found:.3f}, {rate:.0f}, {beside:.0f}),', flush=True)


if __name__ == "__main__":
    main()
