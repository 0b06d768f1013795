"""rabitqlib, by the authors of RaBitQ: inverted lists, and two graphs over codes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rabitqlib

from benches.peers.peer import Ids, Metric, Peer, Series, Setting, Size, Vectors, lists, rising

WIDTHS = (10, 20, 40, 80, 160, 320, 640)
HNSW_CENTROIDS = 16


class Rabitqlib(Peer):
    """What all of them share."""

    index: Any
    knob = "ef"

    @property
    def library_metric(self) -> str:
        """The name of the distance there."""
        return "l2" if self.euclidean else "ip"

    def trained(self, docs: Vectors, centroids: int) -> tuple[Any, Any]:
        """Return centroids, and which is nearest to each row."""
        means = rabitqlib.RaBitQKMeans(
            docs.shape[1],
            centroids,
            num_threads=self.threads,
            final_assignment=rabitqlib.FinalAssignmentMode.Exact,
        )
        means.train(docs)
        return means.centroids, means.assignments

    def sweep(self) -> list[Series]:
        """Return the widths of the search."""
        return [rising(self.knob, WIDTHS)]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Search with one knob, whose place is the same in all of them."""
        found = self.index.search(queries, self.k, int(setting[self.knob]), num_threads=threads)[0]
        return np.asarray(found).astype(np.int64)

    def size(self) -> Size:
        """Return what is written; no whole vectors are read besides."""
        with TemporaryDirectory() as folder:
            self.index.save(str(Path(folder) / "index"))
            return Size(sum(file.stat().st_size for file in Path(folder).iterdir()))


class Ivf(Rabitqlib):
    """Inverted lists of codes of some bits, without the whole vectors."""

    knob = "nprobe"

    def __init__(self, metric: Metric, k: int, threads: int, bits: int) -> None:
        super().__init__(metric, k, threads)
        self.bits = bits

    def build(self, docs: Vectors) -> None:
        """Train the lists and encode."""
        rows, dim = docs.shape
        count = lists(rows)
        self.index = rabitqlib.IvfIndex(
            dim=dim, max_elements=rows, num_clusters=count, nbits=self.bits, metric=self.library_metric
        )
        self.index.build(docs, *self.trained(docs, count), num_threads=self.threads)
        self.nprobes = (*(2**power for power in range((count - 1).bit_length())), count)

    def sweep(self) -> list[Series]:
        """Return how many lists are looked into, up to all."""
        return [rising(self.knob, self.nprobes)]


class Hnsw(Rabitqlib):
    """A graph of 16 links over codes."""

    def __init__(self, metric: Metric, k: int, threads: int, bits: int) -> None:
        super().__init__(metric, k, threads)
        self.bits = bits

    def build(self, docs: Vectors) -> None:
        """Train a few centroids, encode and link."""
        rows, dim = docs.shape
        self.index = rabitqlib.HnswIndex(
            dim=dim,
            max_elements=rows,
            M=16,
            ef_construction=200,
            nbits=self.bits,
            metric=self.library_metric,
        )
        self.index.build(docs, *self.trained(docs, HNSW_CENTROIDS), num_threads=self.threads)


class Symqg(Rabitqlib):
    """SymphonyQG: a graph whose every row holds the codes of its 32 neighbours."""

    def build(self, docs: Vectors) -> None:
        """Link every row."""
        self.index = rabitqlib.SymqgIndex(docs.shape[1], 32, metric=self.library_metric)
        self.index.build(docs, 200, num_threads=self.threads)
