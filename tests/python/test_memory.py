"""Building borrows: the peak is raw vectors, codes and little more."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# The size of the column. A gigabyte takes a minute or two: RUVECTOR_TEST_MEMORY_MB=1000.
MEGABYTES = int(os.environ.get("RUVECTOR_TEST_MEMORY_MB", "256"))

# The peak is the high-water mark of the resident set, which Linux counts from the start of the program
# (getrusage's mark includes the parent's), less what the interpreter and its libraries take before.
CODE = f"""
import pathlib
import numpy as np
import ruvector as rv

def peak():
    status = pathlib.Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) * 1024

rv.build(np.ones((200, 64), np.float32)).search(np.ones(64, np.float32))
before = peak()
dim = 1024
rows = np.empty(({MEGABYTES} * 10**6 // (4 * dim), dim), np.float32)
rng = np.random.default_rng(0)
for part in np.array_split(rows, 100):
    rng.standard_normal(dtype=np.float32, out=part)
raw = peak() - before
index = rv.build(rows, nlist=64)
print(rows.nbytes, raw, index.memory_bytes, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_of_a_build(python: Callable[..., str]) -> None:
    raw, seen, codes, peak = (int(figure) for figure in python(CODE).split())
    assert 0.9 * raw < seen < 1.1 * raw, "the measurement itself"
    assert codes < 0.1 * raw
    assert peak < 1.15 * raw + codes
