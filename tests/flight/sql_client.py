"""A server with SQL, and the drivers that speak with it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import ruvector as rv

if TYPE_CHECKING:
    from ruvector.flight import FlightServer, Token

DIM = 8
ROWS = 1000
VECTORS = np.random.default_rng(7).normal(size=(ROWS, DIM)).astype(np.float32)
QUERY = VECTORS[0].tolist()

_dbapi: Any = import_module("adbc_driver_flightsql.dbapi")


def meta() -> pa.Table:
    return pa.table({"id": list(range(ROWS)), "title": [f"title {row}" for row in range(ROWS)]})


def docs() -> rv.Index:
    return rv.build(VECTORS)


def serve(indexes: dict[str, rv.Index], **how: Any) -> FlightServer:
    return rv.flight.serve(indexes, sql=True, **how)


def token(name: str, **how: Any) -> Token:
    return rv.flight.Token(secret=f"secret-of-{name}", principal=name, **{"verbs": ("search", "sql"), **how})


def connect(server: FlightServer, who: str | None = None, **how: Any) -> Any:
    options: dict[str, str] = {} if who is None else {"username": who, "password": f"secret-of-{who}"}
    return _dbapi.connect(server.location, **{"db_kwargs": options, "autocommit": True, **how})


def rows(cursor: Any, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    cursor.execute(sql, parameters)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
