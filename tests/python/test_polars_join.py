"""`.ruvector.knn_join` in Polars: each row beside its nearest rows, in one lazy plan."""

from __future__ import annotations

import gc
import inspect
import itertools
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import ruvector as rv
from ruvector._ruvector import planned_indexes

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Collect: TypeAlias = Callable[[pl.LazyFrame], pl.DataFrame]
    Rows: TypeAlias = npt.NDArray[np.float32]

DIM = 32

# The first streaming engine of Polars, told apart by its own argument, keeps no order in joins.
FIRST_ENGINE = "streaming" in inspect.signature(pl.LazyFrame.collect).parameters
KEEPS_THE_LAST_EIGHT = tuple(int(part) for part in pl.__version__.split(".")[:2]) < (1, 41)
VECTOR = pl.Array(pl.Float32, DIM)


@pytest.fixture
def left(queries: Rows) -> pl.DataFrame:
    return pl.DataFrame({"q": np.arange(len(queries)), "v": pl.Series(queries)})


@pytest.fixture
def right(docs: Rows) -> pl.DataFrame:
    rows = pl.int_range(len(docs), eager=True)
    return pl.DataFrame(
        {
            "number": rows * 7 + 2**40,
            "unsigned": rows.cast(pl.UInt32) * 3,
            "title": [f"title {row}" for row in rows],
            "v": pl.Series(docs),
        }
    )


def naive(left: pl.DataFrame, right: pl.DataFrame, k: int, metric: Any = "l2sq") -> pl.DataFrame:
    """Join by hand: exact search, then Polars' own joins."""
    hits = rv.exact_search(right["v"], left["v"], k, metric=metric).to_polars()
    table = left.with_row_index("query_row").with_columns(pl.col("query_row").cast(pl.Int64))
    return (
        table.join(hits, on="query_row", how="left", maintain_order="left_right")
        .join(
            right.drop("v").with_row_index("id").with_columns(pl.col("id").cast(pl.Int64)),
            on="id",
            how="left",
            maintain_order="left",
        )
        .select(*left.columns, *right.drop("v").columns, "rank", "distance")
    )


def with_nulls(table: pl.DataFrame, every: int) -> pl.DataFrame:
    """Return the table without some of its vectors."""
    row = pl.int_range(pl.len())
    return table.with_columns(pl.when(row % every != 0).then(pl.col("v")))


@pytest.mark.parametrize("id", [None, "number", "unsigned", "title"])
@pytest.mark.parametrize("how", ["inner", "left"])
def test_a_naive_join_says_the_same(
    left: pl.DataFrame, right: pl.DataFrame, id: str | None, how: Any, collect: Collect
) -> None:
    left, right = with_nulls(left, 4), with_nulls(right, 3)
    expected = naive(left, right, 3)
    if how == "inner":
        expected = expected.filter(pl.col("rank").is_not_null())
    plan = left.lazy().ruvector.knn_join(right.lazy(), on="v", k=3, how=how, id=id, exact=True)
    assert plan.collect_schema() == expected.schema
    assert_frame_equal(collect(plan), expected, check_exact=True)
    eager = left.ruvector.knn_join(right, on="v", k=3, how=how, id=id, exact=True)
    assert_frame_equal(eager, expected, check_exact=True)


@pytest.mark.parametrize("metric", ["l2sq", "l2", "cosine", "ip"])
def test_metrics(left: pl.DataFrame, right: pl.DataFrame, metric: Any, collect: Collect) -> None:
    plan = left.lazy().ruvector.knn_join(right, on="v", k=2, metric=metric, recall=1.0)
    assert_frame_equal(collect(plan), naive(left, right, 2, metric), check_exact=True)


def test_columns_of_other_names_and_forms(left: pl.DataFrame, right: pl.DataFrame, collect: Collect) -> None:
    expected = naive(left, right, 2)
    lists = right.rename({"v": "embedding"}).with_columns(pl.col("embedding").arr.to_list())
    plan = left.lazy().ruvector.knn_join(lists, left_on="v", right_on="embedding", k=2, exact=True)
    assert_frame_equal(collect(plan), expected)
    binary = lists.with_columns(embedding=pl.Series([row.tobytes() for row in right["v"].to_numpy()]))
    plan = left.lazy().ruvector.knn_join(binary, left_on="v", right_on="embedding", k=2, exact=True)
    assert_frame_equal(collect(plan), expected)
    eager = left.ruvector.knn_join(binary, left_on="v", right_on="embedding", k=2, exact=True)
    assert_frame_equal(eager, expected)


