"""A server in this process."""

from __future__ import annotations

import atexit
import weakref
from dataclasses import asdict, dataclass, field
from os import PathLike, fspath
from socket import SOCK_STREAM, gaierror, getaddrinfo
from threading import Event
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import urlsplit

from ruvector._ruvector import Index, flight_serve
from ruvector._ruvector import open as open_index
from ruvector.lake.collection import LakeCollection
from ruvector.presets.base import Handle, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self, SupportsIndex

    from ruvector._ruvector import FlightServer as Native
    from ruvector.flight._shapes import FlightServed
    from ruvector.lake.rulake import RuLake

    Servable = Index | Handle | LakeCollection | str | PathLike[str]

__all__ = ["FlightServer", "Limits", "Token", "Verb", "serve"]

Verb = Literal["search", "read", "write", "build", "sql"]
"""What a token can allow."""

_SCHEMES = {"grpc": False, "grpc+tcp": False, "grpc+tls": True}


@dataclass(frozen=True, kw_only=True)
class Token:
    """
    A bearer token and what it is good for.

    Attributes
    ----------
    secret
        What clients send in the header ``authorization: Bearer ...``.
    principal
        Who has it: the principal of a lake's policies, whose quota calls count against, and what the log
        says.
    collections
        The names that its bearer may know of; a name that ends in ``*`` is all that begin so. Others are
        unknown to them. Default: all.
    verbs
        What they may do: ``"search"``, ``"read"`` rows and indexes, ``"write"`` rows, ``"build"`` indexes,
        run ``"sql"``.
    """

    secret: str = field(repr=False)
    principal: str
    collections: tuple[str, ...] | None = None
    verbs: tuple[Verb, ...] = ("search", "read")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    What clients may do to a server.

    Attributes
    ----------
    message_bytes
        Bytes of one message, either way. Default: 256 MiB.
    client_bytes
        Bytes of requests and answers of one client that are in memory at once. Default: 1 GiB.
    client_calls
        Calls of one client at once. Default: 256.
    deadline
        Seconds that any call may take; clients may ask for less. Default: as long as it takes.
    k
        Neighbours per query. Default: 10,000.
    """

    message_bytes: int | None = None
    client_bytes: int | None = None
    client_calls: int | None = None
    deadline: float | None = None
    k: int | None = None


def serve(
    indexes: Mapping[str, Servable] | None = None,
    location: str = "grpc://127.0.0.1:0",
    *,
    lake: RuLake | None = None,
    folder: str | PathLike[str] | None = None,
    tls: tuple[str | PathLike[str], str | PathLike[str]] | None = None,
    client_roots: str | PathLike[str] | None = None,
    tokens: Iterable[Token] = (),
    limits: Limits | None = None,
    metrics: str | None = None,
    log: str | PathLike[str] | None = None,
    threads: SupportsIndex | None = None,
    drain: float = 10.0,
    sql: bool | Mapping[str, object] = False,
    tables: Mapping[str, object] | None = None,
) -> FlightServer:
    """
    Serve indexes and collections to clients of Arrow Flight.

    The server runs on threads of its own, which never wait for the interpreter. Clients see every change that
    is made to an index here, and theirs are seen here.

    Parameters
    ----------
    indexes
        What is served under which name: an index, a preset, a collection of a lake, or the path of an index
        file. Names are made of letters, digits, ``_``, ``-`` and ``.``.
    location
        Where it listens: ``grpc://host:port``, or ``grpc+tls://host:port`` with `tls`. Port 0 takes a free
        one.
    lake
        A lake whose collections are served as ``backend/collection``.
    folder
        Where indexes that clients build are saved. Default: they are kept in memory.
    tls
        The files of the certificate (with those between it and its root) and of its key, in PEM.
    client_roots
        The roots, in PEM, that certificates of clients must come from. Clients without one are refused then.
    tokens
        Who may call, and what they may do. Default: whoever reaches the port, and everything.
    limits
        What clients may do to the server.
    metrics
        Where Prometheus reads figures over HTTP, ``"127.0.0.1:9090"``. Default: nowhere.
    log
        Where a line of JSON goes for each call that is over: ``"stderr"``, or the path of a file. Default:
        nowhere.
    threads
        Threads that speak with clients; searches have threads of their own. Default: one per core.
    drain
        How many seconds calls that are under way may go on when the server is stopped.
    sql
        Whether clients may run SQL, by Flight SQL (ADBC, JDBC, DBeaver): DuckDB, with the functions of
        `ruvector.duckdb` that search, over what is served under a name. Each principal has a database of
        its own, in memory, from which neither files nor the network can be reached. Or options of it:
        ``memory_limit`` (of each database, ``"1GB"``) and ``threads``.
    tables
        What statements may read as tables, by name: anything that can be read as an Arrow table.

    Returns
    -------
    FlightServer
        Stops at the end of a ``with`` block, or when it is told to.

    Raises
    ------
    InvalidParameter
        If something cannot be meant: a name, a location, a limit.
    PersistError
        If an address is taken, or a file cannot be read.

    Examples
    --------
    >>> import ruvector as rv
    >>> docs = rv.build([[0.0, 0.0], [3.0, 4.0]], ids=[7, 8])
    >>> with rv.flight.serve({"docs": docs}) as server:
    ...     server.location.startswith("grpc://127.0.0.1:")
    True
    """
    listen, secure = _address("location", location)
    if secure and tls is None:
        refuse("tls", "a certificate and its key for a location of grpc+tls", "None")
    if client_roots is not None and tls is None:
        refuse("client_roots", "None without tls", repr(fspath(client_roots)))
    native = flight_serve(
        [(name, *_servable(name, what)) for name, what in (indexes or {}).items()],
        None if lake is None else lake._native,  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        folder,
        {
            **asdict(limits or Limits()),
            "listen": listen,
            "tls": tls,
            "client_roots": client_roots,
            "tokens": [asdict(token) for token in tokens],
            "metrics": None if metrics is None else _address("metrics", f"grpc://{metrics}")[0],
            "log": "" if log == "stderr" else log,
            "threads": threads,
            "drain": drain,
            "sql": _engine(sql, tables),
        },
    )
    return FlightServer(native, secure=tls is not None)


def _engine(sql: bool | Mapping[str, object], tables: Mapping[str, object] | None) -> object:  # noqa: FBT001
    if sql is False:
        if tables:
            refuse("tables", "None without sql", repr(sorted(tables)))
        return None
    from ruvector.flight._sql import Engine

    return Engine.of(tables or {}, {} if sql is True else sql)


class FlightServer:
    """
    A server that runs in this process: what `serve` returns.

    It is stopped by `stop`, at the end of its ``with`` block, when nothing holds it any more, and at the
    interpreter's exit. In a forked child it does not run.
    """

    __slots__ = ("__weakref__", "_native", "_secure", "_stopped")

    def __init__(self, native: Native, *, secure: bool) -> None:
        self._native = native
        self._secure = secure
        self._stopped = Event()
        _running.add(self)

    @property
    def location(self) -> str:
        """Where clients find it."""
        host, port = self._native.address()
        host = f"[{host}]" if ":" in host else host
        return f"{'grpc+tls' if self._secure else 'grpc'}://{host}:{port}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._native.address()[1]

    @property
    def running(self) -> bool:
        """Whether it runs, in this process."""
        return self._native.running()

    def add(self, name: str, index: Servable) -> None:
        """
        Serve something under a name, in place of what had it before.

        Streams that are under way stay with what they began with.

        Raises
        ------
        InvalidParameter
            If it cannot be a name.
        """
        self._native.put(name, *_servable(name, index))

    def remove(self, name: str) -> bool:
        """Serve a name no more, and return whether it was there."""
        return self._native.remove(name)

    def names(self) -> list[str]:
        """Return the names, sorted, without the collections of the lake."""
        return self._native.names()

    def stop(self, drain: float | None = None) -> bool:
        """
        Take no more calls, and wait for those that are under way.

        Parameters
        ----------
        drain
            For how many seconds. Default: as `serve` was told.

        Returns
        -------
        bool
            Whether all of them came to their end. Those that did not are cut off.
        """
        try:
            drained = self._native.stop(drain)
        finally:
            self._stopped.set()
        return drained is not False

    def wait(self) -> None:
        """Wait until it is stopped. Ctrl-C stops it, and its calls come to their end."""
        try:
            self._stopped.wait()
        except KeyboardInterrupt:
            self.stop()

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop it."""
        self.stop()

    def __repr__(self) -> str:
        """Return where it listens."""
        return f"FlightServer({self.location!r}{'' if self.running else ', stopped'})"

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled: it lives in its process."""
        raise TypeError("cannot pickle FlightServer: connect to its location instead")


_running: weakref.WeakSet[FlightServer] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Stop at once what still runs: no thread may outlive the interpreter, whose memory it may read."""
    for server in list(_running):
        server.stop(0.0)


def _servable(name: str, what: Servable) -> tuple[FlightServed, str | None]:
    given = cast("object", what)
    match given:
        case Index():
            return given, None
        case Handle():
            return given._index, None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        case LakeCollection():
            return given.target, None
        case str() | PathLike():
            path = fspath(cast("str | PathLike[str]", given))
            return open_index(path), path
        case _:
            raise TypeError(
                f"{name}: expected an index, a collection of a lake or a path, got {type(given).__name__}"
            )


def _address(name: str, location: str) -> tuple[str, bool]:
    """Return the address and port of a location, and whether it is of TLS."""
    expected = "grpc://host:port or grpc+tls://host:port"
    try:
        parts = urlsplit(location)
        host, port, secure = parts.hostname, parts.port, _SCHEMES.get(parts.scheme)
    except ValueError:
        refuse(name, expected, repr(location))
    if host is None or port is None or secure is None or parts.path.strip("/") or parts.query:
        refuse(name, expected, repr(location))
    try:
        found = getaddrinfo(host, port, type=SOCK_STREAM)[0][4]
    except gaierror:
        refuse(name, "the name of a host", repr(host))
    address = str(found[0])
    return (f"[{address}]:{port}" if ":" in address else f"{address}:{port}"), secure
