"""Default settings find 99 % of the true neighbours, whatever the dimension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import ruvector as rv

if TYPE_CHECKING:
    from ruvector.typing import Metric
    from tests.python.conftest import Clustered


def recall(clustered: Clustered, dim: int, metric: Metric) -> float:
    rows, queries = clustered(4000, dim), clustered(200, dim, seed=1)
    truth = rv.exact_search(rows, queries, metric=metric)
    return rv.recall_at_k(rv.build(rows, metric=metric).search(queries), truth)


@pytest.mark.parametrize("metric", ["l2sq", "cosine"])
@pytest.mark.parametrize("dim", [64, 100, 128, 384, 768, 1000, 1536])
def test_recall_at_10(clustered: Clustered, dim: int, metric: Metric) -> None:
    assert recall(clustered, dim, metric) >= 0.99


@pytest.mark.parametrize("dim", [64, 384, 1000])
def test_recall_at_10_of_inner_products(clustered: Clustered, dim: int) -> None:
    # The largest products of a query belong to the longest rows, wherever they lie: they scatter over more
    # lists, and what a few hundred calibration rows say of them is less exact.
    assert recall(clustered, dim, "ip") >= 0.98
