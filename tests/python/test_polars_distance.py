"""`.ruvector.distance` in Polars: pairs of vectors, measured as a search measures them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Collect: TypeAlias = Callable[[pl.LazyFrame], pl.DataFrame]
    Rows: TypeAlias = npt.NDArray[np.float32]

METRICS: list[Any] = ["l2sq", "l2", "cosine", "ip"]


def pairs(docs: Rows, queries: Rows) -> pl.DataFrame:
    """Return queries beside as many documents."""
    return pl.DataFrame({"q": pl.Series(queries), "d": pl.Series(docs[: len(queries)].copy())})


@pytest.mark.parametrize("metric", METRICS)
def test_two_columns(
    docs: Rows, queries: Rows, metric: Any, distances: Callable[..., Any], collect: Collect
) -> None:
    table = pairs(docs, queries)
    found = collect(table.lazy().select(pl.col("q").ruvector.distance("d", metric)))
    assert found.schema == {"q": pl.Float32}
    truth = distances(docs[: len(queries)], queries, metric).diagonal()
    np.testing.assert_allclose(found["q"].to_numpy(), truth, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_bit_for_bit_the_distances_of_a_search(docs: Rows, queries: Rows, metric: Any) -> None:
    index = rv.build(docs, metric=metric)
    hits = index.search(queries, 3)
    ids, near = hits.to_numpy()
    for rank in range(3):
        table = pl.DataFrame({"q": pl.Series(queries), "d": pl.Series(docs[ids[:, rank]])})
        found = table.select(pl.col("q").ruvector.distance(pl.col("d"), metric))["q"]
        assert found.to_list() == near[:, rank].tolist()
    for row, query in enumerate(queries[:3]):
        table = pl.DataFrame({"d": pl.Series(docs[ids[row]])})
        for one in (query, query.tolist(), tuple(query.tolist())):
            assert (
                table.select(pl.col("d").ruvector.distance(one, metric))["d"].to_list() == near[row].tolist()
            )


@pytest.mark.parametrize("metric", METRICS)
def test_mixed_forms_and_nulls(docs: Rows, queries: Rows, metric: Any, collect: Collect) -> None:
    table = pairs(docs, queries).with_row_index("row")
    truth = table.select(pl.col("q").ruvector.distance("d", metric))["q"].to_list()
    holes = table.with_columns(
        pl.when(pl.col("row") % 3 != 0).then(pl.col("q")),
        pl.when(pl.col("row") % 5 != 0).then(pl.col("d").arr.to_list()),
    )
    expected = [None if row % 3 == 0 or row % 5 == 0 else value for row, value in enumerate(truth)]
    measure = pl.col("q").ruvector.distance("d", metric)
    assert collect(holes.lazy().select(measure))["q"].to_list() == expected
    assert collect(holes.lazy().slice(4, 9).select(measure))["q"].to_list() == expected[4:13]
    assert collect(holes.lazy().head(0).select(measure))["q"].to_list() == []
    chunks = pl.concat([holes.head(7), holes.slice(7)], rechunk=False)
    assert collect(chunks.lazy().select(measure))["q"].to_list() == expected
    binary = holes.with_columns(d=pl.Series([row.tobytes() for row in docs[: len(queries)]]))
    expected = [None if row % 3 == 0 else value for row, value in enumerate(truth)]
    assert collect(binary.lazy().select(measure))["q"].to_list() == expected


def test_half_floats_are_widened(docs: Rows, queries: Rows) -> None:
    half, wide = queries.astype(np.float16), queries.astype(np.float16).astype(np.float32)
    one = docs[0]
    truth = pl.DataFrame({"q": pl.Series(wide)}).select(pl.col("q").ruvector.distance(one))["q"].to_list()
    forms = [pl.Series([row.tobytes() for row in half])]
    if hasattr(pl, "Float16"):
        forms.append(pl.Series(half))
    for form in forms:
        found = pl.DataFrame({"q": form}).select(pl.col("q").ruvector.distance(one))
        assert found["q"].to_list() == truth


def test_one_row_against_many(docs: Rows, queries: Rows) -> None:
    table = pairs(docs, queries)
    one = pl.lit(queries[0].tolist(), dtype=pl.Array(pl.Float32, 32))
    there = table.select(pl.col("d").ruvector.distance(one))["d"]
    back = table.select(one.ruvector.distance("d"))
    assert back.to_series().to_list() == there.to_list()
    assert table.head(1).select(pl.col("d").ruvector.distance(one))["d"].to_list() == there.to_list()[:1]
    none = pl.lit(None, dtype=pl.Array(pl.Float32, 32))
    assert table.select(pl.col("d").ruvector.distance(none))["d"].null_count() == len(queries)


def test_a_literal_lets_filters_through(docs: Rows, queries: Rows) -> None:
    plan = pairs(docs, queries).lazy().with_row_index("row").select("row", "d")
    plan = plan.with_columns(far=pl.col("d").ruvector.distance([0.0] * 32)).filter(pl.col("row") < 3)
    text = plan.explain()
    assert text.index("ruvector_distance") < text.index("FILTER"), text


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ([1.0, 2.0], "d has 32, literal has 2"),
        (
            pl.col("d").cast(pl.Array(pl.Float64, 32)),
            r"d: expected .* got Array\(Float64, 32\); convert it first",
        ),
        (pl.lit(1.0), "expected Array"),
    ],
)
def test_wrong_types_and_widths_are_seen_when_the_plan_is_made(
    docs: Rows, queries: Rows, other: Any, words: str
) -> None:
    plan = pairs(docs, queries).lazy().select(pl.col("d").ruvector.distance(other))
    with pytest.raises(pl.exceptions.ComputeError, match=words):
        plan.collect_schema()


def test_what_is_not_finite_is_refused_and_not_near(docs: Rows, queries: Rows, collect: Collect) -> None:
    broken = queries.copy()
    broken[2, 3] = np.nan
    for table in (pairs(docs, broken), pairs(broken, queries)):
        with pytest.raises(pl.exceptions.ComputeError, match="row 2: element 3 is NaN"):
            collect(table.lazy().select(pl.col("q").ruvector.distance("d")))


def test_lists_of_different_widths() -> None:
    table = pl.DataFrame({"a": [[1.0, 2.0]], "b": [[1.0]]}).cast(pl.List(pl.Float32))
    with pytest.raises(pl.exceptions.ComputeError, match="a has 2, b has 1"):
        table.select(pl.col("a").ruvector.distance("b"))


def test_impossible_arguments_are_seen_at_the_call() -> None:
    bad: Any = "euclid"
    with pytest.raises(rv.InvalidParameter, match="one of l2sq, l2, cosine, ip, got 'euclid'"):
        pl.col("a").ruvector.distance("b", bad)
    for other in ([], [[1.0]], np.ones((2, 2), np.float32), ["north"]):
        with pytest.raises(rv.InvalidParameter, match="other: expected a column, or one vector"):
            pl.col("a").ruvector.distance(other)
