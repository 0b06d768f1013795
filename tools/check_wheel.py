"""Check the two promises of the wheel: it is small, and importing it is quick."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_BYTES = 16_000_000
MAX_IMPORT_MS = 50.0
PROCESSES = 11

# The cost of ruvector on top of Polars, which a user of the dataframe operator has already paid.
IMPORT = """
import time, polars
started = time.perf_counter()
import ruvector
print((time.perf_counter() - started) * 1000)
"""


def import_ms() -> float:
    """Return the median over fresh processes, in milliseconds."""
    command = [sys.executable, "-c", IMPORT]
    runs = [subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout for _ in range(PROCESSES)]
    return statistics.median(map(float, runs))


def main() -> int:
    """Print both figures; return 1 if either is over its limit."""
    (wheel,) = (ROOT / "dist").glob("ruvector_arrow-*.whl")
    size, took = wheel.stat().st_size, import_ms()
    print(f"{wheel.name}: {size / 1e6:.2f} MB (at most {MAX_BYTES / 1e6:.0f})")
    print(f"import ruvector after polars: {took:.1f} ms (at most {MAX_IMPORT_MS:.0f})")
    return 1 if size > MAX_BYTES or took > MAX_IMPORT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
