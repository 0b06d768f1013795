"""How long a large index takes to build: `python -m benches.builds --help`.

Clustered rows, as in the other benches: a million of 128 dimensions in 4,096 lists, and a million of 768
dimensions with codes of four bits.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import ruvector as rv
from benches.peers import data
from benches.peers.command import parser, save
from benches.peers.machine import describe
from benches.peers.measure import forget_peak, resident
from benches.peers.tables import build_table

ROWS = 1_000_000
SMOKE_ROWS = 2000
CASES = ({"dim": 128, "nlist": 4096, "bits": 1}, {"dim": 768, "nlist": None, "bits": 4})


def built(rows: int, dim: int, nlist: int | None, bits: int) -> dict[str, Any]:
    """Return what one build took."""
    docs = data.clustered(rows, dim, 1).docs
    forget_peak()
    before, _ = resident()
    began = perf_counter()
    index = rv.build(docs, metric="l2sq", bits=bits, nlist=nlist)
    seconds = perf_counter() - began
    _, peak = resident()
    return {
        "dim": dim,
        "lists": index.nlist,
        "bits": bits,
        "seconds": seconds,
        "peak_bytes": max(0, peak - before),
        "raw_bytes": docs.nbytes,
        "index_bytes": index.memory_bytes,
    }


def main() -> None:
    """Measure each build, write the figures and print the table."""
    args = parser("benches.builds", __doc__).parse_args()
    rows = SMOKE_ROWS if args.smoke else ROWS
    result: dict[str, Any] = {"kind": "builds", "machine": describe(), "rows": rows, "builds": []}
    for case in CASES:
        nlist = 16 if args.smoke and case["nlist"] else case["nlist"]
        result["builds"].append(built(rows, case["dim"] or 0, nlist, case["bits"] or 1))
        save(result, args.out)
    print(build_table(result))


if __name__ == "__main__":
    main()
