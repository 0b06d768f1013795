"""Find neighbours of real text in SQL, from a Parquet file to a join that is filtered on both sides.

The documents are 20,000 dictionary entries, the queries 200 others; examples/data/README.md tells more.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from textwrap import shorten

import duckdb
import pyarrow as pa
from pyarrow import parquet

import ruvector.duckdb

DATA = Path(__file__).parents[1] / "data"
DIM = 384

short = partial(shorten, placeholder="…")

BUILD = "FROM ruvector_build('docs', 'embedding', $path, id := 'id', metric := 'cosine')"

NAME = "SELECT rows, bits FROM ruvector_register('wordnet', $path)"

NEIGHBOURS = """
SELECT q.gloss AS query, d.words AS words, d.gloss AS gloss, n.distance AS distance
FROM queries q, ruvector_knn('wordnet', q.embedding, k := 3) n
JOIN docs d ON d.id = n.id
WHERE q.id IN (SELECT id FROM queries ORDER BY id LIMIT 3)
ORDER BY q.id, n.distance, n.id
"""

ANIMALS = """
SELECT q.gloss AS query, d.words AS words, d.gloss AS gloss, n.distance AS distance
FROM queries q, ruvector_knn(
    'wordnet', q.embedding, k := 2, filter := (SELECT list(id) FROM docs WHERE regexp_matches(gloss, $word))
) n
JOIN docs d ON d.id = n.id
WHERE regexp_matches(q.gloss, $word)
ORDER BY q.id, n.distance, n.id
LIMIT 6
"""


def main() -> None:
    """Run every part in turn."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        ruvector.duckdb.register(con)
        load(con, "docs", "wordnet_minilm_20k")
        load(con, "queries", "wordnet_minilm_queries")

        path = str(Path(folder) / "wordnet.arrow")
        con.execute(BUILD, {"path": path}).fetchall()
        ((rows, bits),) = con.execute(NAME, {"path": path}).fetchall()
        print(f"an index of {rows:,} rows, {bits} bit per dimension")

        show("The nearest entries of three queries:", con.execute(NEIGHBOURS).fetchall())
        animals = con.execute(ANIMALS, {"word": r"\b(animal|bird|fish)"}).fetchall()
        show("Only about animals, on both sides:", animals)
        queries, recall = con.execute("FROM ruvector_recall('wordnet')").fetchall()[0]
        print(f"\nrecall of the ten nearest, by {queries} rows of the index: {recall:.4f}")


def load(con: duckdb.DuckDBPyConnection, table: str, file: str) -> None:
    """Read a Parquet file into a table. Its halves are made floats on the way: DuckDB has none."""
    entries = parquet.read_table(DATA / f"{file}.parquet")
    floats = entries.column("embedding").cast(pa.list_(pa.float32(), DIM))
    place = entries.schema.get_field_index("embedding")
    con.register("entries", entries.set_column(place, "embedding", floats))
    con.execute(f"CREATE TABLE {table} AS FROM entries")
    con.unregister("entries")


def show(title: str, rows: list[tuple[str, str, str, float]]) -> None:
    """Print neighbours below their query."""
    print(f"\n{title}")
    before = None
    for query, words, gloss, distance in rows:
        if query != before:
            print(f"  {short(query, 90)}")
            before = query
        print(f"    {distance:.3f}  {short(words, 26):26}  {short(gloss, 60)}")


if __name__ == "__main__":
    main()
