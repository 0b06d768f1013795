"""How time, size and build grow with the rows: `python -m benches.growth --help`.

The rows are generated, in clusters whose number grows with them; 128 dimensions.
"""

from __future__ import annotations

from typing import Any

from benches.peers import data
from benches.peers.command import add_search_options, parser, save
from benches.peers.machine import describe
from benches.peers.run import chosen, run
from benches.peers.tables import growth_table

DIM = 128
RECALL = 0.95


def main() -> None:
    """Measure each size, write the figures and print the table."""
    options = parser("benches.growth", __doc__)
    add_search_options(options)
    options.add_argument("--rows", default="10000,100000,1000000", help="sizes, with commas between them")
    options.add_argument("--peers", help="with commas between them; default: ruvector alone")
    args = options.parse_args()

    names = chosen(args.peers, ["ruvector"])
    sizes = "500,1000" if args.smoke else args.rows
    most = 20 if args.smoke else data.QUERIES
    result: dict[str, Any] = {"kind": "growth", "machine": describe(), "recall": RECALL, "runs": []}
    for rows in map(int, sizes.split(",")):
        loaded = data.clustered(rows, DIM, most)
        result["runs"].append(run(loaded, names, args.k, args.threads, smoke=args.smoke))
        save(result, args.out)
    print(growth_table(result))


if __name__ == "__main__":
    main()
