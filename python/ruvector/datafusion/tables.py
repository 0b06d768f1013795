"""The table functions: each returns a plan of few rows, and what takes time is done when the plan runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruvector import _sql
from ruvector._sql.arrow import SEARCHED, pa
from ruvector._sql.refusal import refuse
from ruvector.datafusion.arguments import ONE_ROW, Arguments, bind
from ruvector.datafusion.engine import engine
from ruvector.datafusion.frames import call, unnested
from ruvector.datafusion.values import TYPES, filter_type, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ruvector._sql import Catalog, Pin
    from ruvector._sql.arrow import Array
    from ruvector.datafusion.engine import DataType, Expr, Frame

    Values = dict[str, Any]

__all__ = ["INFO", "TableFunctions", "rows"]

_SEARCH = ("k", "recall", "nprobe", "epsilon", "rerank", "exact", "metric", "filter")
_WITHIN = ("recall", "nprobe", "exact", "metric", "filter")
_RECALL = ("k", "recall", "nprobe", "epsilon")

INFO = pa.struct(
    [
        ("name", pa.string()),
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("dim", pa.int32()),
        ("metric", pa.string()),
        ("bits", pa.int32()),
        ("nlist", pa.int32()),
        ("id_type", pa.string()),
        ("vectors", pa.string()),
        ("null_count", pa.int64()),
        ("memory_bytes", pa.int64()),
        ("mapped_bytes", pa.int64()),
    ]
)
_RECALLED = pa.struct([("queries", pa.int64()), ("recall", pa.float64())])

_ANSWER = "__ruvector_answer"
# The argument of calls that need none: without one, a function is not told how many rows to return.
_NOTHING = engine.lit(value=True)


class TableFunctions:
    """The table functions that read, over one catalog of names."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def knn(self, *given: Any) -> Frame:  # noqa: ANN401 - expressions of DataFusion
        """Plan ``ruvector_knn(index, query, k, {option: value, ...})``."""
        arguments = bind(given, ("index", "query"), _SEARCH, first="k")

        def answer(pin: Pin, values: Values) -> Array:
            query = values.pop("query")
            return _sql.search(_sql.Asked.nearest(pin, values.pop("k", 10), **values), query)

        return self._hits("ruvector_knn", arguments, answer)

    def within(self, *given: Any) -> Frame:  # noqa: ANN401 - expressions of DataFusion
        """Plan ``ruvector_within(index, query, radius, {option: value, ...})``."""
        arguments = bind(given, ("index", "query", "radius"), _WITHIN)

        def answer(pin: Pin, values: Values) -> Array:
            query, radius = values.pop("query"), pa.array([values.pop("radius")], pa.float64())
            return _sql.within(_sql.Asked.within(pin, **values), query, radius)

        return self._hits("ruvector_within", arguments, answer)

    def index_info(self, *given: Any) -> Frame:  # noqa: ANN401 - expressions of DataFusion
        """Plan ``ruvector_index_info(index)``."""
        arguments = bind(given, ("index",), ())
        return self._one_row("ruvector_index_info", arguments, INFO, lambda pin, _: _sql.info(pin))

    def recall(self, *given: Any) -> Frame:  # noqa: ANN401 - expressions of DataFusion
        """Plan ``ruvector_recall(index, k, {option: value, ...})``."""
        arguments = bind(given, ("index",), _RECALL, first="k")

        def answer(pin: Pin, values: Values) -> dict[str, Any]:
            told = (values.get(name) for name in ("recall", "nprobe", "epsilon"))
            queries, recall = _sql.measure_recall(pin, values.get("k", 10), *told)
            return {"queries": queries, "recall": recall}

        return self._one_row("ruvector_recall", arguments, _RECALLED, answer)

    def _hits(self, function: str, arguments: Arguments, answer: Callable[[Pin, Values], Array]) -> Frame:
        kind = self._find(arguments).index.id_type
        ids = SEARCHED[kind].value_type.field("id").type

        def answer_of_kind(pin: Pin, values: Values) -> Array:
            if pin.index.id_type != kind:
                raise refuse("index", f"ids of {kind}, as when the statement was planned", pin.index.id_type)
            return answer(pin, values)

        return self._plan(function, arguments, SEARCHED[kind], answer_of_kind, ids)

    def _one_row(
        self,
        function: str,
        arguments: Arguments,
        row: DataType,
        answer: Callable[[Pin, Values], Any],
    ) -> Frame:
        self._find(arguments)
        returned = pa.list_(row)

        def answer_in_list(pin: Pin, values: Values) -> Array:
            return pa.array([[answer(pin, values)]], returned)

        return self._plan(function, arguments, returned, answer_in_list, None)

    def _find(self, arguments: Arguments) -> Pin:
        """Find the index, which has to be known when the statement is planned."""
        name = arguments.literal("index")
        if name is not None and not isinstance(name, str):
            raise refuse("index", "a name or a path", name)
        return self._catalog.pin(name)

    def _plan(
        self,
        function: str,
        arguments: Arguments,
        returned: DataType,
        answer: Callable[[Pin, Values], Array],
        ids: DataType | None,
    ) -> Frame:
        """Return the plan of one call that finds the index and answers when it runs."""
        name = arguments.literal("index")
        known = {key: value(key, scalar) for key, scalar in arguments.known.items() if key != "index"}
        types = {key: _type(key, expr, ids) for key, expr in arguments.later.items()}

        def run(*columns: Array) -> Array:
            values = dict(known)
            for key, column in zip(types, columns, strict=False):
                values[key] = value(key, column[0])
            return answer(self._catalog.pin(name), values)

        return _planned(function, run, list(arguments.later.values()), list(types.values()), returned)


def rows(function: str, row: DataType, found: Iterable[Any]) -> Frame:
    """Return a plan of rows that are there already."""
    answer = pa.array([list(found)], pa.list_(row))

    def run(_: Array) -> Array:
        return answer

    return _planned(function, run, [], [], answer.type)


def _planned(
    function: str,
    run: Callable[..., Array],
    arguments: list[Expr],
    types: list[DataType],
    returned: DataType,
) -> Frame:
    exprs, types = arguments or [_NOTHING], types or [pa.bool_()]
    answer = call(function, run, exprs, types, returned, folds=False).alias(_ANSWER)
    names = {field.name: field.name for field in returned.value_type}
    return unnested(ONE_ROW.select(answer), _ANSWER, names, keep_nulls=False)


def _type(name: str, expr: Expr, ids: DataType | None) -> DataType:
    if name != "filter":
        return TYPES[name]
    return filter_type(ONE_ROW.select(expr.alias(name)).schema().field(0).type, ids)
