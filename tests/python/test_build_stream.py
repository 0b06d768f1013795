"""Indexes of tables that come in batches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Iterator

WRONG: Any = "keep"
TABLE = np.random.default_rng(3).normal(size=(3000, 24)).astype("f4")


def batches(step: int = 700) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(TABLE), step):
        part = TABLE[start : start + step]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.ravel()), 24)
        names = pa.array([f"row {start + at}" for at in range(len(part))])
        yield pa.record_batch({"name": names, "embedding": vectors})


def test_batches_answer_like_the_whole_table() -> None:
    index = rv.build_stream(batches, column="embedding", ids="name", vectors="f32")
    assert (len(index), index.vectors) == (3000, "stored")
    found = index.search(TABLE[:20], k=3, exact=True)
    truth = rv.exact_search(TABLE, TABLE[:20], k=3, ids=[f"row {at}" for at in range(3000)])
    assert found.to_numpy()[0].tolist() == truth.to_numpy()[0].tolist()
    assert index.measure_recall(TABLE[:50] + np.float32(0.01)) >= 0.97


def test_the_size_of_batches_does_not_matter() -> None:
    digests = {rv.build_stream(partial(batches, step), column="embedding").digest for step in (1000, 3000)}
    assert len(digests) == 1


def test_one_pass_is_enough() -> None:
    index = rv.build_stream(batches(), column="embedding", rows=3000, vectors="none", bits=4)
    assert (len(index), index.vectors, index.bits) == (3000, "none", 4)


def test_what_batches_raise_comes_through() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(2000)
        raise OSError("the disk is gone")

    for source in (broken, broken()):
        with pytest.raises(OSError, match="the disk is gone"):
            rv.build_stream(source, column="embedding")


def test_bad_batches_are_named() -> None:
    with pytest.raises(rv.DimensionMismatch):
        rv.build_stream([TABLE, TABLE[:, :8].copy()])
    with pytest.raises(rv.EmptyIndex):
        rv.build_stream(lambda: iter(()))
    with pytest.raises(rv.InvalidParameter, match="one of none, f16, f32"):
        rv.build_stream(batches, vectors=WRONG)
