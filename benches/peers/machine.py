"""What a run was made on: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benches.peers.measure import Budget, best

READ_BYTES = 1 << 28  # larger than any last cache that a few cores have to themselves


def describe() -> dict[str, Any]:
    """Return processor, memory, system and the time."""
    return {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "simd": simd(),
        "load": os.getloadavg()[0],
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def simd() -> str | None:
    """Return the level of our kernels, where the library is installed."""
    try:
        import ruvector as rv
    except ImportError:
        return None
    return rv.simd_level()


def read_bandwidth(budget: Budget) -> float:
    """Return how many bytes per second one core reads from memory: no scan beyond the caches is quicker."""
    numbers = np.ones(READ_BYTES // 8, dtype=np.uint64)
    return READ_BYTES / best(lambda: np.bitwise_or.reduce(numbers), budget)
