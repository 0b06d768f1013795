"""Measure this library beside others, over one data set: `python -m benches.peers --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benches.peers import data, roofline
from benches.peers.command import add_search_options, parser, save
from benches.peers.machine import describe
from benches.peers.measure import SMOKE, Budget
from benches.peers.peer import PEERS
from benches.peers.run import chosen, run
from benches.peers.tables import peer_table


def main() -> None:
    """Measure, write the figures and print the table."""
    options = parser("benches.peers", data.__doc__, f"Peers: {', '.join(PEERS)}.")
    add_search_options(options)
    options.add_argument("--data", help="the data set, see above; default: examples")
    options.add_argument("--queries", type=Path, help="the Parquet file of the queries, for one of rows")
    options.add_argument(
        "--metric", choices=("l2", "ip", "cosine"), help="for a Parquet file; default: cosine"
    )
    options.add_argument("--peers", help="with commas between them; default: all")
    args = options.parse_args()

    everyone = ("ruvector", "numpy") if args.smoke else tuple(PEERS)
    names = chosen(args.peers, everyone)
    name = args.data or ("gmm:2000" if args.smoke else "examples")
    most = 20 if args.smoke else data.QUERIES
    loaded = data.load(name, queries=args.queries, metric=args.metric, most=most)
    head: dict[str, Any] = {"kind": "peers", "machine": describe()}

    def keep(result: dict[str, Any]) -> None:
        save(head | result, args.out)

    result = head | run(loaded, names, args.k, args.threads, smoke=args.smoke, after_each=keep)
    if any(peer["peer"] == "ruvector" and peer["points"] for peer in result["peers"]):
        result["scan"] = roofline.scanned(loaded, args.k, args.threads, SMOKE if args.smoke else Budget())
    keep(result)
    print(peer_table(result))


if __name__ == "__main__":
    main()
