"""The functions that DuckDB calls, batch by batch, with Arrow columns."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from ruvector import _sql
from ruvector._sql.answers import as_text
from ruvector._sql.arrow import one_array, pa
from ruvector._sql.functions import ID_TYPES, Info, for_each
from ruvector._sql.refusal import refuse
from ruvector.duckdb import building
from ruvector.duckdb.filters import digest, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from duckdb import DuckDBPyConnection

    from ruvector._sql.arrow import Array, Column

__all__ = ["Door"]

# The ids of an index, and the column of a hit that holds them.
KINDS = {"int64": pa.int64(), "uint64": pa.uint64(), "str": pa.string()}
ROW = pa.struct(
    [
        *((name, pa.string()) for name in ("name", "path")),
        ("rows", pa.int64()),
        ("dim", pa.int32()),
        ("metric", pa.string()),
        *((name, pa.int32()) for name in ("bits", "nlist")),
        *((name, pa.string()) for name in ("id_type", "vectors")),
        *((name, pa.int64()) for name in ("null_count", "memory_bytes", "mapped_bytes")),
    ]
)
# Tables of one row.
INFO = pa.list_(ROW)
RECALL = pa.list_(pa.struct([("queries", pa.int64()), ("recall", pa.float64())]))


class Door:
    """The indexes of one database, and its functions. DuckDB holds it for as long as the database is open."""

    def __init__(self, catalog: _sql.Catalog | None = None) -> None:
        self.catalog = catalog or _sql.Catalog()
        self.statements = _sql.Statements(self.catalog)
        self.connections: weakref.WeakValueDictionary[str, DuckDBPyConnection] = weakref.WeakValueDictionary()

    def columns(self, index: Column) -> Array:
        """Tell which columns of a hit are meant: a pattern, to be applied when the statement is planned."""

        def choose(name: str | None) -> str:
            return pattern(self.catalog.find(name).id_type)

        return each(choose, index, kind=pa.string())

    def ask(self, *columns: Column) -> Array:
        """Make tokens of questions for the nearest rows."""
        names = ("index", "k", "recall", "nprobe", "epsilon", "rerank", "exact", "metric")
        return self._ask(names, columns)

    def ask_within(self, *columns: Column) -> Array:
        """Make tokens of questions for all rows within a radius."""
        return self._ask(("index", "recall", "nprobe", "exact", "metric"), columns)

    def _ask(self, names: tuple[str, ...], columns: tuple[Column, ...]) -> Array:
        plain, (filters, *rest) = columns[: len(names)], columns[len(names) :]
        filters = one_array(filters)

        def token(*values: Any) -> str:  # noqa: ANN401 - of any type an option has
            *given, row, filter_type, kind, owner, key = values
            options = dict(zip(names, given, strict=True))
            allowed = filters.slice(row, 1)
            question = (kind, *values[: len(names)], filter_type, digest(allowed))

            def make() -> _sql.Asked:
                pin = self.statements.pin(owner, key, options.pop("index"))
                check_kind(pin, kind)
                filtered = rows(allowed, filter_type)
                if "k" in options:
                    return _sql.Asked.nearest(pin, options.pop("k"), **options, filter=filtered)
                return _sql.Asked.within(pin, **options, filter=filtered)

            return self.statements.ask(owner, key, question, make)

        at = pa.array(range(len(filters)))
        return each(token, *plain, at, *rest, kind=pa.string())

    def knn(self, token: Column, query: Column) -> Array:
        """Find the nearest rows; a hit has a column for each type of ids."""
        return self._answer(token, query, lambda asked, query: widened(_sql.search(asked, query)))

    def within(self, token: Column, query: Column, radius: Column) -> Array:
        """Find all rows within a radius; as `knn`."""
        queries = pa.table({"query": query, "radius": radius})

        def answer(asked: _sql.Asked, queries: Any) -> Array:  # noqa: ANN401 - a pyarrow.Table
            return widened(_sql.within(asked, queries.column("query"), queries.column("radius")))

        return self._answer(token, queries, answer)

    def search(self, token: Column, query: Column) -> Array:
        """Find the nearest rows; a hit has the id that the index has."""
        return self._answer(token, query, _sql.search)

    def search_text(self, token: Column, query: Column) -> Array:
        """Find the nearest rows; ids are written out."""
        return self._answer(token, query, lambda asked, query: as_text(_sql.search(asked, query)))

    def _answer(self, token: Column, queries: Any, answer: Callable[[_sql.Asked, Any], Array]) -> Array:  # noqa: ANN401
        return for_each(
            token, queries, lambda one, some: answer(self.statements.asked(one), some), pa.nulls(0)
        )

    def distance(self, a: Column, b: Column, metric: Column) -> Array:
        """Measure pairs of vectors."""
        return _sql.distance(a, b, metric)

    def quantize(self, vectors: Column, bits: Column, seed: Column) -> Array:
        """Code vectors by themselves."""
        return _sql.quantize(vectors, bits, seed)

    def info(self, index: Column, owner: Column, key: Column) -> Array:
        """Tell of an index."""

        def tell(name: str | None, owner: str, key: str) -> list[Info]:
            return [_sql.info(self.statements.pin(owner, key, name))]

        return each(tell, index, owner, key, kind=INFO)

    def recall(self, *columns: Column) -> Array:
        """Measure what a search finds."""

        def measure(name: str | None, *values: Any) -> list[dict[str, float]]:  # noqa: ANN401
            *options, owner, key = values
            queries, recall = _sql.measure_recall(self.statements.pin(owner, key, name), *options)
            return [{"queries": queries, "recall": recall}]

        return each(measure, *columns, kind=RECALL)

    def build(self, *columns: Column) -> Array:
        """Build an index over a column of a table, in a file."""
        names = ("table", "column", "path", "id", "metric", "bits", "nlist", "seed", "vectors")

        def make(*values: Any) -> list[Info]:  # noqa: ANN401
            *given, owner = values
            options = dict(zip(names, given, strict=True))
            connection = self.connections.get(owner)
            if connection is None:
                raise refuse("connection", "one that ruvector.duckdb.register has seen", "another")
            path = options["path"]
            if path is None:
                raise refuse("path", "a path", None)
            building.from_table(connection, **options)
            return [_sql.info(self.catalog.pin(path))]

        return each(make, *columns, kind=INFO)

    def register(self, name: Column, path: Column) -> Array:
        """Give a saved index a name."""

        def give(name: str | None, path: str | None) -> list[Info]:
            if name is None:
                raise refuse("name", "a name", None)
            if path is None:
                raise refuse("path", "a path", None)
            self.catalog.register(name, self.catalog.open(path))
            return [_sql.info(self.catalog.pin(name))]

        return each(give, name, path, kind=INFO)

    def unregister(self, name: Column) -> Array:
        """Take a name away."""

        def take(name: str | None) -> str:
            if name is None:
                raise refuse("name", "a name", None)
            self.catalog.unregister(name)
            return name

        return each(take, name, kind=pa.string())


def each(answer: Callable[..., object], *columns: Column, kind: Any) -> Array:  # noqa: ANN401 - a pyarrow.DataType
    """Answer row by row: for the few rows that constants come in."""
    lists: Iterator[tuple[Any, ...]] = zip(
        *(one_array(column).to_pylist() for column in columns), strict=True
    )
    return pa.array([answer(*values) for values in lists], kind)


def pattern(id_type: str) -> str:
    """Give the pattern of the columns that a hit keeps, with their names in the answer as its groups."""
    return f"^(?:(id)_{id_type}|(distance))$"


def check_kind(pin: _sql.Pin, planned: str) -> None:
    """Refuse an index whose ids are not what the statement was planned for."""
    kind = pin.index.id_type
    if planned == "int64" and kind != "int64":
        expected = "one with int64 ids (ruvector_search_text takes any)"
        raise refuse("index", expected, f"one with {ID_TYPES[kind]} ids")
    if planned.startswith("^") and planned != pattern(kind):
        expected = "one with ids of the type that the statement was planned for"
        raise refuse("index", expected, f"one with {ID_TYPES[kind]} ids")


def widened(answer: Array) -> Array:
    """Give each hit a column for every type of ids, all but one of them null."""
    hits = answer.flatten()
    own = hits.field("id")
    ids = [own if own.type == kind else pa.nulls(len(hits), kind) for kind in KINDS.values()]
    names = [*(f"id_{kind}" for kind in KINDS), "distance"]
    structs = pa.StructArray.from_arrays([*ids, hits.field("distance")], names)
    return pa.ListArray.from_arrays(
        answer.offsets, structs, mask=answer.is_null() if answer.null_count else None
    )
