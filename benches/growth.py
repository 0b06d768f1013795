"""How time, size and build grow with the rows: `python -m benches.growth --help`.

The rows are generated, in clusters whose number grows with them; 128 dimensions.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from benches.peers import data
from benches.peers.machine import describe
from benches.peers.run import chosen, run
from benches.peers.tables import growth_table

DIM = 128
RECALL = 0.95


def main() -> None:
    """Measure each size, write the figures and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benches.growth", description=__doc__)
    parser.add_argument("--rows", default="10000,100000,1000000", help="sizes, with commas between them")
    parser.add_argument("--peers", help="with commas between them; default: ruvector alone")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of batches and builds"
    )
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--out", type=Path, help="the file that the figures are written to")
    parser.add_argument("--smoke", action="store_true", help="little data, one pass: to see that it runs")
    args = parser.parse_args()

    names = chosen(args.peers, ["ruvector"])
    sizes = "500,1000" if args.smoke else args.rows
    most = 20 if args.smoke else data.QUERIES
    result: dict[str, Any] = {"kind": "growth", "machine": describe(), "recall": RECALL, "runs": []}
    for rows in map(int, sizes.split(",")):
        loaded = data.clustered(rows, DIM, most)
        result["runs"].append(run(loaded, names, args.k, args.threads, smoke=args.smoke))
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(growth_table(result))


if __name__ == "__main__":
    main()
