"""Parquet in a bucket, over HTTP."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ruvector as rv
from ruvector.lake import transport

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = np.random.default_rng(0).standard_normal((300, 8), dtype=np.float32)


def parquet(first: int, rows: int) -> bytes:
    vectors = pa.array(ROWS[first : first + rows].reshape(-1))
    table = pa.table(
        {
            "id": pa.array(range(first, first + rows), pa.int64()),
            "text": [f"row {row}" for row in range(first, first + rows)],
            "vector": pa.FixedSizeListArray.from_arrays(vectors, 8),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=64)
    return bytes(sink.getvalue().to_pybytes())


@pytest.fixture
def put(s3_server: str, request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """Write an object into a bucket of this test."""
    bucket = bucket_of(request)

    def write(path: str, body: bytes) -> None:
        connection = HTTPConnection(urlsplit(s3_server).netloc)
        connection.request("PUT", f"/{bucket}{path}", body)
        assert connection.getresponse().status == 200
        connection.close()

    write("", b"")
    return write


def bucket_of(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).replace("_", "-")[:60].strip("-")


@pytest.fixture
def backend(s3_server: str, request: pytest.FixtureRequest) -> rv.ParquetBackend:
    """The tables of the bucket of this test."""
    return rv.ParquetBackend(
        "bucket",
        f"s3://{bucket_of(request)}/tables",
        endpoint=s3_server,
        access_key_id="key",
        secret_access_key="secret",  # noqa: S106 - of a server that takes any
        allow_http=True,
    )


def test_a_bucket_is_a_backend(put: Callable[[str, bytes], None], backend: rv.ParquetBackend) -> None:
    put("/tables/docs/0.parquet", parquet(0, 200))
    backend.register("docs", "docs")
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    found = lake.search_one("docs", ROWS[7], k=1, columns=["text"])
    assert found.to_polars().select("id", "text").rows() == [(7, "row 7")]
    assert {hit.id for hit in lake.search_one("docs", ROWS[7], k=200, filter=[("id", "<", 3)])} == {0, 1, 2}
    put("/tables/docs/1.parquet", parquet(200, 100))
    assert lake.search_one("docs", ROWS[250], k=1)[0].id == 250
    stats = lake.cache_stats()
    assert (stats.primes, stats.extensions) == (1, 1), "only the new file was read"
    bundle = lake.bundle_of("docs")
    assert bundle is not None
    assert bundle.data_ref.startswith("s3://")
    backend.register("none", "none")
    with pytest.raises(rv.UnknownCollection):
        lake.search_one(("bucket", "none"), ROWS[0])


def test_many_threads_share_a_bucket(put: Callable[[str, bytes], None], backend: rv.ParquetBackend) -> None:
    put("/tables/docs.parquet", parquet(0, 300))
    backend.register("docs", "docs.parquet")
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    found: list[object] = []
    threads = [
        threading.Thread(target=lambda row=row: found.append(lake.search_one("docs", ROWS[row], k=1)[0].id))
        for row in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, found)) == sorted(map(str, range(16)))
    assert lake.cache_stats().primes == 1


def test_a_server_that_is_not_there_is_a_failure_that_may_pass() -> None:
    backend = rv.ParquetBackend(
        "bucket", "s3://bucket", endpoint="http://127.0.0.1:1", allow_http=True, retries=0
    )
    backend.register("docs", "docs")
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    with pytest.raises(rv.BackendError) as raised:
        lake.search_one(("bucket", "docs"), ROWS[0])
    assert raised.value.retryable


def test_options_that_make_no_sense_are_refused(tmp_path: object) -> None:
    with pytest.raises(rv.InvalidParameter, match="root"):
        rv.ParquetBackend("b", str(tmp_path), region="eu-1")
    with pytest.raises(rv.InvalidParameter, match="root"):
        rv.ParquetBackend("b", "s3://")
    with pytest.raises(rv.InvalidParameter, match="access_key_id"):
        rv.ParquetBackend("b", "s3://bucket", access_key_id="key")


def test_a_kept_connection_that_was_closed_is_made_anew(s3_server: str) -> None:
    status, headers, _ = transport.send("GET", f"{s3_server}/", [("accept", "*/*")], b"")
    assert status == 200
    assert headers
    for connection in transport._connections().values():
        assert connection.sock is not None
        connection.sock.close()
        connection.sock.detach()
    assert transport.send("GET", f"{s3_server}/", [], b"")[0] == 200
