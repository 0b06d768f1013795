"""Clients that nobody here wrote: pyarrow's, the lake's backend by it, and DuckDB over what it reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ruvector as rv
from ruvector.flight import FlightServer, Token, connect, serve
from ruvector.lake.adapters import FlightBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pa: Any = pytest.importorskip("pyarrow")
flight: Any = pytest.importorskip("pyarrow.flight")

DOCS = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], dtype=np.float32)


@pytest.fixture
def docs() -> rv.Index:
    return rv.build(DOCS, ids=[7, 8, 9])


@pytest.fixture
def server(docs: rv.Index) -> Iterator[FlightServer]:
    with serve({"docs": docs}) as server:
        yield server


def vectors(rows: list[list[float]]) -> Any:
    return pa.array(rows, pa.list_(pa.float32(), 2))


def command(**asked: Any) -> Any:
    return flight.FlightDescriptor.for_command(json.dumps(asked))


def exchange(client: Any, descriptor: Any, *batches: Any) -> Any:
    writer, reader = client.do_exchange(descriptor)
    with writer:
        writer.begin(batches[0].schema)
        for batch in batches:
            writer.write_batch(batch)
        writer.done_writing()
        return reader.read_all()


@pytest.mark.parametrize("answer", ["nested", "flat"])
def test_queries_are_exchanged_for_hits(server: FlightServer, answer: str) -> None:
    batch = pa.record_batch({"q": ["a", "b"], "v": vectors([[0.0, 1.0], [6.0, 7.0]])})
    with flight.connect(server.location) as client:
        asked = command(search={"collection": "docs", "k": 1, "answer": answer})
        found = exchange(client, asked, batch, batch)
    assert found["q"].to_pylist() == ["a", "b", "a", "b"]
    if answer == "nested":
        assert [hits[0]["id"] for hits in found["hits"].to_pylist()] == [7, 9, 7, 9]
    else:
        assert found["id"].to_pylist() == [7, 9, 7, 9]
        assert found["query_row"].to_pylist() == [0, 1, 2, 3]


def test_a_path_is_the_collection_with_defaults(server: FlightServer) -> None:
    batch = pa.record_batch({"v": vectors([[0.0, 1.0]])})
    with flight.connect(server.location) as client:
        found = exchange(client, flight.FlightDescriptor.for_path("docs"), batch)
        info = client.get_flight_info(flight.FlightDescriptor.for_path("docs"))
        rows = pa.concat_tables([client.do_get(each.ticket).read_all() for each in info.endpoints])
    assert [hit["id"] for hit in found["hits"][0].as_py()] == [7, 8, 9]
    assert sorted(rows["id"].to_pylist()) == [7, 8, 9]
    assert info.total_records == 3


def test_rows_are_put_and_actions_done(server: FlightServer, docs: rv.Index) -> None:
    batch = pa.record_batch({"id": [1, 7], "v": vectors([[9.0, 9.0], [1.0, 1.0]])})
    with flight.connect(server.location) as client:
        writer, told = client.do_put(command(upsert={"collection": "docs"}), batch.schema)
        with writer:
            writer.write_batch(batch)
            assert json.loads(told.read().to_pybytes()) == {"rows": 2, "replaced": 1}
            writer.done_writing()
        (answer,) = client.do_action(flight.Action("compact", json.dumps({"collection": "docs"}).encode()))
        assert json.loads(answer.body.to_pybytes())["rows"] == 4
        assert [each.descriptor.path for each in client.list_flights()] == [[b"docs"]]
        assert {"build", "health", "stats"} <= {action.type for action in client.list_actions()}
    assert 1 in docs


def test_errors_are_codes_of_the_protocol(server: FlightServer) -> None:
    batch = pa.record_batch({"v": vectors([[0.0, 1.0]])})
    with flight.connect(server.location) as client:
        with pytest.raises(pa.ArrowKeyError, match="unknown collection"):
            exchange(client, flight.FlightDescriptor.for_path("nothing"), batch)
        with pytest.raises(pa.ArrowInvalid, match="unknown field"):
            exchange(client, command(search={"collection": "docs", "kk": 1}), batch)


def test_tokens_are_headers(docs: rv.Index) -> None:
    token = Token(secret="s" * 32, principal="reader")
    with serve({"docs": docs}, tokens=[token]) as server, flight.connect(server.location) as client:
        with pytest.raises(flight.FlightUnauthenticatedError):
            list(client.list_flights())
        options = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer " + b"s" * 32)])
        assert len(list(client.list_flights(options=options))) == 1


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("certificates")
    common = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    for name in ("server", "client", "other"):
        files = ["-addext", names, "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        command = [shutil.which("openssl") or "openssl", "req", *common.split(), *files]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def test_tls_is_checked_on_both_ends(docs: rv.Index, certificates: Path) -> None:
    at = certificates
    tls = (at / "server.pem", at / "server.key")
    with serve({"docs": docs}, "grpc+tls://127.0.0.1:0", tls=tls, client_roots=at / "client.pem") as server:
        assert server.location.startswith("grpc+tls://")
        own = (at / "client.pem", at / "client.key")
        there = connect(server.location, roots=at / "server.pem", certificate=own).collection("docs")
        assert there.search([0.0, 0.0], k=1).to_polars()["id"].to_list() == [7]
        refused: tuple[dict[str, Any], ...] = (
            {"roots": at / "other.pem", "certificate": own},
            {"roots": at / "server.pem"},
            {"roots": at / "server.pem", "certificate": (at / "other.pem", at / "other.key")},
        )
        for options in refused:
            with pytest.raises(rv.BackendError):
                connect(server.location, retries=0, **options).collection("docs").search([0.0, 0.0])
        plain = flight.FlightClient(
            server.location,
            tls_root_certs=(at / "server.pem").read_bytes(),
            cert_chain=own[0].read_bytes(),
            private_key=own[1].read_bytes(),
        )
        with plain:
            assert len(list(plain.list_flights())) == 1


def test_a_lake_reads_what_is_served(docs: rv.Index) -> None:
    token = Token(secret="s" * 32, principal="lake")
    header = ("authorization", "Bearer " + "s" * 32)

    class Middleware(flight.ClientMiddleware):  # type: ignore[misc]
        def sending_headers(self) -> dict[str, str]:
            return dict([header])

    class Factory(flight.ClientMiddlewareFactory):  # type: ignore[misc]
        def start_call(self, info: object) -> Middleware:
            del info
            return Middleware()

    def reach(location: Any) -> Any:
        return flight.FlightClient(location, middleware=[Factory()])

    with serve({"docs": docs}, tokens=[token]) as server:
        backend = FlightBackend("served", server.location, connect=reach)
        lake = rv.RuLake.builder().build()
        lake.register_backend(backend)
        assert lake.collections() == [("served", "docs")]
        assert lake.search_one("docs", [0.0, 1.0], k=1)[0].id == 7
        before = backend.generation("docs")
        assert backend.generation("docs") == before
        docs.add([[0.0, 1.0]], ids=[1])
        assert backend.generation("docs") != before
        assert lake.search_one("docs", [0.0, 1.0], k=1)[0].id == 1


def test_duckdb_reads_a_stream(server: FlightServer) -> None:
    duckdb = pytest.importorskip("duckdb")
    batch = pa.record_batch({"q": ["a", "b"], "v": vectors([[0.0, 1.0], [6.0, 7.0]])})
    with flight.connect(server.location) as client:
        writer, reader = client.do_exchange(command(search={"collection": "docs", "k": 2, "answer": "flat"}))
        with writer:
            writer.begin(batch.schema)
            writer.write_batch(batch)
            writer.done_writing()
            hits = reader.to_reader()
            found = duckdb.sql("select q, id from hits where rank = 0 order by q").fetchall()
            del hits
    assert found == [("a", 7), ("b", 9)]
