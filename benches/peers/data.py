"""The data sets, and the truth about them.

A data set is named by one word:

- ``examples``: the documents and queries that come with this repository, 384 dimensions, cosine;
- ``gmm`` or ``gmm:ROWS``: a mixture of 100 Gaussians, each with a width of its own in every one of 128
  dimensions, Euclidean; 200,000 rows unless told otherwise;
- ``clustered:ROWS,DIM``: as many clusters as the square root of the rows, of unequal sizes, Euclidean: what
  grows with the rows as collections do, by more topics and not only by more of each;
- a Parquet file with a column ``embedding``; the queries are its last rows, or those of ``--queries``;
- a folder with base.npy, queries.npy and meta.json, ``{"metric": "l2"}`` or ``"ip"`` or ``"cosine"``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from benches.peers.peer import Ids, Metric, Vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SEED = 1
QUERIES = 1000
TILE = 65_536
EXAMPLES = Path(__file__).parents[2] / "examples" / "data"


@dataclass(frozen=True)
class Data:
    """Rows, queries, and by what they are near to each other."""

    name: str
    metric: Metric
    docs: Vectors
    queries: Vectors

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.docs)

    @property
    def dim(self) -> int:
        """Elements per vector."""
        return int(self.docs.shape[1])


def load(
    name: str, *, queries: Path | None = None, metric: Metric | None = None, most: int = QUERIES
) -> Data:
    """Return a data set by its name, with at most so many queries."""
    word, _, numbers = name.partition(":")
    if word == "examples":
        documents = EXAMPLES / "wordnet_minilm_20k.parquet"
        loaded = parquet(documents, EXAMPLES / "wordnet_minilm_queries.parquet", "cosine", most)
        loaded = Data("examples", loaded.metric, loaded.docs, loaded.queries)
    elif word == "gmm":
        loaded = mixture(int(numbers or 200_000), 128, most)
    elif word == "clustered":
        rows, dim = map(int, numbers.split(","))
        loaded = clustered(rows, dim, most)
    elif Path(name).is_dir():
        loaded = folder(Path(name), most)
    elif Path(name).is_file():
        loaded = parquet(Path(name), queries, metric or "cosine", most)
    else:
        raise SystemExit(f"no data set is called {name!r}, and there is no such file or folder")
    if loaded.metric != "cosine":
        return loaded
    return Data(loaded.name, "cosine", unit(loaded.docs), unit(loaded.queries))


def unit(vectors: Vectors) -> Vectors:
    """Return the vectors at length 1."""
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def parquet(path: Path, queries: Path | None, metric: Metric, most: int) -> Data:
    """Read the column `embedding` of one file, or of two."""
    rows = column(path)
    asked = column(queries) if queries else rows[-most:]
    return Data(path.stem, metric, rows if queries else rows[:-most], asked[:most])


def column(path: Path) -> Vectors:
    """Read the vectors of one file as single floats."""
    from pyarrow import parquet as pq

    chunks = pq.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    vectors: Vectors = chunks.flatten().to_numpy().reshape(len(chunks), -1).astype(np.float32)
    return vectors


def folder(path: Path, most: int) -> Data:
    """Read a folder of arrays."""
    metric = json.loads((path / "meta.json").read_text(encoding="utf-8"))["metric"]
    if metric not in get_args(Metric):
        raise SystemExit(f"{path}: the metric is {metric!r}, not one of {', '.join(get_args(Metric))}")
    docs, queries = (np.load(path / name).astype(np.float32) for name in ("base.npy", "queries.npy"))
    return Data(path.resolve().name, metric, np.ascontiguousarray(docs), np.ascontiguousarray(queries[:most]))


def mixture(rows: int, dim: int, queries: int) -> Data:
    """Draw from 100 Gaussians, as wide in each dimension as chance has it."""
    rng = np.random.default_rng(SEED)
    centres = rng.uniform(-2, 2, (100, dim)).astype(np.float32)
    widths = rng.uniform(0.18, 1.02, (100, dim)).astype(np.float32)

    def draw(count: int) -> Vectors:
        which = rng.integers(len(centres), size=count)
        noise = rng.standard_normal((count, dim), dtype=np.float32)
        return np.asarray(centres[which] + widths[which] * noise, dtype=np.float32)

    return Data(f"gmm-{rows}", "l2", *drawn(draw, rows, queries, dim))


def clustered(rows: int, dim: int, queries: int) -> Data:
    """Draw from as many clusters as the square root of the rows, few of them large and many small."""
    rng = np.random.default_rng(SEED)
    centres = rng.standard_normal((max(1, int(np.sqrt(rows))), dim), dtype=np.float32)
    shares = rng.lognormal(size=len(centres))
    shares /= shares.sum()

    def draw(count: int) -> Vectors:
        which = rng.choice(len(centres), size=count, p=shares)
        noise = rng.standard_normal((count, dim), dtype=np.float32)
        return np.asarray(centres[which] + np.float32(0.7) * noise, dtype=np.float32)

    return Data(f"clustered-{rows}x{dim}", "l2", *drawn(draw, rows, queries, dim))


def drawn(draw: Callable[[int], Vectors], rows: int, queries: int, dim: int) -> tuple[Vectors, Vectors]:
    """Draw rows tile by tile, so that nothing is held twice, then the queries."""
    docs = np.empty((rows, dim), dtype=np.float32)
    for start in range(0, rows, TILE):
        docs[start : start + TILE] = draw(len(docs[start : start + TILE]))
    return docs, draw(queries)


def distances(data: Data, ids: Ids) -> NDArray[np.float64]:
    """Return the distance of each query to the rows named beside it, in doubles.

    A number that no row has is infinitely far: libraries fill up with -1, or with the largest number.
    """
    known = (ids >= 0) & (ids < data.rows)
    ids = np.where(known, ids, 0)
    far = np.empty(ids.shape)
    for row, found in enumerate(ids):
        query = data.queries[row].astype(np.float64)
        docs = data.docs[found].astype(np.float64)
        far[row] = ((docs - query) ** 2).sum(axis=1) if data.metric == "l2" else -(docs @ query)
    far[~known] = np.inf
    return far


def limits(data: Data, k: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Return the distance of the true k-th neighbour of each query, among the allowed rows if told.

    Found by matrix products in single floats over tiles of rows, with rows to spare, and settled in doubles.
    """
    spare = 2 * k + 8
    ids, far = [], []
    for start in range(0, data.rows, TILE):
        tile = data.docs[start : start + TILE]
        rough = -(data.queries @ tile.T)
        if data.metric == "l2":
            rough *= 2
            rough += np.einsum("ij,ij->i", tile, tile)
        if allowed is not None:
            rough[:, ~allowed[start : start + TILE]] = np.inf
        kept = min(spare, rough.shape[1])
        some = np.argpartition(rough, kept - 1, axis=1)[:, :kept]
        ids.append(some + start)
        far.append(np.take_along_axis(rough, some, axis=1))
    candidates, rough = np.concatenate(ids, axis=1), np.concatenate(far, axis=1)
    order = np.argsort(rough, axis=1)[:, :spare]
    nearest = np.take_along_axis(candidates, order, axis=1)
    nearest[np.isinf(np.take_along_axis(rough, order, axis=1))] = -1
    return np.sort(distances(data, nearest), axis=1)[:, k - 1]


def recall(data: Data, ids: Ids, limit: NDArray[np.float64]) -> float:
    """Return the share of answers as near as the true k-th neighbour.

    Of equally near rows, any is right: by distance, not by id.
    """
    far = distances(data, ids)
    repeated = np.array([len(set(row)) < len(row) for row in ids.tolist()])
    for row in np.flatnonzero(repeated):  # an id that is given twice has been found once
        first = np.unique(ids[row], return_index=True)[1]
        again = np.ones(ids.shape[1], dtype=bool)
        again[first] = False
        far[row, again] = np.inf
    tie = 1e-6 * np.maximum(1.0, np.abs(limit))
    return float(np.mean(far <= (limit + tie)[:, None]))
