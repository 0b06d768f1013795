"""Measure the index beside exact search and, where they are installed, faiss and usearch.

Run `python -m benches.search` from the root of the repository. Speeds are read best as ratios: the last
two columns divide by what numpy reaches on the same machine in the same run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]
    Ids = NDArray[np.int64]
    Search = Callable[[Vectors], Ids]

DATA = Path(__file__).parents[1] / "examples" / "data"
K = 10
TIE = 1e-6  # two neighbours nearer to each other than this are the same answer


@dataclass(frozen=True)
class Measured:
    """One line of the table."""

    name: str
    recall: float
    single: float  # queries per second, asked one by one
    batch: float  # queries per second, asked together


def ours(docs: Vectors) -> Iterator[tuple[str, Search]]:
    """Search with the index at some recalls, and exactly."""
    index = rv.build(docs, metric="cosine")
    for recall in (0.9, 0.95, 0.99):

        def search(queries: Vectors, recall: float = recall) -> Ids:
            return index.search(queries, K, recall=recall).to_numpy()[0]

        yield f"ruvector recall={recall}", search
    yield "ruvector exact_search", lambda q: rv.exact_search(docs, q, K, metric="cosine").to_numpy()[0]


def numpy_exact(docs: Vectors) -> Iterator[tuple[str, Search]]:
    """Search with one matrix product and a partial sort."""

    def search(queries: Vectors) -> Ids:
        distances = -(queries @ docs.T)
        some = np.argpartition(distances, K, axis=1)[:, :K]
        order = np.argsort(np.take_along_axis(distances, some, axis=1), axis=1)
        return np.take_along_axis(some, order, axis=1)

    yield "numpy exact", search


def faiss_ivf_rabitq(docs: Vectors) -> Iterator[tuple[str, Search]]:
    """Search with the nearest kin in faiss: inverted lists of RaBitQ codes, refined with the vectors."""
    faiss = import_module("faiss")

    nlist = 2 ** round(np.log2(4 * np.sqrt(len(docs))))
    index = faiss.index_factory(docs.shape[1], f"IVF{nlist},RaBitQ,Refine(Flat)", faiss.METRIC_INNER_PRODUCT)
    index.train(docs)
    index.add(docs)
    for nprobe in (8, 32, 128):
        lists = faiss.IVFRaBitQSearchParameters(nprobe=nprobe, qb=8)
        options = faiss.IndexRefineSearchParameters(k_factor=10, base_index_params=lists)

        def search(queries: Vectors, options: object = options) -> Ids:
            return np.asarray(index.search(queries, K, params=options)[1], dtype=np.int64)

        yield f"faiss IVFRaBitQ nprobe={nprobe}", search


def usearch_hnsw(docs: Vectors) -> Iterator[tuple[str, Search]]:
    """Search with a graph over the whole vectors."""
    index = import_module("usearch.index").Index(ndim=docs.shape[1], metric="ip", dtype="f32")
    index.add(np.arange(len(docs)), docs)
    for expansion in (64, 256):

        def search(queries: Vectors, expansion: int = expansion) -> Ids:
            index.expansion_search = expansion
            return np.atleast_2d(index.search(queries, K).keys).astype(np.int64)

        yield f"usearch HNSW expansion={expansion}", search


def load(name: str) -> Vectors:
    """Read the embeddings of one file at unit length, so that cosine and inner product agree."""
    column = pl.read_parquet(DATA / name, columns=["embedding"])["embedding"]
    vectors = column.cast(pl.Array(pl.Float32, column.dtype.shape[0])).to_numpy()
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def recall_at_k(ids: Ids, docs: Vectors, queries: Vectors) -> float:
    """Return the share of answers that are as near as the true k-th neighbour."""
    distances = 1 - queries @ docs.T
    limit = np.partition(distances, K - 1, axis=1)[:, K - 1 : K]
    return float(np.mean(np.take_along_axis(distances, ids, axis=1) <= limit + TIE))


def measure(name: str, search: Search, docs: Vectors, queries: Vectors, passes: int) -> Measured:
    """Time one search in batches and one by one, each the best of some passes."""

    def seconds(run: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(passes):
            started = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - started)
        return best

    n = len(queries)
    recall = recall_at_k(search(queries), docs, queries)
    single = n / seconds(lambda: [search(queries[row : row + 1]) for row in range(n)])
    batch = n / seconds(lambda: search(queries))
    return Measured(name, recall, single, batch)


def main() -> None:
    """Print one line per search, the reference first."""
    parser = argparse.ArgumentParser(description="Measure recall and queries per second.")
    parser.add_argument("--smoke", action="store_true", help="little data, one pass: to see that it runs")
    smoke: bool = parser.parse_args().smoke

    docs, queries = load("wordnet_minilm_20k.parquet"), load("wordnet_minilm_queries.parquet")
    if smoke:
        docs, queries = docs[:2000], queries[:10]
    entrants = [numpy_exact, ours]
    peers = {"faiss": faiss_ivf_rabitq, "usearch": usearch_hnsw}
    entrants += [entrant for module, entrant in peers.items() if find_spec(module)]

    print(f"{len(docs):,} documents, {len(queries)} queries, {docs.shape[1]} dimensions, cosine")
    print(f"{'':32}{f'recall@{K}':>10}{'single/s':>11}{'batch/s':>11}{'single x':>10}{'batch x':>10}")
    reference: Measured | None = None
    for entrant in entrants:
        for name, search in entrant(docs):
            line = measure(name, search, docs, queries, passes=1 if smoke else 5)
            reference = reference or line
            speeds = f"{line.single:>11,.0f}{line.batch:>11,.0f}"
            ratios = f"{line.single / reference.single:>10.2f}{line.batch / reference.batch:>10.2f}"
            print(f"{name:32}{line.recall:>10.4f}{speeds}{ratios}", flush=True)


if __name__ == "__main__":
    main()
