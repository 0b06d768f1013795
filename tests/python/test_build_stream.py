"""Indexes of tables that come in batches."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


# A table of 200,000 rows; the process that codes them dies in the second pass, with 140,000 of them coded.
KILLED = """
import os, signal, sys
import numpy as np
import ruvector as rv

folder, dies = sys.argv[1], sys.argv[2] == "dies"
passes = 0

def batches():
    global passes
    passes += 1
    for part in range(20):
        if dies and passes == 2 and part == 14:
            os.kill(os.getpid(), signal.SIGKILL)
        yield np.random.default_rng(part).normal(size=(10_000, 16)).astype("f4")

index = rv.build_stream(batches, nlist=50, vectors="none", checkpoint=folder or None, threads=1)
print(passes, len(index), index.digest)
"""


def run(folder: Path | str, how: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED, str(folder), how]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_build_goes_on_after_its_process_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "build"
    assert run(folder, "dies").returncode == -9
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["checkpoint.json", "learned.rbpx", "part-0.rbpx", "part-1.rbpx"]
    again, whole = run(folder, "lives"), run("", "lives")
    assert again.stdout.split()[1:] == whole.stdout.split()[1:], again.stderr
    # Nothing is learned anew: the table is read once.
    assert (again.stdout.split()[0], whole.stdout.split()[0]) == ("1", "2")
    assert not folder.exists()


def test_a_checkpoint_belongs_to_one_build(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(size=(80_000, 8)).astype("f4")

    def broken(table: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
        yield table[:70_000]
        raise OSError("the disk is gone")

    build = partial(rv.build_stream, rows=80_000, vectors="f16", checkpoint=tmp_path)
    with pytest.raises(OSError, match="the disk is gone"):
        build(broken(rows))
    with pytest.raises(rv.InvalidParameter, match="checkpoint: expected a build that was begun with"):
        build(iter([rows]), bits=4)
    with pytest.raises(rv.InvalidParameter, match="70000 rows coded so far, got other rows"):
        build(iter([rows + 1]))
    with pytest.raises(rv.PersistError):
        rv.build_stream(iter([rows]), checkpoint=tmp_path / "part-0.rbpx")
    assert len(build(iter([rows]))) == 80_000
