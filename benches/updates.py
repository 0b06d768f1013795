"""Searches beside changes: `python -m benches.updates --help`.

One thread upserts, at a given rate or as quickly as it can, while another searches. Then 30 % of the rows are
replaced by others, and recall, speed and memory are read before, after, and once the index is compacted.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import ruvector as rv
from benches.peers import data
from benches.peers.command import parser, save
from benches.peers.data import Data, limits, recall
from benches.peers.machine import describe
from benches.peers.measure import SMOKE, Budget, latency
from benches.peers.tables import update_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benches.peers.peer import Ids, Vectors

DIM = 384
BATCH = 100
RATE = 10_000  # upserts per second
CHURN = 0.3
ASKED = 0.95
K = 10
WORST_SHARE = 99


@dataclass
class Reader:
    """A thread that searches, one query after the other, and notes what each took."""

    index: rv.Index
    queries: Vectors
    stop: threading.Event = field(default_factory=threading.Event)
    took: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Search until told to stop, once at least."""
        row = 0
        while not (self.took and self.stop.is_set()):
            began = time.perf_counter()
            self.index.search(self.queries[row], K, recall=ASKED, threads=1)
            self.took.append(time.perf_counter() - began)
            row = (row + 1) % len(self.queries)


def write(index: rv.Index, fresh: Vectors, ids: Ids, rate: float | None, seconds: float) -> int:
    """Upsert batches for some time, no more than the rate allows; return how many rows that were."""
    began, done = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        if rate is not None and done > now * rate:
            time.sleep(done / rate - now)
        at = done % (len(fresh) - BATCH + 1)
        index.upsert(fresh[at : at + BATCH], ids[at : at + BATCH], threads=1)
        done += BATCH
    return done


def phase(name: str, index: rv.Index, queries: Vectors, work: Callable[[], int]) -> dict[str, Any]:
    """Return what a reader reaches while some work is done, and how many rows the work wrote."""
    reader = Reader(index, queries)
    thread = threading.Thread(target=reader.run)
    began = time.perf_counter()
    thread.start()
    done = work()
    lasted = time.perf_counter() - began
    reader.stop.set()
    thread.join()
    median, late = np.percentile(reader.took, [50, WORST_SHARE]) * 1e3
    return {
        "name": name,
        "upserts": done / lasted,
        "reads": len(reader.took) / lasted,
        "median_ms": float(median),
        "p99_ms": float(late),
    }


def state(
    name: str, index: rv.Index, now: Data, budget: Budget, seconds: float | None = None
) -> dict[str, Any]:
    """Return recall against the truth as it is now, the speed of single queries, and memory."""
    ids = index.search(now.queries, K, recall=ASKED).to_numpy()[0]
    singles = [now.queries[row] for row in range(min(len(now.queries), budget.singles))]
    one = latency(lambda query: index.search(query, K, recall=ASKED, threads=1), singles, budget)
    found = {
        "name": name,
        "recall": recall(now, ids, limits(now, K)),
        "single_qps": one.qps,
        "memory_bytes": index.memory_bytes,
    }
    return found if seconds is None else {**found, "seconds": seconds}


def side_by_side(loaded: Data, seconds: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the reader alone, beside a writer of the given rate, and beside one that does not wait."""
    index = rv.build(loaded.docs, ids=np.arange(loaded.rows))
    which = rng.permutation(loaded.rows)
    fresh = loaded.docs[which] + np.float32(0.01)

    def nothing() -> int:
        time.sleep(seconds)
        return 0

    work: dict[str, Callable[[], int]] = {
        "reader alone": nothing,
        f"{RATE:,} upserts/s": lambda: write(index, fresh, which, RATE, seconds),
        "upserts without a pause": lambda: write(index, fresh, which, None, seconds),
    }
    return [phase(name, index, loaded.queries, each) for name, each in work.items()]


def churn(loaded: Data, budget: Budget, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the states of an index of which a share of the rows is replaced by rows from elsewhere."""
    index = rv.build(loaded.docs, ids=np.arange(loaded.rows))
    states = [state("built", index, loaded, budget)]
    replaced = rng.permutation(loaded.rows)[: int(CHURN * loaded.rows)]
    after = loaded.docs.copy()
    after[replaced] = loaded.docs[rng.permutation(replaced)] + rng.normal(
        scale=0.2, size=(len(replaced), loaded.dim)
    ).astype(np.float32)
    now = Data(loaded.name, loaded.metric, after, loaded.queries)

    began = time.perf_counter()
    for start in range(0, len(replaced), BATCH):
        some = replaced[start : start + BATCH]
        index.upsert(after[some], some, threads=1)
    states.append(state(f"{CHURN:.0%} replaced", index, now, budget, time.perf_counter() - began))
    for name, retrain in (("compacted", False), ("trained anew", True)):
        began = time.perf_counter()
        index.compact(retrain=retrain)
        states.append(state(name, index, now, budget, time.perf_counter() - began))
    return states


def main() -> None:
    """Measure, write the figures and print the tables."""
    options = parser("benches.updates", __doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--seconds", type=float, default=10, help="how long each phase lasts")
    args = options.parse_args()

    rows, seconds, most = (1000, 0.05, 20) if args.smoke else (args.rows, args.seconds, data.QUERIES)
    loaded, rng = data.clustered(rows, DIM, most), np.random.default_rng(data.SEED)
    result = {
        "kind": "updates",
        "machine": describe(),
        "rows": rows,
        "dim": DIM,
        "k": K,
        "batch": BATCH,
        "asked": ASKED,
        "phases": side_by_side(loaded, seconds, rng),
        "states": churn(loaded, SMOKE if args.smoke else Budget(), rng),
    }
    save(result, args.out)
    print(update_table(result))


if __name__ == "__main__":
    main()
