"""The vectors of a preset, where it keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruvector._ruvector import preset_norms, preset_originals
from ruvector.presets.changing import Changing

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from ruvector._ruvector import ArrowColumn

__all__ = ["Preset"]


class Preset(Changing):
    """A preset whose vectors can be looked at, if it has any."""

    __slots__ = ()

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

    def _originals(self) -> npt.NDArray[np.float32]:
        """All vectors in one piece, where they are copied to if they lie otherwise. The lock is held."""
        if len(self._index) == 0:
            import numpy as np

            return np.empty((0, self.dim), np.float32)
        self._index, array = preset_originals(self._index)
        return array

    def __array__(
        self,
        dtype: npt.DTypeLike | None = None,
        copy: bool | None = None,  # noqa: FBT001 - numpy's protocol
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
