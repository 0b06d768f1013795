"""Files of upstream's format, .rbpx version 1: by the letter, and with upstream's own package."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from tests.python.conftest import Clustered, Vectors

SCRIPT = Path(__file__).parents[1] / "interop" / "upstream.py"
UPSTREAM = Path(os.environ.get("RUVECTOR_UPSTREAM", Path(__file__).parents[2] / ".venv/upstream/bin/python"))
RERANK = 1024
"""Upstream compares ``k`` times this many rows exactly: all of them here, so that it finds the true
neighbours, which its estimator alone would not."""


def file_of(ids: list[int], rows: Vectors, **header: int) -> bytes:
    """Lay out a file as the format says."""
    version, dim = header.get("version", 1), header.get("dim", rows.shape[1])
    seed, factor, n = header.get("seed", 42), header.get("rerank_factor", 20), header.get("n", len(ids))
    begin = b"rbpx0001" + struct.pack("<IIQII", version, dim, seed, factor, n)
    return begin + b"".join(
        struct.pack("<I", key) + row.astype("<f4").tobytes() for key, row in zip(ids, rows, strict=True)
    )


def test_a_file_by_the_letter_is_opened_and_written(docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    path, again = tmp_path / "in.rbpx", tmp_path / "out.rbpx"
    ids = [13 * row + 7 for row in range(2000)]
    path.write_bytes(file_of(ids, docs, seed=2**64 - 1, rerank_factor=7))
    index = rv.RabitqPlusIndex.load(path)
    assert (len(index), index.dim, index.seed, index.rerank_factor) == (2000, 32, 2**64 - 1, 7)
    truth = rv.exact_search(docs, queries, ids=ids).to_numpy()
    found = index.search_batch(queries, recall=1).to_numpy()
    assert [part.tolist() for part in found] == [part.tolist() for part in truth]
    assert np.asarray(index).tolist() == docs.tolist()
    index.save(again, format="rbpx1")
    assert again.read_bytes() == path.read_bytes()
    opened = rv.open(path)
    assert (len(opened), opened.metric, opened.seed) == (2000, "l2sq", 2**64 - 1)
    with pytest.raises(rv.InvalidParameter, match="vectors"):
        rv.open(path, vectors=docs)
    assert rv.RabitqPlusIndex.load(path, rerank_factor=9).rerank_factor == 9
    assert rv.RabitqIndex.load(path).memory_bytes < docs.nbytes
    assert rv.FlatF32Index.load(path)[7].tolist() == docs[0].tolist()


def test_rows_that_are_there_are_written(docs: Vectors, tmp_path: Path) -> None:
    index = rv.RabitqPlusIndex.build(docs[:5])
    index.delete(0)
    index.add(id=2**32 - 1, vector=docs[9])
    index.save(tmp_path / "x", format="rbpx1")
    rows = docs[[1, 2, 3, 4, 9]]
    assert (tmp_path / "x").read_bytes() == file_of([1, 2, 3, 4, 2**32 - 1], rows)


def test_what_the_format_cannot_hold_is_refused(docs: Vectors, tmp_path: Path) -> None:
    path = tmp_path / "x"
    cases: list[dict[str, Any]] = [
        {"ids": [2**32, 1]},
        {"ids": [-1, 1]},
        {"ids": ["a", "b"]},
        {"rerank_factor": 1025},
    ]
    for options in cases:
        index = rv.RabitqPlusIndex.build(docs[:2], **options)
        with pytest.raises(rv.InvalidParameter):
            index.save(path, format="rbpx1")
    with pytest.raises(rv.InvalidParameter, match="metric: expected l2sq"):
        rv.RabitqPlusIndex.build(docs[:2], metric="cosine").save(path, format="rbpx1")
    wide = rv.RabitqPlusIndex.build(np.ones((1, 8193), np.float32))
    with pytest.raises(rv.InvalidParameter, match="8192"):
        wide.save(path, format="rbpx1")
    assert not path.exists()


def hostile(rows: Vectors) -> list[tuple[bytes, str, str]]:
    """Return files that must not be believed, with the reason and the message they are refused by."""
    good, ids = file_of([1, 2, 3], rows), [1, 2, 3]
    infinite = rows.copy()
    infinite[1, 2] = np.inf
    return [
        (good[:20], "corrupt", "it ends within the header"),
        (good[:-1], "corrupt", "take 428 bytes, the file has 427"),
        (good + b"\0", "corrupt", "take 428 bytes, the file has 429"),
        (file_of(ids, rows, version=0), "corrupt", "version"),
        (file_of(ids, rows, version=2), "unsupported_version", "version 2"),
        (file_of(ids, rows, dim=0), "corrupt", "dim"),
        (file_of(ids, rows, dim=8193), "corrupt", "dim"),
        (file_of(ids, rows, rerank_factor=0), "corrupt", "rerank factor"),
        (file_of(ids, rows, rerank_factor=1025), "corrupt", "rerank factor"),
        (file_of(ids, rows, n=100_000_001), "corrupt", "rows"),
        (file_of(ids, rows, n=100_000_000), "corrupt", "13200000032 bytes"),
        (file_of(ids, rows, n=2), "corrupt", "2 rows"),
        (file_of([1, 2, 1], rows), "corrupt", "its id 1 is that of an earlier row"),
        (file_of(ids, infinite), "corrupt", "row 1: element 2 is inf"),
        (file_of(ids, rows * np.float32(1e30)), "corrupt", "has a length above"),
    ]


@pytest.mark.parametrize("case", range(15))
def test_hostile_files_are_refused(case: int, docs: Vectors, tmp_path: Path) -> None:
    bytes_, reason, message = hostile(docs[:3])[case]
    path = tmp_path / "hostile.rbpx"
    path.write_bytes(bytes_)
    for opens in (rv.open, rv.RabitqPlusIndex.load, rv.RabitqIndex.load):
        with pytest.raises(rv.PersistError, match=message) as raised:
            opens(path)
        assert (raised.value.reason, raised.value.path) == (reason, str(path))


def test_flipped_bits_never_crash(docs: Vectors, tmp_path: Path) -> None:
    good = file_of([1, 2, 3], docs[:3])
    path, rng = tmp_path / "flipped.rbpx", np.random.default_rng(0)
    for _ in range(300):
        flipped = np.frombuffer(good, np.uint8).copy()
        flipped[rng.integers(0, len(good) if rng.random() < 0.5 else 36)] ^= 1 << rng.integers(0, 8)
        path.write_bytes(flipped.tobytes()[: rng.integers(1, 500)])
        with contextlib.suppress(rv.PersistError):
            assert len(rv.RabitqPlusIndex.load(path)) == 3


def test_a_file_without_rows_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(file_of([], np.empty((0, 4), np.float32)))
    with pytest.raises(rv.EmptyIndex):
        rv.RabitqPlusIndex.load(tmp_path / "x")


def test_a_file_that_upstream_wrote_is_opened() -> None:
    """Its vectors are those of ``default_rng(14)``, its answers what upstream said when it was written."""
    path = Path(__file__).parents[1] / "golden" / "rbpx1" / "upstream-0.1.4.rbpx"
    rows = np.random.default_rng(14).standard_normal((20, 8), dtype=np.float32)
    assert path.read_bytes() == file_of(list(range(20)), rows)
    hits = rv.RabitqPlusIndex.load(path).search(rows[3], 3, recall=1)
    assert [hit.id for hit in hits] == [3, 8, 6]
    assert np.allclose([hit.score for hit in hits], [0.0, 8.276286125183105, 9.523150444030762], rtol=1e-6)


def upstream(folder: Path, command: str) -> Any:
    """Run upstream's package in its own environment, for it has the same import name."""
    done = subprocess.run(
        [str(UPSTREAM), str(SCRIPT), command, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answers(index: rv.RabitqPlusIndex, queries: Vectors) -> list[list[tuple[int, float]]]:
    return [[(hit.id, hit.score) for hit in index.search(query, 10, recall=1)] for query in queries]


def agree(ours: Any, theirs: Any) -> None:
    """Ids in the same order; scores to the rounding of another order of summation."""
    for one, other in zip(ours, theirs, strict=True):
        assert [hit[0] for hit in one] == [hit[0] for hit in other]
        assert np.allclose([hit[1] for hit in one], [hit[1] for hit in other], rtol=1e-5)


@pytest.mark.parametrize("dim", [24, 100])
def test_files_go_to_upstream_and_come_back(dim: int, clustered: Clustered, tmp_path: Path) -> None:
    assert UPSTREAM.exists(), "`make test-python` makes the environment of upstream's package"
    rows, queries = clustered(800, dim), clustered(20, dim, seed=1)
    np.savez(tmp_path / "data.npz", rows=rows, queries=queries, rerank=RERANK)

    # From here to there, with ids up to the largest that the format holds.
    ids = np.random.default_rng(3).permutation(100_000)[:800] + 2**32 - 100_000
    ours = rv.RabitqPlusIndex.build(rows, ids=ids, rerank_factor=RERANK)
    ours.save(tmp_path / "ours.rbpx", format="rbpx1")
    agree(answers(ours, queries), upstream(tmp_path, "load"))

    # From there to here, with row numbers as ids: upstream 0.1.4 writes those, whatever ids it was given.
    built = upstream(tmp_path, "build")
    theirs = rv.RabitqPlusIndex.load(tmp_path / "theirs.rbpx")
    assert (theirs.rerank_factor, theirs.seed) == (RERANK, 42)
    agree(answers(theirs, queries), built)
    same = rv.RabitqPlusIndex.build(rows, rerank_factor=RERANK)
    assert same == theirs
    same.save(tmp_path / "same.rbpx", format="rbpx1")
    assert (tmp_path / "same.rbpx").read_bytes() == (tmp_path / "theirs.rbpx").read_bytes()