class Probe:
    """A frame that counts how often it is run."""

    def __init__(self, table: pl.DataFrame) -> None:
        self.runs = 0
        # Columns that the function was not told of would be missing in what it returns.
        self.plan = table.lazy().map_batches(self._run, schema=table.schema, projection_pushdown=False)

    def _run(self, table: pl.DataFrame) -> pl.DataFrame:
        self.runs += 1
        return table


def test_nothing_runs_before_the_plan_does(left: pl.DataFrame, right: pl.DataFrame, collect: Collect) -> None:
    queries, docs = Probe(left), Probe(right)
    plan = queries.plan.ruvector.knn_join(docs.plan, on="v", k=1, exact=True).filter(pl.col("q") < 5)
    plan.collect_schema()
    plan.explain()
    assert (queries.runs, docs.runs) == (0, 0)
    for _ in range(2):
        assert_frame_equal(collect(plan), naive(left, right, 1).head(5))
    assert queries.runs > 0
    assert docs.runs > 0


def test_filters_on_the_left_are_done_before_the_search(
    left: pl.DataFrame, right: pl.DataFrame, collect: Collect
) -> None:
    for index in (None, rv.build(right["v"])):
        plan = left.lazy().ruvector.knn_join(right.lazy(), on="v", k=1, index=index, how="left")
        plan = plan.filter(pl.col("q") < 3)
        text = plan.explain()
        assert text.index("ruvector_knn") < text.index("FILTER"), text
        assert collect(plan)["q"].to_list() == [0, 1, 2]


@pytest.mark.skipif(
    "plan_stage" not in inspect.signature(pl.LazyFrame.show_graph).parameters,
    reason="this Polars cannot show its physical plan",
)
def test_the_streaming_engine_streams_the_left_side(left: pl.DataFrame, right: pl.DataFrame) -> None:
    plan = left.lazy().ruvector.knn_join(right.lazy(), on="v", k=1)
    physical: Any = {"engine": "streaming", "plan_stage": "physical"}
    text = plan.show_graph(raw_output=True, show=False, **physical)
    assert text is not None
    assert "in-memory-map" not in text, "a part of the plan falls back on the other engine"
    # The one column that is gathered whole is the right one.
    gathered = [line for line in text.splitlines() if "columnar-function" in line]
    assert ["ruvector_build" in line for line in gathered] == [True]


def test_an_index_that_is_there(left: pl.DataFrame, right: pl.DataFrame, collect: Collect) -> None:
    expected = naive(left, right, 2)
    for ids, by in ((None, None), ("number", "number"), ("unsigned", "unsigned"), ("title", "title")):
        index = right.ruvector.build_index("v", ids)
        probe = Probe(right.drop("v"))
        plan = left.lazy().ruvector.knn_join(probe.plan, on="v", k=2, index=index, id=by, exact=True)
        assert "ruvector_build" not in plan.explain()
        assert_frame_equal(collect(plan), expected, check_exact=True)
        assert probe.runs == 1
        eager = left.ruvector.knn_join(right, left_on="v", right_on="v", k=2, index=index, id=by, exact=True)
        assert_frame_equal(eager, expected, check_exact=True)


def ordered(found: pl.DataFrame) -> pl.DataFrame:
    """Return it as it is, but for the engine that keeps no order."""
    return found.sort("q", "rank") if FIRST_ENGINE else found


def test_hits_that_the_right_frame_lacks(left: pl.DataFrame, right: pl.DataFrame, collect: Collect) -> None:
    index = right.ruvector.build_index("v", "number")
    half = right.filter(pl.col("number") % 2 == 0)
    everything = naive(left, right, 3)
    is_there = pl.col("number") % 2 == 0
    plan = left.lazy().ruvector.knn_join(half, on="v", k=3, index=index, id="number", exact=True)
    assert_frame_equal(ordered(collect(plan)), everything.filter(is_there), check_exact=True)
    plan = left.lazy().ruvector.knn_join(half, on="v", k=3, index=index, id="number", how="left", exact=True)
    of_right = [pl.when(is_there).then(pl.col(name)).alias(name) for name in ("unsigned", "title", "number")]
    assert_frame_equal(ordered(collect(plan)), everything.with_columns(of_right), check_exact=True)


