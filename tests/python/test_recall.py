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


@pytest.mark.parametrize("metric", ["l2sq", "cosine", "ip"])
@pytest.mark.parametrize("dim", [64, 100, 128, 384, 768, 1000, 1536])
def test_recall_at_10(clustered: Clustered, dim: int, metric: Metric) -> None:
    assert recall(clustered, dim, metric) >= 0.99
