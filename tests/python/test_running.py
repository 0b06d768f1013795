"""Long work: off the GIL, from many threads, stopped by Ctrl-C, watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.conftest import Clustered, Vectors


def test_many_threads_search_at_once(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs)
    expected = index.search(queries).to_arrow()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda at: index.search(queries, threads=at % 4 + 1).to_arrow(), range(64)))
    assert all(hits.equals(expected) for hits in found)


def test_closing_waits_for_nobody(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs)
    expected = index.search(queries).to_arrow()
    started = threading.Barrier(5)

    def search() -> bool:
        started.wait()
        try:
            return bool(index.search(queries, exact=True).to_arrow().equals(expected))
        except rv.InvalidParameter:
            return True

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(search) for _ in range(4)]
        started.wait()
        index.close()
    assert all(each.result() for each in found)


def test_other_threads_run_meanwhile(clustered: Clustered) -> None:
    rows = clustered(20_000, 64)
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    rv.build(rows)
    done.set()
    ticker.join()
    assert ticks > 10


# In a process of its own: other libraries that tests import warn of forks, or refuse them.
FORKED = """
import multiprocessing, pickle
import numpy as np
import ruvector as rv

docs = np.random.default_rng(0).standard_normal((2000, 32), dtype=np.float32)
index = rv.build(docs, threads=2)
expected = index.search(docs[:100], threads=2).to_numpy()[0]
with multiprocessing.get_context("fork").Pool(1) as pool:
    found = pool.apply(pickle.loads, (pickle.dumps(index),)).search(docs[:100], threads=2).to_numpy()[0]
print("the same" if np.array_equal(found, expected) else "others")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_searches(python: Callable[..., str]) -> None:
    assert python(FORKED).strip() == "the same"


WORK = {
    "build": "rv.build(rows, nlist=4000, progress=lambda phase, done, total: tell())",
    "exact search": "tell(); rv.exact_search(rows, rows)",
    "search": "tell(); rv.build(rows[:200_000], nlist=1).search(rows, exact=True)",
}

INTERRUPTED = """
import sys, time
import numpy as np
import ruvector as rv

rows = np.random.default_rng(0).standard_normal((400_000, 64), dtype=np.float32)
told = False

def tell():
    global told
    if not told:
        print("started", flush=True)
    told = True

try:
    {work}
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("finished", flush=True)
"""


@pytest.mark.parametrize("work", WORK)
def test_ctrl_c_stops_the_work_within_a_second(work: str) -> None:
    code = INTERRUPTED.format(work=WORK[work])
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        before = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - before < 1
        assert process.wait() == 0


PHASES = ["check", "train", "assign", "encode", "calibrate"]


def test_a_callable_is_told_how_far_the_work_is(docs: Vectors) -> None:
    told: list[tuple[str, int, int]] = []
    index = rv.build(docs, progress=lambda *step: told.append(step))
    assert index == rv.build(docs)
    last = {phase: (done, total) for phase, done, total in told}
    assert [phase for phase in last if phase != "search"] == PHASES
    assert all(done == total > 0 for done, total in last.values())
    assert all(done <= total for _, done, total in told)


def test_a_callable_that_raises_stops_the_work(clustered: Clustered) -> None:
    def refuse(phase: str, done: int, total: int) -> None:
        raise LookupError(phase, done, total)

    with pytest.raises(LookupError, match="check"):
        rv.build(clustered(30_000, 64), progress=refuse)


def test_a_bar_is_drawn(docs: Vectors, capfd: pytest.CaptureFixture[str]) -> None:
    rv.build(docs, progress=True)
    drawn = capfd.readouterr().err
    assert "100%" in drawn
    assert "calibrate" in drawn
    rv.build(docs)
    assert capfd.readouterr().err == ""


def test_a_bar_without_tqdm_says_what_to_install(docs: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ModuleNotFoundError, match=r"ruvector-arrow\[progress\]"):
        rv.build(docs, progress=True)
