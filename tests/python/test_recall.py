"""Default settings find 99 % of the true neighbours, whatever the dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ruvector as rv

if TYPE_CHECKING:
    from pathlib import Path

    from ruvector.typing import Metric
    from tests.python.conftest import Clustered


def recall(clustered: Clustered, dim: int, metric: Metric) -> float:
    rows, queries = clustered(4000, dim), clustered(200, dim, seed=1)
    truth = rv.exact_search(rows, queries, metric=metric)
    return rv.recall_at_k(rv.build(rows, metric=metric).search(queries), truth)


@pytest.mark.parametrize("metric", ["l2sq", "cosine", "ip"])
@pytest.mark.parametrize("dim", [64, 100, 128, 384, 768, 1000, 1536])
def test_recall_at_10(clustered: Clustered, dim: int, metric: Metric) -> None:
    assert recall(clustered, dim, metric) >= 0.99


@pytest.mark.parametrize(("bits", "least"), [(1, 0.5), (4, 0.9), (5, 0.94), (7, 0.98)])
@pytest.mark.parametrize("metric", ["l2sq", "cosine", "ip"])
def test_more_bits_answer_without_vectors(
    clustered: Clustered, tmp_path: Path, bits: int, least: float, metric: Metric
) -> None:
    rows, queries = clustered(4000, 384), clustered(200, 384, seed=1)
    truth = rv.exact_search(rows, queries, metric=metric)
    index = rv.build(rows, metric=metric, bits=bits)
    assert index.bits == bits
    assert f"{bits} bit" in repr(index)
    assert rv.recall_at_k(index.search(queries), truth) >= 0.99
    index.save(tmp_path / "codes.rbpx", vectors="none")
    with rv.open(tmp_path / "codes.rbpx") as codes:
        assert (codes.bits, codes.vectors) == (bits, "none")
        assert codes == index
        # By id: distances that are estimates say nothing of recall.
        found = zip(codes.search(queries).to_numpy()[0], truth.to_numpy()[0], strict=True)
        shares = [len(set(one.tolist()) & set(other.tolist())) / 10 for one, other in found]
        assert sum(shares) / len(shares) >= least


@pytest.mark.parametrize("bits", [0, 10, 1 << 40])
def test_no_other_number_of_bits(clustered: Clustered, bits: int) -> None:
    with pytest.raises(rv.InvalidParameter, match="bits"):
        rv.build(clustered(100, 8), bits=bits)
