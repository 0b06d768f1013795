"""What every index has, whichever class it is of."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["AnyIndex"]


@runtime_checkable
class AnyIndex(Protocol):
    """Anything that can be searched: the four presets and `ruvector.Index`.

    Examples
    --------
    >>> import ruvector as rv
    >>> isinstance(rv.FlatF32Index.build([[0.0], [1.0]]), rv.AnyIndex)
    True
    >>> isinstance([0.0, 1.0], rv.AnyIndex)
    False
    """

    @property
    def dim(self) -> int:
        """Elements per vector."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Bytes that it holds."""
        ...

    def search(self, query: Any, k: Any, /) -> Any:  # noqa: ANN401 - each class has its own kinds
        """Find the `k` nearest rows."""
        ...

    def __len__(self) -> int:
        """Return the number of rows."""
        ...
