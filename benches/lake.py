"""The lake beside the index that it holds: `python -m benches.lake --help`.

- the hit path: a search of the lake that finds its index in the cache, and the same search of the index
  itself, one after the other in one run; the ratio is that of the medians. `fresh` asks the backend, which is
  in memory, before each search, the others once an hour;
- eight threads, each with queries of its own, on the lake and on the index;
- a hundred awaited searches at once, beside the same searches one after the other, and beside one of them;
- a warm start: an index that another lake has saved, until it is there and until its first answer;
- a cache of 30 % of the bytes, asked by a Zipf law: how often it has what is wanted, when what must leave the
  memory is dropped, and when it goes to a file; and the best that a cache of so many collections could do.
"""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

import ruvector as rv
from benches.peers import data
from benches.peers.command import parser, save
from benches.peers.machine import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

K = 10
BATCH = 256
COLLECTIONS = 50
SHARE = 0.3
EXPONENT = 1.5
THREADS = 8
AWAITED = 100


def drawn(rows: int, dim: int, seed: int) -> Vectors:
    """Return rows of 100 Gaussian clusters."""
    centres = np.random.default_rng(7).standard_normal((100, dim), dtype=np.float32)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, dim), dtype=np.float32)
    noise *= np.float32(0.7)
    noise += centres[rng.integers(0, len(centres), rows)]
    return noise


def lake_of(vectors: dict[str, Vectors], *, bytes: int | None = None, spill: str | None = None) -> rv.RuLake:
    """Return a lake over collections in memory, which it asks once an hour."""
    backend = rv.LocalBackend("memory")
    for name, rows in vectors.items():
        backend.put_collection(name, ids=np.arange(len(rows)), vectors=rows)
    builder = rv.RuLake.builder().consistency(rv.Consistency.EVENTUAL, ttl=3600)
    if bytes is not None:
        builder.max_cache_bytes(bytes)
    if spill is not None:
        builder.spill_to(spill)
    lake = builder.build()
    lake.register_backend(backend)
    return lake


def seconds(call: Callable[..., object], *given: object) -> float:
    """Return how long a call takes."""
    started = perf_counter()
    call(*given)
    return perf_counter() - started


