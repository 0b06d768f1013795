"""What the adapters share: collections that are tables, each with a schema and a snapshot to read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ruvector.errors import BackendError, InvalidParameter, UnknownCollection
from ruvector.lake.adapter import BackendAdapter, Layout, PullRequest
from ruvector.lake.adapters._arrow import pa, select, vector_column, width, with_vectors
from ruvector.lake.adapters._pushed import pushed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ruvector.lake.adapter import Piece
    from ruvector.lake.adapters._arrow import Batch, Schema
    from ruvector.lake.conditions import Dnf

__all__ = ["Snapshot", "Source", "TableAdapter"]

Location = TypeVar("Location")


@dataclass(frozen=True, slots=True)
class Source(Generic[Location]):
    """Where a collection lies and what its columns mean, as far as somebody said so."""

    location: Location
    vector: str | None = None
    id: str | None = None


class Snapshot(ABC):
    """One state of a table."""

    generation: int | str
    data_ref: str | None
    """Where the rows lie; None if nobody else can read them there."""
    schema: Schema
    ordered: bool = True
    """Whether reading it twice gives the rows in one order."""

    def pieces(self) -> tuple[Piece, ...]:
        """Return what the rows are made of; by default, nothing is known."""
        return ()

    def comparable(self) -> Schema:
        """Return the columns whose values compare here as they do in the lake."""
        return self.schema

    @abstractmethod
    def read(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterable[Batch]:
        """Return the rows; a filter is never given together with rows to skip."""

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of what it is read with."""


class TableAdapter(BackendAdapter, Generic[Location]):
    """A place of tables."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._sources: dict[str, Source[Location]] = {}
        self._told: dict[str, int | str] = {}
        self._known: dict[str, tuple[int | str, Layout]] = {}

    @abstractmethod
    def _tables(self) -> Iterable[str]:
        """Return the collections that are found, besides those that were registered."""

    @abstractmethod
    def _find(self, collection: str) -> Source[Location] | None:
        """Return where a collection lies that was not registered."""

    @abstractmethod
    def _token(self, source: Source[Location]) -> int | str | None:
        """Return the present generation; None if the table is not there."""

    @abstractmethod
    def _snapshot(self, source: Source[Location]) -> Snapshot | None:
        """Return the present state, to be read; None if the table is not there."""

    def list_collections(self) -> list[str]:
        """Return the tables that were registered and those that are found."""
        return sorted({*self._sources, *self._tables()})

    def generation(self, collection: str) -> int | str:
        """
        Return the token of the table's present state.

        Raises
        ------
        UnknownCollection
            If there is no such table.
        """
        token = self._token(self._source(collection))
        if token is None:
            raise self._unknown(collection)
        self._told[collection] = token
        return token

    def layout(self, collection: str) -> Layout:
        """
        Return what the columns mean, and what the rows are made of where that is known.

        Raises
        ------
        UnknownCollection
            If there is no such table.
        InvalidParameter
            If its columns do not tell which one holds the vectors, or no row tells how wide they are.
        """
        known = self._known.get(collection)
        # The lake asks for the generation first; what changes in between, it finds when it asks again.
        if known is None or known[0] != self._told.get(collection):
            source = self._source(collection)
            snapshot = self._present(collection, source)
            try:
                known = snapshot.generation, _layout(source, snapshot)
            finally:
                snapshot.close()
            self._known[collection] = known
        return known[1]

    def pull(self, collection: str, request: PullRequest) -> Iterator[Batch]:
        """
        Return the rows of the table as they are now, in batches of pyarrow.

        Raises
        ------
        UnknownCollection
            If there is no such table.
        """
        source = self._source(collection)
        told = self._told.get(collection)
        snapshot = self._present(collection, source)
        return self._rows(collection, request, snapshot, told)

    def _rows(
        self, collection: str, request: PullRequest, snapshot: Snapshot, told: int | str | None
    ) -> Iterator[Batch]:
        source = self._source(collection)
        columns = request.columns or tuple(snapshot.schema.names)
        # Rows are skipped as they lie, before any filter.
        allowed = None if request.skip_rows else pushed(request.filter, snapshot.comparable())
        try:
            rows = select(snapshot.read(columns, allowed, request.skip_rows), columns)
            vector = source.vector or vector_column(snapshot.schema)
            schema = pa.schema([snapshot.schema.field(name) for name in columns])
            yield from _alike((with_vectors(batch, vector) for batch in rows if batch.num_rows), schema)
        finally:
            snapshot.close()
        # Back to what was told before: the lake, when it asks again, would take these rows for those of then.
        if told not in {None, snapshot.generation} and self._token(source) == told:
            message = f"backend {self.id!r}: {collection!r} had other rows for a moment, while it was read"
            raise BackendError(message, backend=self.id, retryable=True)

    def _present(self, collection: str, source: Source[Location]) -> Snapshot:
        snapshot = self._snapshot(source)
        if snapshot is None:
            raise self._unknown(collection)
        return snapshot

    def _source(self, collection: str) -> Source[Location]:
        source = self._sources.get(collection) or self._find(collection)
        if source is None:
            raise self._unknown(collection)
        return source

    def _unknown(self, collection: str) -> UnknownCollection:
        message = f"backend {self.id!r} has no collection {collection!r}"
        return UnknownCollection(message, backend=self.id, collection=collection)


def _layout(source: Source[Any], snapshot: Snapshot) -> Layout:
    schema = snapshot.schema
    vector = source.vector or vector_column(schema)
    ids = source.id or ("id" if "id" in schema.names else None)
    if ids is None and not snapshot.ordered:
        expected = "a column of ids, given to register(): rows that come in any order have no numbers"
        message = f"id: expected {expected}"
        raise InvalidParameter(message, name="id", expected=expected, actual=f"{schema.names}")
    batches = iter(snapshot.read((vector,), None, 0))
    dim = width(schema.field(vector).type, batches)
    if dim is None:
        expected = "a table with a vector, or a type that says how wide vectors are"
        message = f"vectors: expected {expected}"
        raise InvalidParameter(message, name="vectors", expected=expected, actual="no vector")
    return Layout(vector=vector, id=ids, dim=dim, data_ref=snapshot.data_ref, pieces=snapshot.pieces())


def _alike(batches: Iterator[Batch], schema: Schema) -> Iterator[Batch]:
    """Yield batches of the first one's schema, or an empty one."""
    first = next(batches, None)
    if first is None:
        yield pa.RecordBatch.from_pylist([], schema=schema)
        return
    yield first
    for batch in batches:
        yield batch if batch.schema.equals(first.schema) else batch.cast(first.schema)
