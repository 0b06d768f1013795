"""Many streams at once, some left in the middle, some read slowly, some whose clients are killed."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.flight as fl

import ruvector as rv
from benches.flight import crowd, process, resident

SECONDS = 4.0
ROWS, DIM = 5000, 32
KILLED = """
import sys
import numpy as np, pyarrow as pa, pyarrow.flight as fl

rows = np.zeros((64, 32), np.float32)
batch = pa.record_batch([pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 32)], ["v"])
clients = [fl.connect(sys.argv[1]) for _ in range(4)]
streams = [client.do_exchange(fl.FlightDescriptor.for_path("docs")) for client in clients]
for writer, _ in streams:
    writer.begin(batch.schema)
print("ready", flush=True)
while True:
    for writer, reader in streams:
        writer.write_batch(batch)
        reader.read_chunk()
"""


def test_a_crowd_leaves_the_server_as_it_was(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    docs = rng.standard_normal((ROWS, DIM), dtype=np.float32)
    path = tmp_path / "docs.rbpx"
    rv.build(docs).save(path)
    served = ("-m", "ruvector", "serve", "--listen", "grpc://127.0.0.1:0", "--index", f"docs={path}")
    with process(*served) as (location, pid):
        seen = crowd(location, pid, rng.standard_normal((500, DIM), dtype=np.float32), SECONDS)
        assert seen["stuck"] == 0
        assert seen["failed"] == 0, seen["first_failures"]
        assert min(seen["ended"].values()) > 0
        assert seen["answers"] > 100
        assert seen["rss_most"] - seen["rss_before"] < 256 << 20
        assert seen["rss_after"] - seen["rss_before"] < 64 << 20


def test_killed_clients_leave_nothing_behind(tmp_path: Path) -> None:
    docs = np.random.default_rng(0).standard_normal((ROWS, DIM), dtype=np.float32)
    path = tmp_path / "docs.rbpx"
    rv.build(docs).save(path)
    served = ("-m", "ruvector", "serve", "--listen", "grpc://127.0.0.1:0", "--index", f"docs={path}")
    with process(*served) as (location, pid):
        before = 0
        for turn in range(6):
            command = [sys.executable, "-c", KILLED, location]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
                assert client.stdout is not None
                assert client.stdout.readline() == "ready\n"
                time.sleep(0.05 * turn)
                client.kill()
            if turn == 1:
                before = resident(pid)
        with rv.flight.connect(location) as client:
            ids, _ = client.collection("docs").search(docs[:5], k=1).to_numpy()
            assert ids[:, 0].tolist() == list(range(5))
        deadline = time.monotonic() + 10
        while streams(pid) > 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert streams(pid) <= 1  # that of the client above may still be closing
        assert resident(pid) - before < 64 << 20


def streams(pid: int) -> int:
    """Return how many connections a process holds besides the one it listens on."""
    links: list[str] = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.append(link.readlink().as_posix())
    return sum(link.startswith("socket:") for link in links) - 1


def test_a_batch_that_is_larger_than_a_message_comes_back_whole() -> None:
    docs = np.random.default_rng(0).standard_normal((2000, 8), dtype=np.float32)
    with rv.flight.serve({"docs": rv.build(docs)}) as server, fl.connect(server.location) as client:
        writer, reader = client.do_exchange(fl.FlightDescriptor.for_path("docs"))
        batch = pa.record_batch([pa.FixedSizeListArray.from_arrays(pa.array(docs.ravel()), 8)], ["v"])
        with writer:
            writer.begin(batch.schema)
            writer.write_batch(batch)
            writer.done_writing()
            assert sum(len(chunk.data) for chunk in reader) == len(docs)
