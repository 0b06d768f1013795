"""
The streams of an Arrow Flight server, by pyarrow: nothing but ListFlights, GetFlightInfo and DoGet.

A collection is a flight: its descriptor's path, with slashes between the parts, or its command.

**Generation**: what the server says, and it has to say it: the ``app_metadata`` of the `FlightInfo`; or
else the value of ``generation`` in the metadata of its schema; or what a function given as `generation=`
finds in the `FlightInfo`. A whole number is one, anything else is a text. A flight without any of these
cannot be read through a lake, because nobody could tell when its rows are others.

**Pushed down**: nothing, since plain Flight has no words for columns and filters. Endpoints are read in their
order. A flight without a column of ids must have one endpoint, or be marked as ordered.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ruvector.errors import InvalidParameter
from ruvector.lake.adapters._arrow import pa, skip
from ruvector.lake.adapters._extras import load
from ruvector.lake.adapters._table import Snapshot, Source, TableAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ruvector.lake.adapters._arrow import Batch
    from ruvector.lake.conditions import Dnf

__all__ = ["FlightBackend"]

# What endpoints say whose rows lie with the server that was asked.
_HERE = b"arrow-flight-reuse-connection://?"
_MAX_NUMBER = 2**64


class FlightBackend(TableAdapter[Any]):
    """
    The flights of a server.

    Parameters
    ----------
    name
        What the lake knows the backend by.
    location
        The server, such as ``"grpc://localhost:8815"``.
    generation
        Finds the generation in a `pyarrow.flight.FlightInfo`, for servers that say it in a way of their own.
    connect
        Returns a client for a location, for servers that want TLS or a login; by default
        `pyarrow.flight.FlightClient`.

    Raises
    ------
    MissingExtra
        If pyarrow is not installed: ``ruvector-arrow[flight]``.

    Examples
    --------
    >>> from ruvector.lake.adapters import FlightBackend
    >>> FlightBackend("flight", "grpc://localhost:8815").id
    'flight'
    """

    def __init__(
        self,
        name: str,
        location: str,
        *,
        generation: Callable[[Any], int | str] | None = None,
        connect: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(name)
        self._flight: Any = load("pyarrow.flight", "flight")
        self._ipc: Any = load("pyarrow.ipc", "flight")
        # As it arrives, a column may begin at any byte; those who read Arrow want it where its type may lie.
        aligned = self._ipc.IpcReadOptions(ensure_alignment=self._ipc.Alignment.DataTypeSpecific)
        self._options = self._flight.FlightCallOptions(read_options=aligned)
        self._tell = generation or _said
        self._connect: Callable[[Any], Any] = connect or self._flight.FlightClient
        self._client = self._connect(location)

    def register(
        self,
        collection: str,
        descriptor: Any = None,  # noqa: ANN401 - pyarrow's
        *,
        vector: str | None = None,
        id: str | None = None,
    ) -> None:
        """
        Name a flight, or say which of its columns are meant.

        Parameters
        ----------
        collection
            The collection.
        descriptor
            Its `pyarrow.flight.FlightDescriptor`; by default the path that the collection's name is.
        vector
            The column of vectors; by default the only one, or the one called ``vector`` or ``embedding``.
        id
            The column of ids; by default ``id``, or none.
        """
        self._sources[collection] = Source(descriptor or self._path(collection), vector, id)

    def _path(self, collection: str) -> Any:  # noqa: ANN401 - a pyarrow.flight.FlightDescriptor
        return self._flight.FlightDescriptor.for_path(*collection.split("/"))

    def _tables(self) -> list[str]:
        return [_name(info.descriptor) for info in self._client.list_flights()]

    def _find(self, collection: str) -> Source[Any]:
        return Source(self._path(collection))

    def _token(self, source: Source[Any]) -> int | str | None:
        info = self._info(source)
        return None if info is None else self._tell(info)

    def _snapshot(self, source: Source[Any]) -> Snapshot | None:
        info = self._info(source)
        return None if info is None else _FlightSnapshot(self, info)

    def _info(self, source: Source[Any]) -> Any:  # noqa: ANN401 - a pyarrow.flight.FlightInfo
        try:
            return self._client.get_flight_info(source.location)
        except (pa.ArrowException, KeyError):
            # Servers differ in how they say that there is no such flight. All list those that there are.
            if all(_name(source.location) != name for name in self._tables()):
                return None
            raise

    def tell(self, info: Any) -> int | str:  # noqa: ANN401 - a pyarrow.flight.FlightInfo
        """Return the generation that a `pyarrow.flight.FlightInfo` tells."""
        return self._tell(info)

    def stream(self, endpoint: Any) -> Iterator[Batch]:  # noqa: ANN401 - a pyarrow.flight.FlightEndpoint
        """Yield the rows of an endpoint, from the first of its locations, or from the server itself."""
        locations = [location for location in endpoint.locations if location.uri != _HERE]
        client = self._connect(locations[0]) if locations else self._client
        try:
            for chunk in client.do_get(endpoint.ticket, self._options):
                yield chunk.data
        finally:
            if locations:
                with suppress(pa.ArrowException):
                    client.close()


def _name(descriptor: Any) -> str:  # noqa: ANN401 - a pyarrow.flight.FlightDescriptor
    parts = descriptor.path or [descriptor.command or b""]
    return b"/".join(parts).decode(errors="replace")


def _said(info: Any) -> int | str:  # noqa: ANN401 - a pyarrow.flight.FlightInfo
    metadata: dict[bytes, bytes] = info.schema.metadata or {}
    said: bytes = info.app_metadata or metadata.get(b"generation", b"")
    if not said:
        expected = "a flight with app_metadata, or with generation in the metadata of its schema"
        message = f"generation: expected {expected}"
        raise InvalidParameter(message, name="generation", expected=expected, actual="neither")
    with suppress(ValueError):
        number = int(said)
        if 0 <= number < _MAX_NUMBER and str(number).encode() == said:
            return number
    with suppress(UnicodeDecodeError):
        return said.decode()
    return said.hex()


class _FlightSnapshot(Snapshot):
    """A flight as the server described it."""

    def __init__(self, backend: FlightBackend, info: Any) -> None:  # noqa: ANN401 - a pyarrow.flight.FlightInfo
        self._backend = backend
        self._endpoints: list[Any] = list(info.endpoints)
        self.generation = backend.tell(info)
        self.data_ref = None
        self.schema = info.schema.remove_metadata()
        self.ordered = bool(info.ordered) or len(self._endpoints) == 1

    def read(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterable[Batch]:
        del columns, filter
        batches = (batch for endpoint in self._endpoints for batch in self._backend.stream(endpoint))
        return skip((batch.replace_schema_metadata(None) for batch in batches), skip_rows)
