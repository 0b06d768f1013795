"""A question that every door is asked, and the answer as something that can be compared to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ID_TYPES", "Answer", "Question", "answer"]

ID_TYPES = {"int64": pa.int64(), "uint64": pa.uint64(), "str": pa.string()}

# Per query: ids, and the bits of the distances as integers. A query without a vector has no neighbours.
Answer = list[list[tuple[Any, int]]]


@dataclass(frozen=True)
class Question:
    """The nearest rows of some queries, in an index that lies in a file."""

    path: Path
    id_type: str
    dim: int
    queries: list[list[float] | None]
    k: int = 10
    filter: list[Any] | None = None
    exact: bool = False

    @property
    def table(self) -> pa.Table:
        """The queries and their numbers."""
        vectors = pa.array(self.queries, pa.list_(pa.float32(), self.dim))
        return pa.table({"q": pa.array(range(len(self.queries)), pa.int64()), "v": vectors})


def answer(queries: int, rows: Iterable[tuple[int, Any, float]]) -> Answer:
    """Sort rows of query, id and distance into an answer: by distance, then id, as the contract has it."""
    found: Answer = [[] for _ in range(queries)]
    for query, found_id, distance in sorted(rows, key=lambda row: (row[0], row[2], row[1])):
        bits = int(np.float32(distance).view(np.uint32))
        found[query].append((found_id, bits))
    return found
