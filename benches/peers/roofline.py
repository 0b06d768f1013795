"""What bounds a single query: the codes that it has to read, at the speed of kernel and memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from benches.peers.data import Data, limits, recall
from benches.peers.machine import read_bandwidth

if TYPE_CHECKING:
    from benches.peers.measure import Budget

TARGETS = (0.95, 0.99)
KERNEL = "scan_block+bounds_f16"  # the loop of a single query: sums and bounds of one block


def scanned(data: Data, k: int, threads: int, budget: Budget) -> dict[str, Any]:
    """Return how many codes a query reads at least to have a recall: by the fewest lists that reach it."""
    import ruvector as rv
    from benches.peers.ours import METRICS  # it imports the library, which a report does without

    index = rv.build(data.docs, metric=METRICS[data.metric], threads=threads)
    limit = limits(data, k)
    codes: dict[str, float] = {}
    for target in TARGETS:
        few, many = 1, index.nlist
        while few < many:
            middle = (few + many) // 2
            ids = index.search(data.queries, k, recall=target, nprobe=middle, threads=threads).to_numpy()[0]
            if recall(data, ids, limit) >= target:
                many = middle
            else:
                few = middle + 1
        codes[str(target)] = few * data.rows / index.nlist
    return {
        "codes": codes,
        "bytes_per_code": index.memory_bytes / data.rows,
        "read_bandwidth": read_bandwidth(budget),
    }


def kernel_rate(lines: str, simd: str, dim: int) -> float | None:
    """Return codes per second of the kernel, from what `make bench-kernels` prints; None if it is not there.

    For a dimension that is not in the print, the next larger one stands in, or the largest: the kernel takes
    time by the dimension.

    >>> kernel_rate("avx2       128  scan_block+bounds_f16     800.0 M codes/s", "avx2", 64)
    1600000000.0
    """
    pattern = rf"^{re.escape(simd)}\s+(\d+)\s+{re.escape(KERNEL)}\s+([\d.]+) M codes/s"
    rates = {int(of): float(rate) * 1e6 for of, rate in re.findall(pattern, lines, flags=re.MULTILINE)}
    if not rates:
        return None
    of = min((each for each in rates if each >= dim), default=max(rates))
    return rates[of] * of / dim
