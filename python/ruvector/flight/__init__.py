"""Arrow Flight: indexes and collections for clients in other processes, in any language.

`serve` runs a server in this process, on threads of its own.

>>> import ruvector as rv
>>> docs = rv.build([[0.0, 0.0], [3.0, 4.0]], ids=[7, 8])
>>> with rv.flight.serve({"docs": docs}) as server:
...     server.names()
['docs']
"""

from __future__ import annotations

from ruvector.flight.serving import FlightServer, Limits, Token, serve

__all__ = ["FlightServer", "Limits", "Token", "serve"]
