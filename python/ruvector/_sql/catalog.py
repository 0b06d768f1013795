"""Indexes by name and by path, and what a statement sees of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ruvector import _ruvector
from ruvector._sql.refusal import quoted, refuse
from ruvector.errors import PersistError

if TYPE_CHECKING:
    from ruvector._ruvector import Index

__all__ = ["Catalog", "Pin"]


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
    The indexes that statements may ask for. Safe to use from many threads at once.

    A name comes first. What is no name is the path of a saved index, which is opened once, and again when the
    file was replaced.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, Index] = {}
        self._opened: dict[str, _Opened] = {}

    def register(self, name: str, index: Index) -> None:
        """
        Give an index a name, in place of the one that had it.

        Statements that are running go on with what they have pinned.
        """
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

    def find(self, name: str | None) -> Index:
        """
        Find an index by its name or its path.

        Raises
        ------
        InvalidParameter
            If there is neither, or `name` is None.
        PersistError
            If there is a file, but no index in it.
        """
        if name is None:
            raise refuse("index", "a name or a path", None)
        with self._lock:
            named = self._named.get(name)
        if named is not None:
            return named
        try:
            return self.open(name)
        except PersistError:
            if _identity(name) is not None:
                raise
            expected = "the name of a registered index or the path of a saved one"
            raise refuse("index", expected, quoted(name)) from None

    def pin(self, name: str | None) -> Pin:
        """Find an index, and hold on to the state that it is in. As `find`."""
        index = self.find(name).snapshot()
        return Pin(name or "", index, index.path)

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


def _identity(path: str) -> _Identity | None:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None  # whoever opens it says why
    return _Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
