"""Graphs over the whole vectors: hnswlib and usearch."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benches.peers.peer import Ids, Metric, Peer, Series, Setting, Size, Vectors, rising


def written(index: Any, method: str) -> Size:  # noqa: ANN401 - of either library
    """Return the size of the file that an index writes."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "index"
        getattr(index, method)(str(file))
        return Size(file.stat().st_size)


class Hnswlib(Peer):
    """The graph of the paper's authors, 16 links."""

    def build(self, docs: Vectors) -> None:
        """Link every row."""
        import hnswlib

        rows, dim = docs.shape
        self.index = hnswlib.Index("l2" if self.euclidean else "ip", dim)
        self.index.init_index(rows, ef_construction=200, M=16)
        self.index.set_num_threads(self.threads)
        self.index.add_items(docs)

    def sweep(self) -> list[Series]:
        """Return the widths of the search."""
        return [rising("ef", (10, 20, 40, 80, 160, 320, 640))]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Walk the graph."""
        self.index.set_num_threads(threads)
        self.index.set_ef(int(setting["ef"]))
        return np.asarray(self.index.knn_query(queries, self.k)[0]).astype(np.int64)

    def size(self) -> Size:
        """Return the size of its file, vectors included."""
        return written(self.index, "save_index")


class Usearch(Peer):
    """A graph over vectors in a precision of choice."""

    def __init__(self, metric: Metric, k: int, threads: int, dtype: str) -> None:
        super().__init__(metric, k, threads)
        self.dtype = dtype

    def build(self, docs: Vectors) -> None:
        """Link every row."""
        from usearch.index import Index

        metric = "l2sq" if self.euclidean else "ip"
        self.index = Index(ndim=docs.shape[1], metric=metric, dtype=self.dtype)
        self.index.add(np.arange(len(docs)), docs, threads=self.threads)

    def sweep(self) -> list[Series]:
        """Return the widths of the search."""
        return [rising("ef", (16, 32, 64, 128, 256, 512, 1024))]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Walk the graph; one query comes back as one row."""
        self.index.expansion_search = int(setting["ef"])
        return np.atleast_2d(self.index.search(queries, self.k, threads=threads).keys).astype(np.int64)

    def size(self) -> Size:
        """Return the size of its file, vectors included."""
        return written(self.index, "save")
