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
    preset_packed,
    preset_pairs,
    preset_rotation,
    preset_scores,
    read_rbpx1,
    write_rbpx1,
)
from ruvector._ruvector import open as open_index
from ruvector.errors import EmptyIndex, InvalidParameter, InvalidVectorType

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self, SupportsIndex

    from ruvector._ruvector import ArrowColumn, Hits, Index, Rotation, Scores
    from ruvector.typing import Filter, IdColumn, Metric, ProgressCallback, Queries, VectorSource

__all__ = ["KIND", "Handle", "Neighbor", "refuse"]

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


class Handle:
    """The common ground of the presets: an engine index, and whether it has its vectors.

    Safe to search and to change from many threads at once.
    """

    __slots__ = ("__weakref__", "_index", "_lock", "_rerank_factor")
    __hash__: ClassVar[None]  # type: ignore[assignment] # pyright: ignore[reportIncompatibleMethodOverride]

    _lists: ClassVar[int | None] = None
    """How many inverted lists it has, whatever is asked for."""
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
    def _wants_vectors(cls, rerank_factor: int) -> bool:  # noqa: ARG003 - for those that ask
        return True

    @classmethod
    def build(
        cls,
        vectors: VectorSource,
        *,
        ids: IdColumn | str | None = None,
        seed: SupportsIndex = 42,
        rerank_factor: SupportsIndex = 20,
        metric: Metric = "l2sq",
        rotation: Literal["fht-kac"] = KIND,
        bits: SupportsIndex = 1,
        nlist: SupportsIndex | None = None,
        column: str | None = None,
        threads: SupportsIndex | None = None,
        progress: bool | ProgressCallback = False,
    ) -> Self:
        """
        Build an index. All presets are built alike, so that one can take the place of another.

        Parameters
        ----------
        vectors
            Vectors of shape (n, dim): a C-contiguous float32 array, an Arrow column of float32 (Polars,
            pyarrow, ...) or a table with one, none of which is copied; or nested lists, which are. Null rows
            are left out.
        ids
            One integer of 64 bits or string per row, or the name of a column. Default: 0 to n - 1.
        seed
            Fixes everything that is drawn by lot. The same vectors and seed give the same index.
        rerank_factor
            At least 1. A `RabitqAsymIndex` keeps vectors if it is above 1, and ``rbpx1`` files carry it. It
            does not say how many rows are compared exactly: the error bound of the codes decides that for
            each query, by the recall that the search asks for.
        metric
            ``"l2sq"``, ``"l2"``, ``"cosine"`` or ``"ip"`` (see `ruvector.build`).
        rotation
            The kind of rotation; the engine has one.
        bits
            Bits per dimension of the codes, 1 to 9. One is enough where vectors are kept; without them, each
            further bit makes scores about twice as good.
        nlist
            The number of inverted lists. Default: by the number of rows. A `FlatF32Index` has one.
        column
            The vector column of a table. Needed only if there are several.
        threads, progress
            As in `ruvector.build`.

        Raises
        ------
        EmptyIndex
            If there is no row.
        InvalidVectorType
            If the vectors are of another type than float32, or their memory is laid out otherwise. Nothing is
            ever converted without being asked for.
        InvalidVector, InvalidParameter, DuplicateId
            As in `ruvector.build`.
        """
        if rotation != KIND:
            refuse("rotation", repr(KIND), repr(rotation))
        factor = cls._factor(rerank_factor)
        index = preset_build(
            vectors,
            ids,
            column=column,
            metric=metric,
            nlist=nlist if cls._lists is None else cls._lists,
            bits=bits,
            seed=seed,
            threads=threads,
            progress=progress,
            originals=cls._wants_vectors(factor),
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
        """All bytes that it keeps alive: codes, tables, vectors (borrowed ones, too), mapped pages."""
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
        The codes of all rows, or the first bits of longer ones, as ``fixed_size_binary(padded_dim / 8)``.

        In the order of `ids`. The first rotated coordinate is the most significant bit of the first byte. A
        bit is set where the rotated vector less the rotated centroid of its list is not negative; so codes of
        different lists do not compare, nor do they with another implementation's. ``padded_dim`` is `dim`
        rounded up to a multiple of 64 (see `rotation`).

        A copy: the engine scans blocks of 32 codes whose bits are interleaved. That table, as it lies, is
        what ``ruvector.open(path)`` exports as an Arrow stream. `EmptyIndex` if all rows were deleted.
        """
        return preset_packed(self._index)

    def _search(
        self, query: Queries, k: SupportsIndex, filter: Filter | None, recall: float, *, exact: bool
    ) -> list[Neighbor]:
        hits = self._ask(query, k, filter, recall, exact=exact)
        return [Neighbor(*pair) for pair in preset_pairs(hits)]

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

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._index)

    def __contains__(self, id: object, /) -> bool:
        """Return whether a row has this id."""
        return id in self._index

    def __eq__(self, other: object, /) -> bool:
        """Return whether no search can tell the two apart: the same class, rows and seed."""
        if not isinstance(other, Handle) or type(self) is not type(other):
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
        """Pickle as the engine's index does: its path where the file can stand for it, or its bytes."""
        return self._wrap, (self._index, self._rerank_factor)


Handle.__hash__ = None  # pyright: ignore[reportAttributeAccessIssue]


def refuse(name: str, expected: str, actual: str) -> NoReturn:
    """Refuse an argument as the engine does."""
    message = f"{name}: expected {expected}, got {actual}"
    raise InvalidParameter(message, name=name, expected=expected, actual=actual)
