"""HTTP for object stores, by Python's own client; connections are kept, one per thread and server."""

from __future__ import annotations

import ssl
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

__all__ = ["send"]

TIMEOUT = 60.0
"""Seconds without a sign of the server after which a request is given up. It is tried again then."""

_kept = threading.local()


def send(
    method: str, url: str, headers: list[tuple[str, str]], body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """
    Send a request; return status, headers and body of the response, whatever the status.

    Raises
    ------
    OSError
        If the server cannot be reached, or the connection ends before the response does.
    http.client.HTTPException
        If what comes is no response.
    """
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.netloc}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _connections().pop(place, None)
    if connection is not None:
        try:
            return _exchange(connection, place, method, target, headers, body)
        except (ConnectionError, HTTPException):
            # The server had closed it meanwhile. Requests of object stores that only read can be made twice.
            connection.close()
    connection = _connect(parts.scheme, parts.hostname or "", parts.port)
    try:
        return _exchange(connection, place, method, target, headers, body)
    except BaseException:
        connection.close()
        raise


def _connections() -> dict[str, HTTPConnection]:
    found: dict[str, HTTPConnection] | None = getattr(_kept, "connections", None)
    if found is None:
        found = _kept.connections = {}
    return found


def _connect(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=TIMEOUT)
    return HTTPSConnection(host, port, timeout=TIMEOUT, context=ssl.create_default_context())


def _exchange(  # noqa: PLR0917 - the parts of a request
    connection: HTTPConnection,
    place: str,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
) -> tuple[int, list[tuple[str, str]], bytes]:
    names = {name.lower() for name, _ in headers}
    connection.putrequest(method, target, skip_host="host" in names, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    if body and "content-length" not in names:
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body or None)
    response = connection.getresponse()
    content = response.read()
    if response.will_close:
        connection.close()
    else:
        _connections()[place] = connection
    return response.status, response.getheaders(), content
