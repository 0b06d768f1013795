"""Searches that are awaited: on asyncio's loop and on uvloop's, cancelled, in forked children."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
import uvloop

import ruvector as rv
from ruvector.lake import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ruvector.lake import PullRequest

    Run = Callable[[Coroutine[Any, Any, Any]], Any]

ROWS = np.random.default_rng(0).standard_normal((2000, 16), dtype=np.float32)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine on a loop of this kind, with the loop's own checks on."""

    def with_loop(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param, debug=True) as runner:
            return runner.run(main)

    return with_loop


@pytest.fixture
def lake() -> rv.RuLake:
    """Two backends in memory."""
    lake = rv.RuLake.builder().build()
    for name in ("a", "b"):
        backend = rv.LocalBackend(name)
        backend.put_collection("docs", ids=range(2000), vectors=ROWS)
        lake.register_backend(backend)
    return lake


class Slow(rv.BackendAdapter):
    """One table, whose pulls wait until they may go on."""

    def __init__(self, name: str = "slow", batches: int = 1) -> None:
        super().__init__(name)
        self.begun, self.go = threading.Event(), threading.Event()
        self.batches, self.given = batches, 0

    def list_collections(self) -> list[str]:
        return ["docs"]

    def generation(self, collection: str) -> int:
        del collection
        return 1

    def layout(self, collection: str) -> Layout:
        del collection
        return Layout("v", "id", 16)

    def pull(self, collection: str, request: PullRequest) -> Any:
        del collection, request
        for at in range(self.batches):
            self.given += 1
            ids = pa.array(range(at * 2000, (at + 1) * 2000), pa.int64())
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(ROWS.reshape(-1)), 16)
            yield pa.record_batch({"id": ids, "v": vectors})
            self.begun.set()
            assert self.go.wait(60)


def test_an_awaited_search_finds_what_the_other_finds(run: Run, lake: rv.RuLake) -> None:
    async def main() -> Any:
        return await asyncio.gather(
            lake.search_one_async("docs", ROWS[5], backend="a"),
            lake.search_batch_async(("b", "docs"), ROWS[:7], k=3),
            lake.search_federated_async("docs", ROWS[6], k=4),
            lake.search_federated_async(targets=[("a", "docs")], query=ROWS[:2], k=4),
        )

    one, batch, federated, several = run(main())
    assert one == lake.search_one("docs", ROWS[5], backend="a")
    assert batch == lake.search_batch(("b", "docs"), ROWS[:7], k=3)
    assert federated == lake.search_federated("docs", ROWS[6], k=4)
    assert several == lake.search_federated(targets=[("a", "docs")], query=ROWS[:2], k=4)


def test_a_hundred_searches_at_once_report_themselves(run: Run, lake: rv.RuLake) -> None:
    async def main() -> Any:
        searches = [lake.search_one_async("docs", row, k=1, backend="a") for row in ROWS[:100]]
        tasks = [asyncio.create_task(search) for search in searches]
        return await asyncio.gather(*tasks)

    assert [hits[0].id for hits in run(main())] == list(range(100))
    stats = lake.cache_stats_by_backend()["a"]
    assert (stats.primes, len(stats.search_time)) == (1, 100)


def test_errors_arrive_where_it_is_awaited(run: Run, lake: rv.RuLake) -> None:
    async def main() -> None:
        with pytest.raises(rv.DimensionMismatch):
            await lake.search_one_async(("a", "docs"), [1.0])
        with pytest.raises(rv.UnknownCollection):
            await lake.search_one_async("none", ROWS[0])
        with pytest.raises(rv.InvalidParameter):
            await lake.search_one_async("docs", ROWS[0], k=0)

    run(main())


def test_without_a_running_loop_it_is_refused(lake: rv.RuLake) -> None:
    asks: list[Callable[..., object]] = [
        lake.search_one_async,
        lake.search_batch_async,
        lake.search_federated_async,
    ]
    for ask in asks:
        with pytest.raises(RuntimeError, match="running"):
            ask("docs", ROWS[0])


def test_the_loop_runs_on_while_a_pull_is_waited_for(run: Run) -> None:
    backend = Slow()
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)

    async def main() -> Any:
        search = asyncio.create_task(lake.search_one_async("docs", ROWS[3], k=1))
        assert await asyncio.to_thread(backend.begun.wait, 60)
        assert not search.done()
        # It waits in its backend, and others that need not wait get their turn.
        others = rv.RuLake.builder().build()
        quick = rv.LocalBackend("quick")
        quick.put_collection("docs", ids=range(2000), vectors=ROWS)
        others.register_backend(quick)
        found = [await others.search_one_async("docs", ROWS[at], k=1) for at in range(20)]
        assert [hits[0].id for hits in found] == list(range(20))
        assert not search.done()
        backend.go.set()
        return await search

    assert run(main())[0].id == 3


