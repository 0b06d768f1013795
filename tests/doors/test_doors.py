"""Whichever door a question comes through, the answer is the same, to the last bit of each distance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ruvector as rv
from tests.doors.doors import CANNOT_FILTER, DOORS, SQL
from tests.doors.question import ID_TYPES, Question, answer

METRICS = ["l2sq", "l2", "cosine", "ip"]


def ask_all(question: Question) -> None:
    """Ask every door, and compare with the first."""
    expected = answer(len(question.queries), DOORS["python"](question))
    for name, ask in DOORS.items():
        if question.filter is None or name not in CANNOT_FILTER:
            assert answer(len(question.queries), ask(question)) == expected, name


def ids_of(kind: str, rows: int) -> pa.Array:
    """Return ids that are neither in order nor row numbers."""
    numbers = [(row * 7 + 3) % rows + 5 for row in range(rows)] if rows % 7 else list(range(rows))
    if kind == "str":
        return pa.array([f"row {number}" for number in numbers])
    if kind == "uint64":
        return pa.array([2**64 - 1 - number for number in numbers], pa.uint64())
    return pa.array([number - 8 for number in numbers], pa.int64())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("kind", "dim"), [("int64", 64), ("uint64", 33), ("str", 100)])
def test_many_rows(tmp_path: Path, metric: Any, kind: str, dim: int) -> None:
    rng = np.random.default_rng(dim)
    docs = rng.standard_normal((1500, dim), dtype=np.float32)
    queries: list[Any] = rng.standard_normal((7, dim), dtype=np.float32).tolist()
    queries[3] = None
    ids = ids_of(kind, len(docs))
    rv.build(docs, ids, metric=metric).save(tmp_path / "docs.arrow")
    question = Question(tmp_path / "docs.arrow", kind, dim, queries)
    ask_all(question)
    ask_all(replace(question, k=1, exact=True))
    ask_all(replace(question, filter=ids[::10].to_pylist()))
    ask_all(replace(question, filter=[row % 3 == 0 for row in range(len(docs))]))
    ask_all(replace(question, queries=[None, None]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("option", [None, "exact", "filter"])
def test_all_within_a_radius(tmp_path: Path, metric: Any, option: str | None) -> None:
    rng = np.random.default_rng(0)
    docs = rng.integers(-3, 4, (500, 5)).astype(np.float32)
    index = rv.build(docs, ids_of("int64", len(docs)), metric=metric)
    index.save(tmp_path / "docs.arrow")
    question = Question(tmp_path / "docs.arrow", "int64", 5, [docs[7].tolist()])
    ids, distances = index.search(docs[7], 40).to_numpy()
    options: Any = {None: {}, "exact": {"exact": True}, "filter": {"filter": ids[0, ::2].tolist()}}[option]
    radius = float(distances[0, -1])
    hits = index.within(docs[7], radius, **options).to_arrow()
    columns = (hits[name].to_pylist() for name in ("query_row", "id", "distance"))
    expected = answer(1, zip(*columns, strict=True))
    assert len(expected[0]) >= 20
    said = "".join(f", {name} := {str(value).lower()}" for name, value in options.items())
    call = f"ruvector_within('{question.path}', (SELECT v FROM queries), {radius!r}{said})"
    for name, ask in SQL.items():
        assert answer(1, ask(question, f"SELECT 0, id, distance FROM {call}")) == expected, name


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dim", [1, 31, 64])
def test_distances_of_pairs(tmp_path: Path, metric: Any, dim: int) -> None:
    rng = np.random.default_rng(dim)
    rows: list[Any] = rng.standard_normal((50, dim), dtype=np.float32).tolist()
    rows[3] = None
    question = Question(tmp_path, "int64", dim, rows)
    measured = pa.array(rv.distance(question.table["v"], rows[7], metric)).to_pylist()
    asked = pl.lit(rows[7], dtype=pl.Array(pl.Float32, dim))
    column = pl.DataFrame(question.table).select(pl.col("v").ruvector.distance(asked, metric))
    assert column.to_series().to_list() == measured
    # No literal: some versions of DuckDB read one as a decimal, and round it twice.
    call = f"ruvector_distance(v, (SELECT v FROM queries WHERE q = 7), '{metric}')"
    for name, ask in SQL.items():
        found = ask(question, f"SELECT q, {call} FROM queries ORDER BY q")
        assert [distance for _, distance in found] == measured, name


# Few numbers, so that distances are often equal; sizes around those of blocks.
@pytest.mark.parametrize("options", ["k := 3, nprobe := 1", "recall := 0.9"])
def test_recall_is_measured_over_the_same_rows(tmp_path: Path, options: str) -> None:
    docs = np.random.default_rng(0).standard_normal((3000, 16), dtype=np.float32)
    path = tmp_path / "docs.arrow"
    rv.build(docs, nlist=40).save(path)
    question = Question(path, "int64", 16, [])
    call = f"SELECT queries, recall FROM ruvector_recall('{path}', {options})"
    found = {name: ask(question, call) for name, ask in SQL.items()}
    assert all(rows == found["datafusion"] for rows in found.values()), found
    assert found["datafusion"][0][0] == 200


@pytest.mark.parametrize("bits", [1, 4])
def test_codes_of_vectors(tmp_path: Path, bits: int) -> None:
    rows: list[Any] = np.random.default_rng(bits).standard_normal((20, 33), dtype=np.float32).tolist()
    question = Question(tmp_path, "int64", 33, rows)
    expected = pa.array(rv.quantize(question.table["v"], bits=bits, seed=5)).to_pylist()
    for name, ask in SQL.items():
        found = ask(question, f"SELECT q, ruvector_quantize(v, {bits}, 5) FROM queries ORDER BY q")
        assert [code for _, code in found] == expected, name


NUMBERS = st.integers(-2, 2).map(float)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Any, Any, Question]:
    """Draw rows, ids, and a question about them, whose path is still to be set."""
    dim, rows = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    vector = st.lists(NUMBERS, min_size=dim, max_size=dim)
    maybe = st.one_of(vector, st.none())
    docs = [draw(vector), *draw(st.lists(maybe, min_size=rows - 1, max_size=rows - 1))]
    kind = draw(st.sampled_from(sorted(ID_TYPES)))
    ids = ids_of(kind, rows)
    allowed = st.lists(st.sampled_from(ids.to_pylist()), unique=True, min_size=1)
    flags = st.lists(st.booleans(), min_size=rows, max_size=rows)
    question = Question(
        path=Path(),
        id_type=kind,
        dim=dim,
        queries=draw(st.lists(maybe, max_size=4)),
        k=draw(st.integers(1, 50)),
        filter=draw(st.one_of(st.none(), allowed, flags)),
        exact=draw(st.booleans()),
    )
    return pa.array(docs, pa.list_(pa.float32(), dim)), ids, question


@given(drawn=questions(), metric=st.sampled_from(METRICS))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_few_rows_with_ties_and_nulls(drawn: Any, metric: Any, tmp_path: Path) -> None:
    docs, ids, question = drawn
    path = tmp_path / "docs.arrow"
    rv.build(docs, ids, metric=metric).save(path)
    ask_all(replace(question, path=path))
