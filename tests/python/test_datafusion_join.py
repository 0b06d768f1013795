"""`ruvector.datafusion.knn_join`: each row beside its nearest rows of another table, in one lazy plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from datafusion import SessionContext, col, lit

import ruvector as rv
from ruvector.datafusion import knn_join

if TYPE_CHECKING:
    from datafusion import DataFrame

    from tests.python.conftest import Vectors

VECTOR = pa.list_(pa.float32(), 32)


def vectors(rows: Vectors, type: pa.DataType = VECTOR, *, null_every: int = 0) -> pa.Array:
    """Return rows as a column, some of them null."""
    return pa.array(
        [None if null_every and at % null_every == 1 else row for at, row in enumerate(rows.tolist())], type
    )


@pytest.fixture
def ctx(docs: Vectors, queries: Vectors) -> SessionContext:
    """A context with the tables `docs` and `queries`."""
    ctx = SessionContext()
    rows = np.arange(len(docs))
    table = {
        "number": pa.array(rows * 7 + 2**40),
        "small": pa.array(rows.astype(np.uint16)),
        "title": pa.array([f"title {row}" for row in rows]),
        "view": pa.array([f"view {row}" for row in rows], pa.string_view()),
        "v": vectors(docs, null_every=3),
    }
    ctx.from_arrow(pa.table(table), name="docs")
    asked = {"q": pa.array(range(len(queries))), "v": vectors(queries, null_every=4)}
    ctx.from_arrow(pa.table(asked), name="queries")
    return ctx


def rows_of(frame: DataFrame) -> list[dict[str, Any]]:
    """Return the rows in the one order that the answers have."""
    found: list[dict[str, Any]] = frame.sort("q", "rank").to_pylist()
    return found


@pytest.mark.parametrize("id", [None, "number", "small", "title", "view"])
@pytest.mark.parametrize("how", ["inner", "left"])
@pytest.mark.parametrize("metric", ["l2sq", "cosine"])
def test_it_is_an_exact_search_and_two_joins(  # noqa: PLR0917 - fixtures
    ctx: SessionContext, docs: Vectors, queries: Vectors, id: str | None, how: Any, metric: Any
) -> None:
    hits = rv.exact_search(vectors(docs, null_every=3), vectors(queries, null_every=4), 3, metric=metric)
    expected: list[tuple[Any, ...]] = [
        (query, 2**40 + 7 * row, row, f"title {row}", f"view {row}", rank, distance)
        for query, rank, row, distance in zip(
            *(column.to_pylist() for column in hits.to_arrow()), strict=True
        )
    ]
    if how == "left":
        expected += [(query, *(None,) * 6) for query in range(1, len(queries), 4)]
        expected.sort(key=lambda row: (row[0], row[5] or 0))
    joined = knn_join(ctx, "queries", "docs", on="v", k=3, how=how, id=id, metric=metric, exact=True)
    assert joined.schema().names == ["q", "v", "number", "small", "title", "view", "rank", "distance"]
    assert [tuple(row.values()) for row in rows_of(joined.drop("v"))] == expected


def test_an_index_that_is_there_is_searched(ctx: SessionContext, docs: Vectors) -> None:
    index = rv.build(docs, np.arange(len(docs)) * 7 + 2**40)
    joined = knn_join(ctx, "queries", "docs", left_on="v", index=index, id="number", k=1)
    assert joined.schema().names == [
        "q", "v", "number", "small", "title", "view", "v_right", "rank", "distance"
    ]  # fmt: skip
    before = rows_of(joined)
    index.delete([row["number"] for row in before])
    assert rows_of(joined) == before
    again = knn_join(ctx, "queries", "docs", on="v", index=index, id="number", k=1)
    assert {row["number"] for row in rows_of(again)}.isdisjoint(row["number"] for row in before)


@pytest.mark.parametrize(
    "type", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 32)]
)
def test_lists_of_all_kinds_are_vectors(
    ctx: SessionContext, docs: Vectors, queries: Vectors, type: Any
) -> None:
    expected = rows_of(knn_join(ctx, "queries", "docs", on="v", id="number").drop("v"))
    left = pa.table({"q": range(len(queries)), "v": vectors(queries, type, null_every=4)})
    right = pa.table({"number": np.arange(len(docs)) * 7 + 2**40, "v": vectors(docs, type, null_every=3)})
    frames = ctx.from_arrow(left), ctx.from_arrow(right)
    found = rows_of(knn_join(ctx, *frames, on="v", id="number").drop("v"))
    assert [row | {"small": None, "title": None, "view": None} for row in found] == [
        row | {"small": None, "title": None, "view": None} for row in expected
    ]


def test_halves_are_searched_as_they_are(ctx: SessionContext, docs: Vectors, queries: Vectors) -> None:
    halves = docs.astype(np.float16)
    table = pa.table(
        {"v": pa.FixedSizeListArray.from_arrays(pa.array(halves.ravel()), 32), "id": range(len(docs))}
    )
    expected = rv.exact_search(halves, queries, 5).to_arrow()["distance"].to_pylist()
    frame = ctx.from_arrow(pa.table({"q": range(len(queries)), "w": vectors(queries)}))
    for ids in (None, "id"):
        right = ctx.from_arrow(table)
        joined = knn_join(ctx, frame, right, left_on="w", right_on="v", id=ids, k=5, exact=True)
        assert [row["distance"] for row in rows_of(joined)] == expected


def test_columns_of_one_name_get_a_suffix(ctx: SessionContext) -> None:
    joined = knn_join(ctx, "docs", "docs", on="v", k=2, id="number", suffix="_near").filter(
        col("number_near") != col("number")
    )
    names = joined.schema().names
    assert names[:6] == ["number", "small", "title", "view", "v", "number_near"]
    assert joined.count() > 1000
    ranked = ctx.from_pydict({"rank": [1], "v": [[0.0] * 32]})
    assert knn_join(ctx, ranked, "docs", on="v", k=1).schema().names[-2:] == ["rank_right", "distance"]
    with pytest.raises(
        rv.InvalidParameter, match=r"^suffix: expected one that makes 'number' a new name, got ''$"
    ):
        knn_join(ctx, "docs", "docs", on="v", suffix="")


def test_names_are_taken_as_they_are(ctx: SessionContext, queries: Vectors) -> None:
    frame = ctx.from_arrow(pa.table({"q": range(len(queries)), 'My "v".x': vectors(queries)}))
    joined = knn_join(ctx, frame, "docs", left_on='My "v".x', right_on="v", k=1)
    assert 'My "v".x' in joined.schema().names
    assert joined.count() == len(queries)


@pytest.mark.parametrize("id", [None, "number", "title"])
def test_a_filter_is_a_condition_a_frame_or_ids(ctx: SessionContext, id: str | None) -> None:
    def join(allowed: Any) -> DataFrame:
        return knn_join(ctx, "queries", "docs", on="v", k=4, id=id, filter=allowed)

    found = rows_of(join(col("small") < lit(100)))
    assert found
    assert all(row["small"] < 100 for row in found)
    assert max(row["rank"] for row in found) == 3
    ids: dict[str | None, Any] = {
        None: range(100),
        "number": [2**40 + 7 * row for row in range(100)],
        "title": [f"title {row}" for row in range(100)],
    }
    assert rows_of(join(list(ids[id]))) == found
    if id is not None:
        assert rows_of(join(ctx.sql(f"SELECT {id} FROM docs WHERE small < 100"))) == found
    assert rows_of(join(col("small") < lit(0))) == []


def test_filters_of_the_left_side_come_first(ctx: SessionContext) -> None:
    joined = knn_join(ctx, "queries", "docs", on="v", k=1, id="number").filter(col("q") < lit(5))
    plan = joined.optimized_logical_plan().display_indent().splitlines()
    steps = [line.strip().split(":")[0] for line in plan]
    assert steps.index("Filter", steps.index("Unnest")) < steps.index("TableScan")
    assert joined.count() == 4


def test_many_batches_and_partitions(ctx: SessionContext, docs: Vectors) -> None:
    rows = pa.concat_arrays([vectors(docs)] * 15)
    table = pa.table({"q": range(len(rows)), "w": rows})
    many = ctx.create_dataframe([[batch] for batch in table.to_batches(1000)])
    index = rv.build(docs)
    joined = knn_join(
        ctx, many, ctx.from_arrow(pa.table({"id": range(len(docs))})), left_on="w", index=index, k=1, id="id"
    )
    found = joined.sort("q").to_pydict()
    assert found["q"] == list(range(len(rows)))
    assert found["id"] == [row % len(docs) for row in range(len(rows))]


def test_a_right_side_without_vectors_has_no_neighbours(ctx: SessionContext) -> None:
    for ids in (None, "number"):
        empty = ctx.sql("SELECT number, v FROM docs WHERE number < 0")
        assert knn_join(ctx, "queries", empty, on="v", id=ids).count() == 0
        assert knn_join(ctx, "queries", empty, on="v", id=ids, how="left").count() == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on": "w"}, "on: expected one of the columns q, v, got 'w'"),
        ({}, "on: expected on, or left_on and right_on, got left_on=None, right_on=None"),
        ({"on": "v", "left_on": "v"}, "on: expected None with left_on or right_on, got both"),
        (
            {"left_on": "v", "right_on": "w"},
            "right_on: expected one of the columns number, small, title, view, v, got 'w'",
        ),
        ({"on": "v", "id": "w"}, "id: expected one of the columns number, small, title, view, v, got 'w'"),
        ({"on": "v", "how": "outer"}, "how: expected inner or left, got 'outer'"),
        ({"on": "v", "k": 0}, "k: expected at least 1, got 0"),
        ({"on": "v", "recall": 1.5}, "recall: expected above 0, at most 1, got 1.5"),
        ({"on": "v", "id": "v"}, "v: expected integers or strings, got fixed_size_list"),
    ],
)
def test_what_cannot_be_meant_is_refused(ctx: SessionContext, arguments: Any, message: str) -> None:
    with pytest.raises(rv.RuVectorError) as refused:
        knn_join(ctx, "queries", "docs", **arguments)
    assert str(refused.value).startswith(message)
    assert knn_join(ctx, "queries", "docs", on="v", k=1).count() == 15


def test_an_index_of_other_rows_is_refused(ctx: SessionContext, docs: Vectors) -> None:
    index = rv.build(docs, [str(row) for row in range(len(docs))])
    for ids, found in ((None, "row numbers"), ("number", "number (int64)")):
        with pytest.raises(rv.InvalidParameter) as refused:
            knn_join(ctx, "queries", "docs", on="v", index=index, id=ids)
        assert str(refused.value) == f"id: expected a column of the index's ids (str), got {found}"
    with pytest.raises(rv.InvalidParameter, match=r"^metric: expected the index's own \(l2sq\), got 'ip'$"):
        knn_join(ctx, "queries", "docs", on="v", index=index, id="title", metric="ip")
    narrow = rv.build(docs[:, :8].copy())
    with pytest.raises(
        rv.DimensionMismatch, match=r"^dimension mismatch: the index has 8, left column v has 32$"
    ):
        knn_join(ctx, "queries", "docs", on="v", index=narrow)


def test_bad_vectors_of_the_left_side_are_told_when_it_runs(ctx: SessionContext) -> None:
    frame = ctx.from_pydict({"q": [1], "v": [[float("nan")] * 32]})
    joined = knn_join(ctx, frame, "docs", on="v")
    with pytest.raises(Exception, match="v, row 0: element 0 is NaN, expected a finite number"):
        joined.collect()
    with pytest.raises(KeyError):
        knn_join(ctx, "nowhere", "docs", on="v")
