"""Find neighbours of real text with Polars, and see how good and how quick they are.

The documents are 20,000 dictionary entries, the queries 200 others; examples/data/README.md tells more.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import matplotlib as mpl
import polars as pl

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data"
PICTURE = Path("build/recall_qps.png")
K = 10

short = partial(shorten, placeholder="…")


def main() -> None:
    """Run every part in turn."""
    docs = pl.scan_parquet(DATA / "wordnet_minilm_20k.parquet")
    queries = pl.scan_parquet(DATA / "wordnet_minilm_queries.parquet")

    started = time.perf_counter()
    index = docs.ruvector.build_index("embedding", id="id", metric="cosine")
    built_in = time.perf_counter() - started

    show_neighbours(docs, queries.head(4), index)
    show_loneliest(docs, queries, index)
    measure(docs.collect(), queries.collect(), index, built_in)


def show_neighbours(docs: pl.LazyFrame, queries: pl.LazyFrame, index: rv.Index) -> None:
    """Print the nearest entries of a few queries: `knn` is an expression like any other."""
    nearest = (
        queries.select("gloss", hit=pl.col("embedding").ruvector.knn(index, k=3))
        .explode("hit")
        .unnest("hit")
        .join(docs.select("id", "words", neighbour="gloss"), on="id", how="left", maintain_order="left")
        .collect()
    )
    for (gloss,), hits in nearest.group_by("gloss", maintain_order=True):
        print(f"\n{short(str(gloss), 100)}")
        for hit in hits.iter_rows(named=True):
            print(f"  {hit['distance']:.3f}  {short(hit['words'], 28):28}  {short(hit['neighbour'], 64)}")


def show_loneliest(docs: pl.LazyFrame, queries: pl.LazyFrame, index: rv.Index) -> None:
    """Print the queries that are farthest from every document: `knn_join` is a join, and stays lazy."""
    loneliest = (
        queries.ruvector.knn_join(docs, on="embedding", k=1, metric="cosine", index=index, id="id")
        .select("words", "gloss", "distance", nearest="words_right")
        .sort("distance", descending=True)
        .head(3)
        .collect()
    )
    print("\nThe queries with the farthest nearest neighbour:")
    for row in loneliest.iter_rows(named=True):
        gloss, nearest = short(row["gloss"], 50), row["nearest"]
        print(f"  {row['distance']:.3f}  {row['words']} ({gloss}), nearest: {nearest}")


def measure(docs: pl.DataFrame, queries: pl.DataFrame, index: rv.Index, built_in: float) -> None:
    """Print recall, build time and size, and draw recall against speed."""
    vectors, wanted = docs["embedding"], queries["embedding"]
    exact = partial(rv.exact_search, vectors, wanted, k=K, ids=docs["id"], metric="cosine")
    truth, exact_qps = timed(exact, len(wanted))
    found, qps = timed(partial(index.search, wanted, k=K), len(wanted))

    raw = len(index) * index.dim * 2  # the column holds halves, two bytes each
    print(f"\nrecall@{K} = {rv.recall_at_k(found, truth):.4f}")
    print(f"queries per second = {qps:,.0f}, exact search {exact_qps:,.0f}")
    print(f"build time = {built_in:.2f} s, reading included: {len(index):,} vectors, {index.dim} dimensions")
    print(f"index bytes = {index.memory_bytes:,}, raw vectors {raw:,} ({index.memory_bytes / raw:.1%})")

    curve: list[tuple[float, float]] = []
    for nprobe in (2**power for power in range(index.nlist.bit_length())):
        found, qps = timed(partial(index.search, wanted, k=K, nprobe=nprobe), len(wanted))
        curve.append((rv.recall_at_k(found, truth), qps))
    draw(curve, exact_qps)


def timed(search: Callable[[], rv.Hits], queries: int) -> tuple[rv.Hits, float]:
    """Return the hits, and the queries per second of the best of three runs after a first."""
    hits, best = search(), float("inf")
    for _ in range(3):
        started = time.perf_counter()
        search()
        best = min(best, time.perf_counter() - started)
    return hits, queries / best


def draw(curve: list[tuple[float, float]], exact_qps: float) -> None:
    """Draw one point per nprobe, and exact search beside them."""
    mpl.use("Agg")  # a file, not a window
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(*zip(*curve, strict=True), "o-", label="index, nprobe = 1, 2, 4, ...")
    axes.plot(1.0, exact_qps, "s", label="exact search")
    axes.set(xlabel=f"recall@{K}", ylabel="queries per second", yscale="log")
    axes.set_title("20,000 WordNet glosses, 384 dimensions")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=150)
    print(f"picture = {PICTURE}")


if __name__ == "__main__":
    main()
