"""ScaNN: a tree of lists, anisotropic codes, the whole vectors for the last step."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scann.scann_ops.py import scann_ops_pybind

from benches.peers.peer import Ids, Peer, Series, Setting, Size, Vectors, rising

LEAVES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
REORDERS = (30, 100)  # how many rows the whole vectors put in order
TRAINING_ROWS = 250_000


class Scann(Peer):
    """Built as its own documentation advises."""

    def build(self, docs: Vectors) -> None:
        """Train and encode."""
        distance = "squared_l2" if self.euclidean else "dot_product"
        builder = scann_ops_pybind.builder(docs, self.k, distance)
        builder.set_n_training_threads(self.threads)
        leaves = max(1, int(2 * np.sqrt(len(docs))))
        tree = builder.tree(leaves, 1, training_sample_size=min(len(docs), TRAINING_ROWS))
        self.index = tree.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(max(REORDERS)).build()

    def sweep(self) -> list[Series]:
        """Return both knobs, the leaves within."""
        return [rising("leaves", LEAVES, reorder=rows) for rows in REORDERS]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Search in the way that is made for the number of queries and threads."""
        leaves, reorder = int(setting["leaves"]), int(setting["reorder"])
        if len(queries) == 1:
            found = self.index.search(queries[0], self.k, reorder, leaves)[0]
        elif threads == 1:
            found = self.index.search_batched(queries, self.k, reorder, leaves)[0]
        else:
            self.index.set_num_threads(threads)
            found = self.index.search_batched_parallel(queries, self.k, reorder, leaves)[0]
        return np.atleast_2d(found).astype(np.int64)

    def size(self) -> Size:
        """Return the size of its files, vectors included."""
        with TemporaryDirectory() as folder:
            self.index.serialize(folder)
            return Size(sum(file.stat().st_size for file in Path(folder).iterdir()))