def test_nothing_on_either_side(left: pl.DataFrame, right: pl.DataFrame, collect: Collect) -> None:
    nothing = right.with_columns(v=pl.lit(None, dtype=VECTOR))
    makers: list[Callable[[pl.DataFrame], Any]] = [pl.DataFrame.lazy, pl.DataFrame.clone]
    for docs in (right.head(0), nothing):
        for make in makers:
            found = make(left).ruvector.knn_join(make(docs), on="v")
            found = collect(found) if isinstance(found, pl.LazyFrame) else found
            assert found.height == 0
            found = make(left).ruvector.knn_join(make(docs), on="v", how="left")
            found = collect(found) if isinstance(found, pl.LazyFrame) else found
            assert found["q"].to_list() == left["q"].to_list()
            assert found.select("number", "title", "rank", "distance").null_count().row(0) == (20,) * 4
    assert collect(left.head(0).lazy().ruvector.knn_join(right.lazy(), on="v")).height == 0


def test_names_that_are_taken(left: pl.DataFrame, right: pl.DataFrame) -> None:
    left = left.with_columns(title=pl.lit("mine"), rank=pl.lit(99))
    right = right.with_columns(distance=pl.lit("theirs"))
    plan = left.lazy().ruvector.knn_join(right.lazy(), on="v", k=1, suffix="_near")
    names = ["q", "v", "title", "rank", "number", "unsigned", "title_near", "distance_near"]
    assert plan.collect_schema().names() == [*names, "rank_near", "distance"]
    first = plan.collect().row(0, named=True)
    assert (first["title"], first["rank"], first["rank_near"]) == ("mine", 99, 0)
    assert first["distance_near"] == "theirs"
    with pytest.raises(rv.InvalidParameter, match="suffix: expected one that makes 'rank' a new name"):
        left.lazy().ruvector.knn_join(right.lazy(), on="v", suffix="")


