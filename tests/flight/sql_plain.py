"""What a client of Arrow Flight that knows nothing of SQL does to run some."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyarrow import flight

from tests.flight.sql_messages import packed, text, unpacked

__all__ = ["act", "command", "prepare", "put", "query", "read"]


def command(name: str, *fields: bytes) -> Any:
    return flight.FlightDescriptor.for_command(packed(name, *fields))


def read(client: Any, descriptor: Any, options: Any = None) -> pa.Table:
    info = client.get_flight_info(descriptor, options)
    (endpoint,) = info.endpoints
    table = client.do_get(endpoint.ticket, options).read_all()
    assert table.schema == info.schema
    return table


def query(client: Any, sql: str, options: Any = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(
        client, command("CommandStatementQuery", text(1, sql)), options
    ).to_pylist()
    return found


def act(client: Any, name: str, body: bytes = b"", options: Any = None) -> list[bytes]:
    return [result.body.to_pybytes() for result in client.do_action(flight.Action(name, body), options)]


def put(client: Any, descriptor: Any, *batches: pa.RecordBatch) -> bytes:
    schema = batches[0].schema if batches else pa.schema([])
    writer, told = client.do_put(descriptor, schema)
    with writer:
        for batch in batches:
            writer.write_batch(batch)
        writer.done_writing()
        answer: bytes = told.read().to_pybytes()
    return answer


def prepare(client: Any, sql: str, options: Any = None) -> bytes:
    request = packed("ActionCreatePreparedStatementRequest", text(1, sql))
    (answer,) = act(client, "CreatePreparedStatement", request, options)
    (handle,) = unpacked("ActionCreatePreparedStatementResult", answer)[1]
    assert isinstance(handle, bytes)
    return handle
