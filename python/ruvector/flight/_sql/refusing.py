"""What clients are told when a statement fails: the engine's words, without what is the server's own."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar

import duckdb

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Refusal", "refusing", "told"]

Kind = Literal["refused", "denied", "exhausted", "interrupted", "failed"]
P = ParamSpec("P")
T = TypeVar("T")

INTERRUPTED = "INTERRUPT Error"
# What only the server's own files and code are called.
PATH = re.compile(r"""(?<![\w./:])(?:[A-Za-z]:)?[\/](?:[^\s\/"'<>|:]+[\/])+[^\s\/"'<>|:,;)]*""")
TRACEBACK = re.compile(r"\n*(?:Traceback \(most recent call last\)|At:\n).*", re.DOTALL)

# What DuckDB writes before a message of the core.
RAISED = re.compile(r"^Invalid Input Error: Python exception occurred while executing the UDF: (\w+): ")


class Refusal(Exception):  # noqa: N818 - it crosses to Rust, and is nobody's to catch
    """
    Why a statement is not run, or not to its end.

    Attributes
    ----------
    kind
        What it means to the client.
    message
        What the client is told.
    """

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message


def told(text: str, sql: str = "") -> Refusal:
    """Make the refusal for what an engine says of a statement."""
    if INTERRUPTED in text:
        return Refusal("interrupted", "the statement was stopped")
    raised = RAISED.match(text)
    text = RAISED.sub("", TRACEBACK.sub("", text))
    clean = PATH.sub(lambda found: found[0] if found[0] in sql else "...", text).strip()
    if text.startswith("Out of Memory Error"):
        return Refusal("exhausted", clean.partition("\n")[0])
    if text.startswith("Permission Error") or (raised and raised[1] == "PolicyDenied"):
        return Refusal("denied", clean)
    return Refusal("refused", clean)


def refusing(function: Callable[P, T]) -> Callable[P, T]:
    """Make a method whose errors are refusals. Its first argument but one is the statement, if it has one."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Refusal:
            raise
        except (duckdb.Error, OSError, ValueError, TypeError, RuntimeError) as error:
            sql = next((arg for arg in args if isinstance(arg, str)), "")
            raise told(str(error), sql).with_traceback(None) from None

    return call