def test_cancelling_stops_the_work(run: Run) -> None:
    backend = Slow(batches=50)
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)

    async def main() -> None:
        search = asyncio.create_task(lake.search_one_async("docs", ROWS[3]))
        assert await asyncio.to_thread(backend.begun.wait, 60)
        search.cancel()
        with pytest.raises(asyncio.CancelledError):
            await search
        # Nobody else waits: the pull ends where it is looked at next, long before its fiftieth batch.
        backend.go.set()
        with pytest.raises(rv.CacheMissError):
            await lake.search_one_async(("slow", "docs"), ROWS[3], cache_only=True)

    run(main())
    assert backend.given < 50
    assert lake.cache_stats().primes == 0
    assert lake.search_one("docs", ROWS[3], k=1)[0].id == 3, "and the next one starts anew"


def test_a_timeout_is_a_cancellation(run: Run) -> None:
    backend = Slow(batches=50)
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lake.search_one_async("docs", ROWS[3]), 0.05)

    run(main())
    backend.go.set()
    assert lake.cache_stats().primes == 0


def test_a_loop_that_is_gone_harms_nobody(run: Run) -> None:
    backend = Slow()
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)

    async def main() -> None:
        search = asyncio.create_task(lake.search_one_async("docs", ROWS[3]))
        assert await asyncio.to_thread(backend.begun.wait, 60)
        search.cancel()
        await asyncio.gather(search, return_exceptions=True)

    run(main())
    backend.go.set()
    assert lake.search_one("docs", ROWS[3], k=1)[0].id == 3


def test_the_gil_is_free_while_it_searches(run: Run) -> None:
    """A search beside work of numpy's: both are under way at once."""
    backend = Slow()
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    turned = 0

    async def main() -> Any:
        nonlocal turned
        search = asyncio.create_task(lake.search_one_async("docs", ROWS[3], k=1))
        assert await asyncio.to_thread(backend.begun.wait, 60)
        matrix = np.eye(200)
        for _ in range(50):
            matrix = matrix @ matrix
            turned += 1
        assert not search.done()
        backend.go.set()
        return await search

    assert run(main())[0].id == 3
    assert turned == 50


THREADS = """
import asyncio, os
import ruvector as rv
from ruvector._ruvector import lake_async_threads
try:
    print(lake_async_threads())
except rv.InvalidParameter as error:
    print(error.name, error.actual)
"""


@pytest.mark.parametrize(
    ("told", "expected"),
    [("3", "3"), (None, str(min(8, len(os.sched_getaffinity(0))))), ("0", "RUVECTOR_ASYNC_THREADS 0")],
)
def test_there_are_as_many_threads_as_the_environment_says(told: str | None, expected: str) -> None:
    environment = {**os.environ, **({} if told is None else {"RUVECTOR_ASYNC_THREADS": told})}
    done = subprocess.run(
        [sys.executable, "-c", THREADS], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == expected


FORK = """
import asyncio, os, sys, warnings
import numpy as np
import ruvector as rv

warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: that it works is what is shown
rows = np.eye(8, dtype=np.float32)
backend = rv.LocalBackend("memory")
backend.put_collection("docs", ids=range(8), vectors=rows)
lake = rv.RuLake.builder().build()
lake.register_backend(backend)

async def main():
    assert [lake.search_one("docs", row, k=1)[0].id for row in rows] == list(range(8))
    return [(await lake.search_one_async("docs", row, k=1))[0].id for row in rows]

assert asyncio.run(main()) == list(range(8))
child = os.fork()
if child == 0:
    os._exit(0 if asyncio.run(main()) == list(range(8)) else 1)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) or 0 if asyncio.run(main()) == list(range(8)) else 2)
"""


def test_a_forked_child_has_a_runtime_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


LEAVE = """
import asyncio, os, threading, time
import numpy as np
import ruvector as rv
from ruvector.lake import Layout

begun = threading.Event()

class Slow(rv.BackendAdapter):
    def list_collections(self):
        return ["docs"]

    def generation(self, collection):
        return 1

    def layout(self, collection):
        return Layout("v", "id", 8)

    def pull(self, collection, request):
        begun.set()
        time.sleep(0.5)
        os.write(1, b"left")
        yield from ()

lake = rv.RuLake.builder().build()
lake.register_backend(Slow("slow"))

async def main():
    search = asyncio.create_task(lake.search_one_async("docs", np.ones(8, np.float32)))
    await asyncio.to_thread(begun.wait)
    search.cancel()

asyncio.run(main())
"""


def test_the_interpreter_ends_when_the_code_that_it_runs_for_us_has_ended() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVE], check=True, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("left", "")
