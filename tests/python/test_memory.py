"""Building borrows: the peak is raw vectors, codes and little more. An opened file is mapped."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.python.conftest import Clustered

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


# Anonymous pages are those that no file backs: what a process has to itself.
OPENED = """
import pathlib, sys
import numpy as np
import ruvector as rv

def private():
    status = pathlib.Path("/proc/self/status").read_text().split()
    return int(status[status.index("RssAnon:") + 1]) * 1024

path = sys.argv[1]
with rv.open(path, verify=False) as index:  # everything that is made once is made
    index.search(np.ones(index.dim, np.float32))
before = private()
index = rv.open(path, verify=VERIFY)
hits = index.search(np.ones((50, index.dim), np.float32), recall=0.999, threads=1)
print(len(hits), index.mapped_bytes, index.memory_bytes, private() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("verify", [True, False])
def test_an_opened_file_takes_no_private_memory(
    *, verify: bool, clustered: Clustered, python: Callable[..., str], tmp_path: Path
) -> None:
    rows = clustered(100_000, 128)
    path = tmp_path / "rows.rbpx"
    rv.build(rows, nlist=64).save(path)
    code = OPENED.replace("VERIFY", str(verify)).replace("sys.argv[1]", repr(str(path)))
    found, mapped, told, private = (int(figure) for figure in python(code).split())
    assert found == 500
    assert mapped > rows.nbytes
    assert told < 0.01 * mapped
    assert private < 0.02 * mapped + 2**20
