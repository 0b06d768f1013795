"""How a preset changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ruvector._ruvector import preset_put, preset_put_batch
from ruvector.presets.base import Handle

if TYPE_CHECKING:
    from ruvector.typing import IdColumn, Queries, VectorSource

__all__ = ["Changing"]


class Changing(Handle):
    """A preset whose rows come and go: changes wait for each other, searches for none of them."""

    __slots__ = ()

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
            # One id is of one type, which a list of either cannot say.
            return self._index.delete(cast("list[int]", [id])) > 0

    def delete_batch(self, ids: IdColumn) -> int:
        """Delete the rows with these ids, and return how many there were. Unknown ids are ignored."""
        with self._lock:
            return self._index.delete(ids)
