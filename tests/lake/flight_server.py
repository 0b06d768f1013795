"""An Arrow Flight server in memory; run as a process, it prints where it listens."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pyarrow.flight


class Server(pyarrow.flight.FlightServerBase):  # type: ignore[misc] # pyarrow ships no types
    """Tables by name, put at ``name/replace`` or ``name/append``; a generation counts the changes."""

    def __init__(self) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self.lock = threading.Lock()
        self.tables: dict[str, pa.Table] = {}
        self.changes: dict[str, int] = {}
        self.all_changes = 0

    def _info(self, name: str) -> Any:
        table = self.tables[name]
        descriptor = pyarrow.flight.FlightDescriptor.for_path(name)
        endpoint = pyarrow.flight.FlightEndpoint(name, [])
        generation = str(self.changes[name])
        return pyarrow.flight.FlightInfo(
            table.schema,
            descriptor,
            [endpoint],
            table.num_rows,
            table.nbytes,
            ordered=True,
            app_metadata=generation,
        )

    def list_flights(self, context: Any, criteria: bytes) -> Any:
        del context, criteria
        with self.lock:
            yield from [self._info(name) for name in self.tables]

    def get_flight_info(self, context: Any, descriptor: Any) -> Any:
        del context
        with self.lock:
            return self._info(descriptor.path[0].decode())

    def do_get(self, context: Any, ticket: Any) -> Any:
        del context
        with self.lock:
            table = self.tables[ticket.ticket.decode()]
        return pyarrow.flight.RecordBatchStream(
            pa.RecordBatchReader.from_batches(table.schema, table.to_batches(50))
        )

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        del context, writer
        name, way = (part.decode() for part in descriptor.path)
        table = reader.read_all()
        with self.lock:
            if way == "append":
                table = pa.concat_tables([self.tables[name], table])
            self._set(name, table)

    def do_action(self, context: Any, action: Any) -> list[bytes]:
        del context
        with self.lock:
            if action.type == "clear":
                self.tables.clear()
                return []
            name, gone = action.body.to_pybytes().decode().split()
            table = self.tables[name]
            kept = [row for row, found in enumerate(table.column("id").to_pylist()) if found != int(gone)]
            self._set(name, table.take(pa.array(kept, pa.int64())))
        return []

    def _set(self, name: str, table: pa.Table) -> None:
        self.all_changes += 1
        self.tables[name], self.changes[name] = table, self.all_changes


if __name__ == "__main__":
    with Server() as server:
        print(f"grpc://127.0.0.1:{server.port}", flush=True)
        server.serve()
