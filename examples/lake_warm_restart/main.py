"""Restart a service without building its indexes anew: what one process saved, the next one maps.

The first process pulls 20,000 dictionary entries from a Parquet file and codes them; the second one finds
both done, believes the files only because their digests are right, and answers alike. examples/data/README.md
tells more.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import polars as pl

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data"
SAVED = Path("build/lake_warm_restart")
ENTRIES = ("library", "entries")


def open_lake() -> rv.RuLake:
    """Return a lake over the Parquet file; nothing is read yet."""
    library = rv.ParquetBackend("library", DATA)
    library.register("entries", "wordnet_minilm_20k.parquet")
    lake = rv.RuLake.builder().metric("cosine").build()
    lake.register_backend(library)
    return lake


def timed(what: str, call: Callable[[], object]) -> None:
    """Do it, and print how long that took."""
    started = perf_counter()
    call()
    print(f"  {what:42} {(perf_counter() - started) * 1000:8.1f} ms")


def answer(lake: rv.RuLake) -> None:
    """Print the nearest entries of the first query, and what the cache did for it."""
    query = pl.read_parquet(DATA / "wordnet_minilm_queries.parquet").head(1)
    asked = query["embedding"][0].to_numpy()
    timed("first search", lambda: lake.search_one(ENTRIES, asked, k=3))
    timed("second search", lambda: lake.search_one(ENTRIES, asked, k=3))
    stats = lake.cache_stats()
    print(f"  pulled and coded {stats.primes} times, taken from files {stats.warm_installs} times")
    print(f"  nearest to {query['words'][0]!r}: {[hit.id for hit in lake.search_one(ENTRIES, asked, k=3)]}")


def first_process() -> None:
    """Search, which pulls and codes, and save what came of it."""
    print("The first process:")
    shutil.rmtree(SAVED, ignore_errors=True)
    lake = open_lake()
    answer(lake)
    saved = lake.save_cache_to_dir(ENTRIES, SAVED)
    print(f"  saved under the witness {saved.witness[:16]}…")


def second_process() -> None:
    """Map what was saved, and search."""
    print("\nThe second process:")
    lake = open_lake()
    timed("warm start", lambda: lake.warm_from_dir(ENTRIES, SAVED))
    answer(lake)
    print(f"  its witness is {(lake.cache_witness_of(ENTRIES) or '')[:16]}…")


def tampered() -> None:
    """Show that a file of which one byte was changed is refused."""
    print("\nWith one byte of the index changed:")
    file = max(SAVED.iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    try:
        open_lake().warm_from_dir(ENTRIES, SAVED)
    except rv.errors.WitnessMismatch as error:
        print(f"  WitnessMismatch: {str(error)[:90]}…")


if __name__ == "__main__":
    if "--restarted" in sys.argv:
        second_process()
    else:
        first_process()
        sys.stdout.flush()
        subprocess.run([sys.executable, "-W", "error", __file__, "--restarted"], check=True)  # noqa: S603 - ourselves
        tampered()
