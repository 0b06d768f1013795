"""What a search of a lake answers: rows, as Python's values and as Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

if TYPE_CHECKING:
    import polars as pl

    from ruvector._ruvector import LakeAnswer
    from ruvector._sql.arrow import Table
    from ruvector.errors import RuVectorError

__all__ = ["LakeBatch", "LakeHits", "SearchResult", "Shard"]


class SearchResult(NamedTuple):
    """A row that was found."""

    backend: str
    """The backend it lies in."""
    collection: str
    """The collection it lies in."""
    id: int | str
    """Its id."""
    score: float
    """Its distance: smaller is nearer."""


class Shard(NamedTuple):
    """One collection's part in an answer."""

    backend: str
    """The backend."""
    collection: str
    """The collection."""
    status: Literal["answered", "empty", "late", "failed"]
    """How it fared. What a late one is doing goes on, and fills the cache."""
    error: RuVectorError | None
    """Why it has no part in the answer, if it has none."""
    generation: int | str | None
    """The state its rows are of."""
    witness: str | None
    """The witness, of version 1, of that state."""
    rows: int
    """The number of its rows."""
    seconds: float
    """How long it took."""


class _Answered:
    """What one answer and many have in common."""

    __slots__ = ("_answer",)

    def __init__(self, answer: LakeAnswer) -> None:
        self._answer = answer

    @property
    def shards(self) -> list[Shard]:
        """How each collection fared, in the order of the targets."""
        return [Shard(*each) for each in self._answer.shards()]

    @property
    def partial(self) -> bool:
        """Whether collections are missing."""
        return self._answer.partial

    def to_arrow(self) -> Table:
        """
        Return the long table as a ``pyarrow.Table``.

        Its columns are ``query_row``, ``rank`` (0 is the nearest), ``id``, ``distance``, ``backend`` and
        ``collection``. Ids of different types become text.
        """
        from ruvector._sql.arrow import pa

        return pa.table(self._answer)

    def to_polars(self) -> pl.DataFrame:
        """Return the long table (see `to_arrow`) as a ``polars.DataFrame``."""
        import polars as pl

        return pl.DataFrame(self._answer)

    def __arrow_c_schema__(self) -> object:
        """Return the schema of the long table as a capsule."""
        return self._answer.__arrow_c_schema__()

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Return the long table as one batch, in two capsules."""
        del requested_schema
        return self._answer.__arrow_c_array__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the long table as a stream, in a capsule."""
        del requested_schema
        return self._answer.__arrow_c_stream__()

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled: what was found goes on as Arrow."""
        name = type(self).__name__
        raise TypeError(
            f"cannot pickle {name}: it is an answer of this process; pickle to_arrow() or list(...)"
        )


class LakeHits(_Answered, Sequence[SearchResult]):
    """
    The nearest rows of one query, best first: a sequence of `SearchResult`, and an Arrow table.

    Whatever reads Arrow takes it: ``pyarrow.table(hits)``, ``arro3.core.Table(hits)``,
    ``polars.from_arrow(hits)``; ``polars.DataFrame(hits)`` sees the sequence first.
    """

    __slots__ = ()

    @overload
    def __getitem__(self, index: int) -> SearchResult: ...
    @overload
    def __getitem__(self, index: slice) -> list[SearchResult]: ...
    def __getitem__(self, index: int | slice) -> SearchResult | list[SearchResult]:
        """Return the hit of a rank, or a list of hits."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        rank = index + len(self) if index < 0 else index
        found = self._answer.hits(0, rank, rank + 1) if rank >= 0 else []
        if not found:
            raise IndexError("hit index out of range")
        return SearchResult(*found[0])

    def __len__(self) -> int:
        """Return the number of hits."""
        return self._answer.count(0)

    def __repr__(self) -> str:
        """Return the hits."""
        return f"LakeHits({list(self)!r})"

    def __eq__(self, other: object, /) -> bool:
        """Return whether the same rows were found, in the same order, at the same distances."""
        return list(self) == list(other) if isinstance(other, LakeHits) else NotImplemented

    def __hash__(self) -> int:
        """Return a hash of the hits, which never change."""
        return hash(tuple(self))


class LakeBatch(_Answered, Sequence[LakeHits]):
    """
    The nearest rows of each query: a sequence of `LakeHits`, and an Arrow table of all of them.

    A null query has no hits.
    """

    __slots__ = ()

    @overload
    def __getitem__(self, index: int) -> LakeHits: ...
    @overload
    def __getitem__(self, index: slice) -> list[LakeHits]: ...
    def __getitem__(self, index: int | slice) -> LakeHits | list[LakeHits]:
        """Return the hits of a query, or of several."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        query = index + len(self) if index < 0 else index
        if not 0 <= query < len(self):
            raise IndexError("query index out of range")
        return LakeHits(self._answer.of_query(query))

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self._answer)

    def __repr__(self) -> str:
        """Return the numbers of queries and hits."""
        hits = sum(self._answer.count(query) for query in range(len(self)))
        return f"LakeBatch({len(self)} queries, {hits} hits)"

    def __eq__(self, other: object, /) -> bool:
        """Return whether every query found the same."""
        return list(self) == list(other) if isinstance(other, LakeBatch) else NotImplemented

    def __hash__(self) -> int:
        """Return a hash of the hits of all queries, which never change."""
        return hash(tuple(self))
