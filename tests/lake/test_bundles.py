"""Bundles and indexes in folders: followed, warmed after a kill, signed, tampered with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import ruvector as rv
from ruvector.lake import public_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ruvector._ruvector import LakeRows
    from ruvector.lake import RuLakeBuilder

ROWS = np.random.default_rng(0).standard_normal((500, 8), dtype=np.float32)
KEY = ("memory", "docs")


def lake_of(
    configure: Callable[[RuLakeBuilder], RuLakeBuilder] = lambda builder: builder,
) -> tuple[rv.RuLake, rv.LocalBackend]:
    backend = rv.LocalBackend("memory")
    backend.put_collection("docs", ids=range(1000, 1500), vectors=ROWS)
    lake = configure(rv.RuLake.builder()).build()
    lake.register_backend(backend)
    return lake, backend


def test_a_reader_follows_what_a_writer_publishes(tmp_path: Path) -> None:
    lake, backend = lake_of()
    assert lake.refresh_from_bundle_dir(KEY, tmp_path) is rv.RefreshResult.BUNDLE_MISSING
    lake.search_one("docs", ROWS[0])
    published = lake.publish_bundle("docs", tmp_path)
    assert published.path == tmp_path / "table.rulake.json"
    assert published.witness == lake.cache_witness_of(KEY)
    assert lake.refresh_from_bundle_dir(KEY, tmp_path) is rv.RefreshResult.UP_TO_DATE
    backend.append("docs", id=1, vector=ROWS[1])
    again = lake.publish_bundle("docs", tmp_path)
    assert again.witness != published.witness
    assert lake.refresh_from_bundle_dir(KEY, tmp_path) is rv.RefreshResult.INVALIDATED
    assert lake.cache_witness_of(KEY) is None
    assert lake.refresh_from_bundle_dir(KEY, tmp_path) is rv.RefreshResult.UP_TO_DATE


WRITER = """
import sys, time
import numpy as np
import ruvector as rv
rows = np.random.default_rng(0).standard_normal((500, 8), dtype=np.float32)
backend = rv.LocalBackend("memory")
backend.put_collection("docs", ids=range(1000, 1500), vectors=rows)
lake = rv.RuLake.builder().build()
lake.register_backend(backend)
for row in rows[:20]:
    print(*[f"{hit.id}:{hit.score!r}" for hit in lake.search_one("docs", row, k=5)])
