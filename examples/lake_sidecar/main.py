"""One process writes, another one follows it through a small file beside the index.

The writer changes a collection and publishes its bundle into a folder; the reader, which asks no backend
while it searches, looks at that folder every few milliseconds and forgets what is no longer of the published
state. A row that the writer's lake forgets is hidden from the reader, too, before anybody has rewritten
anything.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import ruvector as rv

FOLDER = Path("build/lake_sidecar")
VECTORS, SIDECAR = FOLDER / "vectors", FOLDER / "sidecar"
DOCS = ("files", "docs")
DIM = 64
QUERY = np.zeros(DIM, np.float32)


def open_lake() -> tuple[rv.FsBackend, rv.RuLake]:
    """Return a backend over the files that both processes see, and a lake that asks it only when told to."""
    backend = rv.FsBackend("files", VECTORS)
    backend.register("docs", "docs.ruvec")
    lake = rv.RuLake.builder().consistency(rv.Consistency.FROZEN).build()
    lake.register_backend(backend)
    return backend, lake


def rows(first: int, seed: int) -> tuple[list[int], np.ndarray[tuple[int, int], np.dtype[np.float32]]]:
    """Return a thousand ids and vectors; the earlier ones are nearer to the query."""
    ids = list(range(first, first + 1000))
    vectors = np.random.default_rng(seed).standard_normal((1000, DIM), dtype=np.float32)
    return ids, vectors * np.linspace(0.1, 1, 1000, dtype=np.float32)[:, None]


def write() -> None:
    """Publish three states, and hide a row of the last one."""
    backend, lake = open_lake()
    for state in range(3):
        ids, vectors = rows(1000 * (state + 1), state)
        backend.write("docs", "docs.ruvec", ids=ids, vectors=vectors)
        bundle = lake.publish_bundle(DOCS, SIDECAR)
        print(f"writer: published the rows from {ids[0]} on, witness {bundle.witness[:12]}…", flush=True)
        time.sleep(0.5)
    nearest = lake.search_one(DOCS, QUERY, k=1).to_arrow().column("id")
    lake.forget(DOCS, nearest, dir=SIDECAR)
    print(f"writer: row {nearest[0]} is to be seen no more", flush=True)


def read(writer: subprocess.Popen[bytes]) -> None:
    """Search over and over, and print when the answer is another one."""
    _, lake = open_lake()
    seen: int | str | None = None
    deadline = time.monotonic() + 30
    running = True
    while running and time.monotonic() < deadline:
        # Once more after the writer has gone: its last word is there by then.
        running = writer.poll() is None
        if lake.refresh_from_bundle_dir(DOCS, SIDECAR) is rv.RefreshResult.BUNDLE_MISSING:
            time.sleep(0.01)
            continue
        nearest = lake.search_one(DOCS, QUERY, k=1)[0].id
        if nearest != seen:
            print(f"reader: the nearest row is {nearest}", flush=True)
            seen = nearest
        time.sleep(0.01)
    stats = lake.cache_stats()
    print(f"reader: {stats.hits} searches answered from the cache, {stats.misses} that had to pull")


if __name__ == "__main__":
    if "--writer" in sys.argv:
        write()
    else:
        shutil.rmtree(FOLDER, ignore_errors=True)
        for folder in (VECTORS, SIDECAR):
            folder.mkdir(parents=True)
        command = [sys.executable, "-W", "error", __file__, "--writer"]
        with subprocess.Popen(command) as started:  # noqa: S603 - ourselves
            read(started)
        sys.exit(started.returncode)
