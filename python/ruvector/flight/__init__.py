"""Arrow Flight: indexes and collections for clients in other processes, in any language.

`serve` runs a server in this process, on threads of its own; ``ruvector serve`` on the command line runs one
alone. `connect` reaches such a server, and has its collections searched as if they were here.

>>> import ruvector as rv
>>> docs = rv.build([[0.0, 0.0], [3.0, 4.0]], ids=[7, 8])
>>> with rv.flight.serve({"docs": docs}) as server:
...     remote = rv.flight.connect(server.location).collection("docs")
...     hits = remote.search([[0.0, 1.0], [3.0, 3.0]], k=1)
>>> hits.to_polars()["id"].to_list()
[7, 8]
"""

from __future__ import annotations

from ruvector.flight.client import FlightClient, connect
from ruvector.flight.remote import RemoteCollection
from ruvector.flight.serving import FlightServer, Limits, Token, serve

__all__ = ["FlightClient", "FlightServer", "Limits", "RemoteCollection", "Token", "connect", "serve"]