lake.save_cache_to_dir("docs", sys.argv[1])
print("saved", flush=True)
time.sleep(600)
"""


def test_a_killed_process_leaves_a_warm_start(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = []
        while (line := writer.stdout.readline().strip()) != "saved":
            assert line, "the writer ended"
            told.append(line)
        os.kill(writer.pid, signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    lake = rv.RuLake.builder().consistency(rv.Consistency.FROZEN).build()
    assert lake.warm_from_dir(KEY, tmp_path) == 500
    assert lake.warm_from_dir(KEY, tmp_path) == 500, "twice is harmless"
    found = [
        " ".join(f"{hit.id}:{hit.score!r}" for hit in lake.search_one(KEY, row, k=5)) for row in ROWS[:20]
    ]
    assert found == told, "the same rows under the same ids, at the same distances"
    stats = lake.cache_stats()
    assert (stats.primes, stats.warm_installs, stats.hits, stats.misses) == (0, 1, 20, 0)
    bundle = rv.RuLakeBundle.read(tmp_path)
    assert bundle is not None
    assert (bundle.rows, bundle.dim, bundle.metric, bundle.bits) == (500, 8, "l2sq", 1)
    assert bundle.witness == lake.cache_witness_of(KEY)


@pytest.mark.parametrize("name", [".rbpx", "table.rulake.json"])
def test_a_tampered_file_is_refused(tmp_path: Path, name: str) -> None:
    lake, _ = lake_of()
    lake.search_one("docs", ROWS[0])
    lake.save_cache_to_dir("docs", tmp_path)
    (path,) = tmp_path.glob(f"*{name}")
    content = bytearray(path.read_bytes())
    if name.endswith("json"):
        content = bytearray(content.replace(b'"dim": 8', b'"dim": 9'))
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)
    fresh = rv.RuLake.builder().build()
    with pytest.raises(rv.WitnessMismatch) as mismatch:
        fresh.warm_from_dir(KEY, tmp_path)
    assert name in mismatch.value.what
    assert mismatch.value.expected != mismatch.value.actual
    assert fresh.cache_entry_count() == 0


def test_files_that_are_no_bundles_are_refused(tmp_path: Path) -> None:
    lake, _ = lake_of()
    path = tmp_path / "table.rulake.json"
    path.write_text("{}")
    with pytest.raises(rv.InvalidBundle) as invalid:
        lake.refresh_from_bundle_dir(KEY, tmp_path)
    assert invalid.value.path == str(path)
    path.write_text(" " * 70_000)
    with pytest.raises(rv.TooLarge) as large:
        rv.RuLakeBundle.read(tmp_path)
    assert (large.value.limit, large.value.actual) == (65_536, 70_000)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(rv.UnsafePath):
        rv.RuLakeBundle.read(tmp_path)
    with pytest.raises(rv.InvalidBundle, match="none in the folder"):
        lake.warm_from_dir(KEY, tmp_path / "none")
    assert rv.RuLakeBundle.read(tmp_path / "none") is None
    with pytest.raises(rv.CacheMissError):
        lake.save_cache_to_dir(KEY, tmp_path)


def test_only_trusted_bundles_are_believed(tmp_path: Path) -> None:
    secret, other = bytes(range(32)), bytes(32)
    writer, _ = lake_of(lambda builder: builder.sign_with(secret))
    writer.search_one("docs", ROWS[0])
    writer.save_cache_to_dir("docs", tmp_path)
    assert rv.RuLakeBundle.signer_of(tmp_path) == public_key(secret)
    trusting, _ = lake_of(lambda builder: builder.trust(public_key(other), public_key(secret)))
    assert trusting.warm_from_dir(KEY, tmp_path) == 500
    wary, _ = lake_of(lambda builder: builder.trust(public_key(other)))
    with pytest.raises(rv.WitnessMismatch, match="signer"):
        wary.warm_from_dir(KEY, tmp_path)
    bundle = rv.RuLakeBundle.read(tmp_path)
    assert bundle is not None
    assert bundle.write(tmp_path).content_witness == bundle.content_witness
    assert rv.RuLakeBundle.signer_of(tmp_path) is None
    with pytest.raises(rv.WitnessMismatch, match="none"):
        trusting.refresh_from_bundle_dir(KEY, tmp_path)
    bundle.write(tmp_path, sign_with=other)
    assert wary.refresh_from_bundle_dir(KEY, tmp_path) is rv.RefreshResult.UP_TO_DATE
    with pytest.raises(rv.InvalidParameter, match="32 bytes"):
        lake_of(lambda builder: builder.sign_with(b"short"))
    with pytest.raises(rv.InvalidParameter, match="32 bytes"):
        lake_of(lambda builder: builder.trust(b"short"))


def test_tags_travel_with_the_bundle(tmp_path: Path) -> None:
    lake, _ = lake_of()
    lake.configure("docs", pii_policy="eu", lineage_id="job-7", memory_class="episodic")
    lake.search_one("docs", ROWS[0])
    held = lake.cache_entries().to_polars()
    assert held.select(
        "backend", "collection", "rows", "pii_policy", "lineage_id", "memory_class"
    ).rows() == [("memory", "docs", 500, "eu", "job-7", "episodic")]
    lake.publish_bundle("docs", tmp_path)
    text: dict[str, Any] = json.loads((tmp_path / "table.rulake.json").read_text())
    assert (text["pii_policy"], text["lineage_id"], text["memory_class"]) == ("eu", "job-7", "episodic")
    bundle = rv.RuLakeBundle.read(tmp_path)
    assert bundle is not None
    assert (bundle.pii_policy, bundle.lineage_id, bundle.memory_class) == ("eu", "job-7", "episodic")
    assert bundle == lake.bundle_of("docs")


def test_another_coding_is_another_index(tmp_path: Path) -> None:
    lake, _ = lake_of()
    lake.search_one("docs", ROWS[0])
    lake.save_cache_to_dir("docs", tmp_path)
    other, _ = lake_of(lambda builder: builder.metric("ip").bits(4).rotation_seed(7).rerank_factor(5))
    with pytest.raises(rv.InvalidParameter, match="seed"):
        other.warm_from_dir(KEY, tmp_path)
    other.search_one("docs", ROWS[0])
    bundle = other.bundle_of("docs")
    assert bundle is not None
    assert (bundle.metric, bundle.bits, bundle.rotation_seed, bundle.rerank_factor) == ("ip", 4, 7, 5)


def test_rows_are_forgotten_here_and_wherever_the_folder_is_followed(tmp_path: Path) -> None:
    lake, backend = lake_of()
    reader, _ = lake_of()
    nearest = lake.search_one("docs", ROWS[0], k=1)[0].id
    assert nearest == 1000
    reader.search_one("docs", ROWS[0])
    lake.save_cache_to_dir("docs", tmp_path)
    assert lake.forget("docs", [1000, 1001], tmp_path) == 2
    assert lake.forget("docs", [1000]) == 0
    assert 1000 not in {hit.id for hit in lake.search_one("docs", ROWS[0], k=500)}
    assert len(lake.search_one("docs", ROWS[0], k=500)) == 498
    assert pl.DataFrame(lake.scan("docs"))["id"].min() == 1002
    assert reader.search_one("docs", ROWS[0], k=1)[0].id == 1000
    reader.refresh_from_bundle_dir(KEY, tmp_path)
    assert len(reader.search_one("docs", ROWS[0], k=500)) == 498
    warmed = rv.RuLake.builder().consistency(rv.Consistency.FROZEN).build()
    warmed.warm_from_dir(KEY, tmp_path)
    assert len(warmed.search_one(KEY, ROWS[0], k=500)) == 498
    assert len(pl.DataFrame(_all_of(backend))) == 500, "the backend is not touched"


def _all_of(backend: rv.LocalBackend) -> LakeRows:
    other = rv.RuLake.builder().build()
    other.register_backend(backend)
    return other.scan("docs")
