"""How time, recall and memory are measured: the same way for every peer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Query = TypeVar("Query")

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Budget:
    """How long one figure may take, and how many single queries it is made of."""

    seconds: float = 1.0
    passes: int = 200
    singles: int = 200


SMOKE = Budget(seconds=0.01, passes=1, singles=5)


@dataclass(frozen=True)
class Latency:
    """What single queries take, one after the other."""

    qps: float
    median_us: float
    p99_us: float


def best(run: Callable[[], object], budget: Budget) -> float:
    """Return the seconds of the quickest pass, of at least two unless the budget allows one only.

    What else a machine does makes passes slower, never quicker.
    """
    quickest, started = float("inf"), time.perf_counter()
    for passed in range(budget.passes):
        began = time.perf_counter()
        run()
        ended = time.perf_counter()
        quickest = min(quickest, ended - began)
        if passed and ended - started > budget.seconds:
            break
    return quickest


def latency(search: Callable[[Query], object], queries: Sequence[Query], budget: Budget) -> Latency:
    """Return rate, median and 99th percentile of the quickest pass over the queries."""
    quickest = np.full(len(queries), np.inf)
    started = time.perf_counter()
    for passed in range(budget.passes):
        took = np.empty(len(queries))
        for place, query in enumerate(queries):
            began = time.perf_counter()
            search(query)
            took[place] = time.perf_counter() - began
        if took.sum() < quickest.sum():
            quickest = took
        if passed and time.perf_counter() - started > budget.seconds:
            break
    median, late = np.percentile(quickest, [50, 99]) * 1e6
    return Latency(len(queries) / float(quickest.sum()), float(median), float(late))


def resident() -> tuple[int, int]:
    """Return the bytes of memory that the process has, and had at most; zeros where /proc does not tell."""
    if not STATUS.exists():
        return 0, 0
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    now, most = (int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def forget_peak() -> None:
    """Let the peak of `resident` begin anew. Where the kernel refuses, the peak counts from the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
