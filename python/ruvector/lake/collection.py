"""A collection of a lake, to be searched wherever an index is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ruvector._ruvector import LakeMeant, LakeTarget
    from ruvector.lake.searching import Key
    from ruvector.typing import IdType

__all__ = ["LakeCollection", "target_of"]


class LakeCollection:
    """
    A collection of a lake: what `RuLake.collection` returns.

    The searches of the lake take it as a key. It has no state of its own.
    """

    __slots__ = ("_backend", "_name", "_native")

    def __init__(self, backend: str, name: str, native: LakeTarget) -> None:
        self._backend = backend
        self._name = name
        self._native = native

    @property
    def backend(self) -> str:
        """The backend it is in."""
        return self._backend

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def key(self) -> tuple[str, str]:
        """The names of backend and collection."""
        return self._backend, self._name

    @property
    def dim(self) -> int:
        """Elements per vector, of the state that answers now."""
        return self._native.describe()[0]

    @property
    def id_type(self) -> IdType:
        """The type of its ids, of the state that answers now."""
        return self._native.describe()[1]

    def __len__(self) -> int:
        """Return the number of rows of the state that answers now."""
        return self._native.describe()[2]

    def __repr__(self) -> str:
        """Return backend and name."""
        return f"LakeCollection({self._backend!r}, {self._name!r})"

    def __eq__(self, other: object, /) -> bool:
        """Return whether it is the same collection by name."""
        return self.key == other.key if isinstance(other, LakeCollection) else NotImplemented

    def __hash__(self) -> int:
        """Return a hash of the names."""
        return hash(self.key)

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled: a lake lives in its process."""
        raise TypeError("cannot pickle LakeCollection: make a lake in the process that needs one")


def pair_of(key: Key, backend: str | None = None) -> tuple[str, str] | str:
    """Return the names that a key means; one name where the backend is left open."""
    from ruvector.lake.consistency import refuse

    given: object = key.key if isinstance(key, LakeCollection) else key
    match given:
        case str():
            return given if backend is None else (backend, given)
        case (str() as first, str() as name):
            pair = first, name
        case _:
            refuse("collection", "a name, or a pair of backend and name", repr(key))
    if backend is not None and backend != pair[0]:
        refuse("backend", repr(pair[0]), repr(backend))
    return pair


def target_of(key: Key, backend: str | None) -> LakeMeant:
    """Return the one collection that a search means."""
    pair = pair_of(key, backend)
    return (False, pair) if isinstance(pair, str) else [pair]
