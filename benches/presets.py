"""Measure the presets at the points that `ruvector.recommend` chooses between.

``python -m benches.presets`` prints the rows of ``python/ruvector/presets/measured.py``: recall@10 and
queries per second, one query at a time, on 100 Gaussian clusters.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import ruvector as rv

if TYPE_CHECKING:
    import numpy.typing as npt

    from ruvector.presets import FlatF32Index, RabitqIndex, RabitqPlusIndex

    Vectors = npt.NDArray[np.float32]
    Preset = FlatF32Index | RabitqIndex | RabitqPlusIndex

SIZES = [(n, dim) for dim in (128, 768) for n in (1_000, 10_000, 100_000)]
RECALLS = (0.8, 0.9, 0.95, 0.99)
BITS = (1, 4, 7)
QUERIES = 100
K = 10


def clustered(rows: int, dim: int, seed: int) -> Vectors:
    """Return rows around 100 centres; the seed draws the rows, not the centres."""
    centres = np.random.default_rng(7).standard_normal((100, dim), dtype=np.float32)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, dim), dtype=np.float32)
    noise *= np.float32(0.7)
    noise += centres[rng.integers(0, len(centres), rows)]
    return noise


def measure(index: Preset, options: dict[str, Any], queries: Vectors, truth: list[set[int]]) -> str:
    """Return one line of the table: the faster of two passes counts."""
    took = float("inf")
    found: list[set[int]] = []
    for _ in range(2):
        started = time.perf_counter()
        found = [{hit.id for hit in index.search(query, K, **options)} for query in queries]
        took = min(took, time.perf_counter() - started)
    hits = sum(len(one & other) for one, other in zip(found, truth, strict=True))
    name, size = type(index).__name__, f"{len(index)}, {index.dim}"
    kept = 0 if name == "RabitqIndex" else 4 * len(index) * index.dim
    recall, rate = hits / (K * len(queries)), len(queries) / took
    beside, asked = (index.memory_bytes - kept) / len(index), options.get("recall")
    return f'    Point({size}, "{name}", {index.bits}, {asked}, {recall:.3f}, {rate:.0f}, {beside:.0f}),'


def main() -> None:
    """Print one line per point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="one small point only")
    sizes = [(500, 16)] if parser.parse_args().smoke else SIZES
    for n, dim in sizes:
        vectors, queries = clustered(n, dim, 0), clustered(QUERIES, dim, 1)
        flat = rv.FlatF32Index.build(vectors)
        truth = [{hit.id for hit in flat.search(query, K)} for query in queries]
        print(measure(flat, {}, queries, truth), flush=True)
        plus = rv.RabitqPlusIndex.build(vectors)
        for recall in RECALLS:
            print(measure(plus, {"recall": recall}, queries, truth), flush=True)
        for bits in BITS:
            codes = rv.RabitqIndex.build(vectors, bits=bits)
            print(measure(codes, {}, queries, truth), flush=True)


if __name__ == "__main__":
    main()
