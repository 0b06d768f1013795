"""The client: the same answers and errors as an index here, and what it does when the server is away."""

from __future__ import annotations

import json
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import ruvector as rv
from ruvector.flight import FlightServer, Limits, RemoteCollection, connect, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

RANDOM = np.random.default_rng(7)
ROWS: npt.NDArray[np.float32] = RANDOM.random((500, 16), dtype=np.float32)
QUERIES: npt.NDArray[np.float32] = RANDOM.random((40, 16), dtype=np.float32)


@pytest.fixture(scope="module")
def here() -> rv.Index:
    return rv.build(ROWS)


@pytest.fixture(scope="module")
def server(here: rv.Index) -> Iterator[FlightServer]:
    named = rv.build([[0.0, 0.0], [3.0, 4.0]], ids=["north", "east"])
    with serve({"docs": here, "named": named}, limits=Limits(k=100)) as server:
        yield server


@pytest.fixture
def there(server: FlightServer) -> RemoteCollection:
    return connect(server.location).collection("docs")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recall": 0.8},
        {"nprobe": 2},
        {"epsilon": 1.0},
        {"exact": True},
        {"rerank": False},
        {"filter": [3, 4, 5]},
    ],
)
def test_answers_are_those_of_the_index(
    here: rv.Index, there: RemoteCollection, options: dict[str, Any]
) -> None:
    local, remote = here.search(QUERIES, k=5, **options), there.search(QUERIES, k=5, **options)
    assert remote.to_polars().equals(local.to_polars())
    assert (remote.num_queries, remote.exact) == (local.num_queries, local.exact)


def test_queries_may_be_null_or_half_or_none(here: rv.Index, there: RemoteCollection) -> None:
    column = pl.Series("v", [QUERIES[0].tolist(), None], dtype=pl.Array(pl.Float32, 16))
    assert there.search(column, k=2).nested().__len__() == 2
    assert there.search(column, k=2).to_polars().equals(here.search(column, k=2).to_polars())
    half = QUERIES[:3].astype(np.float16)
    assert there.search(half, k=2).to_polars().equals(here.search(half, k=2).to_polars())
    empty = there.search(QUERIES[:0], k=2)
    assert (len(empty), empty.num_queries) == (0, 0)


def test_many_queries_go_in_batches(here: rv.Index, there: RemoteCollection) -> None:
    many = np.tile(QUERIES, (2000, 1))
    found = there.search(many, k=1).to_numpy()[0]
    assert np.array_equal(found, np.tile(here.search(QUERIES, k=1).to_numpy()[0], (2000, 1)))


def test_it_tells_what_an_index_tells(here: rv.Index, server: FlightServer, there: RemoteCollection) -> None:
    assert (there.dim, there.metric, there.id_type, len(there)) == (16, "l2sq", "int64", 500)
    assert connect(server.location).list() == ["docs", "named"]
    assert connect(server.location).health()["status"] == "ok"
    assert connect(server.location).stats()["collections"].keys() == {"docs", "named"}
    assert there.stats()["bits"] == here.bits
    assert there.measure_recall(QUERIES, k=5) == here.measure_recall(QUERIES, k=5)
    named = connect(server.location).collection("named")
    assert named.search([3.0, 3.0], k=2).to_polars()["id"].to_list() == ["east", "north"]
    assert named.search([3.0, 3.0], k=2, filter=["north", "nowhere"]).to_polars()["id"].to_list() == ["north"]


@pytest.mark.parametrize(
    ("ask", "error", "details"),
    [
        ({"queries": [[0.0] * 15]}, rv.DimensionMismatch, {"expected": 16, "actual": 15}),
        ({"queries": [[float("nan")] * 16]}, rv.InvalidVector, {"row": 0}),
        ({"queries": "text"}, rv.InvalidVectorType, {}),
        ({"queries": QUERIES, "k": 0}, rv.InvalidParameter, {"name": "k"}),
        ({"queries": QUERIES, "k": 101}, rv.InvalidParameter, {"name": "k", "expected": "at most 100"}),
        ({"queries": QUERIES, "recall": 2.0}, rv.InvalidParameter, {"name": "recall"}),
        ({"queries": QUERIES, "filter": [1.5]}, rv.InvalidParameter, {"name": "filter"}),
        ({"queries": QUERIES, "filter": 7}, rv.InvalidParameter, {"name": "filter"}),
    ],
)
def test_errors_are_of_the_same_class_with_the_same_attributes(
    there: RemoteCollection, ask: dict[str, Any], error: type[Exception], details: dict[str, Any]
) -> None:
    with pytest.raises(error) as refused:
        there.search(**ask)
    assert {name: getattr(refused.value, name) for name in details} == details
    assert type(pickle.loads(pickle.dumps(refused.value))) is type(refused.value)
    assert len(there.search(QUERIES, k=1)) == 40


def test_a_build_is_sent_and_used(server: FlightServer) -> None:
    client = connect(server.location)
    table = pl.DataFrame(
        {"id": ["a", "b"], "v": [[0.0, 1.0], [1.0, 0.0]]}, schema_overrides={"v": pl.Array(pl.Float32, 2)}
    )
    built = client.build("built", table, ids="id", metric="cosine")
    assert (len(built), built.metric, built.id_type) == (2, "cosine", "str")
    assert built.search([0.1, 1.0], k=1).to_polars()["id"].to_list() == ["a"]
    with pytest.raises(rv.InvalidParameter):
        client.build("built", table, ids="id")
    assert len(client.build("built", table[:1], ids="id", replace=True)) == 1
    with pytest.raises(rv.DuplicateId):
        client.build("twice", table, ids=["a", "a"])
    assert client.drop("built")
    assert client.list() == ["docs", "named"]


