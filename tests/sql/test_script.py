"""What runs the logic tests finds mistakes: in answers, in types, in the files themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from tests.sql.engines import with_struct_of_options
from tests.sql.script import Record, read
from tests.sql.test_sql import run

if TYPE_CHECKING:
    from pathlib import Path


class Answering:
    """An engine that has one answer to everything, and none to nonsense."""

    labels = frozenset({"answering"})

    def run(self, sql: str) -> pa.Table:
        if sql == "nonsense":
            message = "this is nonsense, and more"
            raise ValueError(message)
        return pa.table({"id": [2, 1], "distance": pa.array([0.1, None], pa.float32()), "text": ["a  b", ""]})


def records(folder: Path, text: str) -> list[Record]:
    path = folder / "some.slt"
    path.write_text(text)
    return read(path)


RIGHT = [
    "query IRT\nselect\n----\n2 0.1 a b\n1 NULL (empty)",
    "query TTT rowsort\nselect\n----\n1 NULL (empty)\n2 0.1 a b",
    "statement ok\nselect",
    "statement error\nnonsense",
    "statement error\nnonsense\n----\nnonsense\nmore",
]
WRONG = [
    "query IRT\nselect\n----\n1 NULL (empty)\n2 0.1 a b",
    "query IRT\nselect\n----\n2 0.1 a b",
    "query IR\nselect\n----\n2 0.1\n1 NULL",
    "query RRT\nselect\n----\n2 0.1 a b\n1 NULL (empty)",
    "query IRT\nselect\n----\n2 0.2 a b\n1 NULL (empty)",
    "statement ok\nnonsense",
    "query IRT\nnonsense\n----",
    "statement error\nselect",
    "statement error\nnonsense\n----\nsense and more",
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_passes(tmp_path: Path, text: str) -> None:
    (record,) = records(tmp_path, text)
    run(Answering(), record, str(tmp_path))


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_fails(tmp_path: Path, text: str) -> None:
    (record,) = records(tmp_path, text)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(Answering(), record, str(tmp_path))


@pytest.mark.parametrize(
    "text", ["select", "query X\nselect\n----", "query I sorted\nselect", "statement maybe\nx"]
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"^some\.slt:2: not a record of a logic test"):
        records(tmp_path, f"# a comment\n{text}\n")


def test_conditions_and_includes(tmp_path: Path) -> None:
    (tmp_path / "other.slt").write_text("statement ok\nfirst")
    text = "include other.slt\n\nonlyif duckdb\nskipif duckdb-old\nstatement ok\nsecond\nline\n\n# done"
    first, second = records(tmp_path, text)
    assert (first.place, first.sql) == ("other.slt:1", "first")
    assert (second.place, second.sql) == ("some.slt:3", "second\nline")
    labels = [{"duckdb"}, {"duckdb", "duckdb-old"}, {"datafusion"}]
    assert [first.applies_to(frozenset(some)) for some in labels] == [True, True, True]
    assert [second.applies_to(frozenset(some)) for some in labels] == [True, False, False]


def test_options_are_written_as_a_struct() -> None:
    sql = "SELECT f(a, k := 1, ids := [1, (2)]), g(b, x := f(1, 2)) FROM t, h('c', d)"
    wanted = "SELECT f(a, {k: 1, ids: [1, (2)]}), g(b, {x: f(1, 2)}) FROM t, h('c', d)"
    assert with_struct_of_options(sql) == wanted
