"""Keys, sessions, and what a server holds for a tenant between two calls."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import flight

from tests.flight.sql_client import docs, serve, token
from tests.flight.sql_messages import packed, parsed, text, unpacked
from tests.flight.sql_plain import act, command, prepare, put, query, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruvector.flight import FlightServer

LONG = "SELECT i FROM range(100000000000) t(i)"
ANN, BOB = (
    flight.FlightCallOptions(headers=[(b"authorization", f"Bearer secret-of-{who}".encode())])
    for who in ("ann", "bob")
)
MOST = 1000


@pytest.fixture(scope="module")
def server() -> Iterator[FlightServer]:
    with serve({"docs": docs()}) as running:
        yield running


@pytest.fixture
def client(server: FlightServer) -> Iterator[Any]:
    with flight.connect(server.location) as connected:
        yield connected


@pytest.fixture
def shared() -> Iterator[Any]:
    """A client of a server that knows two tenants."""
    with (
        serve({"docs": docs()}, tokens=[token("ann"), token("bob")]) as running,
        flight.connect(running.location) as connected,
    ):
        yield connected


@pytest.fixture(scope="module")
def tables(server: FlightServer) -> None:
    with flight.connect(server.location) as client:
        for sql in (
            "CREATE OR REPLACE TABLE parents (a INTEGER, b INTEGER, note VARCHAR, PRIMARY KEY (b, a))",
            "CREATE TABLE children (pb INTEGER, pa INTEGER, FOREIGN KEY (pb, pa) REFERENCES parents (b, a))",
            "CREATE OR REPLACE TABLE plain (x INTEGER)",
        ):
            put(client, command("CommandStatementUpdate", text(1, sql)))


@pytest.mark.usefixtures("tables")
def test_primary_keys_are_told_in_their_order(client: Any) -> None:
    found = read(
        client, command("CommandGetPrimaryKeys", text(1, "memory"), text(2, "main"), text(3, "parents"))
    )
    told = [(row["table_name"], row["column_name"], row["key_sequence"]) for row in found.to_pylist()]
    assert told == [("parents", "b", 1), ("parents", "a", 2)]
    assert read(client, command("CommandGetPrimaryKeys", text(3, "plain"))).num_rows == 0
    assert read(client, command("CommandGetPrimaryKeys", text(2, "other"), text(3, "parents"))).num_rows == 0


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("name", "fields", "rows"),
    [
        ("CommandGetImportedKeys", [text(3, "children")], 2),
        ("CommandGetImportedKeys", [text(3, "parents")], 0),
        ("CommandGetExportedKeys", [text(3, "parents")], 2),
        ("CommandGetExportedKeys", [text(3, "children")], 0),
        ("CommandGetCrossReference", [text(3, "parents"), text(6, "children")], 2),
        ("CommandGetCrossReference", [text(3, "children"), text(6, "parents")], 0),
    ],
)
def test_foreign_keys_are_told_from_both_ends(client: Any, name: str, fields: list[bytes], rows: int) -> None:
    found = read(client, command(name, *fields)).to_pylist()
    told = [
        (row["pk_table_name"], row["pk_column_name"], row["fk_table_name"], row["fk_column_name"])
        for row in found
    ]
    assert told == [("parents", "b", "children", "pb"), ("parents", "a", "children", "pa")][:rows]
    assert [row["key_sequence"] for row in found] == [1, 2][:rows]


def entry(name: str, value: bytes) -> bytes:
    return text(1, text(1, name) + text(2, value))


def options(told: bytes) -> dict[str, Any]:
    entries = [parsed(each) for each in parsed(told).get(1, []) if isinstance(each, bytes)]
    return {
        key.decode(): parsed(value)[1][0]
        for each in entries
        for key, value in [(each[1][0], each[2][0])]
        if isinstance(key, bytes) and isinstance(value, bytes)
    }


def test_a_session_has_a_catalog_and_a_schema(client: Any) -> None:
    (told,) = act(client, "GetSessionOptions")
    assert options(told) == {"catalog": b"memory", "schema": b"main"}
    (told,) = act(client, "SetSessionOptions", entry("catalog", text(1, "memory")))
    assert options(told) == {}
    wrong = [entry("catalog", text(1, "other")), entry("schema", b""), entry("memory_limit", text(1, "9TB"))]
    (told,) = act(client, "SetSessionOptions", b"".join(wrong))
    assert options(told) == {"catalog": 2, "schema": 2, "memory_limit": 1}
    (told,) = act(client, "CloseSession")
    assert parsed(told) == {1: [1]}
    assert query(client, "SELECT 1 AS a") == [{"a": 1}]


def test_an_answer_says_how_long_it_waits(client: Any) -> None:
    info = client.get_flight_info(command("CommandStatementQuery", text(1, "SELECT 1")))
    (endpoint,) = info.endpoints
    left = endpoint.expiration_time.as_py().timestamp() - time.time()
    assert 200 < left <= 301


def test_an_answer_that_nobody_reads_is_cancelled(client: Any) -> None:
    info = client.get_flight_info(command("CommandStatementQuery", text(1, LONG)))
    (told,) = act(client, "CancelFlightInfo", text(1, info.serialize()))
    assert parsed(told) == {1: [1]}
    with pytest.raises(KeyError, match="ticket: expected one that is open"):
        client.do_get(info.endpoints[0].ticket).read_all()
    with pytest.raises(KeyError, match="query: expected one that is open"):
        act(client, "CancelFlightInfo", text(1, info.serialize()))


@pytest.mark.parametrize("action", ["CancelFlightInfo", "CancelQuery"])
def test_an_answer_that_is_read_is_cancelled(client: Any, action: str) -> None:
    info = client.get_flight_info(command("CommandStatementQuery", text(1, LONG)))
    reader = client.do_get(info.endpoints[0].ticket)
    assert reader.read_chunk().data.num_rows > 0
    if action == "CancelQuery":
        body = packed("ActionCancelQueryRequest", text(1, info.serialize()))
        (told,) = act(client, action, body)
        assert unpacked("ActionCancelQueryResult", told) == {1: [1]}
    else:
        assert [parsed(told) for told in act(client, action, text(1, info.serialize()))] == [{1: [1]}]
    done = threading.Event()

    def rest() -> None:
        try:
            while True:
                reader.read_chunk()
        except flight.FlightCancelledError:
            done.set()

    reading = threading.Thread(target=rest, daemon=True)
    reading.start()
    assert done.wait(30.0)
    reading.join()


def test_handles_of_one_tenant_are_no_handles_of_another(shared: Any) -> None:
    info = shared.get_flight_info(command("CommandStatementQuery", text(1, "SELECT 42 AS x")), ANN)
    ticket = info.endpoints[0].ticket
    statement = command("CommandPreparedStatementQuery", text(1, prepare(shared, "SELECT 43 AS x", ANN)))
    (answer,) = act(shared, "BeginTransaction", packed("ActionBeginTransactionRequest"), ANN)
    ((transaction,),) = unpacked("ActionBeginTransactionResult", answer).values()
    assert isinstance(transaction, bytes)
    inside = command("CommandStatementQuery", text(1, "SELECT 44 AS x"), text(2, transaction))
    with pytest.raises(KeyError, match="ticket: expected one that is open"):
        shared.do_get(ticket, BOB).read_all()
    with pytest.raises(KeyError, match="query: expected one that is open"):
        act(shared, "CancelFlightInfo", text(1, info.serialize()), BOB)
    with pytest.raises(KeyError, match="prepared statement: expected one that is open"):
        shared.get_flight_info(statement, BOB)
    with pytest.raises(KeyError, match="transaction: expected one that is open"):
        shared.get_flight_info(inside, BOB)
    (handle,) = unpacked("CommandPreparedStatementQuery", statement.command)[1]
    assert isinstance(handle, bytes)
    act(shared, "ClosePreparedStatement", packed("ActionClosePreparedStatementRequest", text(1, handle)), BOB)
    assert shared.do_get(ticket, ANN).read_all().to_pylist() == [{"x": 42}]
    assert read(shared, statement, ANN).to_pylist() == [{"x": 43}]
    assert read(shared, inside, ANN).to_pylist() == [{"x": 44}]


def test_a_tenant_holds_so_much_and_no_more(shared: Any) -> None:
    handles = [prepare(shared, "SELECT 1", ANN) for _ in range(MOST)]
    assert len(set(handles)) == MOST
    with pytest.raises(Exception, match=f"more than {MOST} statements and transactions are open"):
        prepare(shared, "SELECT 1", ANN)
    with pytest.raises(Exception, match=f"more than {MOST} statements"):
        query(shared, "SELECT 1 AS a", ANN)
    assert query(shared, "SELECT 1 AS a", BOB) == [{"a": 1}]
    body = packed("ActionClosePreparedStatementRequest", text(1, handles[0]))
    act(shared, "ClosePreparedStatement", body, ANN)
    assert query(shared, "SELECT 1 AS a", ANN) == [{"a": 1}]