def beside(one: Callable[[int], object], other: Callable[[int], object], turns: int) -> dict[str, float]:
    """Return the medians of two calls that take turns, each being first as often as the other."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 2):
        calls = [(times[0], one), (times[1], other)]
        for kept, call in calls if turn % 2 else calls[::-1]:
            took = seconds(call, turn)
            if turn > 1:
                kept.append(took)
    ours, direct = median(times[0]), median(times[1])
    return {"lake_us": ours * 1e6, "index_us": direct * 1e6, "ratio": ours / direct}


def hit_path(docs: Vectors, queries: Vectors, turns: int) -> dict[str, Any]:
    """Compare a lake that has the index with the index, a query at a time and in batches."""
    lake = lake_of({"docs": docs})
    fresh = lake.with_consistency(rv.Consistency.FRESH)
    key = ("memory", "docs")
    # The lake's seed: another one makes other lists, and a tenth of the time more or less.
    index = rv.build(docs, ids=np.arange(len(docs)), seed=42)
    lake.search_one(key, queries[0], k=K)
    at = len(queries)
    return {
        "fresh": beside(
            lambda turn: fresh.search_one(key, queries[turn % at], k=K),
            lambda turn: index.search(queries[turn % at], K),
            turns,
        ),
        "threads": {
            "lake_qps": by_threads(lambda query: lake.search_one(key, query, k=K), queries),
            "index_qps": by_threads(lambda query: index.search(query, K), queries),
        },
        "awaited": awaited(lake, queries),
        "single": beside(
            lambda turn: lake.search_one(key, queries[turn % at], k=K),
            lambda turn: index.search(queries[turn % at], K),
            turns,
        ),
        "batch": beside(
            lambda _: lake.search_batch(key, queries[:BATCH], k=K),
            lambda _: index.search(queries[:BATCH], K),
            max(turns // 20, 5),
        ),
    }


def by_threads(search: Callable[[Vectors], object], queries: Vectors) -> float:
    """Return how many queries per second eight threads get answered."""
    parts = np.array_split(queries, THREADS)

    def ask(part: Vectors) -> None:
        for query in part:
            search(query)

    with ThreadPoolExecutor(THREADS) as pool:
        took = min(seconds(lambda: list(pool.map(ask, parts))) for _ in range(3))
    return len(queries) / took


def awaited(lake: rv.RuLake, queries: Vectors) -> dict[str, float]:
    """Time a hundred awaited searches, in microseconds."""
    asked = queries[:AWAITED]
    key = ("memory", "docs")

    async def at_once() -> None:
        await asyncio.gather(*(lake.search_one_async(key, query, k=K) for query in asked))

    together = median(seconds(lambda: asyncio.run(at_once())) for _ in range(5))
    one = median(seconds(lake.search_one, key, query, K) for query in asked)
    return {"at_once_us": together * 1e6, "one_us": one * 1e6, "ratio_to_all": together / (one * len(asked))}


def warm_start(docs: Vectors, queries: Vectors, turns: int) -> dict[str, Any]:
    """Time an index that another lake has saved: until it is there, its first answer, and later ones."""
    key = ("memory", "docs")
    with tempfile.TemporaryDirectory() as folder:
        first = lake_of({"docs": docs})
        primed = seconds(lambda: first.search_one(key, queries[0], k=K))
        first.save_cache_to_dir(key, folder)
        lake = lake_of({"docs": docs})
        warm = seconds(lambda: lake.warm_from_dir(key, folder))
        answer = seconds(lambda: lake.search_one(key, queries[0], k=K))
        steady = median(seconds(lake.search_one, key, query, K) for query in queries[:turns])
    return {
        "prime_s": primed,
        "warm_s": warm,
        "first_us": answer * 1e6,
        "steady_us": steady * 1e6,
        "first_to_steady": answer / steady,
    }


def zipf(rows: int, dim: int, searches: int) -> dict[str, Any]:
    """Ask collections by a Zipf law, with a cache of a part of their bytes."""
    collections = {f"c{number:02}": drawn(rows, dim, number) for number in range(COLLECTIONS)}
    whole = lake_of(collections)
    for name in collections:
        whole.search_one(("memory", name), collections[name][0], k=1)
    held = whole.cache_stats().bytes
    weights = 1.0 / np.arange(1, COLLECTIONS + 1) ** EXPONENT
    weights /= weights.sum()
    chosen = np.random.default_rng(3).choice(COLLECTIONS, searches, p=weights)
    best = float(weights[: int(COLLECTIONS * SHARE)].sum())
    with tempfile.TemporaryDirectory() as folder:
        runs = {"dropped": None, "spilled": folder}
        asked = {name: asking(collections, chosen, int(held * SHARE), spill) for name, spill in runs.items()}
    return {"share": SHARE, "exponent": EXPONENT, "searches": searches, "best_without_files": best, **asked}


def asking(collections: dict[str, Vectors], chosen: Any, bytes: int, spill: str | None) -> dict[str, Any]:  # noqa: ANN401 - an array
    """Search one collection after the other; return what the cache did."""
    lake = lake_of(collections, bytes=bytes, spill=spill)
    for number in chosen:
        name = f"c{number:02}"
        lake.search_one(("memory", name), collections[name][0], k=1)
    stats = lake.cache_stats()
    return {"hit_rate": stats.hit_rate, "evictions": stats.evictions, "spills": stats.spills}


def main() -> None:
    """Measure, write the figures and print them."""
    options = parser("benches.lake", __doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--dim", type=int, default=128)
    options.add_argument("--turns", type=int, default=2000, help="searches of each kind")
    args = options.parse_args()
    rows, turns = (2000, 40) if args.smoke else (args.rows, args.turns)
    docs, queries = drawn(rows, args.dim, data.SEED), drawn(1000, args.dim, data.SEED + 1)
    result: dict[str, Any] = {
        "kind": "lake",
        "machine": describe(),
        "rows": rows,
        "dim": args.dim,
        "k": K,
        "hit_path": hit_path(docs, queries, turns),
        "warm_start": warm_start(docs, queries, turns),
        "zipf": zipf(max(rows // 200, 64), args.dim, turns * 5),
    }
    save(result, args.out)
    for section in ("hit_path", "warm_start", "zipf"):
        print(section)
        for name, figure in result[section].items():
            print(f"  {name:16} {figure}")


if __name__ == "__main__":
    main()
