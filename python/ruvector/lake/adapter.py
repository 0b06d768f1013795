"""What a place where vectors live must be able to do, for those who bring one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruvector._ruvector import lake_layout
from ruvector.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ruvector.lake.conditions import Dnf
    from ruvector.typing import ArrowArrayExportable, ArrowStreamExportable

__all__ = ["BackendAdapter", "Layout", "Piece", "PullRequest"]


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Which rows and columns of a collection are wanted."""

    columns: tuple[str, ...] | None = None
    """The columns, in this order; None is all of them."""
    filter: Dnf | None = None
    """What rows must fulfil: alternatives of conditions that all must hold. A backend may leave out rows that
    do not; the lake looks at those it gets, and asks for the columns that it needs for that."""
    skip_rows: int = 0
    """Rows to leave out at the beginning: those that the lake has already."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows that stay as they are as long as their name does."""

    name: str
    """What they are known by: a file with its version, a row group, a transaction."""
    rows: int
    """How many there are. More may come at the end of the last piece under its name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What there is to know about one state of a collection without reading its rows."""

    vector: str
    """The column of vectors."""
    id: str | None
    """The column of ids; without one, rows are known by their numbers."""
    dim: int
    """Elements per vector."""
    data_ref: str | None = None
    """Where the rows lie, the same for everybody who reads them: collections of one place and generation
    share an index. Default: ``"<backend>://<collection>"``."""
    pieces: tuple[Piece, ...] = ()
    """What the rows are made of, in their order. A later state whose pieces begin with these has its new rows
    read alone. Empty: nothing is known, and each state is read as a whole."""


class BackendAdapter(ABC):
    """
    A place where vectors live, in Python: subclass it with three methods, and register it.

    The methods are called on threads of the lake, several at once, with the GIL and without a running event
    loop. An exception in one of them becomes `ruvector.errors.BackendError`, which names the backend and has
    the exception as its ``__cause__``; the lake lives on.

    Parameters
    ----------
    name
        What the lake knows the backend by.

    Raises
    ------
    InvalidParameter
        If the name is empty.

    Examples
    --------
    >>> import numpy as np, pyarrow as pa, ruvector as rv
    >>> class Tables(rv.BackendAdapter):
    ...     def __init__(self, name, tables):
    ...         super().__init__(name)
    ...         self.tables = tables
    ...     def list_collections(self):
    ...         return self.tables
    ...     def generation(self, collection):
    ...         return id(self.tables[collection])
    ...     def pull(self, collection, request):
    ...         table = self.tables[collection].slice(request.skip_rows)
    ...         return table if request.columns is None else table.select(request.columns)
    """

    def __init__(self, name: str) -> None:
        if not name:
            message = "name: expected a name, got an empty one"
            raise InvalidParameter(message, name="name", expected="a name", actual="an empty one")
        self._name = name
        self._layouts: dict[str, tuple[int | str, Layout]] = {}

    @property
    def id(self) -> str:
        """What the lake knows the backend by."""
        return self._name

    @abstractmethod
    def list_collections(self) -> Iterable[str]:
        """Return the names of its collections."""

    @abstractmethod
    def generation(self, collection: str) -> int | str:
        """
        Return the token of the collection's present state: another token whenever the rows are others.

        It is asked before every search of a collection that must be fresh, and once more after each pull:
        rows that were replaced meanwhile are pulled again.

        Returns
        -------
        int or str
            A counter from 0 to ``2**64 - 1``, or a text such as a snapshot id.

        Raises
        ------
        UnknownCollection
            If it is not there.
        """

    @abstractmethod
    def pull(
        self, collection: str, request: PullRequest
    ) -> ArrowStreamExportable | Iterable[ArrowArrayExportable]:
        """
        Return the rows of a collection as they are now.

        Returns
        -------
        object with ``__arrow_c_stream__``, or an iterable of batches with ``__arrow_c_array__``
            The columns of `request`, without its first rows. Vectors are ``fixed_size_list`` or ``list`` of
            float or halffloat, or ``fixed_size_binary`` of little-endian floats; ids are integers or strings,
            and no two rows share one.

        Raises
        ------
        UnknownCollection
            If it is not there.
        """

    def layout(self, collection: str) -> Layout:
        """
        Return what the columns mean and what the rows are made of.

        By default the rows tell, once for each generation: the vectors are the only column of lists of
        floats, or the one called ``vector`` or ``embedding``; the ids are the column called ``id``, if
        there is one. Override it where a header or a catalog knows, and to have only new rows pulled
        (`Layout.pieces`).

        Raises
        ------
        UnknownCollection
            If it is not there.
        InvalidParameter
            If no column of vectors is there, or several are and none has such a name, or no row tells how
            wide they are.
        """
        generation = self.generation(collection)
        known = self._layouts.get(collection)
        if known is None or known[0] != generation:
            known = generation, Layout(*lake_layout(self.pull(collection, PullRequest())))
            self._layouts[collection] = known
        return known[1]

    def search(
        self, collection: str, queries: ArrowArrayExportable, k: int
    ) -> ArrowStreamExportable | ArrowArrayExportable | None:
        """
        Return the nearest rows as the backend itself finds them; None, the default, if it does not search.

        It is asked only by searches with ``push_down=True`` of collections that the cache does not hold.

        Parameters
        ----------
        collection
            The collection.
        queries
            A column of vectors, ``fixed_size_list`` of float.
        k
            The number of neighbours of each.

        Returns
        -------
        Arrow table of ``query_row``, ``rank``, ``id``, ``distance``
            By query, then by distance, which is that of the collection's metric.
        """
        del collection, queries, k
        return None
