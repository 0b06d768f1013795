"""`.ruvector.knn` in Polars: the answers of `Index.search`, as a column."""

from __future__ import annotations

import gc
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import ruvector as rv
from ruvector._ruvector import buffer_addresses
from ruvector.polars import plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Collect: TypeAlias = Callable[[pl.LazyFrame], pl.DataFrame]
    Rows: TypeAlias = npt.NDArray[np.float32]

DIM = 32
# The forms of a vector column; not every Polars has half floats.
FORMS: dict[str, Any] = {
    "Array(Float32)": pl.Series,
    "List(Float32)": lambda rows: pl.Series(rows).arr.to_list(),
    "Binary": lambda rows: pl.Series([None if row is None else row.tobytes() for row in rows]),
}
if hasattr(pl, "Float16"):
    FORMS["Array(Float16)"] = lambda rows: pl.Series(rows.astype(np.float16))
    FORMS["Binary of Float16"] = lambda rows: pl.Series([row.tobytes() for row in rows.astype(np.float16)])

IDS: dict[str, Any] = {
    "row numbers": lambda _: None,
    "int64": lambda n: pl.Series(range(n, 0, -1)) + 2**40,
    "uint64": lambda n: pl.Series(range(n), dtype=pl.UInt64) + 2**63,
    "str": lambda n: pl.Series([f"doc {at}" for at in range(n)]),
}


def values(form: str, rows: Any) -> Any:
    """Return the numbers that a form of the rows holds."""
    return rows.astype(np.float16) if "Float16" in form else rows


def frame(vectors: pl.Series) -> pl.DataFrame:
    """Return the queries as a frame, with their row numbers."""
    return pl.DataFrame({"row": np.arange(len(vectors)), "v": vectors})


def long(nested: pl.DataFrame) -> pl.DataFrame:
    """Return the hits as `Hits` has them, one row per hit."""
    hits = nested.select("row", hits="v").drop_nulls().explode("hits").unnest("hits")
    rank = pl.int_range(pl.len()).over("row").cast(pl.Int32)
    return hits.select(pl.col("row").alias("query_row"), rank.alias("rank"), "id", "distance")


