"""The answers are right, and always the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import ruvector as rv
from ruvector.typing import Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.conftest import Clustered, Vectors

METRICS: tuple[Metric, ...] = get_args(Metric)
Distances = "Callable[[Any, Any, str], Any]"

values = st.floats(-100, 100, width=16)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Vectors, Vectors, int]:
    """Rows, queries, k: small enough for ties, zeros and k beyond the rows to be common."""
    dim = draw(st.integers(1, 19))
    rows = draw(arrays(np.float32, (draw(st.integers(1, 70)), dim), elements=values))
    asked = draw(arrays(np.float32, (draw(st.integers(1, 4)), dim), elements=values))
    return rows, asked, draw(st.integers(1, 75))


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=40)
@given(problem=problems())
def test_exact_answers_are_those_of_the_definition(
    metric: Metric, distances: Any, problem: tuple[Vectors, Vectors, int]
) -> None:
    rows, asked, k = problem
    truth = distances(rows, asked, metric)
    for hits in (
        rv.exact_search(rows, asked, k, metric=metric),
        rv.build(rows, metric=metric).search(asked, k, exact=True),
        rv.build(rows, metric=metric).search(asked, k, recall=1.0),
    ):
        assert hits.exact
        ids, near = hits.to_numpy()
        assert ids.shape == (len(asked), min(k, len(rows)))
        scale = 1e-6 * (1 + np.abs(rows).max() ** 2 * rows.shape[1])
        for query in range(len(asked)):
            assert len(set(ids[query])) == len(ids[query])
            loose = np.sqrt(scale) if metric == "l2" else scale
            np.testing.assert_allclose(near[query], np.sort(truth[query])[:k], rtol=1e-5, atol=loose)
            np.testing.assert_allclose(near[query], truth[query][ids[query]], rtol=1e-5, atol=loose)
            order = list(zip(near[query].tolist(), ids[query].tolist(), strict=True))
            assert order == sorted(order), "best first, ties by id"


@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_to_the_smaller_id(metric: Metric) -> None:
    rows = np.ones((100, 8), np.float32)
    ids = np.random.default_rng(0).permutation(100)
    found, near = rv.build(rows, ids, metric=metric).search(rows[0], k=5, exact=True).to_numpy()
    assert found.tolist() == [[0, 1, 2, 3, 4]]
    assert len(set(near.ravel().tolist())) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_exact_by_default(metric: Metric, docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs, metric=metric)
    hits, truth = index.search(queries), rv.exact_search(docs, queries, metric=metric)
    assert hits.exact
    assert rv.recall_at_k(hits, truth) >= 0.99
    (found, near), (true_ids, true_near) = hits.to_numpy(), truth.to_numpy()
    assert np.array_equal(near[found == true_ids], true_near[found == true_ids])


def test_effort_decides_recall(clustered: Clustered) -> None:
    rows, asked = clustered(6000, 48), clustered(100, 48, seed=3)
    index = rv.build(rows, nlist=64)
    truth = rv.exact_search(rows, asked)

    def recall(**effort: Any) -> float:
        return rv.recall_at_k(index.search(asked, **effort), truth)

    assert recall(nprobe=1) < recall(nprobe=8) <= recall(nprobe=64)
    assert recall(nprobe=64, epsilon=0.0) < recall(nprobe=64, epsilon=4.0)
    assert recall(nprobe=10**9) >= 0.99
    assert recall(recall=0.999) >= 0.995
    assert recall(exact=True) == recall(recall=1.0) == 1.0


def everything(threads: int | None = None) -> str:
    """A digest of an index and of hits of every kind."""
    rng = np.random.default_rng(0)
    rows, asked = (rng.standard_normal((n, 100), dtype=np.float32) for n in (1500, 20))
    parts = []
    for metric in METRICS:
        index = rv.build(rows, metric=metric, threads=threads)
        parts.append(index.digest)
        for hits in (
            index.search(asked, threads=threads),
            index.search(asked, nprobe=3, threads=threads),
            index.search(asked, exact=True, threads=threads),
            rv.exact_search(rows, asked, metric=metric, threads=threads),
        ):
            parts += [part.tobytes().hex() for part in hits.to_numpy()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def test_threads_change_nothing() -> None:
    assert len({everything(threads) for threads in (1, 2, 4, None)}) == 1


def test_simd_levels_change_nothing(python: Callable[..., str]) -> None:
    import inspect

    needs = {
        "scalar": (),
        "avx2": ("avx2", "fma", "f16c"),
        "avx512": ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
        "neon": ("neon",),
    }
    features = rv.cpu_features()["detected"]
    levels = [level for level, names in needs.items() if all(features.get(name) for name in names)]
    code = "\n".join(
        [
            "import hashlib, numpy as np, ruvector as rv",
            "METRICS = 'l2sq', 'l2', 'cosine', 'ip'",
            inspect.getsource(everything).replace(": int | None", ""),
            "print(rv.simd_level(), everything())",
        ]
    )
    printed = [python(code, RUVECTOR_SIMD=level).split() for level in levels]
    assert printed == [[level, everything()] for level in levels]
    assert rv.simd_level() == levels[-1]


def test_a_simd_level_that_does_not_exist_is_refused(python: Callable[..., str]) -> None:
    code = """
