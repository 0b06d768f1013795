"""From text in a Parquet file to neighbours in DuckDB, through three processes that speak Arrow Flight.

The first process scans the Parquet file, the second one makes vectors of text, the third one is
``ruvector serve``. Batches go from one to the next as they come, and what the second one cannot make much of
is left out on the way. DuckDB reads the end of the stream; nothing lies in memory as a whole.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as fl
import pyarrow.parquet as pq

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DATA = Path(__file__).parents[1] / "data"
DOCS, QUERIES = DATA / "wordnet_minilm_20k.parquet", DATA / "wordnet_minilm_queries.parquet"
INDEX = Path("build/flight_pipeline/docs.rbpx")
HERE = "grpc://127.0.0.1:0"
DIM = 384
ROWS = 50  # of a batch
AHEAD = 2  # batches that are under way in each stage
VECTOR = pa.list_(pa.float32(), DIM)


class Scan(fl.FlightServerBase):  # type: ignore[misc] # pyarrow ships no types
    """Rows of a Parquet file, batch by batch."""

    def do_get(self, context: Any, ticket: Any) -> Any:  # noqa: ANN401 - pyarrow's
        """Stream the columns that the ticket names."""
        del context
        columns = ticket.ticket.decode().split(",")
        file = pq.ParquetFile(QUERIES)
        schema = pa.schema([file.schema_arrow.field(column) for column in columns])
        return fl.GeneratorStream(schema, file.iter_batches(ROWS, columns=columns))


class Embed(fl.FlightServerBase):  # type: ignore[misc] # pyarrow ships no types
    """Text in, vectors out: the mean of what is known of its words, the rarer ones counting more.

    A word is known by the entries that use it: its vector is the mean of theirs. So text of words alone gets
    to the space in which the entries were embedded by a language model.
    """

    def __init__(self, location: str) -> None:
        super().__init__(location)
        docs = pl.read_parquet(DOCS, columns=["gloss", "embedding"])
        vectors = docs["embedding"].to_numpy().astype(np.float32)
        self.places: dict[str, int] = {}
        uses: list[list[int]] = []
        for row, gloss in enumerate(docs["gloss"]):
            for word in set(words(gloss)):
                place = self.places.setdefault(word, len(uses))
                if place == len(uses):
                    uses.append([])
                uses[place].append(row)
        self.vectors = np.stack([vectors[rows].mean(axis=0) for rows in uses])
        self.weights = np.log(len(docs) / np.array([len(rows) for rows in uses])).astype(np.float32)

    def embed(self, text: str) -> tuple[int, np.ndarray[Any, np.dtype[np.float32]]]:
        """Return how many words are known, and the vector."""
        known = Counter(place for word in words(text) if (place := self.places.get(word)) is not None)
        places = list(known)
        weights = self.weights[places] * np.array([known[place] for place in places], np.float32)
        return known.total(), weights @ self.vectors[places]

    def do_exchange(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:  # noqa: ANN401 - pyarrow's
        """Add a vector to each row that comes."""
        del context, descriptor
        added = [pa.field("known", pa.int64()), pa.field("embedding", VECTOR)]
        writer.begin(pa.schema([*reader.schema, *added]))
        for chunk in reader:
            each = [self.embed(text) for text in chunk.data.column("gloss").to_pylist()]
            known = pa.array([known for known, _ in each], pa.int64())
            flat = np.concatenate([np.zeros(0, np.float32), *(vector for _, vector in each)])
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=VECTOR)
            writer.write_batch(
                pa.record_batch([*chunk.data.columns, known, vectors], schema=writer_schema(reader, added))
            )


def writer_schema(reader: Any, added: list[Any]) -> Any:  # noqa: ANN401 - pyarrow's
    """Return the columns that came, and those that were added."""
    return pa.schema([*reader.schema, *added])


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return re.findall(r"[a-z]+", text.lower())


def through(client: Any, command: bytes, schema: Any, batches: Iterable[Any]) -> Iterator[Any]:  # noqa: ANN401 - pyarrow's
    """Send batches through a stage; yield what comes back, as it comes back."""
    writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(command))
    with writer:
        writer.begin(schema)
        waiting = 0
        for batch in batches:
            writer.write_batch(batch)
            waiting += 1
            if waiting > AHEAD:
                yield reader.read_chunk().data
                waiting -= 1
        writer.done_writing()
        for chunk in reader:
            yield chunk.data


def pipeline(scan: Any, embed: Any, search: Any) -> Any:  # noqa: ANN401 - pyarrow's
    """Return a reader of the end of the pipeline. Nothing runs before somebody reads."""
    texts = scan.do_get(fl.Ticket(b"synset,gloss"))
    schema = texts.schema
    embedded = schema.append(pa.field("known", pa.int64())).append(pa.field("embedding", VECTOR))
    ask = {"search": {"collection": "docs", "k": 3, "column": "embedding", "answer": "flat"}}
    hits = [("query_row", pa.int64()), ("rank", pa.int32()), ("id", pa.int64()), ("distance", pa.float32())]

    batches = (chunk.data for chunk in texts)
    vectors = through(embed, b"embed", schema, batches)
    clear = (batch.filter(pc.greater_equal(batch.column("known"), 4)) for batch in vectors)
    found = through(search, json.dumps(ask).encode(), embedded, clear)
    known = pa.schema([*schema, pa.field("known", pa.int64()), *(pa.field(*hit) for hit in hits)])
    return pa.RecordBatchReader.from_batches(known, (batch.cast(known) for batch in found))


@contextmanager
def stage(*arguments: str) -> Iterator[Any]:
    """Run a process that prints where it listens, and connect to it."""
    command = [sys.executable, "-W", "error", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ourselves
        try:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            location = process.stdout.readline().split()[-1]
            with fl.connect(location) as client:
                yield client
        finally:
            process.terminate()


def main() -> None:
    """Build the index, start the stages, and ask DuckDB about what comes out of them."""
    INDEX.parent.mkdir(parents=True, exist_ok=True)
    docs = pl.read_parquet(DOCS)
    rv.build(docs["embedding"], ids=docs["id"], metric="cosine").save(INDEX)

    with ExitStack() as stages:
        scan = stages.enter_context(stage(__file__, "--stage", "scan"))
        embed = stages.enter_context(stage(__file__, "--stage", "embed"))
        serve = ("-m", "ruvector", "serve", "--listen", HERE, "--index", f"docs={INDEX}")
        search = stages.enter_context(stage(*serve))
        con = duckdb.connect()
        con.register("hits", pipeline(scan, embed, search))
        con.register("docs", docs.select("id", "words", neighbour="gloss").to_arrow())
        con.sql(
            """
            SELECT gloss[:50] AS gloss, round(distance, 3) AS distance,
                words[:30] AS words, neighbour[:50] AS neighbour
            FROM hits JOIN docs USING (id)
            WHERE rank = 0
            ORDER BY distance, gloss
            LIMIT 8
            """
        ).show()


if __name__ == "__main__":
    if "--stage" in sys.argv:
        server = {"scan": Scan, "embed": Embed}[sys.argv[-1]](HERE)
        print(f"listening on grpc://127.0.0.1:{server.port}", flush=True)
        server.serve()
    else:
        main()
