"""The doors: each asks the same question its own way."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import datafusion
import duckdb
import polars as pl
import pyarrow as pa

import ruvector as rv
import ruvector.datafusion
import ruvector.duckdb
from tests.doors.question import ID_TYPES, Question
from tests.sql.engines import with_struct_of_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CANNOT_FILTER", "DOORS", "SQL"]

Rows = list[tuple[int, Any, float]]


def python(question: Question) -> Rows:
    """Ask `Index.search`."""
    index = rv.open(question.path)
    vectors = question.table["v"]
    hits = index.search(vectors, question.k, filter=question.filter, exact=question.exact).to_arrow()
    return list(zip(*(hits[name].to_pylist() for name in ("query_row", "id", "distance")), strict=True))


def polars(question: Question) -> Rows:
    """Ask the expression of Polars, in a lazy plan."""
    index = rv.open(question.path)
    hits = pl.col("v").ruvector.knn(index, question.k, filter=question.filter, exact=question.exact)
    queries = pl.DataFrame(question.table).lazy()
    plan = queries.select("q", hit=hits).explode("hit").unnest("hit").drop_nulls("id")
    return plan.select("q", "id", "distance").collect().rows()


def options(question: Question) -> dict[str, str]:
    """Return the options of a question as SQL."""
    said = {"k": str(question.k), "exact": str(question.exact).lower()}
    if question.filter is not None:
        said["filter"] = f"[{', '.join(literal(element) for element in question.filter)}]"
    return said


def literal(value: Any) -> str:
    """Return a value as SQL."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value).lower()


def duckdb_by(connect: Callable[[], duckdb.DuckDBPyConnection]) -> Callable[[Question], Rows]:
    """Ask DuckDB for the join of the queries with `ruvector_knn`."""

    def ask(question: Question) -> Rows:
        connection = connect()
        connection.register("queries", question.table)
        said = ", ".join(f"{name} := {value}" for name, value in options(question).items())
        sql = f"SELECT q, id, distance FROM queries, ruvector_knn('{question.path}', v, {said})"
        return connection.execute(sql).fetchall()

    return ask


@cache
def duckdb_with_functions() -> duckdb.DuckDBPyConnection:
    """Connect to a DuckDB with the functions of the Python package, once: it takes a while."""
    connection = duckdb.connect()
    ruvector.duckdb.register(connection)
    return connection


@cache
def duckdb_with_extension() -> duckdb.DuckDBPyConnection:
    """Connect to a DuckDB that has loaded the extension, once."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": True})
    ruvector.duckdb.install(connection)
    return connection


def context(question: Question) -> datafusion.SessionContext:
    """Return a context with the queries and the functions in it."""
    ctx = datafusion.SessionContext()
    ruvector.datafusion.register(ctx)
    ctx.from_arrow(question.table, name="queries")
    return ctx


def datafusion_table_function(question: Question) -> Rows:
    """Ask `ruvector_knn` for one query after the other."""
    ctx = context(question)
    said = ", ".join(f"{name}: {value}" for name, value in options(question).items())

    def rows() -> Iterator[tuple[int, Any, float]]:
        for query in range(len(question.queries)):
            vector = f"(SELECT v FROM queries WHERE q = {query})"
            sql = f"SELECT id, distance FROM ruvector_knn('{question.path}', {vector}, {{{said}}})"
            yield from ((query, *row.values()) for row in ctx.sql(sql).to_pylist())

    return list(rows())


def datafusion_scalar(question: Question) -> Rows:
    """Ask the scalar function for all queries at once."""
    ctx = context(question)
    name = "ruvector_search_with" if question.id_type == "int64" else "ruvector_search_text_with"
    call = f"{name}('{question.path}', v, {question.k}, 'exact={str(question.exact).lower()}')"
    inner = f"SELECT q, unnest({call}) AS n FROM queries"
    found = ctx.sql(f"SELECT q, n['id'] AS id, n['distance'] AS distance FROM ({inner}) hits").to_pylist()
    kind: Any = {"int64": int, "uint64": int, "str": str}[question.id_type]
    return [(row["q"], kind(row["id"]), row["distance"]) for row in found]


def datafusion_join(question: Question) -> Rows:
    """Ask the join, with a right side that holds nothing but ids."""
    ctx = context(question)
    index = rv.open(question.path)
    rows = ctx.from_arrow(pa.table({"id": pa.array(list(index), ID_TYPES[question.id_type])}), name="rows")
    found = ruvector.datafusion.knn_join(
        ctx,
        "queries",
        rows,
        left_on="v",
        index=index,
        id="id",
        k=question.k,
        filter=question.filter,
        exact=question.exact,
    )
    return [tuple(row.values()) for row in found.select("q", "id", "distance").to_pylist()]


def by_duckdb(
    connect: Callable[[], duckdb.DuckDBPyConnection],
) -> Callable[[Question, str], list[tuple[Any, ...]]]:
    """Run SQL beside the table `queries`."""

    def run(question: Question, sql: str) -> list[tuple[Any, ...]]:
        connection = connect()
        connection.register("queries", question.table)
        return connection.execute(sql).fetchall()

    return run


def by_datafusion(question: Question, sql: str) -> list[tuple[Any, ...]]:
    """Run SQL beside the table `queries`."""
    found = context(question).sql(with_struct_of_options(sql)).to_pylist()
    return [tuple(row.values()) for row in found]


SQL: dict[str, Callable[[Question, str], list[tuple[Any, ...]]]] = {
    "duckdb-python": by_duckdb(duckdb_with_functions),
    "duckdb-extension": by_duckdb(duckdb_with_extension),
    "datafusion": by_datafusion,
}
DOORS: dict[str, Callable[[Question], Rows]] = {
    "python": python,
    "polars": polars,
    "duckdb-python": duckdb_by(duckdb_with_functions),
    "duckdb-extension": duckdb_by(duckdb_with_extension),
    "datafusion-table-function": datafusion_table_function,
    "datafusion-scalar": datafusion_scalar,
    "datafusion-join": datafusion_join,
}
CANNOT_FILTER = {"datafusion-scalar"}
