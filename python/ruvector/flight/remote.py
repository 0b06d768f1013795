"""What a server has under a name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from ruvector._ruvector import open as open_index
from ruvector.presets.base import refuse

if TYPE_CHECKING:
    from os import PathLike
    from typing import SupportsIndex

    from ruvector._ruvector import FlightClient, FlightRemote, Hits, Index, LakeRows
    from ruvector.typing import IdColumn, IdType, Metric, Queries, VectorSource

__all__ = ["RemoteCollection"]


class RemoteCollection:
    """
    What a server has under a name: an index, or a collection of a lake.

    `FlightClient.collection` makes one. It can be searched wherever an index can, by all threads at once, and
    has no state of its own: whatever is asked is asked of the state that the server has then.
    """

    __slots__ = ("_client", "_name", "_native")

    def __init__(self, client: FlightClient, name: str) -> None:
        self._client = client
        self._name = name
        self._native = client.remote(name)

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def location(self) -> str:
        """The server."""
        return self._client.location()

    @property
    def target(self) -> FlightRemote:
        """What plans of Polars hold on to."""
        return self._native

    @property
    def dim(self) -> int:
        """Elements per vector."""
        return self._native.describe()[0]

    @property
    def id_type(self) -> IdType:
        """The type of its ids."""
        return self._native.describe()[1]

    @property
    def metric(self) -> Metric:
        """The distance it is searched by."""
        return self._native.describe()[3]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._native.describe()[2]

    def search(
        self,
        queries: Queries,
        k: SupportsIndex = 10,
        *,
        filter: Any = None,  # noqa: ANN401 - whatever holds ids
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        rerank: bool = True,
    ) -> Hits:
        """
        Find the nearest rows of each query, as `Index.search` does.

        Many queries go in batches, a few of which are under way at once.

        Parameters
        ----------
        queries
            One vector or many, as in `Index.search`.
        filter
            The ids of the rows that may be found: a list, an array or an Arrow column of integers or strings.
            They travel with the question.
        k, recall, nprobe, epsilon, exact, rerank
            As in `Index.search`.

        Raises
        ------
        InvalidVector, InvalidVectorType, InvalidParameter, DimensionMismatch
            As in `Index.search`.
        UnknownCollection
            If the server has nothing of this name for this caller.
        PolicyDenied
            If the caller may not search it.
        BackendError, DeadlineExceeded
            If the server cannot be reached, or not in time.

        Examples
        --------
        >>> import ruvector as rv
        >>> docs = rv.build([[0.0, 0.0], [3.0, 4.0]], ids=["north", "east"])
        >>> with rv.flight.serve({"docs": docs}) as server:
        ...     remote = rv.flight.connect(server.location).collection("docs")
        ...     remote.search([3.0, 3.0], k=2, filter=["north"]).to_polars().rows()
        [(0, 0, 'north', 18.0)]
        """
        return self._native.search(
            queries,
            k,
            None if filter is None else json.dumps(_ids(filter)),
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            rerank=rerank,
        )

    def measure_recall(self, queries: Queries, k: SupportsIndex = 10, *, recall: float = 0.99) -> float:
        """
        Return the share of the true neighbours of some queries that a search with `recall` finds.

        The server compares every row, once for each query.
        """
        from ruvector import recall_at_k

        found = self.search(queries, k, recall=recall)
        return recall_at_k(found, self.search(queries, k, exact=True))

    def add(self, data: VectorSource, *, ids: IdColumn | str | None = None, column: str | None = None) -> int:
        """
        Add rows, and return how many, as `Index.add` does.

        They go in batches. A batch is added whole or not at all; the ones before one that is refused stay.

        Raises
        ------
        DuplicateId, InvalidVector, InvalidVectorType, InvalidParameter, DimensionMismatch
            As in `Index.add`.
        PolicyDenied
            If the caller may not write.
        """
        told = self._client.put(self._ask("append"), data, ids, column)
        return json.loads(told[-1])["rows"] if told else 0

    def upsert(self, data: VectorSource, *, ids: IdColumn | str, column: str | None = None) -> int:
        """
        Add rows, in place of those with the same ids, and return how many were replaced.

        Raises
        ------
        InvalidVector, InvalidVectorType, InvalidParameter, DimensionMismatch, PolicyDenied
            As `add`.
        """
        told = self._client.put(self._ask("upsert"), data, ids, column)
        return sum(json.loads(each)["replaced"] for each in told)

    def delete(self, ids: IdColumn) -> int:
        """
        Delete rows, and return how many there were.

        Raises
        ------
        InvalidParameter, PolicyDenied
            As `add`.
        """
        told = self._client.delete(self._ask("delete"), ids)
        return sum(json.loads(each)["deleted"] for each in told)

    def compact(self, *, retrain: bool | None = None, save: bool = False) -> dict[str, Any]:
        """
        Let the server make one segment of all rows, as `Index.compact` does.

        Parameters
        ----------
        retrain
            As in `Index.compact`.
        save
            Whether the index is written to its file then, if it has one.

        Raises
        ------
        InvalidParameter
            If it is no index, or has no file.
        PolicyDenied
            If the caller may not write.
        """
        body = {"collection": self._name, "retrain": retrain, "save": save}
        (answer,) = self._client.action("compact", json.dumps(body), again=False)
        return cast("dict[str, Any]", json.loads(answer))

    def stats(self) -> dict[str, Any]:
        """Return what the server tells of it: rows, dimensions, metric, bytes, generation and more."""
        (answer,) = self._client.action("stats", json.dumps({"collection": self._name}), again=True)
        return cast("dict[str, Any]", json.loads(answer))

    def scan(self, columns: list[str] | None = None) -> LakeRows:
        """
        Return its rows: ids and vectors of an index, all columns of a collection of a lake.

        Parameters
        ----------
        columns
            The columns, in this order. Default: all.

        Returns
        -------
        LakeRows
            A stream with ``__arrow_c_stream__``, to be read once: ``polars.DataFrame(rows)``. Batches come as
            they are read.

        Raises
        ------
        InvalidParameter
            If it has no such column.
        InvalidVectorType
            If it is an index of codes only.
        """
        ask: dict[str, Any] = {"collection": self._name}
        if columns is not None:
            ask["columns"] = columns
        return self._client.rows(json.dumps({"scan": ask}))

    def download(self, path: str | PathLike[str] | None = None) -> Index:
        """
        Return the index itself, compared with its digests.

        Parameters
        ----------
        path
            Where it is saved; it is opened from there then. Default: it is kept in memory.

        Raises
        ------
        InvalidParameter
            If it is no index.
        PersistError
            If it cannot be saved.
        """
        index = self._client.index(json.dumps({"index": {"collection": self._name}}))
        if path is None:
            return index
        index.save(path)
        return open_index(path)

    def _ask(self, verb: str) -> str:
        return json.dumps({verb: {"collection": self._name}})

    def __repr__(self) -> str:
        """Return server and name."""
        return f"RemoteCollection({self.location!r}, {self._name!r})"

    def __eq__(self, other: object, /) -> bool:
        """Return whether it is the same name of the same server."""
        if not isinstance(other, RemoteCollection):
            return NotImplemented
        return (self.location, self._name) == (other.location, other._name)

    def __hash__(self) -> int:
        """Return a hash of server and name."""
        return hash((self.location, self._name))

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled: a token is not for files."""
        raise TypeError("cannot pickle RemoteCollection: connect in the process that needs it")


def _ids(filter: Any) -> list[int | str]:  # noqa: ANN401 - whatever holds ids
    """Return ids as JSON has them."""
    found = filter
    for way in ("to_pylist", "to_list", "tolist"):
        if hasattr(filter, way):
            found = getattr(filter, way)()
            break
    try:
        ids = cast("list[object]", list(found))
    except TypeError:
        refuse("filter", "the ids of rows", type(filter).__name__)
    for each in ids:
        if isinstance(each, bool) or not isinstance(each, int | str):
            refuse("filter", "ids, which are integers or strings", repr(each))
    return cast("list[int | str]", ids)
