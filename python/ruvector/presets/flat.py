"""Exact search over vectors as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ruvector.presets.vectors import Preset

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self, SupportsIndex

    from ruvector._ruvector import Scores
    from ruvector.presets.base import Neighbor
    from ruvector.typing import Filter, Queries

__all__ = ["FlatF32Index"]


class FlatF32Index(Preset):
    """Vectors of float32, all compared with every query: the truth, and the best choice for few rows.

    Built from one array or Arrow column, it borrows that memory and copies nothing; do not write into it
    meanwhile. The engine codes rows here, too (``dim / 8`` bytes and some 30 more per row), but never looks
    at the codes.

    Made by `build` and `load`. ``len``, ``in``, ``index[id]``, iteration over ``(id, vector)``,
    ``numpy.asarray(index)`` and ``==`` do what they say.

    Examples
    --------
    >>> import numpy as np
    >>> import ruvector as rv
    >>> vectors = np.eye(3, dtype=np.float32)
    >>> index = rv.FlatF32Index.build(vectors, ids=[10, 20, 30])
    >>> index.search(vectors[1], k=2)
    [Neighbor(id=20, score=0.0), Neighbor(id=10, score=2.0)]
    >>> np.shares_memory(np.asarray(index), vectors)
    True
    """

    __slots__ = ()

    _lists = 1

    @classmethod
    def load(cls, path: str | PathLike[str], *, verify: bool = True) -> Self:
        """
        Open what `save` wrote, or any other file with vectors in it.

        Parameters
        ----------
        path
            The file: an index of the engine's own format, which is mapped, or an ``rbpx1`` file.
        verify
            Whether every byte is compared with its digest (an ``rbpx1`` file has none).

        Raises
        ------
        PersistError
            If the file cannot be read, is not an index, or is damaged.
        InvalidParameter
            If it holds codes only.
        """
        return cls._load(path, 1, originals=True, verify=verify)

    def search(
        self, query: Queries, k: SupportsIndex = 10, *, filter: Filter | None = None
    ) -> list[Neighbor]:
        """
        Find the nearest rows.

        Parameters
        ----------
        query
            One vector of `dim` float32.
        k
            How many. An index with fewer rows returns all of them.
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
            If `k` is below 1, or there is more than one query.
        InvalidVector, InvalidVectorType
            If the query holds NaN or infinity, or is no vector of float32.
        """
        return self._search(query, k, filter, 1.0, exact=True)

    def search_batch(
        self, queries: Queries, k: SupportsIndex = 10, *, filter: Filter | None = None
    ) -> Scores:
        """
        Find the nearest rows of many queries, of shape (queries, dim); as `search`.

        Returns
        -------
        Scores
            An Arrow table of ``query_index``, ``rank``, ``id`` and ``score``.
        """
        return self._search_batch(queries, k, filter, 1.0, exact=True)
