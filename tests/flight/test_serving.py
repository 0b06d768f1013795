"""A server in this process: what is served, how it stops, and that it needs nothing of the interpreter."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ruvector as rv
from ruvector.flight import FlightServer, Limits, RemoteCollection, Token, connect, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS = [[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]
# Wrong on purpose.
UNKNOWN: Any = ("fly",)
NUMBER: Any = 7


@pytest.fixture
def docs() -> rv.Index:
    return rv.build(DOCS, ids=[7, 8, 9])


@pytest.fixture
def server(docs: rv.Index) -> Iterator[FlightServer]:
    with serve({"docs": docs}) as server:
        yield server


def remote(server: FlightServer, name: str = "docs", **options: Any) -> RemoteCollection:
    return connect(server.location, **options).collection(name)


def test_everything_that_is_an_index_can_be_served(tmp_path: Path, docs: rv.Index) -> None:
    docs.save(tmp_path / "docs.rbpx")
    memory = rv.LocalBackend("memory")
    memory.put_collection("rows", ids=[7, 8, 9], vectors=np.array(DOCS, dtype=np.float32))
    lake = rv.RuLake.builder().build()
    lake.register_backend(memory)
    served: dict[str, Any] = {
        "index": docs,
        "preset": rv.RabitqPlusIndex.build(np.array(DOCS, dtype=np.float32), ids=[7, 8, 9]),
        "collection": lake.collection("rows"),
        "path": tmp_path / "docs.rbpx",
    }
    with serve(served, lake=lake) as server:
        assert server.names() == sorted(served)
        for name in (*served, "memory/rows"):
            hits = remote(server, name).search([3.0, 3.0], k=1).to_polars()
            assert hits.select("id", "distance").rows() == [(8, 1.0)], name


def test_changes_are_seen_on_both_sides(server: FlightServer, docs: rv.Index) -> None:
    there = remote(server)
    docs.add([[1.0, 1.0]], ids=[10])
    assert there.search([1.0, 1.0], k=1).to_polars()["id"].to_list() == [10]
    assert there.delete([10, 11]) == 1
    assert 10 not in docs
    assert there.search([1.0, 1.0], k=1).to_polars()["id"].to_list() == [7]
    assert there.add([[9.0, 9.0], [9.0, 8.0]], ids=[1, 2]) == 2
    assert there.upsert([[5.0, 5.0], [4.0, 4.0]], ids=[1, 3]) == 1
    assert docs.search([5.0, 5.0], k=1).to_polars()["id"].to_list() == [1]
    assert len(there) == len(docs) == 6


def test_names_come_and_go_while_it_runs(server: FlightServer) -> None:
    there = remote(server)
    assert there.search([0.0, 0.0], k=1).to_polars()["id"].to_list() == [7]
    server.add("docs", rv.build([[0.0, 0.0]], ids=["other"]))
    assert there.search([0.0, 0.0], k=1).to_polars()["id"].to_list() == ["other"]
    assert server.remove("docs")
    assert not server.remove("docs")
    with pytest.raises(rv.UnknownCollection):
        there.search([0.0, 0.0], k=1)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"location": "http://127.0.0.1:0"}, "location"),
        ({"location": "grpc://127.0.0.1"}, "location"),
        ({"location": "grpc://127.0.0.1:70000"}, "location"),
        ({"location": "grpc+tls://127.0.0.1:0"}, "tls"),
        ({"client_roots": "roots.pem"}, "client_roots"),
        ({"drain": -1.0}, "drain"),
        ({"threads": 0}, "threads"),
        ({"limits": Limits(k=0)}, "k"),
        ({"limits": Limits(deadline=-1.0)}, "deadline"),
        ({"tokens": [Token(secret="s" * 32, principal="p", verbs=UNKNOWN)]}, "verbs"),
        ({"metrics": "nowhere"}, "metrics"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(rv.InvalidParameter) as refused:
        serve(**options)
    assert refused.value.name == name


def test_no_name_leads_out_of_a_folder(docs: rv.Index) -> None:
    with pytest.raises(rv.InvalidParameter, match="name: expected 1 to 128 letters"):
        serve({"../docs": docs})
    with pytest.raises(TypeError, match="docs: expected an index"):
        serve({"docs": NUMBER})


def test_a_port_that_is_taken_is_an_error_of_the_system(server: FlightServer) -> None:
    with pytest.raises(OSError, match="listen on"):
        serve({}, server.location)


def test_it_stops_once(docs: rv.Index) -> None:
    server = serve({"docs": docs})
    assert server.running
    assert server.stop()
    assert server.stop()
    assert not server.running
    assert repr(server).endswith(", stopped)")
    server.wait()
    with pytest.raises(rv.BackendError) as refused:
        remote(server, retries=0).search([0.0, 0.0])
    assert refused.value.retryable


def test_a_stream_that_waits_for_questions_does_not_hold_up_a_stop(docs: rv.Index) -> None:
    server = serve({"docs": docs})
    remote(server).search([0.0, 0.0])
    began = time.monotonic()
    assert server.stop(30.0)
    assert time.monotonic() - began < 10.0


def test_wait_ends_when_another_thread_stops_it(docs: rv.Index) -> None:
    server = serve({"docs": docs})
    threading.Timer(0.1, server.stop).start()
    server.wait()
    assert not server.running


def test_it_cannot_be_pickled(server: FlightServer) -> None:
    with pytest.raises(TypeError, match="connect to its location"):
        pickle.dumps(server)


# One thread of this process never lets go of the GIL; the client is a process
# of its own.
CLIENT = """
import sys, time
from ruvector.flight import connect
there = connect(sys.argv[1]).collection("docs")
there.search([0.0, 0.0], k=1)
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
for _ in range(50):
    there.search([0.0, 0.0], k=1)
