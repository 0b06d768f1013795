"""Backends that are written in Python."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv
from ruvector.lake import LakeBatch, Layout, Piece, PullRequest

if TYPE_CHECKING:
    from collections.abc import Iterable


def table(ids: Iterable[int], **more: Any) -> pa.Table:
    numbers = list(ids)
    vectors = pa.array([[float(number), 0.0] for number in numbers], pa.list_(pa.float32(), 2))
    return pa.table({"id": pa.array(numbers, pa.int64()), "v": vectors, **more})


class Tables(rv.BackendAdapter):
    """Tables of pyarrow; tells what it was asked for."""

    def __init__(self, name: str, tables: dict[str, pa.Table]) -> None:
        super().__init__(name)
        self.tables = tables
        self.versions = dict.fromkeys(tables, 1)
        self.pulls: list[tuple[str, PullRequest]] = []

    def list_collections(self) -> Iterable[str]:
        return iter(self.tables)

    def generation(self, collection: str) -> int | str:
        if collection not in self.tables:
            raise rv.UnknownCollection("gone", backend=self.id, collection=collection)
        return self.versions[collection]

    def pull(self, collection: str, request: PullRequest) -> Any:
        self.pulls.append((collection, request))
        rows = self.tables[collection].slice(request.skip_rows)
        return rows if request.columns is None else rows.select(request.columns)

    def replace(self, collection: str, rows: pa.Table) -> None:
        self.tables[collection] = rows
        self.versions[collection] += 1


def lake_of(*backends: rv.BackendAdapter) -> rv.RuLake:
    lake = rv.RuLake.builder().build()
    for backend in backends:
        lake.register_backend(backend)
    return lake


def test_three_methods_are_a_backend() -> None:
    backend = Tables("tables", {"docs": table(range(50), text=[f"row {row}" for row in range(50)])})
    lake = lake_of(backend)
    assert lake.search_one("docs", [7.0, 0.0], k=3)[0] == ("tables", "docs", 7, 0.0)
    wanted = [request.columns for _, request in backend.pulls]
    assert wanted == [None, ("id", "v")], "one look for the layout, one pull"
    for _ in range(5):
        lake.search_one("docs", [7.0, 0.0])
    assert len(backend.pulls) == 2
    backend.replace("docs", table(range(10)))
    assert {hit.id for hit in lake.search_one("docs", [0.0, 0.0], k=50)} == set(range(10))
    assert len(backend.pulls) == 4
    assert lake.search_one("docs", [3.0, 0.0], k=1, columns=["v"]).to_polars()["v"].to_list() == [[3.0, 0.0]]


def test_abstract_methods_must_be_there() -> None:
    class Half(rv.BackendAdapter):
        def list_collections(self) -> Iterable[str]:
            return []

    half: Any = Half
    with pytest.raises(TypeError, match="abstract"):
        half("half")
    with pytest.raises(rv.InvalidParameter, match="name"):
        Tables("", {})
    nothing: Any = object()
    with pytest.raises(TypeError, match="BackendAdapter"):
        rv.RuLake.builder().build().register_backend(nothing)
    lake = lake_of(Tables("one", {}))
    with pytest.raises(rv.InvalidParameter, match="registered"):
        lake.register_backend(Tables("one", {}))


@pytest.mark.parametrize("method", ["list_collections", "generation", "layout", "pull"])
def test_what_it_raises_is_the_cause(method: str) -> None:
    backend = Tables("tables", {"docs": table(range(5))})
    broken = ZeroDivisionError("by design")

    def fail(*_: object) -> None:
        raise broken

    lake = lake_of(backend)
    setattr(backend, method, fail)
    with pytest.raises(rv.BackendError, match="by design") as raised:
        lake.collections() if method == "list_collections" else lake.search_one(
            ("tables", "docs"), [0.0, 0.0]
        )
    assert raised.value.backend == "tables"
    assert raised.value.__cause__ is broken
    assert not raised.value.retryable
    delattr(backend, method)
    assert len(lake.search_one("docs", [0.0, 0.0])) == 5, "the lake lives on"


def test_rows_may_come_as_batches() -> None:
    class Batches(Tables):
        def pull(self, collection: str, request: PullRequest) -> Any:
            yield from super().pull(collection, request).to_batches(max_chunksize=7)

    lake = lake_of(Batches("tables", {"docs": table(range(50))}))
    assert {hit.id for hit in lake.search_one("docs", [0.0, 0.0], k=50)} == set(range(50))


def test_what_batches_raise_is_the_cause_too() -> None:
    class Torn(Tables):
        def pull(self, collection: str, request: PullRequest) -> Any:
            yield from super().pull(collection, request).to_batches(max_chunksize=7)[:2]
            raise ConnectionResetError("torn")

        def layout(self, collection: str) -> Layout:
            del collection
            return Layout("v", "id", 2)

    lake = lake_of(Torn("tables", {"docs": table(range(50))}))
    with pytest.raises(rv.BackendError, match="ConnectionResetError: torn") as raised:
        lake.search_one("docs", [0.0, 0.0])
    assert isinstance(raised.value.__cause__, ConnectionResetError)
    assert raised.value.retryable


@pytest.mark.parametrize("rows", [5, [1, 2], "text", pa.array([1.0])])
def test_what_is_no_table_is_refused(rows: Any) -> None:
    class Wrong(Tables):
        def pull(self, collection: str, request: PullRequest) -> Any:
            del collection, request
            return rows

    with pytest.raises(rv.BackendError, match="tables"):
        lake_of(Wrong("tables", {"docs": table([1])})).search_one("docs", [0.0, 0.0])


def test_an_unknown_collection_is_no_failure() -> None:
    lake = lake_of(Tables("tables", {"docs": table([1])}))
    with pytest.raises(rv.UnknownCollection) as unknown:
        lake.search_one(("tables", "none"), [0.0, 0.0])
    assert (unknown.value.backend, unknown.value.collection) == ("tables", "none")
    assert lake.cache_stats().failures == 0


def test_what_nobody_should_catch_is_raised_as_it_is() -> None:
    class Stopped(Tables):
        def pull(self, collection: str, request: PullRequest) -> Any:
            raise KeyboardInterrupt(collection, request)

    with pytest.raises(KeyboardInterrupt):
        lake_of(Stopped("tables", {"docs": table([1])})).search_one("docs", [0.0, 0.0])


def test_only_new_rows_are_pulled_where_the_layout_tells() -> None:
    class Pieces(Tables):
        def layout(self, collection: str) -> Layout:
            rows = self.tables[collection].num_rows
            return Layout("v", "id", 2, data_ref="place", pieces=(Piece("all", rows),))

    backend = Pieces("tables", {"docs": table(range(500))})
    lake = lake_of(backend)
    lake.search_one("docs", [0.0, 0.0])
    backend.replace("docs", table(range(520)))
    assert lake.search_one("docs", [519.0, 0.0], k=1)[0].id == 519
    assert [request.skip_rows for _, request in backend.pulls] == [0, 500]
    stats = lake.cache_stats()
    assert (stats.primes, stats.extensions) == (1, 1)
    bundle = lake.bundle_of("docs")
    assert bundle is not None
    assert (bundle.data_ref, bundle.rows, bundle.generation) == ("place", 520, 2)


def test_filters_reach_the_backend() -> None:
    backend = Tables("tables", {"docs": table(range(10), lang=["en", "de"] * 5)})
    lake = lake_of(backend)
    found = lake.search_one("docs", [0.0, 0.0], k=10, filter=[("lang", "==", "de"), ("id", "in", [1, 2, 3])])
    assert {hit.id for hit in found} == {1, 3}
    asked = [request for _, request in backend.pulls if request.filter is not None]
    assert asked, "a backend that can may leave rows out"
    assert asked[-1].filter == ((("lang", "=", "de"), ("id", "in", (1, 2, 3))),)


def test_a_backend_may_search_itself() -> None:
    class Searching(Tables):
        asked: Any = None

        def search(self, collection: str, queries: Any, k: int) -> Any:
            del collection
            self.asked = pa.array(queries)
            rows = len(self.asked)
            return pa.table(
                {
                    "query_row": pa.array([row for row in range(rows) for _ in range(k)], pa.int64()),
                    "rank": pa.array(list(range(k)) * rows, pa.int32()),
                    "id": pa.array(list(range(k)) * rows, pa.int64()),
                    "distance": pa.array([float(rank) for rank in range(k)] * rows, pa.float32()),
                }
            )

    backend = Searching("tables", {"docs": table(range(50))})
    lake = lake_of(backend)
    found = lake.search_federated("docs", [[5.0, 0.0]] * 2, k=3, push_down=True)
    assert isinstance(found, LakeBatch)
    assert [[(hit.id, hit.score) for hit in hits] for hits in found] == [[(0, 0.0), (1, 1.0), (2, 2.0)]] * 2
    assert backend.asked is not None
    assert backend.asked.to_pylist() == [[5.0, 0.0]] * 2
    lake.search_one("docs", [5.0, 0.0])
    kept = lake.search_federated("docs", [5.0, 0.0], k=1, push_down=True)
    assert kept[0] == ("tables", "docs", 5, 0.0), "the cache has it now"


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [("query_row", [9], "query_row"), ("distance", [float("nan")], "distance"), ("id", [None], "search")],
)
def test_an_answer_that_is_none_is_refused(column: str, values: list[Any], said: str) -> None:
    class Wrong(Tables):
        def search(self, collection: str, queries: Any, k: int) -> Any:
            del collection, queries, k
            good = {"query_row": [0], "rank": [0], "id": [1], "distance": [0.0]}
            return pa.table({**good, column: pa.array(values, pa.table(good).schema.field(column).type)})

    with pytest.raises(rv.BackendError, match=said):
        lake_of(Wrong("tables", {"docs": table([1])})).search_federated("docs", [0.0, 0.0], push_down=True)


def test_the_layout_is_looked_for() -> None:
    names = {
        "one": pa.table({"x": [1], "v": pa.array([[1.0]], pa.list_(pa.float32()))}),
        "named": pa.table({"a": [[1.0]], "embedding": pa.array([[1.0, 2.0]], pa.list_(pa.float32()))}),
        "none": pa.table({"x": [1]}),
        "two": pa.table({name: pa.array([[1.0]], pa.list_(pa.float32())) for name in "ab"}),
        "empty": pa.table({"v": pa.array([], pa.list_(pa.float32()))}),
    }
    backend = Tables("tables", names)
    assert backend.layout("one") == Layout("v", None, 1)
    assert backend.layout("named") == Layout("embedding", None, 2)
    for name in ("none", "two", "empty"):
        with pytest.raises(rv.InvalidParameter, match=r"column|row"):
            backend.layout(name)
        with pytest.raises(rv.BackendError) as raised:
            lake_of(backend).search_one(("tables", name), [0.0])
        assert isinstance(raised.value.__cause__, rv.InvalidParameter)


def test_one_pull_for_all_who_wait() -> None:
    class Slow(Tables):
        def __init__(self) -> None:
            super().__init__("tables", {"docs": table(range(100))})
            self.begun, self.go = threading.Event(), threading.Event()

        def layout(self, collection: str) -> Layout:
            del collection
            return Layout("v", "id", 2)

        def pull(self, collection: str, request: PullRequest) -> Any:
            self.begun.set()
            assert self.go.wait(60)
            return super().pull(collection, request)

    backend = Slow()
    lake = lake_of(backend)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(lake.search_one("docs", [3.0, 0.0], k=1)[0].id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    assert backend.begun.wait(60), "the GIL is free while a pull is waited for"
    with pytest.raises(rv.DeadlineExceeded) as late:
        lake.search_one("docs", [3.0, 0.0], deadline=0.05)
    assert (late.value.backend, late.value.collection, late.value.seconds) == ("tables", "docs", 0.05)
    backend.go.set()
    for thread in threads:
        thread.join()
    assert found == [3] * 8
    assert len(backend.pulls) == 1


def test_rows_replaced_during_the_pull_are_pulled_again() -> None:
    class Moving(Tables):
        moves = 1

        def pull(self, collection: str, request: PullRequest) -> Any:
            rows = super().pull(collection, request)
            if self.moves > 0:
                self.moves -= 1
                self.replace(collection, table([77]))
            return rows

        def layout(self, collection: str) -> Layout:
            del collection
            return Layout("v", "id", 2)

    backend = Moving("tables", {"docs": table(range(5))})
    assert [hit.id for hit in lake_of(backend).search_one("docs", [0.0, 0.0])] == [77]
    backend.moves = 10**6
    with pytest.raises(rv.Unsettled) as unsettled:
        lake_of(backend).search_one("docs", [0.0, 0.0])
    assert (unsettled.value.attempts, unsettled.value.retryable) == (3, True)


@pytest.mark.parametrize("as_batches", [False, True])
def test_offsets_that_lie_across_words_are_refused(as_batches: bool) -> None:  # noqa: FBT001 - a parameter
    offsets = pa.py_buffer(b"\0" + np.array([0, 1, 2], np.int32).tobytes()).slice(1)
    assert offsets.address % 4
    names = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"ab")])
    rows = pa.table({"id": names, "vector": table([1, 2])["v"]})

    class Across(Tables):
        def pull(self, collection: str, request: PullRequest) -> Any:
            del collection, request
            return iter(rows.to_batches()) if as_batches else rows

    lake = lake_of(Across("across", {"docs": rows}))
    with pytest.raises(rv.errors.LakeError, match="not aligned"):
        lake.search_one("docs", [0.0, 0.0], backend="across")


def test_half_floats_and_strings() -> None:
    vectors = np.eye(3, dtype=np.float16)
    rows = pa.table(
        {
            "id": ["a", "b", "c"],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 3),
        }
    )
    lake = lake_of(Tables("tables", {"docs": rows}))
    assert lake.search_one("docs", [0.0, 1.0, 0.0], k=1)[0].id == "b"


WAITING = """
import threading
import ruvector as rv

class Waiting(rv.BackendAdapter):
    def list_collections(self):
        return ["docs"]
    def generation(self, collection):
        return 1
    def layout(self, collection):
        return rv.lake.Layout("v", "id", 2)
    def pull(self, collection, request):
        print("waiting", flush=True)
        threading.Event().wait()

lake = rv.RuLake.builder().build()
lake.register_backend(Waiting("waiting"))
try:
    lake.search_one(("waiting", "docs"), [0.0, 0.0])
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


def test_control_c_stops_waiting() -> None:
    command = [sys.executable, "-c", "import ruvector.lake\n" + WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waiting\n"
        waiting.send_signal(signal.SIGINT)
        assert waiting.stdout.readline() == "stopped\n"
        assert waiting.wait(60) == 0
