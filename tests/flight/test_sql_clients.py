"""SQL by a client that knows Arrow Flight and nothing of SQL, and by the driver of ADBC through TLS."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import flight

import ruvector as rv
from tests.flight.sql_client import QUERY, connect, docs, meta, rows, serve, token
from tests.flight.sql_messages import flag, packed, parsed, text, unpacked
from tests.flight.sql_plain import act, command, put, query, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ruvector.flight import FlightServer

HITS = f"SELECT id FROM ruvector_knn('docs', {QUERY}, k := 3) ORDER BY distance"
BEARER = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer secret-of-ann")])


@pytest.fixture(scope="module")
def server() -> Iterator[FlightServer]:
    with serve({"docs": docs()}, tables={"meta": meta()}) as running:
        yield running


@pytest.fixture
def client(server: FlightServer) -> Iterator[Any]:
    with flight.connect(server.location) as connected:
        yield connected


def test_a_query_runs_when_its_info_is_asked_for_and_is_read_once(client: Any) -> None:
    info = client.get_flight_info(command("CommandStatementQuery", text(1, HITS)))
    assert info.schema == pa.schema([("id", pa.int64())])
    (endpoint,) = info.endpoints
    assert b"TicketStatementQuery" in endpoint.ticket.ticket
    found = client.do_get(endpoint.ticket).read_all()["id"].to_pylist()
    assert found == docs().search([QUERY], 3).to_arrow()["id"].to_pylist()
    with pytest.raises(pa.ArrowKeyError, match="ticket: expected one that is open"):
        client.do_get(endpoint.ticket).read_all()


def test_the_schema_is_told_without_a_run(client: Any) -> None:
    asked = command("CommandStatementQuery", text(1, "SELECT 1 AS a, 'x' AS b"))
    assert client.get_schema(asked).schema == pa.schema([("a", pa.int32()), ("b", pa.string())])


def test_updates_tell_how_many_rows_changed(client: Any) -> None:
    def update(sql: str) -> list[bytes | int]:
        return parsed(put(client, command("CommandStatementUpdate", text(1, sql)))).get(1, [0])

    update("CREATE OR REPLACE TABLE counted (x INTEGER)")
    assert update("INSERT INTO counted VALUES (1), (2), (3)") == [3]
    assert update("DELETE FROM counted WHERE x > 1") == [2]
    assert query(client, "SELECT x FROM counted") == [{"x": 1}]


def test_a_prepared_statement_takes_rows_of_values(client: Any) -> None:
    sql = "SELECT id FROM ruvector_knn('docs', ?, k := 1)"
    request = packed("ActionCreatePreparedStatementRequest", text(1, sql))
    (answer,) = act(client, "CreatePreparedStatement", request)
    made = unpacked("ActionCreatePreparedStatementResult", answer)
    (handle,), (answers,), (parameters,) = made[1], made[2], made[3]
    assert isinstance(handle, bytes)
    assert pa.ipc.read_schema(pa.py_buffer(answers)) == pa.schema([("id", pa.int64())])
    (vector,) = pa.ipc.read_schema(pa.py_buffer(parameters))
    assert pa.types.is_list(vector.type)
    asked = command("CommandPreparedStatementQuery", text(1, handle))
    vectors = pa.array([QUERY, [-x for x in QUERY]], pa.list_(pa.float32(), len(QUERY)))
    told = put(client, asked, pa.record_batch([vectors], names=["v"]))
    assert parsed(told) == {1: [handle]}
    expected = docs().search([QUERY, [-x for x in QUERY]], 1).to_arrow()["id"].to_pylist()
    assert read(client, asked)["id"].to_pylist() == expected
    act(client, "ClosePreparedStatement", packed("ActionClosePreparedStatementRequest", text(1, handle)))
    with pytest.raises(pa.ArrowKeyError, match="prepared statement: expected one that is open"):
        client.get_flight_info(asked)


def test_a_transaction_is_a_handle(client: Any) -> None:
    put(client, command("CommandStatementUpdate", text(1, "CREATE OR REPLACE TABLE kept (x INTEGER)")))
    for action, left in ((2, []), (1, [{"x": 1}])):
        (answer,) = act(client, "BeginTransaction", packed("ActionBeginTransactionRequest"))
        ((handle,),) = unpacked("ActionBeginTransactionResult", answer).values()
        assert isinstance(handle, bytes)
        insert = command("CommandStatementUpdate", text(1, "INSERT INTO kept VALUES (1)"), text(2, handle))
        assert parsed(put(client, insert)) == {1: [1]}
        inside = command("CommandStatementQuery", text(1, "SELECT x FROM kept"), text(2, handle))
        assert read(client, inside).to_pylist() == [{"x": 1}]
        assert query(client, "SELECT x FROM kept") == []
        end = packed("ActionEndTransactionRequest", text(1, handle), flag(2, action))
        act(client, "EndTransaction", end)
        assert query(client, "SELECT x FROM kept") == left
        with pytest.raises(pa.ArrowKeyError, match="transaction: expected one that is open"):
            act(client, "EndTransaction", end)


def test_metadata_is_asked_for_by_command(client: Any) -> None:
    (found,) = read(client, command("CommandGetTables", text(3, "meta"), flag(5, 1))).to_pylist()
    assert (found["table_name"], found["table_type"]) == ("meta", "VIEW")
    columns = pa.ipc.read_schema(pa.py_buffer(found["table_schema"]))
    assert columns.names == ["id", "title"]
    assert read(client, command("CommandGetCatalogs")).to_pylist() == [{"catalog_name": "memory"}]
    schemas = read(client, command("CommandGetDbSchemas")).to_pylist()
    assert {"catalog_name": "memory", "db_schema_name": "main"} in schemas
    types = read(client, command("CommandGetXdbcTypeInfo"))["type_name"].to_pylist()
    assert {"BIGINT", "VARCHAR", "FLOAT[]"} <= set(types)
    (told,) = read(client, command("CommandGetSqlInfo", flag(1, 0))).to_pylist()
    assert told["value"].startswith("ruvector (DuckDB ")


def test_actions_of_sql_are_listed_where_it_is_run(client: Any) -> None:
    names = {"CreatePreparedStatement", "BeginTransaction", "GetSessionOptions", "health"}
    listed = [action.type for action in client.list_actions()]
    assert names <= set(listed)
    assert len(set(listed)) == len(listed)
    with rv.flight.serve({"docs": docs()}) as without, flight.connect(without.location) as other:
        assert {action.type for action in other.list_actions()} & names == {"health"}
        with pytest.raises(NotImplementedError, match="this server runs no sql"):
            query(other, "SELECT 1")


def test_what_is_no_message_is_refused(client: Any) -> None:
    for descriptor in (
        command("CommandStatementQuery", b"\x0a\xff"),
        command("CommandFlight"),
        command("CommandGetTables", text(5, "not a flag")),
        command("ActionBeginTransactionRequest"),
    ):
        with pytest.raises((pa.ArrowInvalid, NotImplementedError)):
            client.get_flight_info(descriptor)
    for body in (b"", b"\xff\xff", packed("CommandStatementQuery", text(1, "SELECT 1"))):
        with pytest.raises(pa.ArrowInvalid):
            act(client, "CreatePreparedStatement", body)
    assert query(client, "SELECT 1 AS a") == [{"a": 1}]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("certificate")
    told = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-addext", names, "-keyout", "key.pem", "-out", "certificate.pem"]
    made = [shutil.which("openssl") or "openssl", "req", *told.split(), *files]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def secure(certificate: Path) -> Iterator[FlightServer]:
    tls = (certificate / "certificate.pem", certificate / "key.pem")
    at = {"location": "grpc+tls://127.0.0.1:0", "tls": tls}
    with serve({"docs": docs()}, tokens=[token("ann")], **at) as running:
        yield running


def trusting(certificate: Path, **options: str) -> dict[str, str]:
    roots = (certificate / "certificate.pem").read_text(encoding="utf-8")
    return {"adbc.flight.sql.client_option.tls_root_certs": roots, **options}


@pytest.mark.parametrize(
    "credentials",
    [
        {"adbc.flight.sql.authorization_header": "Bearer secret-of-ann"},
        {"username": "whoever", "password": "secret-of-ann"},
    ],
    ids=["bearer", "basic"],
)
def test_adbc_asks_through_tls(secure: FlightServer, certificate: Path, credentials: dict[str, str]) -> None:
    options = trusting(certificate, **credentials)
    with connect(secure, db_kwargs=options) as connection, connection.cursor() as cursor:
        assert rows(cursor, HITS)[0] == (0,)
        assert rows(cursor, "SELECT id FROM ruvector_knn('docs', ?, k := 1)", (QUERY,)) == [(0,)]


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"adbc.flight.sql.authorization_header": "Bearer secret-of-eve"},
        {"adbc.flight.sql.authorization_header": "Basic secret-of-ann"},
        {"username": "ann", "password": "secret-of-eve"},
        {"username": "secret-of-ann", "password": ""},
    ],
)
def test_adbc_is_refused_without_a_token(
    secure: FlightServer, certificate: Path, credentials: dict[str, str]
) -> None:
    options = trusting(certificate, **credentials)
    with (
        pytest.raises(Exception, match=r"(?i)unauthenticated"),
        connect(secure, db_kwargs=options) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")


def test_adbc_trusts_no_certificate_that_it_was_not_given(secure: FlightServer) -> None:
    options = {"adbc.flight.sql.authorization_header": "Bearer secret-of-ann"}
    with (
        pytest.raises(Exception, match="certificate"),
        connect(secure, db_kwargs=options) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")


def test_a_handshake_gives_the_token_back_to_bear(secure: FlightServer, certificate: Path) -> None:
    roots = (certificate / "certificate.pem").read_bytes()
    with flight.FlightClient(secure.location, tls_root_certs=roots) as client:
        with pytest.raises(flight.FlightUnauthenticatedError):
            query(client, "SELECT 1")
        with pytest.raises(flight.FlightUnauthenticatedError):
            client.authenticate_basic_token("ann", "secret-of-eve")
        header = client.authenticate_basic_token("ann", "secret-of-ann")
        assert header == (b"authorization", b"Bearer secret-of-ann")
        options = flight.FlightCallOptions(headers=[header])
        assert query(client, HITS, options)[0] == {"id": 0}
        assert query(client, HITS, BEARER)[0] == {"id": 0}
