"""The walk through the SQL functions, `sql/tour.sql`, runs as it stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

import ruvector.duckdb
from examples.duckdb import main as example

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "sql" / "tour.sql").read_text(encoding="utf-8")
    with duckdb.connect() as con:
        ruvector.duckdb.register(con)
        example.load(con, "docs", "wordnet_minilm_20k")
        example.load(con, "queries", "wordnet_minilm_queries")
        answers: list[list[Any]] = [con.execute(each).fetchall() for each in con.extract_statements(text)]
    assert [len(rows) for rows in answers[:4]] == [1, 1, 1, 5]
    assert all(rows for rows in answers), "every question has an answer"
    *_, exact, _code, gone, found = answers
    assert all(distance == again for _id, distance, again in exact)
    assert (gone, found) == ([("wordnet",)], [(7,)])
