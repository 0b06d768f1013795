"""What a server has under a name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from ruvector.presets.base import refuse

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ruvector._ruvector import FlightClient, FlightRemote, Hits
    from ruvector.typing import IdType, Metric, Queries

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
