"""
What the SQL functions do, whichever engine calls them: the room that its doors share.

Arrow arrays of pyarrow go in and come out; no engine is imported here. `Catalog` knows the indexes by name
and by path, a `Pin` is one state of one of them, `Asked` a question with its options, `Statements` what
running statements hold, and `functions` answers.
The contract is ``sql/contract.md``.
"""

from __future__ import annotations

from ruvector._sql.asked import Asked
from ruvector._sql.catalog import Catalog, Pin, is_nameable
from ruvector._sql.functions import build, distance, info, measure_recall, quantize, search, within
from ruvector._sql.statements import Statements

__all__ = [
    "Asked",
    "Catalog",
    "Pin",
    "Statements",
    "build",
    "distance",
    "info",
    "is_nameable",
    "measure_recall",
    "quantize",
    "search",
    "within",
]
