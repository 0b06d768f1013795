"""What a statement is, before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckdb import StatementType

from ruvector._sql.arrow import pa
from ruvector.duckdb.building import quote
from ruvector.flight._sql.refusing import Refusal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, Statement

__all__ = ["described", "one"]

# What tenants may run. The others name files, change the engine, or outlive the call that they came with.
ALLOWED = frozenset(
    {
        "ALTER",
        "ANALYZE",
        "CREATE",
        "DELETE",
        "DROP",
        "EXPLAIN",
        "INSERT",
        "MERGE_INTO",
        "SELECT",
        "UPDATE",
        "VACUUM",
    }
)
# Values that options take, whatever they mean; a vector may be none.
TRIED = {"BIGINT": 1, "INTEGER": 1, "UBIGINT": 1, "DOUBLE": 1.0, "FLOAT": 1.0, "BOOLEAN": True}


def one(cursor: DuckDBPyConnection, sql: str) -> Statement:
    """Take one statement that may be run."""
    statements = cursor.extract_statements(sql)
    if len(statements) != 1:
        raise Refusal("refused", f"sql: expected one statement, got {len(statements)}")
    (statement,) = statements
    kind = statement.type.name
    if kind not in ALLOWED:
        advice = "; transactions are begun and ended by the driver" if kind == "TRANSACTION" else ""
        raise Refusal("denied", f"sql: statements of the kind {kind} are not run here{advice}")
    return statement


def described(cursor: DuckDBPyConnection, sql: str) -> tuple[Any, Any]:
    """Return the schemas of a statement's answer and of its parameters, as far as they can be told."""
    statement = one(cursor, sql)
    parameters = _parameters(cursor, statement)
    given = [TRIED.get(kind) for _, kind in parameters]
    values: Any = given or None
    if any(not name.isdigit() for name in statement.named_parameters):
        values = {name: value for (name, _), value in zip(parameters, given, strict=True)}
    answer = pa.schema([])
    if statement.type == StatementType.SELECT:
        answer = _answer(cursor, statement.query, values)
    return answer, _schema(cursor, parameters)


def _parameters(cursor: DuckDBPyConnection, statement: Statement) -> list[tuple[str, str]]:
    """Return the names and types of parameters; a type that does not follow from the statement is text."""
    bind: Any = getattr(cursor, "_bind", None)
    if bind is not None:
        # The binder says what is wrong with a statement before it is run.
        found = [(str(name), str(kind)) for name, kind in bind(statement.query)[2]]
    else:
        found = [(name, "UNKNOWN") for name in statement.named_parameters]
    if all(name.isdigit() for name, _ in found):
        found.sort(key=lambda parameter: int(parameter[0]))
    return [(name, "VARCHAR" if kind in {"UNKNOWN", '"NULL"'} else kind) for name, kind in found]


def _answer(cursor: DuckDBPyConnection, query: str, values: Any) -> Any:  # noqa: ANN401 - a pyarrow.Schema
    """Return the columns of a query; none if they depend on its parameters."""
    import duckdb

    try:
        relation = cursor.sql(query, params=values)
        return _reader(relation.limit(0)).schema
    except duckdb.Error:
        if values is None:
            raise
        return pa.schema([])


def _schema(cursor: DuckDBPyConnection, columns: list[tuple[str, str]]) -> Any:  # noqa: ANN401
    if not columns:
        return pa.schema([])
    fields = ", ".join(f"CAST(NULL AS {kind}) AS {quote(name)}" for name, kind in columns)
    return _reader(cursor.sql(f"SELECT {fields} LIMIT 0")).schema  # noqa: S608 - types of the engine's own


def _reader(relation: Any) -> Any:  # noqa: ANN401 - versions call its methods differently
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    reader = read(1)
    reader.close()
    return reader