def with_nulls(vectors: pl.Series) -> pl.Series:
    """Return every third row as null."""
    rows = frame(vectors)
    return rows.select(pl.when(pl.col("row") % 3 != 0).then(pl.col("v")))["v"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ids", IDS)
def test_answers_are_those_of_the_index(
    docs: Rows, queries: Rows, form: str, ids: str, collect: Collect
) -> None:
    index = rv.build(pl.Series(docs), IDS[ids](len(docs)))
    asked = frame(FORMS[form](queries))
    found = collect(asked.lazy().with_columns(pl.col("v").ruvector.knn(index, k=7)))
    truth = index.search(values(form, queries), 7).to_polars()
    assert_frame_equal(long(found), truth, check_exact=True)


@pytest.mark.parametrize("metric", ["l2sq", "l2", "cosine", "ip"])
@pytest.mark.parametrize(
    "knobs", [{}, {"recall": 0.5}, {"nprobe": 1}, {"nprobe": 3, "epsilon": 0.5}, {"exact": True}]
)
def test_every_metric_and_knob_is_the_index_s(
    docs: Rows, queries: Rows, metric: Any, knobs: dict[str, Any]
) -> None:
    index = rv.build(docs, metric=metric, nlist=20)
    found = frame(pl.Series(queries)).with_columns(pl.col("v").ruvector.knn(index, k=5, **knobs))
    assert_frame_equal(long(found), index.search(queries, 5, **knobs).to_polars(), check_exact=True)


def test_type_and_name(docs: Rows, queries: Rows) -> None:
    for ids, dtype in (("int64", pl.Int64), ("uint64", pl.UInt64), ("str", pl.String)):
        plan = pl.LazyFrame({"query": pl.Series(queries)}).select(
            pl.col("query").ruvector.knn(rv.build(docs, IDS[ids](len(docs))))
        )
        hit = pl.Struct({"id": dtype, "distance": pl.Float32})
        assert plan.collect_schema() == {"query": pl.List(hit)}
        assert plan.collect().schema == {"query": pl.List(hit)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("span", [(0, 20), (1, 19), (3, 7), (8, 9), (19, 1), (4, 0)])
def test_slices_and_chunks_with_nulls(
    docs: Rows, queries: Rows, form: str, span: tuple[int, int], collect: Collect
) -> None:
    index = rv.build(docs)
    whole = frame(with_nulls(FORMS[form](queries)))
    hits = pl.col("v").ruvector.knn(index, k=3)
    truth = whole.with_columns(hits)
    assert truth["v"].is_null().to_list() == whole["v"].is_null().to_list()
    assert_frame_equal(
        long(truth),
        index.search(values(form, queries), 3).to_polars().filter(pl.col("query_row") % 3 != 0),
        check_exact=True,
    )
    assert_frame_equal(whole.slice(*span).with_columns(hits), truth.slice(*span), check_exact=True)
    assert_frame_equal(collect(whole.lazy().slice(*span).with_columns(hits)), truth.slice(*span))
    parts = pl.concat([whole.slice(*span), whole.head(5), whole.tail(4)], rechunk=False)
    expected = pl.concat([truth.slice(*span), truth.head(5), truth.tail(4)])
    assert parts["v"].n_chunks() > 1
    assert_frame_equal(collect(parts.lazy().with_columns(hits)), expected, check_exact=True)


def test_nothing_but_nulls_and_nothing_at_all(docs: Rows, collect: Collect) -> None:
    index = rv.build(docs)
    for dtype in (pl.Array(pl.Float32, DIM), pl.List(pl.Float32), pl.Binary):
        hits = pl.col("v").ruvector.knn(index)
        for count in (0, 3):
            asked = pl.LazyFrame({"v": [None] * count}, schema={"v": dtype})
            assert collect(asked.select(hits))["v"].to_list() == [None] * count


def test_an_index_smaller_than_k(queries: Rows) -> None:
    index = rv.build(queries[:3])
    found = frame(pl.Series(queries)).with_columns(pl.col("v").ruvector.knn(index, k=2**70))
    assert found["v"].list.len().unique().to_list() == [3]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pl.col("row"), r"row: expected Array\(Float32, dim\), .* got Int64"),
        (pl.col("row").cast(pl.String), r"got String"),
        (pl.col("v").cast(pl.Array(pl.Float64, DIM)), r"got Array\(Float64, 32\); convert it first"),
        (pl.col("v").cast(pl.List(pl.Int64)), r"got List\(Int64\); convert it first"),
        (pl.col("v").arr.to_list().list.head(8).list.to_array(8), "the index has 32, v has 8"),
    ],
)
def test_wrong_types_and_widths_are_seen_when_the_plan_is_made(
    docs: Rows, queries: Rows, column: pl.Expr, words: str
) -> None:
    plan = frame(pl.Series(queries)).lazy().select(column.ruvector.knn(rv.build(docs)))
    with pytest.raises(pl.exceptions.ComputeError, match=words):
        plan.collect_schema()