print(time.perf_counter() - began, flush=True)
"""


def test_a_thread_that_holds_the_gil_does_not_hold_up_searches(server: FlightServer) -> None:
    arguments = [sys.executable, "-c", CLIENT, server.location]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin
        assert client.stdout
        assert client.stdout.readline() == "ready\n"
        interval = sys.getswitchinterval()
        sys.setswitchinterval(60.0)
        try:
            client.stdin.write("go\n")
            client.stdin.flush()
            # No other thread of this process runs Python for so long, although this one never sleeps.
            end = time.monotonic() + 3.0
            while time.monotonic() < end:
                pass
        finally:
            sys.setswitchinterval(interval)
        took = float(client.stdout.readline())
    # With the GIL in the way, the first search would wait until the loop is over.
    assert took < 2.5


def test_a_forked_child_does_not_own_it(server: FlightServer) -> None:
    child = f"""
import os
import ruvector as rv
docs = rv.build({DOCS!r}, ids=[7, 8, 9])
server = rv.flight.serve({{"docs": docs}})
there = rv.flight.connect(server.location).collection("docs")
assert len(there.search([0.0, 0.0], k=1)) == 1
child = os.fork()
if child == 0:
    # Its own connection, to the server of its parent, which it cannot stop.
    assert not server.running
    assert server.stop()
    assert len(there.search([0.0, 0.0], k=1)) == 1
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert server.running
assert len(there.search([0.0, 0.0], k=1)) == 1
"""
    done = subprocess.run(
        [sys.executable, "-c", child], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert server.running


def test_an_interpreter_ends_with_a_server_that_runs() -> None:
    script = """
import numpy as np
import ruvector as rv
docs = rv.build(np.eye(4, dtype=np.float32))
server = rv.flight.serve({"docs": docs})
there = rv.flight.connect(server.location).collection("docs")
print(len(there.search([1.0, 0.0, 0.0, 0.0], k=2)))
"""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")
    assert time.monotonic() - began < 30.0


def test_many_threads_share_a_client(server: FlightServer) -> None:
    there = remote(server)
    wrong: list[object] = []

    def ask() -> None:
        for at in range(30):
            found = there.search(DOCS[at % 3], k=1).to_polars()["id"].to_list()
            if found != [7 + at % 3]:
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_tokens_say_who_may_do_what(docs: rv.Index) -> None:
    reader = Token(secret="r" * 32, principal="reader", collections=("docs",), verbs=("search", "read"))
    with serve({"docs": docs, "secret": docs}, tokens=[reader]) as server:
        there = connect(server.location, token=reader.secret)
        assert there.list() == ["docs"]
        assert len(there.collection("docs").search([0.0, 0.0], k=3)) == 3
        with pytest.raises(rv.UnknownCollection):
            there.collection("secret").search([0.0, 0.0])
        with pytest.raises(rv.PolicyDenied):
            there.collection("docs").delete([7])
        for token in (None, "w" * 32):
            with pytest.raises(rv.PolicyDenied):
                connect(server.location, token=token).collection("docs").search([0.0, 0.0])
    assert reader.secret not in repr(reader)
    assert len(docs) == 3


def test_the_log_is_lines_of_json(tmp_path: Path, docs: rv.Index) -> None:
    import json

    with serve({"docs": docs}, log=tmp_path / "log") as server:
        connect(server.location).health()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert any(line.get("method") == "DoAction" and line.get("code") == "OK" for line in lines), lines


def test_programs_that_this_process_starts_get_no_socket(server: FlightServer) -> None:
    assert server.running
    listed = """
import os
held = []
for descriptor in os.listdir("/proc/self/fd"):
    try:
        held.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    except FileNotFoundError:
        pass
print(sum(name.startswith("socket:") for name in held))
"""
    command = [sys.executable, "-c", listed]
    pipes: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    done = subprocess.run(command, text=True, close_fds=False, check=True, **pipes)
    assert int(done.stdout) == 0
