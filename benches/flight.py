"""The Flight service beside the least that a server can do: `python -m benches.flight --help`.

The server of `ruvector serve` and an echo server of pyarrow's run as processes of their own on the loopback
interface, one asked after the other in one run:

- DoGet of an index, and of the same record batches by the echo server, both read by pyarrow's client;
- DoExchange with one query at a time: our client and server, pyarrow's client with our server, and pyarrow's
  client and server, which answers without searching. `search` is what the search alone takes, in process;
- batches of queries by our client, and the same batches in process;
- many streams at once, of single queries and batches, with clients that go away in the middle and clients
  that read slowly: how long the answers take, and what memory the server has before, at most, and after.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl

import ruvector as rv
from benches.peers.command import parser, save
from benches.peers.data import clustered
from benches.peers.machine import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

K = 10
BATCH = 1024
STREAMS = 64
WARM_UP = 20
LEAVES = 0.3  # the chance, after each batch, that a client goes away which does such things
ECHO = """
import sys
import numpy as np, pyarrow as pa, pyarrow.flight as fl

table = pa.ipc.open_file(pa.memory_map(sys.argv[1])).read_all()
kinds = {"query_row": pa.int64(), "rank": pa.int32(), "id": pa.int64(), "distance": pa.float32()}
schema = pa.schema(kinds)

class Echo(fl.FlightServerBase):
    def do_get(self, context, ticket):
        return fl.RecordBatchStream(table)

    def do_exchange(self, context, descriptor, reader, writer):
        writer.begin(schema)
        for chunk in reader:
            rows = len(chunk.data) * 10
            hits = [np.zeros(rows, kind) for kind in (np.int64, np.int32, np.int64, np.float32)]
            writer.write_batch(pa.record_batch([pa.array(hit) for hit in hits], schema=schema))

server = Echo("grpc://127.0.0.1:0")
print(f"listening on grpc://127.0.0.1:{server.port}", flush=True)
server.serve()
"""


@contextmanager
def process(*arguments: str) -> Iterator[tuple[str, int]]:
    """Run a server; yield where it listens, and its number."""
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True) as running:  # noqa: S603 - ourselves
        try:
            assert running.stdout is not None  # noqa: S101 - it was asked for
            yield running.stdout.readline().split()[-1], running.pid
        finally:
            running.terminate()


def seconds(call: Callable[..., object], *given: object) -> float:
    """Return how long a call takes."""
    started = perf_counter()
    call(*given)
    return perf_counter() - started


def resident(pid: int) -> int:
    """Return the bytes of private memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def column(vectors: NDArray[np.float32]) -> Any:  # noqa: ANN401 - pyarrow's
    """Return the rows as a batch."""
    return pa.record_batch(
        [pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])], ["v"]
    )


def download(ours: str, echo: str, turns: int) -> dict[str, float]:
    """Compare DoGet of the index's batches."""
    ticket = fl.Ticket(json.dumps({"index": {"collection": "docs"}}).encode())
    times: dict[str, list[float]] = {"ours": [], "echo": []}
    size = 0
    with fl.connect(ours) as our_client, fl.connect(echo) as echo_client:
        for _ in range(turns):
            for name, client in (("ours", our_client), ("echo", echo_client)):
                started = perf_counter()
                table = client.do_get(ticket).read_all()
                times[name].append(perf_counter() - started)
                size = table.nbytes
    rates = {name: size / median(took) / 1e6 for name, took in times.items()}
    return {
        "bytes": size,
        "ours_mb_s": rates["ours"],
        "echo_mb_s": rates["echo"],
        "ratio": rates["ours"] / rates["echo"],
    }


@contextmanager
def exchanging(location: str, schema: Any) -> Iterator[Callable[[Any], Any]]:  # noqa: ANN401 - pyarrow's
    """Yield what sends a batch by pyarrow's client and returns the answer."""
    ask = {"search": {"collection": "docs", "k": K, "answer": "flat"}}
    with fl.connect(location) as client:
        writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(json.dumps(ask).encode()))
        with writer:
            writer.begin(schema)

            def send(batch: Any) -> Any:  # noqa: ANN401 - pyarrow's
                writer.write_batch(batch)
                return reader.read_chunk().data

            yield send
            writer.done_writing()