def test_what_only_the_values_tell_is_seen_when_the_plan_runs(
    docs: Rows, queries: Rows, collect: Collect
) -> None:
    index = rv.build(docs)
    lists = queries.tolist()
    nan, short = [*lists[:2], [float("nan")] * DIM], [*lists[:2], lists[2][:5]]
    hits = pl.col("v").ruvector.knn(index)
    for rows, dtype, words in (
        (nan, pl.Array(pl.Float32, DIM), "v, row [012]: element 0 is NaN, expected a finite number"),
        (short, pl.List(pl.Float32), "v, row [012]: has 5 elements, expected 32|the index has 32, v has 5"),
        ([b"four", b"fourteen"], pl.Binary, "v: expected binary rows|dimension mismatch"),
        ([b"fourteen"], pl.Binary, "dimension mismatch|elements"),
    ):
        asked = pl.LazyFrame({"v": rows}, schema={"v": dtype})
        with pytest.raises(pl.exceptions.ComputeError, match=words):
            collect(asked.select(hits))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"k": 0}, "k"),
        ({"k": -(2**70)}, "k"),
        ({"recall": 0.0}, "recall"),
        ({"recall": 1.5}, "recall"),
        ({"recall": float("nan")}, "recall"),
        ({"nprobe": 0}, "nprobe"),
        ({"nprobe": 1, "exact": True}, "nprobe"),
        ({"epsilon": -1.0}, "epsilon"),
        ({"epsilon": float("inf")}, "epsilon"),
    ],
)
def test_impossible_arguments_are_seen_at_the_call(docs: Rows, arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(rv.InvalidParameter) as caught:
        pl.col("v").ruvector.knn(rv.build(docs), **arguments)
    assert caught.value.name == name


def test_a_closed_index_is_refused(docs: Rows) -> None:
    index = rv.build(docs)
    index.close()
    with pytest.raises(rv.RuVectorError, match="closed"):
        pl.col("v").ruvector.knn(index)


def test_filters_are_done_before_the_search(docs: Rows, queries: Rows, collect: Collect) -> None:
    hits = pl.col("v").ruvector.knn(rv.build(docs)).alias("hits")
    plan = frame(pl.Series(queries)).lazy().with_columns(hits).filter(pl.col("row") < 3)
    text = plan.explain()
    assert text.index("ruvector_knn") < text.index("FILTER"), text
    assert collect(plan)["row"].to_list() == [0, 1, 2]


@pytest.mark.skipif(
    "plan_stage" not in inspect.signature(pl.LazyFrame.show_graph).parameters,
    reason="this Polars cannot show its physical plan",
)
def test_the_streaming_engine_streams_it(docs: Rows, queries: Rows) -> None:
    plan = frame(pl.Series(queries)).lazy().select(pl.col("v").ruvector.knn(rv.build(docs)))
    physical: Any = {"engine": "streaming", "plan_stage": "physical"}
    text = plan.show_graph(raw_output=True, show=False, **physical)
    assert text is not None
    # What works batch by batch is a `select`; what gathers all rows first has a node of its own.
    assert "ruvector_knn" in text
    assert "columnar-function" not in text
    assert "in-memory-map" not in text


def test_in_groups_and_windows(docs: Rows, queries: Rows) -> None:
    asked = frame(pl.Series(queries)).with_columns(group=pl.col("row") % 2)
    hits = pl.col("v").ruvector.knn(rv.build(docs), k=2)
    truth = asked.with_columns(hits)
    grouped = asked.group_by("group", maintain_order=True).agg(hits, "row")
    assert_frame_equal(grouped.explode("v", "row").sort("row").select("row", "v"), truth.select("row", "v"))
    nearest = hits.list.get(0).struct.field("distance")
    windows = asked.select(nearest.min().over("group"))["distance"]
    by_hand = truth.select(pl.col("v").list.get(0).struct.field("distance").min().over("group"))
    assert windows.to_list() == by_hand["distance"].to_list()


def test_an_index_that_no_variable_holds(docs: Rows, queries: Rows, collect: Collect) -> None:
    plan = frame(pl.Series(queries)).lazy().select(pl.col("v").ruvector.knn(rv.build(docs), k=1))
    gc.collect()
    truth = rv.build(docs).search(queries, 1).to_polars()
    found = collect(plan)["v"].list.get(0).struct.field("id").to_list()
    assert found == truth["id"].to_list()


def test_an_index_that_is_gone(docs: Rows, queries: Rows, collect: Collect) -> None:
    asked = frame(pl.Series(queries)).lazy()
    plan = asked.select(pl.col("v").ruvector.knn(rv.build(docs)))
    # Nine later ones push it out of the registry.
    others = [asked.select(pl.col("v").ruvector.knn(rv.build(docs[: at + 1]))) for at in range(9)]
    gc.collect()
    with pytest.raises(pl.exceptions.ComputeError, match=r"save it with index\.save\(path\)"):
        collect(plan)
    assert collect(others[-1]).height == len(queries)


def test_nothing_is_copied_on_the_way(queries: Rows) -> None:
    address = plugin.call("address", [pl.col("v")], {})
    whole = frame(pl.Series(queries))
    start, row = whole["v"].to_numpy().ctypes.data, DIM * 4
    assert whole.select(address)["v"].unique().to_list() == [start]
    assert whole.slice(3, 5).select(address)["v"].unique().to_list() == [start + 3 * row]
    chunks = pl.concat([whole.slice(8, 2), whole.head(1)], rechunk=False)
    assert chunks.select(address)["v"].to_list() == [start + 8 * row] * 2 + [start]
    lists = whole.with_columns(pl.col("v").arr.to_list())
    assert lists.slice(2).select(address)["v"].unique().to_list() == buffer_addresses(lists["v"].slice(2))


def test_an_accessor_for_type_checkers(docs: Rows, queries: Rows) -> None:
    index = rv.build(docs)
    by_name = frame(pl.Series(queries)).select(rv.polars.knn("v", index, 3))
    assert_frame_equal(by_name, frame(pl.Series(queries)).select(pl.col("v").ruvector.knn(index, 3)))