def test_a_copy_of_the_right_vectors_comes_along(left: pl.DataFrame, right: pl.DataFrame) -> None:
    near = left.ruvector.knn_join(right.with_columns(copy="v"), on="v", k=2, metric="cosine")
    measured = near.select(pl.col("v").ruvector.distance("copy", "cosine"))["v"]
    assert measured.to_list() == near["distance"].to_list()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, rv.InvalidParameter, "on: expected on, or left_on and right_on"),
        ({"left_on": "v"}, rv.InvalidParameter, "on: expected on, or left_on and right_on"),
        ({"on": "v", "left_on": "v"}, rv.InvalidParameter, "on: expected None with left_on or right_on"),
        ({"on": "w"}, rv.InvalidParameter, "on: expected one of the columns q, v, got 'w'"),
        (
            {"left_on": "v", "right_on": "w"},
            rv.InvalidParameter,
            "right_on: expected one of the columns number,",
        ),
        ({"on": "v", "id": "w"}, rv.InvalidParameter, "id: expected one of the columns"),
        ({"on": "v", "id": "v"}, rv.InvalidVectorType, "v: expected integers or strings, got Array"),
        ({"on": "v", "how": "outer"}, rv.InvalidParameter, "how: expected inner or left, got 'outer'"),
        ({"on": "v", "metric": "euclid"}, rv.InvalidParameter, "metric: expected one of"),
        ({"on": "v", "k": 0}, rv.InvalidParameter, "k: expected at least 1"),
    ],
)
def test_mistakes_are_seen_at_the_call(
    left: pl.DataFrame, right: pl.DataFrame, arguments: dict[str, Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        left.lazy().ruvector.knn_join(right.lazy(), **arguments)
    with pytest.raises(error, match=words):
        left.ruvector.knn_join(right, **arguments)


def test_an_index_that_does_not_fit(left: pl.DataFrame, right: pl.DataFrame) -> None:
    index = right.ruvector.build_index("v", "title", metric="cosine")
    lazy = left.lazy()
    with pytest.raises(rv.InvalidParameter, match=r"metric: expected the index's own \(cosine\), got 'l2'"):
        lazy.ruvector.knn_join(right, on="v", index=index, id="title", metric="l2")
    with pytest.raises(
        rv.InvalidParameter, match=r"id: expected a column of the index's ids \(str\), got row n"
    ):
        lazy.ruvector.knn_join(right, on="v", index=index)
    with pytest.raises(rv.InvalidParameter, match=r"\(str\), got number \(Int64\)"):
        lazy.ruvector.knn_join(right, on="v", index=index, id="number")
    narrow = left.with_columns(pl.lit([0.0, 1.0], dtype=pl.Array(pl.Float32, 2)).alias("v"))
    frames: list[Any] = [narrow, narrow.lazy()]
    options: list[dict[str, Any]] = [{}, {"index": index, "id": "title"}]
    for frame, option in itertools.product(frames, options):
        with pytest.raises(rv.DimensionMismatch, match="has 32, left column v has 2"):
            frame.ruvector.knn_join(right, on="v", **option)


def test_wrong_types_are_seen_when_the_plan_is_made(left: pl.DataFrame, right: pl.DataFrame) -> None:
    plan = left.lazy().ruvector.knn_join(right, left_on="v", right_on="title")
    with pytest.raises(pl.exceptions.ComputeError, match="title: expected Array"):
        plan.collect_schema()
    plan = left.lazy().ruvector.knn_join(right, left_on="q", right_on="v")
    with pytest.raises(pl.exceptions.ComputeError, match="q: expected Array"):
        plan.collect_schema()


def test_wrong_values_are_seen_when_the_plan_runs(
    left: pl.DataFrame, right: pl.DataFrame, collect: Collect
) -> None:
    same = right.with_columns(number=pl.lit(7))
    with pytest.raises(pl.exceptions.ComputeError, match="duplicate id 7: rows 0 and 1"):
        collect(left.lazy().ruvector.knn_join(same, on="v", id="number"))
    with pytest.raises(rv.DuplicateId, match="duplicate id 7: rows 0 and 1"):
        left.ruvector.knn_join(same, on="v", id="number")
    broken = right["v"].to_numpy().copy()
    broken[5, 0] = np.inf
    with pytest.raises(pl.exceptions.ComputeError, match="v, row 5: element 0 is inf"):
        collect(left.lazy().ruvector.knn_join(right.with_columns(v=pl.Series(broken)), on="v"))


def test_runs_at_once_and_in_the_background(
    left: pl.DataFrame, right: pl.DataFrame, collect: Collect
) -> None:
    many = pl.concat([left] * 200)
    truth = many.ruvector.knn_join(right, on="v", k=1)
    plan = many.lazy().ruvector.knn_join(right.lazy(), on="v", k=1)
    low, high = pl.collect_all([plan.filter(pl.col("q") < 7), plan.filter(pl.col("q") >= 7)])
    assert_frame_equal(low, truth.filter(pl.col("q") < 7))
    assert_frame_equal(high, truth.filter(pl.col("q") >= 7))
    # Nothing but the run itself holds the plan.
    run: Any = many.lazy().ruvector.knn_join(right.lazy(), on="v", k=1).collect(background=True)
    gc.collect()
    assert_frame_equal(run.fetch_blocking(), truth)
    assert_frame_equal(collect(plan), truth)


def test_no_index_outlives_its_run(left: pl.DataFrame, right: pl.DataFrame, collect: Collect) -> None:
    gc.collect()
    before = 8 if KEEPS_THE_LAST_EIGHT else planned_indexes()
    plan = left.lazy().ruvector.knn_join(right.lazy(), on="v", k=1)
    collect(plan)
    left.ruvector.knn_join(right, on="v", k=1)
    gc.collect()
    assert planned_indexes() <= before


def test_build_index(right: pl.DataFrame, queries: Rows) -> None:
    index = right.lazy().ruvector.build_index("v", "title", metric="cosine", nlist=5, seed=3, threads=1)
    same = rv.build(right["v"], right["title"], metric="cosine", nlist=5, seed=3)
    assert index == same
    assert index.search(queries, 3).to_polars().equals(same.search(queries, 3).to_polars())
    assert right.ruvector.build_index("v").id_type == "int64"
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        right.ruvector.build_index("w")
    holes = with_nulls(right, 3).slice(1, 100)
    assert (len(holes.ruvector.build_index("v")), holes.ruvector.build_index("v").null_count) == (67, 33)


def test_accessors_for_type_checkers(left: pl.DataFrame, right: pl.DataFrame) -> None:
    eager = rv.polars.knn_join(left, right, on="v", k=1)
    lazy = rv.polars.knn_join(left.lazy(), right, on="v", k=1)
    assert_frame_equal(eager, lazy.collect())
    assert rv.polars.build_index(right, "v") == rv.build(right["v"])
