"""What running statements hold on to: the indexes they have pinned, the questions they ask."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ruvector._sql.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from ruvector._sql.asked import Asked
    from ruvector._sql.catalog import Catalog, Pin

__all__ = ["Statements"]

# Seconds after which a statement that has asked nothing more counts as done.
KEEP = 600.0


class _Statement:
    """One statement: its name, what it has pinned and asked."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.pins: dict[str, Pin] = {}
        self.asked: list[Asked] = []
        self.tokens: dict[object, str] = {}
        self.used = time.monotonic()


class Statements:
    """
    The statements of one engine that are running. Safe to use from many threads at once.

    An engine calls a function batch by batch, and says which statement it calls for by a key, and which
    connection by an owner. What a statement pins the first time it sees to its end. Nobody says when that is:
    it is over when its owner begins another one, or has asked nothing for ten minutes.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._lock = threading.Lock()
        self._running: dict[str, _Statement] = {}

    def pin(self, owner: str, key: str, name: str | None) -> Pin:
        """Give the index as this statement sees it. As `Catalog.pin`."""
        with self._lock:
            pinned = self._statement(owner, key).pins.get(name or "")
        if pinned is not None:
            return pinned
        fresh = self.catalog.pin(name)
        with self._lock:
            return self._statement(owner, key).pins.setdefault(fresh.name, fresh)

    def ask(self, owner: str, key: str, question: object, make: Callable[[], Asked]) -> str:
        """
        Give a token that stands for a question.

        Parameters
        ----------
        owner, key
            The connection and the statement.
        question
            What tells this question from others of the statement; hashable.
        make
            Makes the question when it is asked for the first time.
        """
        with self._lock:
            token = self._statement(owner, key).tokens.get(question)
        if token is not None:
            return token
        asked = make()
        with self._lock:
            statement = self._statement(owner, key)
            if question not in statement.tokens:
                statement.tokens[question] = f"{owner} {len(statement.asked)} {key}"
                statement.asked.append(asked)
            return statement.tokens[question]

    def asked(self, token: str) -> Asked:
        """
        Give the question that a token stands for.

        Raises
        ------
        InvalidParameter
            If its statement is over.
        """
        owner, number, key = token.split(" ", 2)
        with self._lock:
            statement = self._running.get(owner)
            if statement is None or statement.key != key:
                raise refuse("index", "one that the statement still holds", "one that it has let go of")
            statement.used = time.monotonic()
            return statement.asked[int(number)]

    def _statement(self, owner: str, key: str) -> _Statement:
        statement = self._running.get(owner)
        if statement is None or statement.key != key:
            now = time.monotonic()
            over = [owner for owner, other in self._running.items() if now - other.used > KEEP]
            for done in over:
                del self._running[done]
            statement = self._running[owner] = _Statement(key)
        statement.used = time.monotonic()
        return statement