import ruvector as rv
for call in (rv.simd_level, lambda: rv.build([[1.0]]), lambda: rv.exact_search([[1.0]], [1.0])):
    try:
        call()
    except rv.InvalidParameter as error:
        print(error)
"""
    expected = 'RUVECTOR_SIMD: expected one of scalar, avx2, avx512, neon, got "avx9000"\n'
    assert python(code, RUVECTOR_SIMD="avx9000") == expected * 3


def test_the_seed_decides(docs: Vectors) -> None:
    assert rv.build(docs, seed=1) == rv.build(docs, seed=1)
    assert rv.build(docs, seed=1) != rv.build(docs, seed=2)
    assert rv.build(docs, seed=2**64 - 1).seed == 2**64 - 1


def test_numbers_may_be_numpys(docs: Vectors) -> None:
    hits = rv.build(docs, nlist=np.int32(5)).search(
        docs[0], k=np.int64(3), nprobe=np.uint8(2), recall=np.float64(0.5)
    )
    assert len(hits) == 3


def test_an_index_describes_itself(docs: Vectors) -> None:
    index = rv.build(docs, metric="cosine")
    assert (len(index), index.dim, index.metric, index.nlist, index.bits) == (2000, 32, "cosine", 31, 1)
    assert (index.id_type, index.vectors, index.null_count, index.path) == ("int64", "borrowed", 0, None)
    codes = 2000 * (32 // 8 + 3 * 2)
    assert codes < index.memory_bytes < docs.nbytes
    assert index.mapped_bytes == 0
    kilobytes = index.memory_bytes / 1000
    assert repr(index) == f"Index(2000 x 32, cosine, 31 lists, 1 bit, borrowed vectors, {kilobytes:.1f} kB)"
    assert index != "index"
    with pytest.raises(TypeError, match="unhashable"):
        hash(index)
    with pytest.raises(TypeError):
        rv.Index()


def test_an_index_is_an_arrow_table(docs: Vectors) -> None:
    index = rv.build(docs, [f"d{row}" for row in range(2000)])
    table = pa.table(index)
    assert {"list_id", "bin_code", "f_add", "f_rescale", "f_error"} <= set(table.column_names)
    assert sum(table.column("count").to_pylist()) == 2000
    assert b"ruvector" in table.schema.metadata


def test_hits_are_a_table(docs: Vectors) -> None:
    import polars as pl

    hits = rv.build(docs).search(docs[:3], k=2)
    assert repr(hits) == "Hits(3 queries, 6 hits, exact distances)"
    table = pa.table(hits)
    assert table.schema.types == [pa.int64(), pa.int32(), pa.int64(), pa.float32()]
    assert table.column_names == ["query_row", "rank", "id", "distance"]
    assert pl.from_arrow(table).equals(hits.to_polars())  # type: ignore[arg-type]
    assert table["rank"].to_pylist() == [0, 1] * 3
    nested = pl.Series(hits.nested())
    assert nested.dtype == pl.List(pl.Struct({"id": pl.Int64, "distance": pl.Float32}))
    flat = pl.DataFrame({"hits": nested}).explode("hits").unnest("hits")
    assert flat.equals(hits.to_polars().select("id", "distance"))


def test_a_requested_schema_is_a_wish_that_is_not_granted(docs: Vectors) -> None:
    hits = rv.build(docs).search(docs[:3], k=2)
    wanted = hits.to_arrow().schema.set(0, pa.field("query_row", pa.int32()))
    found = pa.RecordBatchReader.from_stream(hits, wanted).read_all()
    assert found.equals(hits.to_arrow())
