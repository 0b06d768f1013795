"""Our own library: the index by `recall=`, and exact search."""

from __future__ import annotations

import ruvector as rv
from benches.peers.peer import Ids, Metric, Peer, Series, Setting, Size, Vectors, rising

RECALLS = (0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
METRICS: dict[str, rv.typing.Metric] = {"l2": "l2sq", "ip": "ip", "cosine": "cosine"}


class Ruvector(Peer):
    """The index over a borrowed array, as `rv.build` makes it unless told otherwise, or with more bits."""

    def __init__(self, metric: Metric, k: int, threads: int, bits: int = 1) -> None:
        super().__init__(metric, k, threads)
        self.bits = bits

    def build(self, docs: Vectors) -> None:
        """Build the index; the array stays where it is."""
        self.docs = docs
        self.index = rv.build(docs, metric=METRICS[self.metric], bits=self.bits, threads=self.threads)

    def sweep(self) -> list[Series]:
        """Return the recalls that are asked for: there is no other knob that a user should have to turn."""
        return [rising("recall", RECALLS)]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Search, and read the ids of the answer."""
        return self.index.search(queries, self.k, recall=setting["recall"], threads=threads).to_numpy()[0]

    def size(self) -> Size:
        """Return what the index holds itself, beside the array."""
        return Size(self.index.memory_bytes, self.docs.nbytes)


class RuvectorExact(Peer):
    """Every row compared."""

    def build(self, docs: Vectors) -> None:
        """Keep the array: there is nothing to build."""
        self.docs = docs

    def sweep(self) -> list[Series]:
        """Return the one setting there is."""
        return [[{}]]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Search exactly."""
        del setting
        metric = METRICS[self.metric]
        return rv.exact_search(self.docs, queries, self.k, metric=metric, threads=threads).to_numpy()[0]

    def size(self) -> Size:
        """Return the array alone."""
        return Size(0, self.docs.nbytes)
