"""Reads SQL logic tests: files of statements, queries and the answers they should have.

The format is that of SQLite's sqllogictest, as far as it is needed here::

    # a comment
    include setup.slt

    statement ok
    CREATE TABLE t (id BIGINT)

    statement error
    SELECT nothing
    ----
    a part of the message

    onlyif duckdb
    query IR rowsort
    SELECT id, distance FROM hits
    ----
    1 0.5

`onlyif` and `skipif` name an engine or a family of engines and belong to the record below them. A query has
one letter per column: I for integers, R for floats, B for booleans, T for anything else, shown as text.
An
error without a message may be any. `rowsort` sorts the rows of both sides. In SQL and in answers, ``$DIR``
stands for a folder that is empty when the file begins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Record", "read"]

Kind = Literal["ok", "error", "query"]


@dataclass(frozen=True)
class Record:
    """One statement or query, and what is expected of it."""

    place: str
    kind: Kind
    sql: str
    expected: tuple[str, ...] = ()
    types: str = ""
    rowsort: bool = False
    only: frozenset[str] = field(default_factory=frozenset)
    skip: frozenset[str] = field(default_factory=frozenset)

    def applies_to(self, labels: frozenset[str]) -> bool:
        """Return whether an engine of these labels should run it."""
        return not self.skip & labels and (not self.only or bool(self.only & labels))


def read(path: Path) -> list[Record]:
    """Read all records of a file and of those that it includes."""
    records: list[Record] = []
    for place, lines in _paragraphs(path):
        if lines[0].startswith("include "):
            records += read(path.parent / lines[0].split(maxsplit=1)[1])
        else:
            records.append(_record(place, lines))
    return records


def _paragraphs(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Give the lines between empty lines, without comments, and where each paragraph begins."""
    paragraph: list[str] = []
    place = ""
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith("#"):
            continue
        if line.strip():
            place = place if paragraph else f"{path.name}:{number}"
            paragraph.append(line)
        elif paragraph:
            yield place, paragraph
            paragraph = []


def _record(place: str, lines: list[str]) -> Record:
    conditions: dict[str, set[str]] = {"onlyif": set(), "skipif": set()}
    while lines[0].split()[0] in conditions:
        word, label = lines[0].split()
        conditions[word].add(label)
        lines = lines[1:]
    head, body = lines[0].split(), lines[1:]
    end = body.index("----") if "----" in body else len(body)
    sql, expected = "\n".join(body[:end]), tuple(body[end + 1 :])
    only, skip = frozenset(conditions["onlyif"]), frozenset(conditions["skipif"])
    match head:
        case ["statement", "ok"] if not expected:
            return Record(place, "ok", sql, only=only, skip=skip)
        case ["statement", "error"]:
            return Record(place, "error", sql, expected, only=only, skip=skip)
        case ["query", types, *options] if set(types) <= set("IRBT") and options in ([], ["rowsort"]):
            return Record(place, "query", sql, expected, types, bool(options), only, skip)
        case _:
            message = f"{place}: not a record of a logic test: {lines[0]}"
            raise ValueError(message)
