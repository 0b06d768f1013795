"""One stream of queries over two shards, each in a process of its own, and one answer.

Each shard holds half of the rows. Every batch of queries goes to both at once; each gives its ten best, and
the ten best of both are those of an index over all rows.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruvector.flight import RemoteCollection

DATA = Path(__file__).parents[1] / "data"
FOLDER = Path("build/flight_shards")
SHARDS = 2
BATCH = 64
K = 10


@contextmanager
def shard(path: Path) -> Iterator[RemoteCollection]:
    """Serve an index by a process of its own, and connect to it."""
    command = (sys.executable, "-W", "error", "-m", "ruvector", "serve")
    options = ("--listen", "grpc://127.0.0.1:0", "--index", f"docs={path}")
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            location = process.stdout.readline().split()[-1]
            with rv.flight.connect(location) as client:
                yield client.collection("docs")
        finally:
            process.terminate()


def nearest(pool: ThreadPoolExecutor, shards: list[RemoteCollection], queries: pl.Series) -> pl.DataFrame:
    """Ask all shards at once, and keep the best of what they answer; ties go to the smaller id."""
    answers: list[pl.DataFrame] = list(
        pool.map(lambda shard: shard.search(queries, K, exact=True).to_polars(), shards)
    )
    best = pl.struct("distance", "id").rank("ordinal").over("query_row") - 1
    return (
        pl.concat(answers)
        .with_columns(rank=best.cast(pl.Int32))
        .filter(pl.col("rank") < K)
        .sort("query_row", "rank")
    )


def main() -> None:
    """Build the shards, ask them, and compare with one index over everything."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    docs = pl.read_parquet(DATA / "wordnet_minilm_20k.parquet")
    queries = pl.read_parquet(DATA / "wordnet_minilm_queries.parquet")["embedding"]
    paths = [FOLDER / f"{number}.rbpx" for number in range(SHARDS)]
    for number, path in enumerate(paths):
        part = docs.filter(pl.int_range(pl.len()) % SHARDS == number)
        rv.build(part["embedding"], ids=part["id"], metric="cosine").save(path)

    with ExitStack() as stack:
        shards = [stack.enter_context(shard(path)) for path in paths]
        pool = stack.enter_context(ThreadPoolExecutor(SHARDS))
        batches = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
        found = pl.concat(
            nearest(pool, shards, batch).with_columns(pl.col("query_row") + number * BATCH)
            for number, batch in enumerate(batches)
        )

    whole = rv.exact_search(docs["embedding"], queries, K, ids=docs["id"], metric="cosine").to_polars()
    same = found.select("query_row", "rank", "id", "distance").equals(whole)
    print(f"{len(batches)} batches of queries to {SHARDS} shards: {len(found)} hits")
    print(found.head(3))
    print(f"the same as one index over all {len(docs)} rows: {same}")
    if not same:
        sys.exit(1)


if __name__ == "__main__":
    main()
