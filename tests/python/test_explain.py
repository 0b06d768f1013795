"""What `explain`, `measure_recall` and `tune` tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv

RNG = np.random.default_rng(8)
CORNERS = RNG.normal(size=(20, 48)) * 3


def rows(count: int) -> np.ndarray:
    return (CORNERS[RNG.integers(0, 20, count)] + RNG.normal(size=(count, 48))).astype("f4")


TABLE, QUERIES = rows(6000), rows(40)


@pytest.fixture(scope="module")
def index() -> rv.Index:
    return rv.build(TABLE)


def test_counts_add_up(index: rv.Index) -> None:
    told = index.explain(QUERIES, k=5).to_dict()
    assert told["query_row"] == list(range(40))
    for lists, codes, pruned, survivors, reranked, on_target in zip(
        *(told[name] for name in ("lists", "codes", "pruned", "survivors", "reranked", "on_target")),
        strict=True,
    ):
        assert 1 <= lists <= index.nlist
        assert codes == pruned + survivors <= len(index)
        assert 5 <= reranked <= survivors
        assert on_target in (True, False)
    assert sum(told["on_target"]) > 30


def test_more_recall_costs_more(index: rv.Index) -> None:
    cost = [sum(index.explain(QUERIES, recall=recall).to_dict()["codes"]) for recall in (0.8, 0.95, 0.999)]
    assert cost == sorted(cost)
    assert cost[0] < cost[2]


def test_exact_searches_compare_with_every_row(index: rv.Index) -> None:
    told = index.explain(QUERIES[:1], exact=True).to_dict()
    assert (told["lists"], told["codes"], told["reranked"], told["on_target"]) == ([0], [0], [6000], [True])


def test_queries_far_from_every_row_are_not_on_target(index: rv.Index) -> None:
    told = index.explain(QUERIES + np.float32(50)).to_dict()
    assert not any(
        on for on, lists in zip(told["on_target"], told["lists"], strict=True) if lists < index.nlist
    )


def test_nprobe_has_no_target_and_a_null_query_no_row(index: rv.Index) -> None:
    queries = pa.array([QUERIES[0].tolist(), None], pa.list_(pa.float32(), 48))
    told = pa.table(index.explain(queries, nprobe=2))
    assert told.column_names[:3] == ["query_row", "lists", "codes"]
    assert told["lists"].to_pylist() == [2, None]
    assert told["on_target"].to_pylist() == [False, None]


def test_recall_is_measured_against_the_exact_search(index: rv.Index) -> None:
    found = index.search(QUERIES, k=10, nprobe=1)
    truth = rv.exact_search(TABLE, QUERIES, k=10)
    assert index.measure_recall(QUERIES, nprobe=1) == rv.recall_at_k(found, truth)
    assert index.measure_recall(QUERIES) >= 0.98


def test_tuning_gives_a_frame_and_a_picture(index: rv.Index) -> None:
    tuning = index.tune(QUERIES)
    frame = tuning.frame.to_dict()
    assert set(frame) == {"target", "recall", "queries_per_second", "lists", "codes", "reranked", "on_target"}
    assert all(rate > 0 for rate in frame["queries_per_second"])
    assert frame["recall"][-1] >= 0.99
    assert tuning.picture.startswith("<svg")
    assert tuning.picture.count("<circle") == len(tuning.frame)


def test_tuning_asks_with_rows_of_its_own(index: rv.Index) -> None:
    assert len(index.tune().frame) == 7


def test_codes_alone_cannot_be_tuned(tmp_path: object) -> None:
    index = rv.build(TABLE)
    index.save(f"{tmp_path}/codes.rbpx", vectors="none")
    codes = rv.open(f"{tmp_path}/codes.rbpx")
    with pytest.raises(rv.InvalidParameter, match="codes only"):
        codes.tune()


def test_a_table_refuses_what_is_no_number() -> None:
    text: Any = ["a"]
    with pytest.raises(TypeError):
        rv.Table({"name": text})
