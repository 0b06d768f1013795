"""Indexes by name and by path, collections of lakes by address, and what a statement sees of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ruvector import _ruvector
from ruvector._sql.refusal import quoted, refuse
from ruvector.errors import PersistError

if TYPE_CHECKING:
    from typing import TypeAlias, TypeGuard

    from ruvector._ruvector import Index
    from ruvector.lake import LakeCollection, RuLake

    Nameable: TypeAlias = Index | LakeCollection | RuLake
    """What can have a name in SQL. The collections of a lake have addresses, whatever the lake's name is."""

__all__ = ["Catalog", "Pin", "is_nameable"]

LAKE = "lake://"


@dataclass(frozen=True)
class Pin:
    """
    One state of an index: what a statement sees from its first row to its last.

    Attributes
    ----------
    name
        What the statement called the index, a name or a path.
    index
        A snapshot. No change of the original, no closing, no other index under the same name touches it.
    path
        Where the index lies, if it does.
    """

    name: str
    index: Index
    path: str | None


class _Identity(NamedTuple):
    """What changes when a file is replaced."""

    device: int
    inode: int
    size: int
    modified: int


class _Opened(NamedTuple):
    identity: _Identity
    found: Index


class Catalog:
    """
    What statements may search. Safe to use from many threads at once.

    A name comes first, of an index or of a lake's collection. ``lake://backend/collection`` is the collection
    of the one registered lake that has the backend. What is neither is the path of a saved index, which is
    opened once, and again when the file was replaced.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, Nameable] = {}
        self._opened: dict[str, _Opened] = {}

    def register(self, name: str, index: Nameable) -> None:
        """
        Give an index, a collection or a lake a name, in place of the one that had it.

        Statements that are running go on with what they have pinned.

        Raises
        ------
        InvalidParameter
            If the name is empty, or an address.
        """
        if name.startswith(LAKE):
            raise refuse("name", f"no address: {LAKE} is for the collections of lakes", quoted(name))
        if not name:
            raise refuse("name", "at least one character", quoted(name))
        with self._lock:
            self._named[name] = index

    def unregister(self, name: str) -> None:
        """Take a name away, from an index that goes on to live wherever else it is held."""
        with self._lock:
            if self._named.pop(name, None) is None:
                raise refuse("name", "the name of a registered index", quoted(name))

    def names(self) -> list[str]:
        """Give all names, sorted."""
        with self._lock:
            return sorted(self._named)

    def find(self, name: str | None) -> Index | LakeCollection:
        """
        Find what a name, an address or a path means.

        Raises
        ------
        InvalidParameter
            If it means nothing, or `name` is None.
        PersistError
            If there is a file, but no index in it.
        LakeError
            If the address is of a collection that there is not.
        """
        if name is None:
            raise refuse("index", "a name or a path", None)
        if name.startswith(LAKE):
            return self._collection(name)
        with self._lock:
            named = self._named.get(name)
        if named is not None:
            from ruvector.lake import RuLake

            if isinstance(named, RuLake):
                raise refuse("index", f"a collection of the lake: {LAKE}backend/collection", quoted(name))
            return named
        try:
            return self.open(name)
        except PersistError:
            if _identity(name) is not None:
                raise
            expected = "the name of a registered index or the path of a saved one"
            raise refuse("index", expected, quoted(name)) from None

    def pin(self, name: str | None) -> Pin:
        """
        Find an index or a collection, and hold on to the state that it is in. As `find`.

        A collection's backend is asked here, once for a statement, as the collection's consistency says.
        """
        found = self.find(name)
        index = found.snapshot() if isinstance(found, _ruvector.Index) else found.index()
        return Pin(name or "", index, index.path)

    def _collection(self, address: str) -> LakeCollection:
        backend, _, collection = address.removeprefix(LAKE).partition("/")
        if not backend or not collection:
            raise refuse("index", f"{LAKE}backend/collection", quoted(address))
        from ruvector.lake import RuLake

        with self._lock:
            lakes = {id(named): named for named in self._named.values() if isinstance(named, RuLake)}
        having = [lake for lake in lakes.values() if backend in lake.backend_ids()]
        if len(having) != 1:
            known = sorted({name for lake in lakes.values() for name in lake.backend_ids()})
            expected = f"a backend of one registered lake ({', '.join(known) or 'there is none'})"
            raise refuse("index", expected, f"{quoted(address)}, which {len(having)} lakes have")
        return having[0].collection(collection, backend)

    def open(self, path: str) -> Index:
        """
        Give the index in a file, which is opened unless it is open already.

        Raises
        ------
        IndexFileNotFound, PersistError
            As `ruvector.open`.
        """
        key, identity = str(Path(path).absolute()), _identity(path)
        with self._lock:
            opened = self._opened.get(key)
        if opened is not None and opened.identity == identity:
            return opened.found
        index = _ruvector.open(path)
        # A file that was replaced while it was being opened is opened again by the next statement.
        if identity is not None:
            with self._lock:
                self._opened[key] = _Opened(identity, index)
        return index


def is_nameable(value: object) -> TypeGuard[Nameable]:
    """Tell whether it can have a name in SQL."""
    from ruvector.lake import LakeCollection, RuLake

    return isinstance(value, (_ruvector.Index, LakeCollection, RuLake))


def _identity(path: str) -> _Identity | None:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None  # whoever opens it says why
    return _Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