def round_trips(
    ours: str, echo: str, index: rv.Index, queries: NDArray[np.float32], turns: int
) -> dict[str, float]:
    """Compare one query at a time, all ways in turn."""
    batches = [column(queries[row : row + 1]) for row in range(len(queries))]
    with (
        rv.flight.connect(ours) as client,
        exchanging(ours, batches[0].schema) as by_pyarrow,
        exchanging(echo, batches[0].schema) as echoed,
    ):
        remote = client.collection("docs")
        ways: dict[str, Callable[[int], object]] = {
            "ours": lambda row: remote.search(queries[row : row + 1], K),
            "pyarrow": lambda row: by_pyarrow(batches[row]),
            "echo": lambda row: echoed(batches[row]),
            "search": lambda row: index.search(queries[row : row + 1], K),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(turns + WARM_UP):
            row = turn % len(queries)
            for name, way in ways.items():
                took = seconds(way, row)
                if turn >= WARM_UP:
                    times[name].append(took)
    found = {f"{name}_us": median(took) * 1e6 for name, took in times.items()}
    bound = found["echo_us"] / 2 + found["search_us"]
    to_bound = {f"{name}_to_bound": found[f"{name}_us"] / bound for name in ("pyarrow", "ours")}
    return {**found, "bound_us": bound, **to_bound}


def batches(ours: str, index: rv.Index, queries: NDArray[np.float32], turns: int) -> dict[str, float]:
    """Compare batches of queries by the service with the same in process: a call for each, and one stream."""
    parts = [queries[start : start + BATCH] for start in range(0, len(queries), BATCH)]
    columns = [column(part) for part in parts]
    with rv.flight.connect(ours) as client:
        remote = client.collection("docs")
        ways: dict[str, Callable[[], object]] = {
            "local": lambda: [index.search(part, K) for part in parts],
            "calls": lambda: [remote.search(part, K) for part in parts],
            "stream": lambda: streamed(ours, columns),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(turns + 1):
            for name, way in ways.items():
                took = seconds(way)
                if turn:
                    times[name].append(took)
    rates = {f"{name}_qps": len(queries) / median(took) for name, took in times.items()}
    ratios = {f"{name}_ratio": rates[f"{name}_qps"] / rates["local_qps"] for name in ("calls", "stream")}
    return {**rates, **ratios}


def streamed(location: str, batches: list[Any]) -> None:
    """Send batches by pyarrow's client, two ahead of the answers."""
    ask = {"search": {"collection": "docs", "k": K, "answer": "flat"}}
    with fl.connect(location) as client:
        writer, reader = client.do_exchange(fl.FlightDescriptor.for_command(json.dumps(ask).encode()))
        with writer:
            writer.begin(batches[0].schema)
            for number, batch in enumerate(batches):
                writer.write_batch(batch)
                if number > 1:
                    reader.read_chunk()
            writer.done_writing()
            for _ in reader:
                pass


class Crowd:
    """Clients that ask until they are told to stop."""

    def __init__(self, location: str, queries: NDArray[np.float32]) -> None:
        self.location = location
        self.queries = queries
        self.stop = threading.Event()
        self.times: list[float] = []
        self.ended: dict[str, int] = {"whole": 0, "cancelled": 0, "slow": 0}
        self.failed: list[str] = []

    def client(self, seed: int) -> None:
        """Open one stream after the other: some are left in the middle, some are read slowly."""
        draw = random.Random(seed)  # noqa: S311 - a load, not a secret
        ask = {"search": {"collection": "docs", "k": K, "answer": "flat"}}
        descriptor = fl.FlightDescriptor.for_command(json.dumps(ask).encode())
        with fl.connect(self.location) as client:
            while not self.stop.is_set():
                way = draw.choices(("whole", "cancelled", "slow"), (8, 1, 1))[0]
                try:
                    self.stream(client, descriptor, draw, way)
                    self.ended[way] += 1
                except fl.FlightError as error:
                    self.failed.append(str(error))

    def stream(self, client: Any, descriptor: Any, draw: random.Random, way: str) -> None:  # noqa: ANN401 - pyarrow's
        """Run one stream."""
        rows = draw.choice((1, 1, 1, 16, 64))
        writer, reader = client.do_exchange(descriptor)
        first = column(self.queries[:rows])
        writer.begin(first.schema)
        for _ in range(draw.randint(1, 20)):
            if self.stop.is_set():
                break
            start = draw.randrange(len(self.queries) - rows)
            began = perf_counter()
            writer.write_batch(column(self.queries[start : start + rows]))
            if way == "slow":
                sleep(0.05)
            reader.read_chunk()
            if way == "whole":
                self.times.append(perf_counter() - began)
            if way == "cancelled" and draw.random() < LEAVES:
                reader.cancel()
                return
        writer.done_writing()
        for _ in reader:
            pass
        writer.close()


def crowd(location: str, pid: int, queries: NDArray[np.float32], time: float) -> dict[str, Any]:
    """Let many clients ask at once."""
    with exchanging(location, column(queries[:1]).schema) as send:
        for row in range(100):
            send(column(queries[row % len(queries)][None]))
    before, most = resident(pid), 0
    asking = Crowd(location, queries)
    threads = [threading.Thread(target=asking.client, args=(seed,), daemon=True) for seed in range(STREAMS)]
    for thread in threads:
        thread.start()
    until = perf_counter() + time
    while perf_counter() < until:
        sleep(0.1)
        most = max(most, resident(pid))
    asking.stop.set()
    for thread in threads:
        thread.join(30)
    stuck = sum(thread.is_alive() for thread in threads)
    sleep(1)
    with exchanging(location, column(queries[:1]).schema) as send:
        send(column(queries[:1]))
    times = np.array(asking.times) * 1e3
    p50, p99 = np.percentile(times, [50, 99]) if len(times) else (0.0, 0.0)
    return {
        "streams": STREAMS,
        "seconds": time,
        "ended": asking.ended,
        "failed": len(asking.failed),
        "first_failures": sorted(set(asking.failed))[:3],
        "stuck": stuck,
        "answers": len(times),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "rss_before": before,
        "rss_most": most,
        "rss_after": resident(pid),
    }


def main() -> None:
    """Measure, write the figures and print them."""
    options = parser("benches.flight", __doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=384)
    options.add_argument("--seconds", type=float, default=60, help="of many streams at once")
    args = options.parse_args()
    rows, dim, time, turns = (3000, 64, 1.0, 20) if args.smoke else (args.rows, args.dim, args.seconds, 1000)
    loaded = clustered(rows, dim, BATCH * (2 if args.smoke else 8))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "docs.rbpx")
        rv.build(loaded.docs).save(path)
        index = rv.open(path)
        served = ("-m", "ruvector", "serve", "--listen", "grpc://127.0.0.1:0", "--index", f"docs={path}")
        with process(*served) as (ours, pid), process("-c", ECHO, path) as (echo, _):
            result: dict[str, Any] = {
                "kind": "flight",
                "machine": describe(),
                "rows": rows,
                "dim": dim,
                "k": K,
                "batch": BATCH,
                "download": download(ours, echo, 3 if args.smoke else 15),
                "round_trip": round_trips(ours, echo, index, loaded.queries[:BATCH], turns),
                "batches": batches(ours, index, loaded.queries, 1 if args.smoke else 7),
                "crowd": crowd(ours, pid, loaded.queries, time),
            }
        index.close()
    save(result, args.out)
    for section in ("download", "round_trip", "batches", "crowd"):
        print(section)
        for name, figure in result[section].items():
            print(f"  {name:16} {figure}")


if __name__ == "__main__":
    main()
