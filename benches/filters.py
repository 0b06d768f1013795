"""A filter inside the search beside one after it: `python -m benches.filters --help`.

After the search means: ask for more neighbours, drop what is not allowed, keep the first k. Both ways are
measured over many settings and compared at the recall that they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ruvector as rv
from benches.peers import data
from benches.peers.command import add_search_options, parser, save
from benches.peers.data import Data, limits, recall
from benches.peers.machine import describe
from benches.peers.measure import SMOKE, Budget, best, latency
from benches.peers.ours import METRICS
from benches.peers.tables import filter_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benches.peers.peer import Ids, Vectors

    Search = Callable[[Vectors, int], Ids]

SELECTIVITIES = (0.5, 0.01)
RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
SPARE = (1.0, 1.5, 2.0)  # how many times the k / selectivity rows that hold k allowed ones on average


def inside(index: rv.Index, allowed: NDArray[np.bool_], k: int, asked: float) -> Search:
    """Return a search that takes the filter along."""

    def search(queries: Vectors, threads: int) -> Ids:
        return index.search(queries, k, filter=allowed, recall=asked, threads=threads).to_numpy()[0]

    return search


def after(index: rv.Index, allowed: NDArray[np.bool_], k: int, asked: float, spare: float) -> Search:
    """Return a search for more, of which the allowed ones are kept; what is missing is -1."""
    more = min(len(allowed), int(np.ceil(spare * k / allowed.mean())))

    def search(queries: Vectors, threads: int) -> Ids:
        ids = index.search(queries, more, recall=asked, threads=threads).to_numpy()[0]
        kept = allowed[ids]
        first = np.argsort(~kept, axis=1, kind="stable")[:, :k]
        return np.where(np.take_along_axis(kept, first, axis=1), np.take_along_axis(ids, first, axis=1), -1)

    return search


def point(search: Search, asked: Data, limit: Any, threads: int, budget: Budget) -> dict[str, Any]:  # noqa: ANN401
    """Return recall, speed and the fewest hits that a query got."""
    ids = search(asked.queries, threads)
    seconds = best(lambda: search(asked.queries, threads), budget)
    singles = [asked.queries[row : row + 1] for row in range(min(len(asked.queries), budget.singles))]
    return {
        "recall": recall(asked, ids, limit),
        "fewest": int((ids >= 0).sum(axis=1).min()),
        "batch_qps": len(ids) / seconds,
        "single_qps": latency(lambda query: search(query, 1), singles, budget).qps,
    }


def main() -> None:
    """Measure both ways at each selectivity, write the figures and print the table."""
    options = parser("benches.filters", __doc__)
    add_search_options(options)
    options.add_argument("--data", default="gmm", help="as of benches.peers")
    args = options.parse_args()

    loaded = data.load("gmm:4000", most=20) if args.smoke else data.load(args.data)
    budget = SMOKE if args.smoke else Budget()
    index = rv.build(loaded.docs, metric=METRICS[loaded.metric], threads=args.threads)
    rng = np.random.default_rng(data.SEED)
    cases: list[dict[str, Any]] = []
    for selectivity in SELECTIVITIES:
        allowed = rng.random(loaded.rows) < selectivity
        limit = limits(loaded, args.k, allowed)
        own = [inside(index, allowed, args.k, asked) for asked in RECALLS]
        other = [after(index, allowed, args.k, asked, spare) for spare in SPARE for asked in RECALLS]
        ways = {"inside": own, "after": other}
        case = {
            way: [point(search, loaded, limit, args.threads, budget) for search in searches]
            for way, searches in ways.items()
        }
        cases.append({"selectivity": selectivity, **case})
    result = {
        "kind": "filters",
        "machine": describe(),
        "data": loaded.name,
        "metric": loaded.metric,
        "rows": loaded.rows,
        "dim": loaded.dim,
        "queries": len(loaded.queries),
        "k": args.k,
        "threads": args.threads,
        "cases": cases,
    }
    save(result, args.out)
    print(filter_table(result))


if __name__ == "__main__":
    main()
