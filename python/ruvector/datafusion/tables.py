"""The table functions: each returns a plan of few rows, and what takes time is done when the plan runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from datafusion import DataFrame, Expr, SessionContext, lit

from ruvector.datafusion.arguments import ONE_ROW, Arguments, bind, refuse
from ruvector.datafusion.frames import call, list_of, unnested

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ruvector._sql import Catalog

__all__ = ["TableFunctions"]

_SEARCH = ("k", "recall", "nprobe", "epsilon", "rerank", "exact", "metric", "filter")
_WITHIN = ("recall", "nprobe", "exact", "metric", "filter")
_RECALL = ("k", "recall", "nprobe", "epsilon")
_BUILD = ("id", "metric", "bits", "nlist", "seed", "vectors")

# What an argument is made into that the statement works out.
_TYPES = {
    "query": pa.list_(pa.float32()),
    "radius": pa.float64(),
    "k": pa.int64(),
    "recall": pa.float64(),
    "nprobe": pa.int64(),
    "epsilon": pa.float64(),
    "rerank": pa.bool_(),
    "exact": pa.bool_(),
    "metric": pa.string(),
}

_ANSWER = "__ruvector_answer"

Values = dict[str, Any]


class TableFunctions:
    """The table functions over one catalog of names."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def knn(self, *given: Any) -> DataFrame:
        """Plan `ruvector_knn(index, query, k, {option: value})`."""
        arguments = bind(given, ("index", "query"), _SEARCH, first="k")
        return self._hits("ruvector_knn", arguments, search)

    def within(self, *given: Any) -> DataFrame:
        """Plan `ruvector_within(index, query, radius, {option: value})`."""
        arguments = bind(given, ("index", "query", "radius"), _WITHIN)
        return self._hits("ruvector_within", arguments, within)

    def index_info(self, *given: Any) -> DataFrame:
        name = bind(given, ("index",), ()).literal("index")
        self._catalog.find(name)
        return _rows("ruvector_index_info", INFO, lambda: [info(name, self._catalog.find(name))])

    def recall(self, *given: Any) -> DataFrame:
        ...
