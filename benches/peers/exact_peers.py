"""Exact search in what many have at hand: numpy and DuckDB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benches.peers.peer import Ids, Peer, Series, Setting, Size, Vectors

TILE = 64  # queries of one product, so that the distances of a large table still fit into memory


class Numpy(Peer):
    """One matrix product and a partial sort."""

    def build(self, docs: Vectors) -> None:
        """Square the norms, the only thing that can be done before."""
        self.docs = docs
        self.squares = np.einsum("ij,ij->i", docs, docs) if self.euclidean else None

    def sweep(self) -> list[Series]:
        """Return the one setting there is."""
        return [[{}]]

    def tile(self, queries: Vectors) -> Ids:
        """Search for a few queries."""
        distances = queries @ self.docs.T
        if self.squares is None:
            np.negative(distances, out=distances)
        else:
            distances *= -2
            distances += self.squares
        some = np.argpartition(distances, self.k - 1, axis=1)[:, : self.k]
        order = np.argsort(np.take_along_axis(distances, some, axis=1), axis=1)
        return np.take_along_axis(some, order, axis=1)

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Search by tiles, one thread each."""
        del setting
        step = max(1, min(TILE, -(-len(queries) // threads)))
        tiles = [queries[start : start + step] for start in range(0, len(queries), step)]
        if threads == 1:
            return np.concatenate([self.tile(tile) for tile in tiles])
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(self.tile, tiles)))

    def size(self) -> Size:
        """Return the array alone."""
        return Size(0, self.docs.nbytes)


class DuckDB(Peer):
    """A sort by distance in SQL, one query at a time."""

    connection: Any

    def build(self, docs: Vectors) -> None:
        """Copy the vectors into a table."""
        import duckdb
        import pyarrow as pa

        self.connection = duckdb.connect()
        self.connection.execute(f"SET threads = {self.threads}")
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(docs.ravel()), docs.shape[1])
        source = pa.table({"id": np.arange(len(docs)), "v": vectors})
        self.connection.register("source", source)
        self.connection.execute("CREATE TABLE docs AS SELECT * FROM source")
        self.connection.unregister("source")
        self.bytes = docs.nbytes
        function = "array_distance" if self.euclidean else "array_negative_inner_product"
        self.statement = (
            f"SELECT id FROM docs ORDER BY {function}(v, ?::FLOAT[{docs.shape[1]}]) LIMIT {self.k}"  # noqa: S608 - names and numbers of our own
        )

    def sweep(self) -> list[Series]:
        """Return the one setting there is."""
        return [[{}]]

    def search(self, queries: Vectors, setting: Setting, threads: int) -> Ids:
        """Run the statement for each query."""
        del setting
        self.connection.execute(f"SET threads = {threads}")
        rows = [self.connection.execute(self.statement, [query.tolist()]).fetchall() for query in queries]
        return np.array(rows, dtype=np.int64)[:, :, 0]

    def size(self) -> Size:
        """Return the bytes of the vectors, which is all that its table holds."""
        return Size(self.bytes)
