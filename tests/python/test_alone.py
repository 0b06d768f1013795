"""What needs no index: distances of pairs, codes of vectors by themselves; and answers by codes alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.conftest import Vectors


@pytest.mark.parametrize("metric", ["l2sq", "l2", "cosine", "ip"])
def test_pairs_are_measured_as_a_search_measures_them(metric: Any, docs: Vectors, queries: Vectors) -> None:
    for query in queries[:5]:
        measured = pa.array(rv.distance(query, docs, metric)).to_numpy()
        ids, near = rv.exact_search(docs, query, k=2000, metric=metric).to_numpy()
        assert np.array_equal(measured[ids[0]], near[0])
    each = pa.array(rv.distance(queries, docs[:20], metric)).to_pylist()
    ones = [pa.array(rv.distance(queries[at], docs[at], metric)).to_pylist()[0] for at in range(20)]
    assert each == ones


def test_pairs_without_a_vector_have_no_distance() -> None:
    a = pa.array([[0.0, 1.0], None, [1.0, 1.0]], pa.list_(pa.float32()))
    b = pa.array([[0.0, 0.0], [0.0, 0.0], None], pa.list_(pa.float32(), 2))
    assert pa.array(rv.distance(a, b)).to_pylist() == [1.0, None, None]
    assert pa.array(rv.distance(a, [0.0, 0.0])).to_pylist() == [1.0, None, 2.0]
    assert len(rv.distance(a.slice(0, 0).cast(pa.list_(pa.float32(), 2)), a.slice(0, 0))) == 0


@pytest.mark.parametrize(
    ("a", "b", "error", "message"),
    [
        ([[0.0]], [[0.0, 1.0]], rv.DimensionMismatch, "dimension mismatch: a has 1, b has 2"),
        ([[0.0]] * 2, [[0.0]] * 3, rv.InvalidParameter, "b: expected 2 rows, as a has, or one, got 3"),
        ([[0.0]], [[np.nan]], rv.InvalidVector, "b, row 0: element 0 is NaN, expected a finite number"),
        ([[np.inf]], [[0.0]], rv.InvalidVector, "a, row 0: element 0 is inf, expected a finite number"),
        ([["x"]], [[0.0]], rv.InvalidVectorType, "a, row 0: expected numbers, got str"),
    ],
)
def test_bad_pairs_are_refused(a: Any, b: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as refused:
        rv.distance(a, b)
    assert str(refused.value) == message


def test_an_unknown_metric_is_refused() -> None:
    unknown: Any = "foo"
    with pytest.raises(
        rv.InvalidParameter, match=r'^metric: expected one of l2sq, l2, cosine, ip, got "foo"$'
    ):
        rv.distance([0.0], [0.0], unknown)


def levels(codes: list[bytes], bits: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The numbers of the codes, less the middle: each code read as a vector."""
    planes = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), bits, -1)
    each = np.unpackbits(planes, axis=2, bitorder="little").astype(np.float64)
    weights = 2.0 ** np.arange(bits - 1, -1, -1)
    found: np.ndarray[Any, np.dtype[np.float64]] = np.tensordot(each, weights, axes=([1], [0]))
    found -= (2**bits - 1) / 2
    return found


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 9])
def test_a_code_gives_back_the_inner_product(bits: int, docs: Vectors, queries: Vectors) -> None:
    seed = 5
    table = pa.Table.from_struct_array(pa.array(rv.quantize(docs, bits, seed)))
    code = {name: np.asarray(table[name]) for name in ("norm", "f_add", "f_rescale", "f_error")}
    assert np.allclose(code["norm"], np.linalg.norm(docs, axis=1), rtol=1e-6)
    z = levels(table["code"].to_pylist(), bits)
    assert z.shape == (2000, 64)
    rotation = rv.RabitqIndex.build(docs[:10], seed=seed).rotation()
    for query in queries:
        rotated = rotation.apply(query).astype(np.float64)
        squared = rotated @ rotated
        estimate = code["f_add"] + squared + code["f_rescale"] * (z @ rotated)
        inner = (code["norm"] ** 2 + query @ query - estimate) / 2
        bound = code["f_error"] * np.sqrt(squared) / 2
        off = np.abs(inner - docs.astype(np.float64) @ query)
        assert (off <= 6 * bound + 1e-4).all()
        assert np.mean(off <= bound + 1e-4) > 0.5


def test_more_bits_say_more(docs: Vectors) -> None:
    errors = [
        np.mean(pa.Table.from_struct_array(pa.array(rv.quantize(docs, bits)))["f_error"].to_numpy())
        for bits in range(1, 8)
    ]
    assert all(after < 0.65 * before for before, after in pairwise(errors))


def test_codes_do_not_depend_on_threads_and_nulls_have_none(docs: Vectors) -> None:
    one = pa.array(rv.quantize(docs, 3, threads=1))
    assert one.equals(pa.array(rv.quantize(docs, 3, threads=2)))
    column = pa.array([docs[0], None, docs[2]], pa.list_(pa.float32()))
    assert pa.array(rv.quantize(column, 3)).to_pylist() == [one[0].as_py(), None, one[2].as_py()]
    assert one.type == pa.struct(
        [
            ("code", pa.binary()),
            *((name, pa.float32()) for name in ("norm", "f_add", "f_rescale", "f_error")),
        ]
    )


@pytest.mark.parametrize(
    ("vectors", "bits", "message"),
    [
        ([[0.0]], 0, "bits: expected at least 1, got 0"),
        ([[0.0]], 10, "bits: expected 1 to 9, got 10"),
        ([[0.0], [np.nan]], 1, "v, row 1: element 0 is NaN, expected a finite number"),
        ([[3e19]], 1, "v, row 0: has a length above 2.3e18, whose square is too large"),
    ],
)
def test_what_cannot_be_coded_is_refused(vectors: Any, bits: int, message: str) -> None:
    with pytest.raises(rv.RuVectorError) as refused:
        rv.quantize(vectors, bits)
    assert str(refused.value) == message


def test_without_rerank_the_estimates_answer(
    docs: Vectors, queries: Vectors, tmp_path: Any, recall_of: Callable[[rv.Hits, rv.Hits], float]
) -> None:
    index = rv.build(docs, bits=6)
    index.save(tmp_path / "codes.arrow", vectors="none")
    codes = rv.open(tmp_path / "codes.arrow")
    found = index.search(queries, rerank=False)
    assert not found.exact
    assert found.to_arrow().equals(codes.search(queries).to_arrow())
    truth = index.search(queries, exact=True)
    assert recall_of(found, truth) > 0.9
    assert sum(index.explain(queries, rerank=False).to_dict()["reranked"]) == 0
    few = index.search(queries, rerank=False, filter=range(20))
    assert not few.exact
    assert set(np.asarray(few.to_arrow()["id"])) <= set(range(20))
    with pytest.raises(rv.InvalidParameter, match=r"^rerank: expected true with exact, got false$"):
        index.search(queries, exact=True, rerank=False)


@pytest.fixture
def recall_of() -> Callable[[rv.Hits, rv.Hits], float]:
    """The share of the ids that are among the true ones: distances may be estimates."""

    def measure(found: rv.Hits, truth: rv.Hits) -> float:
        pairs = zip(found.to_numpy()[0], truth.to_numpy()[0], strict=True)
        return float(np.mean([np.isin(ids, wanted).mean() for ids, wanted in pairs]))

    return measure