def test_rows_and_indexes_come_back(here: rv.Index, there: RemoteCollection, tmp_path: Path) -> None:
    rows = pl.DataFrame(there.scan()).sort("id")
    assert rows["id"].to_list() == list(range(500))
    assert np.array_equal(rows["vector"].to_numpy(), ROWS)
    with pytest.raises(rv.InvalidParameter):
        there.scan(["nothing"])
    assert there.download().digest == here.digest
    kept = there.download(tmp_path / "docs.rbpx")
    assert kept.digest == here.digest
    assert kept.path == str(tmp_path / "docs.rbpx")


def test_half_vectors_stay_half(server: FlightServer) -> None:
    client = connect(server.location)
    half = client.build("half", ROWS.astype(np.float16))
    assert half.download().search(QUERIES, k=3).to_polars().equals(half.search(QUERIES, k=3).to_polars())
    assert half.compact()["rows"] == 500
    assert client.drop("half")


def test_plans_of_polars_search_there(here: rv.Index, there: RemoteCollection) -> None:
    frame = pl.DataFrame({"v": QUERIES}, schema={"v": pl.Array(pl.Float32, 16)})
    local = frame.select(pl.col("v").ruvector.knn(here, k=3))
    assert frame.select(pl.col("v").ruvector.knn(there, k=3)).equals(local)
    assert frame.lazy().select(pl.col("v").ruvector.knn(there, k=3)).collect(engine="streaming").equals(local)
    with pytest.raises(rv.InvalidParameter, match="filter"):
        pl.col("v").ruvector.knn(there, filter=[1])
    right = pl.DataFrame(
        {"id": range(500), "title": [f"row {at}" for at in range(500)], "v": ROWS},
        schema_overrides={"v": pl.Array(pl.Float32, 16)},
    )
    join: dict[str, Any] = {"on": "v", "k": 2, "id": "id"}
    joined = frame.ruvector.knn_join(right, index=there, **join)
    assert joined.equals(frame.ruvector.knn_join(right, index=here, **join))


def test_a_plan_tells_that_the_server_is_gone(here: rv.Index) -> None:
    frame = pl.DataFrame({"v": QUERIES}, schema={"v": pl.Array(pl.Float32, 16)})
    with serve({"docs": here}) as server:
        plan = frame.lazy().select(
            pl.col("v").ruvector.knn(connect(server.location, retries=0).collection("docs"))
        )
    with pytest.raises(pl.exceptions.ComputeError, match="grpc://"):
        plan.collect()


def test_a_server_that_comes_back_is_found_again(here: rv.Index) -> None:
    first = serve({"docs": here})
    there = connect(first.location, retries=20).collection("docs")
    assert len(there.search(QUERIES, k=1)) == 40
    first.stop(0.0)
    again: list[FlightServer] = []
    timer = threading.Timer(0.5, lambda: again.append(serve({"docs": here}, first.location)))
    timer.start()
    assert len(there.search(QUERIES, k=1)) == 40
    timer.join()
    again[0].stop(0.0)


def test_a_server_that_is_not_there_is_an_error_that_may_pass() -> None:
    there = connect("grpc://127.0.0.1:9", retries=1).collection("docs")
    with pytest.raises(rv.BackendError) as refused:
        there.search(QUERIES)
    assert refused.value.retryable
    assert refused.value.backend == "grpc://127.0.0.1:9"


def test_a_timeout_is_kept(tmp_path: Path) -> None:
    del tmp_path
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"grpc://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(rv.DeadlineExceeded) as refused:
            connect(url, timeout=0.3).collection("docs").search(QUERIES)
    assert refused.value.seconds == pytest.approx(0.3)
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"url": "localhost:8815"}, "url"),
        ({"url": "http://localhost:8815"}, "url"),
        ({"url": "grpc://localhost"}, "url"),
        ({"url": "grpc://localhost:1", "timeout": 0.0}, "timeout"),
        ({"url": "grpc://localhost:1", "retries": -1}, "retries"),
        ({"url": "grpc://localhost:1", "token": "line\nbreak"}, "token"),
        ({"url": "grpc+tls://localhost:1", "roots": "/no/such/file"}, "roots"),
        ({"url": "grpc://localhost:1", "roots": "/no/such/file"}, "url"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises(rv.InvalidParameter) as refused:
        connect(**options)
    assert refused.value.name == name
    assert "break" not in str(refused.value)


def test_handles_compare_by_name_and_are_not_pickled(server: FlightServer, there: RemoteCollection) -> None:
    assert there == connect(server.location).collection("docs")
    assert hash(there) == hash(connect(server.location).collection("docs"))
    assert there != connect(server.location).collection("named")
    for each in (there, connect(server.location)):
        with pytest.raises(TypeError, match="connect in the process"):
            pickle.dumps(each)


def test_plain_json_is_all_that_actions_take(server: FlightServer) -> None:
    flight = pytest.importorskip("pyarrow.flight")
    with flight.connect(server.location) as client:
        (answer,) = client.do_action(flight.Action("list", b"{}"))
        assert json.loads(answer.body.to_pybytes())["collections"] == ["docs", "named"]


def test_a_closed_client_says_so_and_its_collections_go_on() -> None:
    with rv.flight.serve({"docs": rv.build([[0.0, 0.0], [3.0, 4.0]])}) as server:
        with rv.flight.connect(server.location) as client:
            docs = client.collection("docs")
        assert len(docs) == 2
        assert client.location == server.location
        with pytest.raises(rv.InvalidParameter, match="closed"):
            client.list()
