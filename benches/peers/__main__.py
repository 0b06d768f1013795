"""Measure this library beside others, over one data set: `python -m benches.peers --help`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from benches.peers import data, roofline
from benches.peers.machine import describe
from benches.peers.measure import SMOKE, Budget
from benches.peers.peer import PEERS
from benches.peers.run import chosen, run
from benches.peers.tables import peer_table


def main() -> None:
    """Measure, write the figures and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benches.peers",
        description=data.__doc__,
        epilog=f"Peers: {', '.join(PEERS)}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", help="the data set, see above; default: examples")
    parser.add_argument("--queries", type=Path, help="the Parquet file of the queries, for one of rows")
    parser.add_argument(
        "--metric", choices=("l2", "ip", "cosine"), help="for a Parquet file; default: cosine"
    )
    parser.add_argument("--peers", help="with commas between them; default: all")
    parser.add_argument(
        "--threads", type=int, default=len(os.sched_getaffinity(0)), help="of batches and builds"
    )
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--out", type=Path, help="the file that the figures are written to")
    parser.add_argument("--smoke", action="store_true", help="few queries, one pass: to see that it runs")
    args = parser.parse_args()

    everyone = ("ruvector", "numpy") if args.smoke else tuple(PEERS)
    names = chosen(args.peers, everyone)
    name = args.data or ("gmm:2000" if args.smoke else "examples")
    most = 20 if args.smoke else data.QUERIES
    loaded = data.load(name, queries=args.queries, metric=args.metric, most=most)
    result: dict[str, Any] = {"kind": "peers", "machine": describe()}
    result |= run(loaded, names, args.k, args.threads, smoke=args.smoke)
    if any(peer["peer"] == "ruvector" and peer["points"] for peer in result["peers"]):
        result["scan"] = roofline.scanned(loaded, args.k, args.threads, SMOKE if args.smoke else Budget())
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(peer_table(result))
    broken = [peer["peer"] for peer in result["peers"] if "error" in peer]
    if broken and args.smoke:
        raise SystemExit(f"failed: {', '.join(broken)}")


if __name__ == "__main__":
    main()
