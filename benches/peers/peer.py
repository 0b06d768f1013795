"""What a peer can do, and which peers there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping

Vectors: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int64]
Metric: TypeAlias = Literal["l2", "ip", "cosine"]
Setting: TypeAlias = "dict[str, float]"
Series: TypeAlias = "list[Setting]"


@dataclass(frozen=True)
class Size:
    """Bytes of an index, and of the vectors of the user that it reads besides."""

    index: int
    borrowed: int = 0


class Peer(ABC):
    """One library with one way of building an index.

    Vectors come as contiguous float32. For cosine they have unit length, so that a library without cosine may
    search by inner product.
    """

    def __init__(self, metric: Metric, k: int, threads: int) -> None:
        self.metric: Metric = metric
        self.k = k
        self.threads = threads

    @property
    def euclidean(self) -> bool:
        """Whether the distance is Euclidean; otherwise it is the inner product."""
        return self.metric == "l2"

    @abstractmethod
    def build(self, docs: Vectors) -> None:
        """Build the index on `threads` threads."""

    @abstractmethod
    def sweep(self) -> list[Series]:
        """Return the settings to be measured: series in which the recall rises."""

    @abstractmethod
    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Return the ids of the `k` nearest of each query; what is missing is no row's number."""

    @abstractmethod
    def size(self) -> Size | None:
        """Return how large the index is: as it is saved, or as it tells itself."""


def rising(name: str, values: tuple[float, ...], **others: float) -> Series:
    """Return one setting per value of one knob.

    >>> rising("nprobe", (1, 2), k_factor=3)
    [{'k_factor': 3, 'nprobe': 1}, {'k_factor': 3, 'nprobe': 2}]
    """
    return [{**others, name: value} for value in values]


def lists(rows: int) -> int:
    """Return how many inverted lists faiss recommends: a power of two, with rows enough to train."""
    wanted = 2 ** round(np.log2(4 * np.sqrt(rows)))
    return int(max(1, min(wanted, rows // 39)))


@dataclass(frozen=True)
class Entry:
    """Where a peer is found."""

    distribution: str
    module: str
    cls: str
    options: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def installed(self) -> str | None:
        """Return the version that is installed, or None."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None

    def make(self, metric: Metric, k: int, threads: int) -> Peer:
        """Import the library and return the peer, not built yet."""
        cls = getattr(import_module(f"benches.peers.{self.module}"), self.cls)
        peer: Peer = cls(metric, k, threads, **self.options)
        return peer


def _faiss(cls: str, **options: object) -> Entry:
    return Entry("faiss-cpu", "faiss_peers", cls, options)


def _rabitqlib(cls: str, **options: object) -> Entry:
    return Entry("rabitqlib", "rabitqlib_peers", cls, options)


PEERS: dict[str, Entry] = {
    "ruvector": Entry("ruvector-arrow", "ours", "Ruvector"),
    "ruvector-5bit": Entry("ruvector-arrow", "ours", "Ruvector", {"bits": 5}),
    "ruvector-exact": Entry("ruvector-arrow", "ours", "RuvectorExact"),
    "faiss-ivf-rabitq": _faiss("IvfRaBitQ"),
    "faiss-ivf-rabitqfs": _faiss("IvfFastScan", spec="IVF{lists},RaBitQfs,Refine(Flat)"),
    "faiss-ivf-pqfs": _faiss("IvfFastScan", spec="IVF{lists},PQ{pairs}x4fs,RFlat"),
    "faiss-hnsw": _faiss("Hnsw"),
    "faiss-flat": _faiss("Flat"),
    "rabitqlib-ivf-1bit": _rabitqlib("Ivf", bits=1),
    "rabitqlib-ivf-5bit": _rabitqlib("Ivf", bits=5),
    "rabitqlib-ivf-7bit": _rabitqlib("Ivf", bits=7),
    "rabitqlib-hnsw-5bit": _rabitqlib("Hnsw", bits=5),
    "rabitqlib-symqg": _rabitqlib("Symqg"),
    "hnswlib": Entry("hnswlib", "graph_peers", "Hnswlib"),
    "usearch": Entry("usearch", "graph_peers", "Usearch", {"dtype": "f32"}),
    "usearch-i8": Entry("usearch", "graph_peers", "Usearch", {"dtype": "i8"}),
    "scann": Entry("scann", "scann_peer", "Scann"),
    # Its threads are ours, one product each: the library below numpy cannot change their number as it runs.
    "numpy": Entry("numpy", "exact_peers", "Numpy", environment={"OPENBLAS_NUM_THREADS": "1"}),
    "duckdb": Entry("duckdb", "exact_peers", "DuckDB"),
}
"""The peers by name, ours first."""
