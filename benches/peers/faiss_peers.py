"""The indexes of faiss: inverted lists of codes that whole vectors refine, a graph, exact search."""

from __future__ import annotations

import faiss
import numpy as np

from benches.peers.peer import Ids, Metric, Peer, Series, Setting, Size, Vectors, lists, rising

NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
K_FACTORS = (3, 10)  # how many times k rows the whole vectors refine
QUERY_BITS = 8


class Faiss(Peer):
    """What all of them share."""

    def __init__(self, metric: Metric, k: int, threads: int, spec: str = "") -> None:
        super().__init__("l2" if metric == "l2" else "ip", k, threads)
        self.spec = spec
        self.faiss_metric = faiss.METRIC_L2 if self.euclidean else faiss.METRIC_INNER_PRODUCT

    def build(self, docs: Vectors) -> None:
        """Train and fill what the specification says."""
        faiss.omp_set_num_threads(self.threads)
        rows, dim = docs.shape
        spec = self.spec.format(lists=lists(rows), pairs=dim // 2)
        self.index = faiss.index_factory(dim, spec, self.faiss_metric)
        self.index.train(docs)
        self.index.add(docs)

    def find(self, queries: Vectors, threads: int, params: object = None) -> Ids:
        """Search on some threads."""
        faiss.omp_set_num_threads(threads)
        return np.asarray(self.index.search(queries, self.k, params=params)[1], dtype=np.int64)

    def size(self) -> Size:
        """Return the length of what would be written, the whole vectors included."""
        return Size(int(faiss.serialize_index(self.index).nbytes))


class IvfRaBitQ(Faiss):
    """The nearest kin: inverted lists of RaBitQ codes of one bit, refined."""

    def __init__(self, metric: Metric, k: int, threads: int) -> None:
        super().__init__(metric, k, threads, "IVF{lists},RaBitQ,Refine(Flat)")

    def sweep(self) -> list[Series]:
        """Return both knobs, the lists within."""
        return [rising("nprobe", NPROBES, k_factor=factor) for factor in K_FACTORS]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Search with queries of 8 bits."""
        inner = faiss.IVFRaBitQSearchParameters(nprobe=int(setting["nprobe"]), qb=QUERY_BITS)
        outer = faiss.IndexRefineSearchParameters(k_factor=setting["k_factor"], base_index_params=inner)
        return self.find(queries, threads, outer)


class IvfFastScan(Faiss):
    """Inverted lists that are scanned by look-up tables in registers, refined."""

    def sweep(self) -> list[Series]:
        """Return both knobs, the lists within."""
        return [rising("nprobe", NPROBES, k_factor=factor) for factor in K_FACTORS]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Set the knobs on the index, which takes them no other way, and search."""
        faiss.extract_index_ivf(self.index).nprobe = int(setting["nprobe"])
        self.index.k_factor = setting["k_factor"]
        return self.find(queries, threads)


class Hnsw(Faiss):
    """A graph of 32 links over the whole vectors."""

    def build(self, docs: Vectors) -> None:
        """Link every row."""
        faiss.omp_set_num_threads(self.threads)
        self.index = faiss.IndexHNSWFlat(docs.shape[1], 32, self.faiss_metric)
        self.index.hnsw.efConstruction = 200
        self.index.add(docs)

    def sweep(self) -> list[Series]:
        """Return the widths of the search."""
        return [rising("ef", (10, 20, 40, 80, 160, 320, 640))]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Walk the graph."""
        return self.find(queries, threads, faiss.SearchParametersHNSW(efSearch=int(setting["ef"])))


class Flat(Faiss):
    """Every row compared."""

    def __init__(self, metric: Metric, k: int, threads: int) -> None:
        super().__init__(metric, k, threads, "Flat")

    def sweep(self) -> list[Series]:
        """Return the one setting there is."""
        return [[{}]]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Search exactly."""
        del setting
        return self.find(queries, threads)
