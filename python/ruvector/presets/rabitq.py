"""Search by RaBitQ codes, with vectors to compare exactly or without."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ruvector.presets.vectors import Preset

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self, SupportsIndex

    from ruvector._ruvector import Scores
    from ruvector.presets.base import Neighbor
    from ruvector.typing import Filter, Queries

__all__ = ["RabitqAsymIndex", "RabitqIndex", "RabitqPlusIndex"]


class Coded(Preset):
    """The presets that look at codes first."""

    __slots__ = ()

    def search(
        self, query: Queries, k: SupportsIndex = 10, *, recall: float = 0.99, filter: Filter | None = None
    ) -> list[Neighbor]:
        """
        Find the nearest rows.

        Parameters
        ----------
        query
            One vector of `dim` float32.
        k
            How many. An index with fewer rows returns all of them.
        recall
            The share of the true neighbours to find, above 0, at most 1, where the index has vectors. It
            decides how many lists are looked into and how many rows are compared exactly, by what was
            measured when the index was built. Without vectors it decides the lists alone: estimates keep
            their error.
        filter
            The rows that may be returned, as in `ruvector.Index.search`.

        Returns
        -------
        list of Neighbor
            Nearest first, equally near ones by id.

        Raises
        ------
        EmptyIndex
            If all rows were deleted.
        DimensionMismatch
            If the query is not as long as the rows.
        InvalidParameter
            If `k` is below 1, `recall` is impossible, or there is more than one query.
        InvalidVector, InvalidVectorType
            If the query holds NaN or infinity, or is no vector of float32.
        """
        return self._search(query, k, filter, recall, exact=False)

    def search_batch(
        self, queries: Queries, k: SupportsIndex = 10, *, recall: float = 0.99, filter: Filter | None = None
    ) -> Scores:
        """
        Find the nearest rows of many queries, of shape (queries, dim); as `search`.

        Returns
        -------
        Scores
            An Arrow table of ``query_index``, ``rank``, ``id`` and ``score``.
        """
        return self._search_batch(queries, k, filter, recall, exact=False)


class RabitqIndex(Coded):
    """Codes only, the smallest index. Scores are estimates: twice as good with each further bit of `bits`.

    A row takes ``bits * dim / 8`` bytes and some 30 more.
    The vectors it was built from are let go of. Rows that were added later have exact scores until there are
    some thousands of them, for until then they are not coded.

    Made by `build` and `load`. ``len``, ``in`` and ``==`` do what they say; ``index[id]``, iteration and
    ``numpy.asarray(index)`` need vectors and raise a `TypeError`.

    Examples
    --------
    >>> import numpy as np
    >>> import ruvector as rv
    >>> vectors = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
    >>> index = rv.RabitqIndex.build(vectors)
    >>> index.search(vectors[7], k=1)[0].id
    7
    >>> index.memory_bytes < vectors.nbytes / 4
    True
    """

    __slots__ = ()

    @classmethod
    def _wants_vectors(cls, rerank_factor: int) -> bool:  # noqa: ARG003 - never
        return False

    @classmethod
    def load(cls, path: str | PathLike[str], *, verify: bool = True) -> Self:
        """
        Open what `save` wrote, or any other index file; vectors in it are not looked at.

        Parameters and errors are those of `FlatF32Index.load`, but for the last.
        """
        return cls._load(path, 1, originals=False, verify=verify)


class Reranked(Coded):
    """The presets that may compare exactly."""

    __slots__ = ()

    @property
    def rerank_factor(self) -> int:
        """The factor it was built with."""
        return self._rerank_factor


class RabitqPlusIndex(Reranked):
    """Codes and vectors: codes find the rows worth looking at, their scores are exact. The usual choice.

    Built from one array or Arrow column, it borrows that memory and copies nothing; do not write into it
    meanwhile.

    Made by `build` and `load`. ``len``, ``in``, ``index[id]``, iteration over ``(id, vector)``,
    ``numpy.asarray(index)`` and ``==`` do what they say.

    Examples
    --------
    >>> import numpy as np
    >>> import ruvector as rv
    >>> vectors = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
    >>> index = rv.RabitqPlusIndex.build(vectors)
    >>> [(hit.id, hit.score) for hit in index.search(vectors[7], k=1)]
    [(7, 0.0)]
    >>> bool((index[7] == vectors[7]).all())
    True
    """

    __slots__ = ()

    @classmethod
    def load(
        cls, path: str | PathLike[str], *, rerank_factor: SupportsIndex | None = None, verify: bool = True
    ) -> Self:
        """
        Open what `save` wrote in either format, an ``rbpx1`` file of upstream's, or any index with vectors.

        Parameters
        ----------
        path
            The file. One of the engine's own format is mapped; from an ``rbpx1`` file, which has no codes,
            the index is built again.
        rerank_factor
            Default: the one in an ``rbpx1`` file; 20 otherwise.
        verify
            Whether every byte is compared with its digest (an ``rbpx1`` file has none).

        Raises
        ------
        PersistError
            If the file cannot be read, is not an index, or is damaged.
        InvalidParameter
            If it holds codes only.
        EmptyIndex
            If it is an ``rbpx1`` file without rows.
        """
        factor = None if rerank_factor is None else cls._factor(rerank_factor)
        return cls._load(path, factor, originals=True, verify=verify)


class RabitqAsymIndex(Reranked):
    """Codes, and vectors only if ``rerank_factor`` is above 1. Queries are never reduced to one bit.

    That holds for all presets: this class is here to choose between small and exact by a number.

    Made by `build` and `load`. ``index[id]``, iteration and ``numpy.asarray(index)`` need vectors, and raise
    a `TypeError` without.

    Examples
    --------
    >>> import ruvector as rv
    >>> rows = [[0.0, 0.0], [3.0, 4.0]]
    >>> rv.RabitqAsymIndex.build(rows).search([3.0, 4.0], k=1)
    [Neighbor(id=1, score=0.0)]
    >>> rv.RabitqAsymIndex.build(rows, rerank_factor=1)[0]
    Traceback (most recent call last):
    ruvector.errors.InvalidVectorType: vectors: expected an index that keeps its vectors, got ...
    """

    __slots__ = ()

    @classmethod
    def load(
        cls, path: str | PathLike[str], *, rerank_factor: SupportsIndex | None = None, verify: bool = True
    ) -> Self:
        """
        Open what `save` wrote, or any other index file.

        Parameters
        ----------
        path, verify
            As in `RabitqPlusIndex.load`.
        rerank_factor
            1 leaves vectors aside, more needs them in the file. Default: 20 if they are there (or what an
            ``rbpx1`` file says), otherwise 1.

        Raises
        ------
        PersistError, InvalidParameter, EmptyIndex
            As in `RabitqPlusIndex.load`.
        """
        factor = None if rerank_factor is None else cls._factor(rerank_factor)
        return cls._load(path, factor, originals=None, verify=verify)

    @classmethod
    def _wants_vectors(cls, rerank_factor: int) -> bool:
        return rerank_factor > 1
