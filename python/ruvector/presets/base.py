"""What the four presets have in common."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, NoReturn

from ruvector._ruvector import (
    is_rbpx1,
    preset_adopt,
    preset_build,
    preset_held_bytes,
    preset_ids,
    preset_norms,
    preset_originals,
    preset_packed,
    preset_pairs,
    preset_put,
    preset_put_batch,
    preset_rotation,
    preset_scores,
    read_rbpx1,
    write_rbpx1,
)
from ruvector._ruvector import open as open_index
from ruvector.errors import EmptyIndex, InvalidParameter, InvalidVectorType

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from typing import Self, SupportsIndex

    import numpy as np
    import numpy.typing as npt

    from ruvector._ruvector import ArrowColumn, Hits, Index, Rotation, Scores
    from ruvector.typing import Filter, IdColumn, Metric, ProgressCallback, Queries, VectorSource

__all__ = ["KIND", "Neighbor", "Preset", "refuse"]

KIND: Literal["fht-kac"] = "fht-kac"
"""The one kind of rotation that the engine has."""


class Neighbor(NamedTuple):
    """One row that was found.

    Attributes
    ----------
    id
        Its id, an int or a str.
    score
        Its distance to the query by the index's metric; smaller is nearer.
    """

    id: Any
    score: float


class Preset:
    """The common ground of the presets: an engine index, and whether it has its vectors.

    Safe to search and to change from many threads at once.
    """

    __slots__ = ("__weakref__", "_index", "_lock", "_rerank_factor")
    __hash__: ClassVar[None]  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride]

    _index: Index
    _rerank_factor: int
    _lock: Lock
    """Held by whoever changes the index or puts another in its place; readers need no lock."""

    def __init__(self) -> None:
        name = type(self).__name__
        message = f"an index is not made by calling its class: {name}.build or {name}.load makes one"
        raise TypeError(message)

    @classmethod
    def _wrap(cls, index: Index, rerank_factor: int) -> Self:
        made = object.__new__(cls)
        made._index, made._rerank_factor, made._lock = index, rerank_factor, Lock()
        return made

    @staticmethod
    def _factor(rerank_factor: SupportsIndex) -> int:
        factor = rerank_factor.__index__()
        if factor < 1:
            refuse("rerank_factor", "at least 1", str(factor))
        return factor

    @classmethod
    def _build(
        cls,
        vectors: VectorSource,
        ids: IdColumn | str | None,
        rerank_factor: SupportsIndex,
        *,
        originals: bool,
        rotation: str,
        column: str | None,
        metric: Metric,
        nlist: SupportsIndex | None,
        bits: SupportsIndex,
        seed: SupportsIndex,
        threads: SupportsIndex | None,
        progress: bool | ProgressCallback,
    ) -> Self:
        if rotation != KIND:
            refuse("rotation", repr(KIND), repr(rotation))
        factor = cls._factor(rerank_factor)
        index = preset_build(
            vectors,
            ids,
            column=column,
            metric=metric,
            nlist=nlist,
            bits=bits,
            seed=seed,
            threads=threads,
            progress=progress,
            originals=originals,
        )
        return cls._wrap(index, factor)

    @classmethod
    def _load(
        cls, path: str | PathLike[str], rerank_factor: int | None, *, originals: bool | None, verify: bool
    ) -> Self:
        if is_rbpx1(path):
            index, factor = read_rbpx1(path)
        else:
            index, factor = open_index(path, verify=verify), None
        if originals is None:
            originals = index.vectors != "none" if rerank_factor is None else rerank_factor > 1
        if rerank_factor is None:
            rerank_factor = (factor or 20) if originals else 1
        return cls._wrap(preset_adopt(index, originals), rerank_factor)

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Elements per vector."""
        return self._index.dim

    @property
    def metric(self) -> Metric:
        """The distance that scores are: by default the squared Euclidean one."""
        return self._index.metric

    @property
    def seed(self) -> int:
        """The seed it was built with."""
        return self._index.seed

    @property
    def bits(self) -> int:
        """Bits per dimension of the codes."""
        return self._index.bits

    @property
    def nlist(self) -> int:
        """The number of inverted lists."""
        return self._index.nlist

    @property
    def digest(self) -> str:
        """The BLAKE3 digest, in hex, of everything a search depends on (see `ruvector.Index.digest`)."""
        return self._index.digest

    @property
    def memory_bytes(self) -> int:
        """All bytes that it keeps alive: codes, tables, vectors (lent ones, too), mapped pages of its file."""
        return preset_held_bytes(self._index)

    def rotation(self) -> Rotation:
        """Return the rotation that every vector passes before it is coded."""
        return preset_rotation(self._index)

    @property
    def ids(self) -> ArrowColumn:
        """
        The ids of all rows, as an Arrow array: int64, uint64 or large_string, in the order of the rows.

        A copy, for the engine keeps ids by block of 32 codes. `EmptyIndex` if all rows were deleted.
        """
        return preset_ids(self._index)

    @property
    def packed(self) -> ArrowColumn:
        """
        The one-bit codes of all rows, as an Arrow array of ``fixed_size_binary(padded_dim / 8)``.

        In the order of `ids`. The first rotated coordinate is the most significant bit of the first byte. A
        bit is set where the rotated vector less the rotated centroid of its list is not negative; so codes of
        different lists do not compare, nor do they with another implementation's. ``padded_dim`` is `dim`
        rounded up to a multiple of 64 (see `rotation`).

        A copy: the engine scans blocks of 32 codes whose bits are interleaved. That table, as it lies, is
        what ``ruvector.open(path)`` exports as an Arrow stream. `EmptyIndex` if all rows were deleted.
        """
        return preset_packed(self._index)

    @property
    def norms(self) -> ArrowColumn:
        """
        The Euclidean lengths of all vectors, as an Arrow array of float32 in the order of `ids`.

        The engine's codes are relative to centroids and do not tell them; they are computed from the vectors.

        Raises
        ------
        InvalidVectorType
            If the index keeps codes only; it is a `TypeError`.
        EmptyIndex
            If all rows were deleted.
        """
        self._need_originals("norms")
        with self._lock:
            self._originals()
            index = self._index
        return preset_norms(index)

    # -- searching -------------------------------------------------------------------------------------------

    def _search(
        self, query: Queries, k: SupportsIndex, filter: Filter | None, recall: float, *, exact: bool
    ) -> list[Neighbor]:
        hits = self._ask(query, k, filter, recall, exact=exact)
        return [Neighbor(id, score) for id, score in preset_pairs(hits)]

    def _search_batch(
        self, queries: Queries, k: SupportsIndex, filter: Filter | None, recall: float, *, exact: bool
    ) -> Scores:
        return preset_scores(self._ask(queries, k, filter, recall, exact=exact))

    def _ask(
        self, queries: Queries, k: SupportsIndex, filter: Filter | None, recall: float, *, exact: bool
    ) -> Hits:
        index = self._index
        if len(index) == 0:
            raise EmptyIndex("empty index: all rows were deleted")
        return index.search(queries, k, filter=filter, recall=recall, exact=exact)

    # -- changing --------------------------------------------------------------------------------------------

    def add(self, id: int | str, vector: Queries) -> None:
        """
        Add one row. It is there for every search that begins afterwards.

        Parameters
        ----------
        id
            An id that no row has, of the index's type.
        vector
            One vector of `dim` float32.

        Raises
        ------
        DuplicateId
            If a row has that id. Nothing is changed then, as with every other error.
        DimensionMismatch
            If the vector is not as long as the others.
        InvalidVector, InvalidVectorType
            If it holds NaN or infinity, or is no column of float32.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.RabitqPlusIndex.build([[0.0, 0.0], [3.0, 4.0]])
        >>> index.add(id=7, vector=[6.0, 8.0])
        >>> index.search([6.0, 8.0], k=1)
        [Neighbor(id=7, score=0.0)]
        """
        with self._lock:
            preset_put(self._index, id, vector, replace=False)

    def add_batch(self, ids: IdColumn | str, vectors: VectorSource, *, column: str | None = None) -> None:
        """
        Add rows. All of them are there afterwards, or none.

        Parameters
        ----------
        ids
            One id per row, none of them there already; or the name of a column of `vectors`.
        vectors
            Vectors of shape (rows, dim), float32. Null rows are left out.
        column
            The vector column of a table. Needed only if there are several.

        Raises
        ------
        DuplicateId, DimensionMismatch, InvalidVector, InvalidVectorType
            As `add`.
        InvalidParameter
            If there is not one id per row.
        """
        with self._lock:
            preset_put_batch(self._index, vectors, ids, replace=False, column=column)

    def upsert(self, id: int | str, vector: Queries) -> bool:
        """
        Add one row, in place of the row with its id if there is one.

        Returns
        -------
        bool
            Whether a row was replaced.

        Raises
        ------
        DimensionMismatch, InvalidVector, InvalidVectorType
            As `add`.
        """
        with self._lock:
            return preset_put(self._index, id, vector, replace=True) > 0

    def upsert_batch(self, ids: IdColumn | str, vectors: VectorSource, *, column: str | None = None) -> int:
        """
        Add rows, each in place of the row with its id if there is one; return how many were replaced.

        Of several rows with one id the last counts. All of them are there afterwards, or none. Parameters and
        errors are those of `add_batch`, but for `DuplicateId`.
        """
        with self._lock:
            return preset_put_batch(self._index, vectors, ids, replace=True, column=column)

    def delete(self, id: int | str) -> bool:
        """Delete the row with this id, and return whether there was one."""
        with self._lock:
            return self._index.delete([id]) > 0  # type: ignore[arg-type, list-item] # pyright: ignore[reportArgumentType]

    def delete_batch(self, ids: IdColumn) -> int:
        """Delete the rows with these ids, and return how many there were. Unknown ids are ignored."""
        with self._lock:
            return self._index.delete(ids)

    # -- a file ----------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str], *, format: Literal["arrow", "rbpx1"] = "arrow") -> None:
        """
        Write the index to a file, in place of an old one in one step.

        Parameters
        ----------
        path
            The file.
        format
            ``"arrow"``: the engine's own, an Arrow IPC file that `load` and `ruvector.open` map into memory;
            vectors are in it if the index keeps them. ``"rbpx1"``: version 1 of upstream's format, ids and
            vectors without codes, for exchange; ids must be integers of 32 bits, vectors at most 8192 long,
            the metric ``"l2sq"``.

        Raises
        ------
        PersistError
            If the file cannot be written.
        InvalidParameter
            If the format cannot hold the index.
        InvalidVectorType
            If the format holds vectors and the index keeps none.
        EmptyIndex
            If all rows were deleted and the format is ``"arrow"``.
        """
        if format == "rbpx1":
            self._need_originals("rbpx1")
            write_rbpx1(self._index, path, self._rerank_factor)
            return
        if format != "arrow":
            refuse("format", "'arrow' or 'rbpx1'", repr(format))
        with self._lock:
            self._index.save(path)

    # -- vectors, where they are kept ------------------------------------------------------------------------

    @property
    def _keeps(self) -> bool:
        return self._index.vectors != "none"

    def _need_originals(self, what: str) -> None:
        if not self._keeps:
            name = type(self).__name__
            raise InvalidVectorType(
                f"{what}: expected an index that keeps its vectors, got a {name} of codes only",
                column=what,
                expected="an index that keeps its vectors",
                actual=f"a {name} of codes only",
            )

    def _originals(self) -> npt.NDArray[np.float32]:
        """All vectors in one piece, where they are copied to if they lie otherwise. The lock is held."""
        if len(self._index) == 0:
            import numpy as np

            return np.empty((0, self.dim), np.float32)
        self._index, array = preset_originals(self._index)
        return array

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None  # noqa: FBT001 - numpy's protocol
    ) -> npt.NDArray[Any]:
        """
        Return all vectors, read-only, of shape (rows, dim) and dtype float32, in the order of `ids`.

        Nothing is copied while they lie in one piece, as they do in an index that was built from one array
        and has not changed. Otherwise they are copied into one piece once, which then takes the place of the
        old ones. An array that was handed out stays as it is, whatever happens to the index.

        Raises
        ------
        InvalidVectorType
            If the index keeps codes only; it is a `TypeError`.
        """
        self._need_originals("vectors")
        with self._lock:
            array = self._originals()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"copy=False: expected dtype float32, got {dtype}")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __getitem__(self, id: int | str, /) -> npt.NDArray[np.float32]:
        """
        Return the vector of the row with this id, a copy of shape (dim,).

        Raises
        ------
        UnknownId
            If no row has it; it is a `KeyError`.
        InvalidVectorType
            If the index keeps codes only; it is a `TypeError`.
        """
        self._need_originals("vectors")
        return self._index[id]

    def __iter__(self) -> Iterator[tuple[Any, npt.NDArray[np.float32]]]:
        """
        Iterate over pairs of an id and its vector, a read-only view of shape (dim,), in the order of `ids`.

        Raises
        ------
        InvalidVectorType
            If the index keeps codes only; it is a `TypeError`.
        """
        self._need_originals("vectors")
        with self._lock:
            array = self._originals()
            ids = iter(self._index)
        return zip(ids, array, strict=True)

    # -- what Python asks ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._index)

    def __contains__(self, id: object, /) -> bool:
        """Return whether a row has this id."""
        return id in self._index

    def __eq__(self, other: object, /) -> bool:
        """Return whether no search can tell the two apart: the same class, rows and seed."""
        if not isinstance(other, Preset) or type(self) is not type(other):
            return NotImplemented
        one, two = self._index, other._index
        if len(one) != len(two) or len(one) == 0:
            return (len(one), one.dim, one.metric) == (len(two), two.dim, two.metric)
        return one == two

    def __repr__(self) -> str:
        """Return its class, size, metric and memory."""
        size = f"n={len(self)}, dim={self.dim}, metric={self.metric}"
        return f"{type(self).__name__}({size}, memory_bytes={self.memory_bytes})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as the engine's index does: its path where the file can stand for it, its bytes otherwise."""
        return _restore, (type(self), self._index, self._rerank_factor)


Preset.__hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]


def _restore(cls: type[Preset], index: Index, rerank_factor: int) -> Preset:
    return cls._wrap(index, rerank_factor)  # noqa: SLF001 - the pickle of its own class


def refuse(name: str, expected: str, actual: str) -> NoReturn:
    """Refuse an argument as the engine does."""
    message = f"{name}: expected {expected}, got {actual}"
    raise InvalidParameter(message, name=name, expected=expected, actual=actual)
