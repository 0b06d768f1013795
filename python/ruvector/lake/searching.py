"""Searches of a lake, and what they are asked with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ruvector.lake.answers import LakeBatch, LakeHits
from ruvector.lake.awaiting import awaited
from ruvector.lake.collection import LakeCollection, target_of
from ruvector.lake.conditions import normal_form

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence
    from typing import SupportsIndex

    from ruvector._ruvector import Lake, LakeAnswer
    from ruvector.lake.conditions import RowFilter
    from ruvector.lake.shapes import LakeAsking, LakeMeant
    from ruvector.typing import Queries

__all__ = ["Key", "Searching"]

Key: TypeAlias = "str | tuple[str, str] | LakeCollection"
"""A collection: its name, if only one backend has it; the names of backend and collection; or what
`RuLake.collection` returned."""

OnError: TypeAlias = Literal["raise", "skip", "partial"]
"""What happens when a collection of a federated search fails or is late."""


class Searching:
    """The searches of a lake: one collection or several, for one query or many, at once or awaited."""

    __slots__ = ("_native",)

    def __init__(self, native: Lake) -> None:
        self._native = native

    def search_one(
        self,
        collection: Key,
        query: Queries,
        k: SupportsIndex = 10,
        *,
        backend: str | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        filter: RowFilter | None = None,
        columns: Sequence[str] | None = None,
        cache_only: bool = False,
        deadline: float | None = None,
    ) -> LakeHits:
        """
        Return the nearest rows of one vector in one collection.

        The rows are fetched and coded if the cache does not have them, or has others than the backend.

        Parameters
        ----------
        collection
            Its name, a pair of backend and name, or what `RuLake.collection` returned.
        query
            One vector: an array of dim float32 or float16, a column of numbers, a list of numbers.
        k
            The number of neighbours.
        backend
            The backend it is in. Needed only where several have one of this name.
        recall
            The share of the true neighbours to be found, above 0, at most 1 (see `ruvector.Index.search`).
        nprobe
            The number of inverted lists to look into, in place of `recall`.
        epsilon
            How wide the error bound is, in standard deviations, in place of what `recall` says.
        exact
            Whether to compare every row.
        filter
            Which rows may be found: ``[("lang", "=", "en"), ("year", ">=", 2020)]``, or a list of such
            lists, one of which must hold (see `ruvector.lake.RowFilter`).
        columns
            Columns of the rows to bring along, of the same state as the hits: they stand in the Arrow table.
        cache_only
            Whether only the cache is asked.
        deadline
            How long to wait, in seconds. What is late goes on, and fills the cache.

        Returns
        -------
        LakeHits
            Up to `k` rows, best first.

        Raises
        ------
        UnknownBackend, UnknownCollection, AmbiguousCollection
            If there is no such collection, or several.
        DimensionMismatch
            If the query is not as wide as the collection.
        InvalidParameter, InvalidVector, InvalidVectorType
            If an argument cannot be meant.
        PolicyDenied
            If the lake's policy says no.
        BackendError
            If the backend fails.
        CacheMissError
            If only the cache was asked, and does not have the collection.
        DeadlineExceeded
            If it takes too long.
        Unsettled, Superseded
            If the collection changed during every pull, or before what belongs to the hits was read.
        KeyboardInterrupt
            Within a second of Ctrl-C.

        Examples
        --------
        >>> import ruvector as rv
        >>> docs = rv.LocalBackend("memory")
        >>> docs.upsert("docs", ids=["a", "b"], vectors=[[0.0, 0.0], [3.0, 4.0]])
        0
        >>> lake = rv.RuLake.builder().build()
        >>> lake.register_backend(docs)
        >>> lake.search_one("docs", [3.0, 3.0], k=1)[0]
        SearchResult(backend='memory', collection='docs', id='b', score=1.0)
        """
        asking = asked(
            k,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            filter=filter,
            columns=columns,
            cache_only=cache_only,
            deadline=deadline,
        )
        return LakeHits(self._native.search(query, "query", target_of(collection, backend), asking))

    def search_batch(
        self,
        collection: Key,
        queries: Queries,
        k: SupportsIndex = 10,
        *,
        backend: str | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        filter: RowFilter | None = None,
        columns: Sequence[str] | None = None,
        cache_only: bool = False,
        deadline: float | None = None,
    ) -> LakeBatch:
        """
        Return the nearest rows of each vector in one collection.

        The backend is asked at most once for all of them.

        Parameters
        ----------
        queries
            n vectors of dim float32 or float16: a column of vectors, a two-dimensional array, a list of
            lists. A null query has no hits.
        collection, k, backend, recall, nprobe, epsilon, exact, filter, columns, cache_only, deadline
            As `search_one`.

        Returns
        -------
        LakeBatch
            For each query up to `k` rows, best first.

        Raises
        ------
        LakeError, VectorIndexError, KeyboardInterrupt
            As `search_one`.
        """
        asking = asked(
            k,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            filter=filter,
            columns=columns,
            cache_only=cache_only,
            deadline=deadline,
        )
        return LakeBatch(self._native.search(queries, "queries", target_of(collection, backend), asking))

    def search_federated(
        self,
        collection: str | None = None,
        query: Queries | None = None,
        k: SupportsIndex = 10,
        *,
        targets: Iterable[tuple[str, str]] | None = None,
        on_error: OnError = "raise",
        dedupe: bool = False,
        push_down: bool = False,
        hedge: float | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        filter: RowFilter | None = None,
        columns: Sequence[str] | None = None,
        cache_only: bool = False,
        deadline: float | None = None,
    ) -> LakeHits | LakeBatch:
        """
        Return the nearest rows over several collections, as if they were one.

        Parameters
        ----------
        collection
            A name: the collections of this name, of every backend that has one.
        query
            One vector, or many.
        k
            The number of neighbours over all collections.
        targets
            The collections, as pairs of backend and name, in place of `collection`.
        on_error
            What happens when a collection fails or is late. ``"raise"``: its error is raised. ``"skip"``: the
            others answer; if there are none, it is raised. ``"partial"``: the others answer, even if there
            are none.
        dedupe
            Whether of rows with one id only the nearest counts.
        push_down
            Whether a backend that searches by itself is asked to, where the cache has nothing.
        hedge
            How long a call of a backend may take, in seconds, before a second one is made beside it.
        recall, nprobe, epsilon, exact, filter, columns, cache_only
            As `search_one`.
        deadline
            How long to wait for each collection, in seconds; a backend's own deadline may be shorter.

        Returns
        -------
        LakeHits or LakeBatch
            `LakeHits` for one query given as such (an array of one dimension, a column of numbers),
            `LakeBatch` for a column of them. Its ``shards`` tell how each collection fared.

        Raises
        ------
        InvalidParameter
            If neither or both of `collection` and `targets` are given, or the collections have different
            metrics.
        LakeError, VectorIndexError, KeyboardInterrupt
            As `search_one`.
        """
        meant = federation(collection, targets)
        asking = asked(
            k,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            filter=filter,
            columns=columns,
            cache_only=cache_only,
            deadline=deadline,
        )
        asking["on_error"] = on_error
        asking["dedupe"] = dedupe
        asking["push_down"] = push_down
        asking["hedge"] = hedge
        needed(query)
        return either(self._native.search(query, "query", meant, asking))

    def search_one_async(
        self,
        collection: Key,
        query: Queries,
        k: SupportsIndex = 10,
        *,
        backend: str | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        filter: RowFilter | None = None,
        columns: Sequence[str] | None = None,
        cache_only: bool = False,
        deadline: float | None = None,
    ) -> Coroutine[Any, Any, LakeHits]:
        """
        Await what `search_one` returns.

        It computes on threads of the extension's own, as many as there are cores but at most 8, or as the
        environment variable ``RUVECTOR_ASYNC_THREADS`` says. Cancelling it stops the search.

        Raises
        ------
        RuntimeError
            If the calling thread has no running event loop.
        LakeError, VectorIndexError
            As `search_one`, when it is awaited.
        """
        meant = target_of(collection, backend)
        asking = asked(
            k,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            filter=filter,
            columns=columns,
            cache_only=cache_only,
            deadline=deadline,
        )
        return awaited(
            lambda settle: self._native.search_async(settle, query, "query", meant, asking), LakeHits
        )

    def search_batch_async(
        self,
        collection: Key,
        queries: Queries,
        k: SupportsIndex = 10,
        *,
        backend: str | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        filter: RowFilter | None = None,
        columns: Sequence[str] | None = None,
        cache_only: bool = False,
        deadline: float | None = None,
    ) -> Coroutine[Any, Any, LakeBatch]:
        """
        Await what `search_batch` returns (see `search_one_async`).

        Raises
        ------
        RuntimeError
            If the calling thread has no running event loop.
        LakeError, VectorIndexError
            As `search_batch`, when it is awaited.
        """
        meant = target_of(collection, backend)
        asking = asked(
            k,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            filter=filter,
            columns=columns,
            cache_only=cache_only,
            deadline=deadline,
        )
        return awaited(
            lambda settle: self._native.search_async(settle, queries, "queries", meant, asking), LakeBatch
        )

    def search_federated_async(
        self,
        collection: str | None = None,
        query: Queries | None = None,
        k: SupportsIndex = 10,
        *,
        targets: Iterable[tuple[str, str]] | None = None,
        on_error: OnError = "raise",
        dedupe: bool = False,
        push_down: bool = False,
        hedge: float | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        filter: RowFilter | None = None,
        columns: Sequence[str] | None = None,
        cache_only: bool = False,
        deadline: float | None = None,
    ) -> Coroutine[Any, Any, LakeHits | LakeBatch]:
        """
        Await what `search_federated` returns (see `search_one_async`).

        Raises
        ------
        RuntimeError
            If the calling thread has no running event loop.
        LakeError, VectorIndexError
            As `search_federated`, when it is awaited.
        """
        meant = federation(collection, targets)
        asking = asked(
            k,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            filter=filter,
            columns=columns,
            cache_only=cache_only,
            deadline=deadline,
        )
        asking["on_error"] = on_error
        asking["dedupe"] = dedupe
        asking["push_down"] = push_down
        asking["hedge"] = hedge
        needed(query)
        return awaited(
            lambda settle: self._native.search_async(settle, query, "query", meant, asking), either
        )


def asked(
    k: SupportsIndex,
    *,
    recall: float,
    nprobe: SupportsIndex | None,
    epsilon: float | None,
    exact: bool,
    filter: RowFilter | None,
    columns: Sequence[str] | None,
    cache_only: bool,
    deadline: float | None,
) -> LakeAsking:
    """Return the keywords of a search as the extension takes them."""
    return {
        "k": k,
        "recall": recall,
        "nprobe": nprobe,
        "epsilon": epsilon,
        "exact": exact,
        "columns": None if columns is None else list(columns),
        "filter": normal_form(filter),
        "cache_only": cache_only,
        "deadline": deadline,
        "on_error": "raise",
        "dedupe": False,
        "push_down": False,
        "hedge": None,
    }


def federation(collection: str | None, targets: Iterable[tuple[str, str]] | None) -> LakeMeant:
    """Return the collections that a federated search means."""
    from ruvector.lake.consistency import refuse

    if (collection is None) == (targets is None):
        actual = "neither" if collection is None else "both"
        refuse("targets", "the name of collections, or targets", actual)
    if targets is None:
        return True, str(collection)
    return [(backend, name) for backend, name in targets]


def needed(query: object) -> None:
    """Refuse a search without a query."""
    if query is None:
        raise TypeError("search_federated() missing 1 required argument: 'query'")


def either(answer: LakeAnswer) -> LakeHits | LakeBatch:
    """Return an answer to one query or to a column of them."""
    return LakeHits(answer) if answer.one else LakeBatch(answer)
