"""
SQL for the clients of a Flight server: DuckDB behind it, one locked database in memory for each tenant.

The server calls `Engine` and its connections from threads of its own. Statements are planned under the
interpreter's lock, and their rows are read without it.
"""

from __future__ import annotations

from ruvector.flight._sql.engine import Engine
from ruvector.flight._sql.refusing import Refusal, told

__all__ = ["Engine", "Refusal", "told"]
