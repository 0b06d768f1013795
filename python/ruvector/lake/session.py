"""Repeatable reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ruvector.lake.consistency import refuse
from ruvector.lake.searching import Searching

if TYPE_CHECKING:
    from types import TracebackType

    from ruvector._ruvector import Lake

__all__ = ["LakeSession"]


class LakeSession(Searching):
    """
    A view of a lake in which each collection stays in the state of its first search.

    `RuLake.session` makes one. It searches as the lake does. Used with ``with`` it lets go of what it has
    seen at the end.
    """

    __slots__ = ()

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake.session())

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the session."""
        del self._native

    def __getattr__(self, name: str) -> Lake:
        """Refuse to search when it has ended."""
        if name == "_native":
            refuse("session", "an open one", "one that has ended")
        raise AttributeError(name)

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled."""
        raise TypeError("cannot pickle LakeSession: a lake lives in its process")
