"""A handle on one state of an index."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Vectors


def test_a_snapshot_sees_no_later_change(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs)
    index.add(docs[:5])
    before = index.search(queries).to_arrow()
    frozen = index.snapshot()
    index.delete(range(0, 2000, 2))
    index.add(docs[:500] + np.float32(1))
    index.compact(retrain=True)
    assert frozen.search(queries).to_arrow().equals(before)
    assert not index.search(queries).to_arrow().equals(before)
    assert (len(frozen), len(index)) == (2005, 1505)
    index.close()
    assert frozen.search(queries).to_arrow().equals(before)


def test_a_snapshot_refuses_to_be_changed(docs: Vectors) -> None:
    frozen = rv.build(docs).snapshot()
    for change in (
        lambda: frozen.add(docs[:1]),
        lambda: frozen.upsert(docs[:1], [0]),
        lambda: frozen.delete([0]),
        lambda: frozen.merge(rv.build(docs)),
        frozen.compact,
    ):
        with pytest.raises(
            rv.InvalidParameter, match=r"^index: expected one that may change, got a snapshot$"
        ):
            change()
    assert len(frozen) == 2000


def test_a_snapshot_is_an_index_otherwise(docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs)
    index.add(docs[:5])
    frozen = index.snapshot()
    path = tmp_path / "snapshot.arrow"
    frozen.save(path)
    found = frozen.search(queries).to_arrow()
    assert rv.open(path).search(queries).to_arrow().equals(found)
    assert pickle.loads(pickle.dumps(frozen)).search(queries).to_arrow().equals(found)
    assert (frozen.path, index.path, index.snapshot().path) == (str(path), None, None)
    assert rv.open(path).snapshot().path == str(path)
    frozen.close()
    with pytest.raises(rv.InvalidParameter, match="closed"):
        frozen.snapshot()
