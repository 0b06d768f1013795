"""Database connections that are used again."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pool"]

_MAX_IDLE = 8


class Pool:
    """Connections that nobody uses at the moment: making one takes much longer than most questions."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[Any] = []
        self._process = os.getpid()
        self._abandoned: list[Any] = []

    def take(self) -> Any:  # noqa: ANN401 - an adbc_driver_manager.dbapi.Connection
        """Return a connection that nobody else has."""
        with self._lock:
            if self._process != os.getpid():
                # They are the parent's, which goes on using them.
                self._abandoned, self._idle, self._process = self._idle, [], os.getpid()
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def give(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """Take a connection back that is as it was."""
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def drop(self, connection: Any) -> None:  # noqa: ANN401 - as above
        """Close a connection that failed, and all idle ones: they may be of a server that is gone."""
        with suppress(Exception):
            connection.close()
        self.close()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            connections, self._idle = self._idle, []
        for each in connections:
            with suppress(Exception):
                each.close()

    def __del__(self) -> None:
        """Close them with the last one who could use them."""
        self.close()
