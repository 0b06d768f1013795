"""A collection of a lake, to be searched wherever an index is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruvector.lake.conditions import normal_form

if TYPE_CHECKING:
    from ruvector._ruvector import Index, LakeTarget
    from ruvector.lake.conditions import RowFilter
    from ruvector.lake.searching import Key
    from ruvector.lake.shapes import LakeMeant
    from ruvector.typing import IdType, Metric

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
    def target(self) -> LakeTarget:
        """What plans of Polars hold on to."""
        return self._native

    @property
    def dim(self) -> int:
        """Elements per vector, of the state that answers now."""
        return self._native.describe()[0]

    @property
    def id_type(self) -> IdType:
        """The type of its ids, of the state that answers now."""
        return self._native.describe()[1]

    @property
    def metric(self) -> Metric:
        """The distance it is searched by."""
        return self._native.describe()[3]

    def __len__(self) -> int:
        """Return the number of rows of the state that answers now."""
        return self._native.describe()[2]

    def index(self) -> Index:
        """
        Return the index of the state that answers now.

        The backend is asked as the collection's consistency says, and the rows are fetched if the cache does
        not have them. The index stays as it is, whatever happens to the collection, and can do what any index
        can: ``within``, ``explain``, ``save``. It refuses changes.

        Returns
        -------
        Index
            Of the rows that the policy and `where` let be found.

        Raises
        ------
        EmptyIndex
            If the collection has no rows.
        LakeError
            As `RuLake.search_one`.
        """
        return self._native.index()

    def where(self, filter: RowFilter) -> LakeCollection:
        """
        Return the same collection without the rows that do not fulfil a filter.

        Parameters
        ----------
        filter
            Conditions, as in `RuLake.search_one`; together with earlier ones.

        Raises
        ------
        InvalidParameter
            If it is no filter.

        Examples
        --------
        >>> import tempfile
        >>> import polars as pl
        >>> import ruvector as rv
        >>> folder = tempfile.mkdtemp()
        >>> docs = pl.DataFrame(
        ...     {"id": [1, 2], "v": [[0.0, 0.0], [3.0, 4.0]], "lang": ["en", "de"]},
        ...     schema_overrides={"v": pl.Array(pl.Float32, 2)},
        ... )
        >>> docs.write_parquet(f"{folder}/docs.parquet")
        >>> files = rv.ParquetBackend("files", folder)
        >>> lake = rv.RuLake.builder().build()
        >>> lake.register_backend(files)
        >>> german = lake.collection("docs").where([("lang", "=", "de")])
        >>> german.index().search([0.0, 0.0], k=2).to_polars().select("id", "distance").rows()
        [(2, 25.0)]
        """
        return LakeCollection(self._backend, self._name, self._native.where(normal_form(filter)))

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

    given: Any = key.key if isinstance(key, LakeCollection) else key
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
