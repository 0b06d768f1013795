"""A client: what a server has, to be used as if it were here."""

from __future__ import annotations

import json
from operator import index as as_int
from os import fspath
from ssl import get_default_verify_paths
from typing import TYPE_CHECKING, Any, cast

from ruvector._ruvector import flight_connect
from ruvector.flight.remote import RemoteCollection
from ruvector.presets.base import refuse

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self, SupportsIndex

    from ruvector._ruvector import FlightClient as Native
    from ruvector.typing import IdColumn, Metric, VectorSource

__all__ = ["FlightClient", "connect"]


def connect(
    url: str,
    *,
    token: str | None = None,
    roots: str | PathLike[str] | None = None,
    certificate: tuple[str | PathLike[str], str | PathLike[str]] | None = None,
    timeout: float | None = None,
    retries: SupportsIndex = 3,
) -> FlightClient:
    """
    Return a client of a server: one of `serve`, in this process or elsewhere.

    Nothing is sent before something is asked. The connection is made then, made anew when it breaks, and
    shared by all that is asked through the client, from any thread.

    Parameters
    ----------
    url
        ``grpc://host:port``, or ``grpc+tls://host:port``.
    token
        The bearer token.
    roots
        A file of the roots, in PEM, that the server's certificate must come from. Default: the system's.
    certificate
        The files of the client's own certificate and its key, in PEM.
    timeout
        Seconds that any call may take. Default: as long as it takes.
    retries
        How often a call that changes nothing is repeated while the server cannot be reached. Pauses grow, and
        are of random length.

    Raises
    ------
    InvalidParameter
        If something cannot be meant, or a file of certificates cannot be read.

    Examples
    --------
    >>> import ruvector as rv
    >>> docs = rv.build([[0.0, 0.0], [3.0, 4.0]], ids=[7, 8])
    >>> with rv.flight.serve({"docs": docs}) as server:
    ...     remote = rv.flight.connect(server.location).collection("docs")
    ...     remote.search([3.0, 3.0], k=1).to_polars().rows()
    [(0, 0, 8, 1.0)]
    """
    if roots is None and url.startswith("grpc+tls:"):
        # OpenSSL is part of the extension and knows nothing of this system. Python's does.
        roots = get_default_verify_paths().cafile
    native = flight_connect(
        url,
        token,
        None if roots is None else fspath(roots),
        None if certificate is None else (fspath(certificate[0]), fspath(certificate[1])),
        timeout,
        retries,
    )
    return FlightClient(native)


class FlightClient:
    """
    A client of a server: what `connect` returns.

    All methods raise what the server raised: an error of the same class, with the same attributes. A server
    that cannot be reached is a `BackendError` that is ``retryable``.

    It can be used in a ``with`` statement. Its connection ends when it is closed or gone, and its collections
    are gone, too.
    """

    __slots__ = ("_held", "_told")

    def __init__(self, native: Native) -> None:
        self._held: Native | None = native
        self._told = native.location()

    @property
    def _native(self) -> Native:
        if self._held is None:
            refuse("client", "one that is open", "a closed one")
        return self._held

    def close(self) -> None:
        """Let go of the connection. Collections that were made before keep it while they are there."""
        self._held = None

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of the connection."""
        self.close()

    @property
    def location(self) -> str:
        """The server."""
        return self._told

    def collection(self, name: str) -> RemoteCollection:
        """Return what the server has under a name. It is not asked whether it has."""
        return RemoteCollection(self._native, name)

    def list(self) -> list[str]:
        """Return the names that may be asked for, sorted."""
        return sorted(self._ask("list")["collections"])

    def build(
        self,
        name: str,
        data: VectorSource,
        *,
        ids: IdColumn | str | None = None,
        metric: Metric = "l2sq",
        bits: SupportsIndex = 1,
        nlist: SupportsIndex | None = None,
        seed: SupportsIndex = 0,
        replace: bool = False,
        column: str | None = None,
    ) -> RemoteCollection:
        """
        Let the server build an index of rows that are sent, and return it.

        Nobody sees anything of it before it is whole.

        Parameters
        ----------
        name
            Its name: letters, digits, ``_``, ``-`` and ``.``.
        data, ids, metric, bits, nlist, seed, column
            As in `ruvector.build`.
        replace
            Whether it may take the place of another one.

        Raises
        ------
        InvalidParameter
            If there is one of this name, or an argument cannot be meant.
        InvalidVector, InvalidVectorType, DuplicateId, EmptyIndex
            As in `ruvector.build`.
        PolicyDenied
            If the caller may not build.
        """
        ask: dict[str, Any] = {
            "collection": name,
            "metric": metric,
            "bits": as_int(bits),
            "nlist": None if nlist is None else as_int(nlist),
            "seed": as_int(seed),
            "replace": replace,
        }
        self._native.put(json.dumps({"build": ask}), data, ids, column)
        return self.collection(name)

    def stats(self) -> dict[str, Any]:
        """Return what the server tells of all its collections."""
        return self._ask("stats")

    def health(self) -> dict[str, Any]:
        """Return what the server tells of itself."""
        return self._ask("health")

    def drop(self, name: str) -> bool:
        """Take a name out, with the file of the index, and return whether it was there."""
        return bool(self._ask("drop", {"collection": name}, again=False)["dropped"])

    def _ask(self, action: str, body: dict[str, Any] | None = None, *, again: bool = True) -> dict[str, Any]:
        (answer,) = self._native.action(action, json.dumps(body) if body else "", again)
        return cast("dict[str, Any]", json.loads(answer))

    def __repr__(self) -> str:
        """Return the server."""
        return f"FlightClient({self.location!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled: a token is not for files."""
        raise TypeError("cannot pickle FlightClient: connect in the process that needs it")
