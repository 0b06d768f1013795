"""Questions besides the k nearest, against what numpy says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Clustered, Vectors


@pytest.mark.parametrize("metric", ["l2sq", "l2", "cosine", "ip"])
def test_a_radius_finds_all_rows_within_it(metric: Any, docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs, metric=metric)
    index.delete(range(0, 2000, 3))
    index.add(docs[:100] * np.float32(1.01))
    everything = index.search(queries, k=len(index), exact=True)
    ids, near = everything.to_numpy()
    radius = float(np.sort(near.ravel())[1500])
    exact = index.within(queries, radius, exact=True)
    expected = {(q, i) for q, i in zip(*np.nonzero(near <= radius), strict=True)}
    assert len(exact) == len(expected)
    got = exact.to_polars()
    assert {(q, i) for q, i in zip(got["query_row"], got["id"], strict=True)} == {
        (q, ids[q, rank]) for q, rank in expected
    }
    assert max(got["distance"].to_list()) <= radius
    found = index.within(queries, radius)
    assert len(exact) >= len(found) >= 0.98 * len(exact)
    assert len(index.within(queries, -np.inf)) == 0
    assert len(index.within(queries, np.inf)) == len(index) * 20
    kept = index.within(queries, radius, exact=True, filter=range(1000))
    assert len(kept) == sum(i < 1000 for i in got["id"])


def test_the_graph_leaves_out_the_row_itself(docs: Vectors) -> None:
    index = rv.build(docs)
    graph = index.neighbours(k=3, exact=True).to_numpy()[0]
    truth = rv.exact_search(docs, docs, k=4).to_numpy()[0]
    assert graph.shape == (2000, 3)
    assert np.array_equal(graph, truth[:, 1:])
    assert rv.build(np.ones((3, 2), np.float32)).neighbours(k=2).to_numpy()[0].tolist() == [
        [1, 2],
        [0, 2],
        [0, 1],
    ]
    index.delete([1])
    assert index.neighbours(k=1).num_queries == 1999


def test_iteration_brings_every_row_once(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs)
    seen = [hits.to_numpy()[0].ravel() for hits in index.iterate(queries[0], batch=300)]
    assert [len(batch) for batch in seen] == [300] * 6 + [200]
    assert sorted(np.concatenate(seen).tolist()) == list(range(2000))
    truth = index.search(queries[0], k=2000, exact=True).to_numpy()[0][0]
    exact = np.concatenate([hits.to_numpy()[0][0] for hits in index.iterate(queries[0], 7, exact=True)])
    assert np.array_equal(exact, truth)
    iterator = index.iterate(queries[0], batch=5)
    index.delete(truth.tolist()[:1000])
    assert next(iterator).to_numpy()[0].tolist() == [truth[:5].tolist()]


def test_vectors_come_back(docs: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs, [f"d{row}" for row in range(2000)])
    assert np.array_equal(index.reconstruct(["d7", "d0", "d7"]), docs[[7, 0, 7]])
    assert index.reconstruct([]).shape == (0, 32)
    index.save(tmp_path / "codes", vectors="none")
    bare = rv.open(tmp_path / "codes")
    back = bare.reconstruct([f"d{row}" for row in range(2000)])
    cosines = (back * docs).sum(axis=1) / np.linalg.norm(back, axis=1) / np.linalg.norm(docs, axis=1)
    assert cosines.mean() > 0.8
    with pytest.raises(rv.UnknownId, match='unknown id "x"'):
        index.reconstruct(["d1", "x"])
    with pytest.raises(rv.InvalidParameter, match="vectors: expected an index that stores or borrows"):
        bare["d1"]


def documents(clustered: Clustered, count: int, seed: int) -> list[Vectors]:
    lengths = np.random.default_rng(seed).integers(0, 6, count)
    rows = clustered(int(lengths.sum()), 16, seed=seed)
    return np.split(rows, np.cumsum(lengths)[:-1])


def test_maxsim_is_the_sum_of_the_best_products(clustered: Clustered) -> None:
    docs, asked = documents(clustered, 500, 1), [doc for doc in documents(clustered, 12, 2) if len(doc)]
    column = pa.array([doc.tolist() for doc in docs], pa.list_(pa.list_(pa.float32(), 16)))
    index = rv.MultiVectorIndex.build(pa.chunked_array([column[:100], column[100:]]))
    assert (len(index), repr(index).startswith("MultiVectorIndex(500 documents")) == (500, True)
    for query in asked:
        scores = [(query @ doc.T).max(axis=1).sum() if len(doc) else -np.inf for doc in docs]
        best = np.argsort(scores)[::-1][:5]
        for hits in (index.search(query, k=5), index.search(query, k=5, exact=True)):
            ids, near = hits.to_numpy()
            assert ids[0].tolist() == best.tolist()
            np.testing.assert_allclose(near[0], -np.array(scores)[best], rtol=1e-5)
    frame = pl.Series([query.tolist() for query in asked], dtype=pl.List(pl.Array(pl.Float32, 16)))
    assert index.search(frame, k=5).num_queries == len(asked)
    named = rv.MultiVectorIndex.build(column, [f"d{row}" for row in range(500)], metric="cosine")
    assert named.search(docs[3] if len(docs[3]) else docs[4], k=1).to_numpy()[0][0, 0] in {"d3", "d4"}


INDEX: Any = rv.build([[0.0, 1.0], [2.0, 3.0]])
MULTI: Any = rv.MultiVectorIndex
NESTED: Any = pa.array([[[1, 2]], [[3, 4], [5, 6]]], pa.list_(pa.list_(pa.float32(), 2)))
BAD: dict[str, tuple[Any, type[rv.RuVectorError], str]] = {
    "radius": (
        lambda: INDEX.within([0.0, 1.0], float("nan")),
        rv.InvalidParameter,
        "radius: expected a number, got NaN",
    ),
    "width": (lambda: INDEX.within([0.0], 1.0), rv.DimensionMismatch, "dimension mismatch"),
    "recall": (
        lambda: INDEX.within([0.0, 1.0], 1.0, recall=2.0),
        rv.InvalidParameter,
        "recall: expected above 0",
    ),
    "k": (lambda: INDEX.neighbours(0), rv.InvalidParameter, "k: expected at least 1, got 0"),
    "batch": (lambda: INDEX.iterate([0.0, 1.0], 0), rv.InvalidParameter, "batch: expected at least 1, got 0"),
    "queries": (
        lambda: INDEX.iterate([[0.0, 1.0], [0.0, 1.0]]),
        rv.InvalidParameter,
        "query: expected one query, got 2 queries",
    ),
    "flat": (
        lambda: MULTI.build(np.ones((3, 2), np.float32)),
        rv.InvalidVectorType,
        "column: expected lists of vectors (list<fixed_size_list<float>>)",
    ),
    "document ids": (lambda: MULTI.build(NESTED, [1]), rv.InvalidParameter, "expected one id per vector (2)"),
    "narrow": (
        lambda: MULTI.build(NESTED).search([[1.0]]),
        rv.DimensionMismatch,
        "the index has 2, queries has 1",
    ),
    "empty": (lambda: MULTI.build(NESTED[:0]), rv.EmptyIndex, "no row that tells its dimension"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_meant_is_refused(case: str) -> None:
    ask, error, message = BAD[case]
    with pytest.raises(error) as caught:
        ask()
    assert message in str(caught.value)
