"""The lake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ruvector.errors import AmbiguousCollection, UnknownCollection
from ruvector.lake.adapter import BackendAdapter
from ruvector.lake.audit import ArrowTable, AuditEvents
from ruvector.lake.backends import NativeBackend
from ruvector.lake.bundle import Published, RefreshResult, RuLakeBundle, published
from ruvector.lake.collection import LakeCollection, pair_of
from ruvector.lake.conditions import normal_form
from ruvector.lake.consistency import Consistency, mode, refuse
from ruvector.lake.searching import Searching
from ruvector.lake.session import LakeSession
from ruvector.lake.stats import CacheStats, PerBackendStats, counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike
    from typing import SupportsIndex

    from ruvector._ruvector import LakeRows
    from ruvector.lake.builder import RuLakeBuilder
    from ruvector.lake.conditions import RowFilter
    from ruvector.lake.searching import Key
    from ruvector.lake.shapes import LakeKept
    from ruvector.typing import IdColumn, Metric

__all__ = ["RuLake"]


class RuLake(Searching):
    """
    A cache of vector indexes before the backends where vectors live.

    `RuLake.builder` makes one. All methods can be called from several threads at once.

    Examples
    --------
    >>> import ruvector as rv
    >>> docs = rv.LocalBackend("memory")
    >>> docs.upsert("docs", ids=[7, 8], vectors=[[0.0, 0.0], [3.0, 4.0]])
    0
    >>> lake = rv.RuLake.builder().build()
    >>> lake.register_backend(docs)
    >>> lake.search_one("docs", [3.0, 3.0], k=1)[0].id
    8
    >>> lake.cache_stats().primes
    1
    """

    __slots__ = ()

    @staticmethod
    def builder() -> RuLakeBuilder:
        """Return how a lake is made, to be configured and built."""
        from ruvector.lake.builder import RuLakeBuilder

        return RuLakeBuilder()

    def register_backend(
        self,
        backend: NativeBackend | BackendAdapter,
        *,
        deadline: float | None = None,
        concurrency: SupportsIndex = 16,
    ) -> None:
        """
        Add a backend.

        Parameters
        ----------
        backend
            A `LocalBackend`, `FsBackend`, `ParquetBackend`, or an adapter in Python (`BackendAdapter`).
        deadline
            How long a search waits for it, in seconds.
        concurrency
            How many of its calls may be under way at once.

        Raises
        ------
        InvalidParameter
            If there is one of this name, or a number cannot be meant.
        TypeError
            If it is no backend.
        """
        native = cast("object", backend)
        if isinstance(native, NativeBackend):
            native = native.native()
        elif not isinstance(native, BackendAdapter):
            raise TypeError(f"backend: expected a backend or a BackendAdapter, got {type(native).__name__}")
        self._native.register(native, deadline, concurrency)

    def backend_ids(self) -> list[str]:
        """Return the names of all backends, sorted."""
        return self._native.backend_ids()

    def collections(self) -> list[tuple[str, str]]:
        """
        Return the collections of all backends, as pairs of backend and name, sorted.

        Raises
        ------
        BackendError
            If a backend cannot tell.
        """
        return self._native.collections()

    def collection(self, name: str, backend: str | None = None) -> LakeCollection:
        """
        Return a collection, to be searched wherever an index is.

        Raises
        ------
        UnknownCollection, AmbiguousCollection
            If no backend is given, and none has it or several have.
        """
        pair = self._pair((backend, name) if backend is not None else name)
        return LakeCollection(*pair, self._native.target(pair))

    def configure(
        self,
        key: Key,
        *,
        consistency: Consistency | None = None,
        ttl: float | None = None,
        stale: float | None = None,
        metric: Metric | None = None,
        bits: SupportsIndex | None = None,
        rotation_seed: SupportsIndex | None = None,
        rerank_factor: SupportsIndex | None = None,
        pinned: bool | None = None,
        rows: RowFilter | None = None,
        pii_policy: str | None = None,
        lineage_id: str | None = None,
        memory_class: str | None = None,
    ) -> None:
        """
        Set how a collection is indexed and kept. What is not given stays as it is.

        An index that was coded otherwise is not used any more.

        Parameters
        ----------
        key
            The collection.
        consistency, ttl, stale
            When its backend is asked (see `RuLakeBuilder.consistency`).
        metric, bits, rotation_seed, rerank_factor
            How rows are coded and compared.
        pinned
            Whether its index stays although others need its room.
        rows
            Which rows are pulled: what does not fulfil it is not there for the lake.
        pii_policy, lineage_id, memory_class
            What its bundles carry.

        Raises
        ------
        InvalidParameter
            If something cannot be meant.
        """
        pair = self._pair(key)
        kept: dict[str, Any] = {**self._native.settings(pair)}
        if consistency is not None:
            kept["consistency"] = mode(consistency, ttl, stale)
        elif ttl is not None or stale is not None:
            refuse("ttl", "a consistency with it", repr(ttl))
        given = {
            "metric": metric,
            "bits": bits,
            "rotation_seed": rotation_seed,
            "rerank_factor": rerank_factor,
            "pinned": pinned,
            "rows": normal_form(rows),
            "pii_policy": pii_policy,
            "lineage_id": lineage_id,
            "memory_class": memory_class,
        }
        kept |= {name: value for name, value in given.items() if value is not None}
        self._native.configure(pair, cast("LakeKept", kept))

    def with_consistency(
        self, consistency: Consistency, *, ttl: float | None = None, stale: float | None = None
    ) -> RuLake:
        """
        Return the same lake seen in another mode, whatever the mode of its collections.

        Raises
        ------
        InvalidParameter
            If it is no `Consistency`, or the times do not go with it.
        """
        return RuLake(self._native.with_consistency(*mode(consistency, ttl, stale)))

    def acting_as(self, principal: str) -> RuLake:
        """Return the same lake as somebody sees it: the policy is asked about them."""
        return RuLake(self._native.acting_as(principal))

    def session(self) -> LakeSession:
        """
        Return a view in which each collection stays in the state of its first search: repeatable reads.

        Payload and filters are of that state, too, as long as the backend has it, and `Superseded` after
        that.

        Examples
        --------
        >>> import ruvector as rv
        >>> docs = rv.LocalBackend("memory")
        >>> docs.upsert("docs", ids=[7], vectors=[[0.0, 0.0]])
        0
        >>> lake = rv.RuLake.builder().build()
        >>> lake.register_backend(docs)
        >>> with lake.session() as session:
        ...     before = session.search_one("docs", [3.0, 4.0])
        ...     docs.append("docs", id=8, vector=[3.0, 4.0])
        ...     assert session.search_one("docs", [3.0, 4.0]) == before
        >>> lake.search_one("docs", [3.0, 4.0], k=1)[0].id
        8
        """
        return LakeSession(self._native)

    def scan(
        self,
        collection: Key,
        *,
        backend: str | None = None,
        columns: Sequence[str] | None = None,
        filter: RowFilter | None = None,
    ) -> LakeRows:
        """
        Return the rows of a collection as its backend has them now, past the cache.

        Parameters
        ----------
        collection, backend
            The collection.
        columns
            The columns, in this order. Default: all.
        filter
            What rows must fulfil (see `search_one`).

        Returns
        -------
        LakeRows
            A stream with ``__arrow_c_stream__``, to be read once:
            ``pyarrow.RecordBatchReader.from_stream(rows)``, ``polars.DataFrame(rows)``.

        Raises
        ------
        UnknownBackend, UnknownCollection, AmbiguousCollection
            If there is no such collection, or several.
        InvalidParameter
            If it has no such column.
        BackendError
            If the backend fails.
        """
        pair = self._pair(collection, backend)
        return self._native.scan(pair, None if columns is None else list(columns), normal_form(filter))

    def publish_bundle(self, collection: Key, out_dir: str | PathLike[str]) -> Published:
        """
        Write the bundle of a collection's present state into a folder. Nothing is pulled.

        Raises
        ------
        UnknownBackend, UnknownCollection, AmbiguousCollection
            If there is no such collection, or several.
        PersistError
            If it cannot be written.
        """
        return published(self._native.publish_bundle(self._pair(collection), out_dir))

    def refresh_from_bundle_dir(self, key: Key, dir: str | PathLike[str]) -> RefreshResult:
        """
        Compare the cache with the bundle in a folder, and forget what is not of its state.

        No backend is asked.

        Raises
        ------
        InvalidBundle, WitnessMismatch, TooLarge, UnsafePath
            If the file cannot be believed; nothing is forgotten then.
        """
        return RefreshResult(self._native.refresh_from_bundle_dir(self._pair(key), dir))

    def save_cache_to_dir(self, key: Key, dir: str | PathLike[str]) -> Published:
        """
        Write the index that answers for a collection into a folder, with the bundle of its rows' state.

        Raises
        ------
        CacheMissError
            If the cache does not have it.
        InvalidParameter
            If it has no rows.
        PersistError
            If it cannot be written.
        """
        return published(self._native.save_cache_to_dir(self._pair(key), dir))

    def warm_from_dir(self, key: Key, dir: str | PathLike[str]) -> int:
        """
        Let the index in a folder answer for a collection, and return its number of rows.

        It is mapped and not built anew. The backend need not be registered, and doing so twice changes
        nothing.

        Raises
        ------
        InvalidBundle, WitnessMismatch, TooLarge, UnsafePath
            If the files cannot be believed, or are not of one another.
        InvalidParameter
            If the index is coded otherwise than the collection's settings say.
        """
        return self._native.warm_from_dir(self._pair(key), dir)

    def forget(self, key: Key, ids: IdColumn, dir: str | PathLike[str] | None = None) -> int:
        """
        Delete rows for the lake: nobody finds or reads them here any more, whatever the backend still has.

        Views that have begun a session keep what they see.

        Parameters
        ----------
        key
            The collection.
        ids
            The ids of the rows.
        dir
            A folder whose bundle is to tell so: whoever follows it (`refresh_from_bundle_dir`) or is warmed
            from it forgets them, too. The index beside it stays as it is.

        Returns
        -------
        int
            How many ids are new here.

        Raises
        ------
        InvalidBundle, WitnessMismatch, TooLarge, UnsafePath
            If the folder's bundle cannot be believed. The rows are forgotten here even so.
        PersistError
            If nothing can be written. The rows are forgotten here even so.
        """
        return self._native.forget(self._pair(key), ids, dir)

    def invalidate_cache(self, key: Key) -> None:
        """Forget the index of a collection. Without one, nothing happens."""
        self._native.invalidate_cache(self._pair(key))

    def bundle_of(self, key: Key) -> RuLakeBundle | None:
        """Return what the index that answers for a collection is of; None without one."""
        fields = self._native.bundle_of(self._pair(key))
        return None if fields is None else RuLakeBundle(**fields)

    def cache_witness_of(self, key: Key) -> str | None:
        """Return the witness, of version 1, of the index that answers for a collection; None without one."""
        bundle = self.bundle_of(key)
        return None if bundle is None else bundle.witness

    def cache_entry_count(self) -> int:
        """Return the number of indexes in the cache."""
        return self._native.cache_stats()[1]

    def cache_refcount_of(self, witness: str) -> int:
        """
        Return for how many collections an index answers: the one of this witness of version 1.

        Raises
        ------
        InvalidParameter
            If it is no witness.
        """
        return self._native.cache_refcount_of(witness)

    def cache_stats(self) -> CacheStats:
        """Return what the cache did and holds."""
        counters, entries, size = self._native.cache_stats()
        return CacheStats(**counted(counters), entries=entries, bytes=size)

    def cache_stats_by_backend(self) -> dict[str, PerBackendStats]:
        """Return what it did for each backend."""
        found = self._native.cache_stats_by_backend()
        return {backend: PerBackendStats(**counted(counters)) for backend, counters in found}

    def cache_stats_by_collection(self) -> dict[tuple[str, str], PerBackendStats]:
        """Return what it did for each collection."""
        found = self._native.cache_stats_by_collection()
        return {key: PerBackendStats(**counted(counters)) for key, counters in found}

    def cache_entries(self) -> ArrowTable:
        """
        Return what is held, a row for each collection that an index answers for.

        Columns: ``backend``, ``collection``, ``witness``, ``generation``, ``rows``, ``bytes``, ``pinned``,
        ``spilled``, ``pii_policy``, ``lineage_id``, ``memory_class``. Collections that share an index share
        its bytes.
        """
        return ArrowTable(self._native.cache_entries())

    def audit_events(self) -> AuditEvents:
        """Return who did what since the last call (see `RuLakeBuilder.audit`)."""
        return AuditEvents(*self._native.audit_events())

    def reset_stats(self) -> None:
        """Count from zero."""
        self._native.reset_stats()

    def __contains__(self, item: object, /) -> bool:
        """
        Return whether the cache has an index: of a collection, or the same as this one.

        A collection is meant by its name, a pair of backend and name, or a `LakeCollection`. An index is
        the same if it is of the same rows in the same order, with the same seed, metric and bits.
        """
        digest = getattr(item, "digest", None)
        if isinstance(digest, str):
            return self._native.holds_index(digest)
        pair = pair_of(cast("Key", item))
        pairs = [(backend, pair) for backend in self.backend_ids()] if isinstance(pair, str) else [pair]
        return any(self._native.bundle_of(each) is not None for each in pairs)

    def _pair(self, key: Key, backend: str | None = None) -> tuple[str, str]:
        pair = pair_of(key, backend)
        if not isinstance(pair, str):
            return pair
        found = [each for each in self.collections() if each[1] == pair]
        if len(found) == 1:
            return found[0]
        backends = [backend for backend, _ in found] or self.backend_ids()
        if not found:
            known = ", ".join(backends)
            message = f"backend {known!r}: unknown collection {pair!r}"
            raise UnknownCollection(message, backend=known, collection=pair)
        message = f"collection {pair!r} is in {backends}: name the backend"
        raise AmbiguousCollection(message, collection=pair, backends=backends)

    def __repr__(self) -> str:
        """Return its backends and what the cache holds."""
        _, entries, size = self._native.cache_stats()
        return f"RuLake(backends={self.backend_ids()}, entries={entries}, bytes={size})"

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled: a lake lives in its process."""
        raise TypeError("cannot pickle RuLake: make one in the process that needs it, and warm_from_dir it")
