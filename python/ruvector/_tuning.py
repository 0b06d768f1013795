"""What a recall costs: the body of `Index.tune`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from ruvector._picture import curve
from ruvector._ruvector import Table, recall_at_k
from ruvector.errors import InvalidParameter

if TYPE_CHECKING:
    from ruvector._ruvector import Index
    from ruvector.typing import Queries

TARGETS = (0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999)
SAMPLE = 200
# A search is timed for about this long, and at least so many times.
SECONDS, PASSES = 0.2, 2


@dataclass(frozen=True)
class Tuning:
    """
    What each recall costs on an index.

    Attributes
    ----------
    frame
        An Arrow table with the columns ``target``, ``recall`` (measured, by distance),
        ``queries_per_second``, ``lists``, ``codes`` and ``reranked`` (means over the queries) and
        ``on_target`` (the share of the queries).
    picture
        The recall against queries per second, as SVG. A notebook shows it by itself.
    """

    frame: Table
    picture: str

    def _repr_svg_(self) -> str:
        return self.picture


def tune(index: Index, queries: Queries | None = None, k: int = 10, threads: int | None = None) -> Tuning:
    """Search at several targets, and tell what each costs."""
    asked = sample(index) if queries is None else queries
    truth = index.search(asked, k, exact=True, threads=threads)
    columns: dict[str, list[float]] = {}
    for target in TARGETS:
        row = measure(index, asked, k, target, threads)
        row["recall"] = recall_at_k(index.search(asked, k, recall=target, threads=threads), truth)
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    points = list(zip(columns["recall"], columns["queries_per_second"], strict=True))
    return Tuning(Table(columns), curve(points, "recall", "queries per second"))


def sample(index: Index) -> Queries:
    """Evenly spaced rows of the index, which play the query."""
    if index.vectors == "none":
        expected, actual = "queries, or an index with vectors", "neither: the index keeps codes only"
        message = f"queries: expected {expected}, got {actual}"
        raise InvalidParameter(message, name="queries", expected=expected, actual=actual)
    step = max(1, len(index) // SAMPLE)
    return index.reconstruct(list(islice(index, 0, None, step)))


def measure(index: Index, queries: Queries, k: int, target: float, threads: int | None) -> dict[str, float]:
    """One row of the table, without its recall."""
    explained = index.explain(queries, k, recall=target, threads=threads).to_dict()
    counted = [row for row, lists in enumerate(explained["lists"]) if lists is not None]
    mean = {
        name: sum(explained[name][row] for row in counted) / max(1, len(counted))
        for name in ("lists", "codes", "reranked", "on_target")
    }
    best, start, passes = float("inf"), perf_counter(), 0
    while passes < PASSES or perf_counter() - start < SECONDS:
        begin = perf_counter()
        index.search(queries, k, recall=target, threads=threads)
        best, passes = min(best, perf_counter() - begin), passes + 1
    rate = len(explained["lists"]) / best
    return {"target": target, "recall": 0.0, "queries_per_second": rate, **mean}
