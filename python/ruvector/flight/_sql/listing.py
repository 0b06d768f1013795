"""What there is in a tenant's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ruvector._sql.arrow import pa
from ruvector.duckdb.building import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Key", "is_there", "keys", "tables"]

Key: TypeAlias = "tuple[str, str, str, list[str], str | None, str | None, list[str]]"
"""Catalog, schema, table, columns, name; for a foreign key the table it points into, and the columns there."""

SCHEMAS = """
SELECT database_name, schema_name FROM duckdb_schemas()
WHERE NOT internal OR (schema_name = 'main' AND database_name NOT IN ('system', 'temp'))
ORDER BY database_name <> current_database(), schema_name <> current_schema(), 1, 2
"""
TABLES = """
SELECT database_name, schema_name, table_name, 'TABLE' FROM duckdb_tables() WHERE NOT internal
UNION ALL
SELECT database_name, schema_name, view_name, 'VIEW' FROM duckdb_views() WHERE NOT internal
ORDER BY 1, 2, 3
"""
KEYS = """
SELECT database_name, schema_name, table_name, constraint_column_names, constraint_name,
       referenced_table, referenced_column_names
FROM duckdb_constraints() WHERE constraint_type IN ('PRIMARY KEY', 'FOREIGN KEY')
ORDER BY 1, 2, 3, constraint_index
"""


def tables(
    cursor: DuckDBPyConnection, *, with_columns: bool
) -> list[tuple[str, str, list[tuple[str, str, Any]]]]:
    """Return catalog and name of each schema, with its tables: name, kind and columns."""
    found: dict[tuple[str, str], list[tuple[str, str, Any]]] = {
        (catalog, schema): [] for catalog, schema in cursor.execute(SCHEMAS).fetchall()
    }
    for catalog, schema, name, kind in cursor.execute(TABLES).fetchall():
        columns = _columns(cursor, catalog, schema, name) if with_columns else pa.schema([])
        found.setdefault((catalog, schema), []).append((name, kind, columns))
    return [(catalog, schema, inside) for (catalog, schema), inside in found.items()]


def keys(cursor: DuckDBPyConnection) -> list[Key]:
    """Return primary and foreign keys."""
    return [
        (catalog, schema, table, list(columns), name, target or None, list(target_columns or []))
        for catalog, schema, table, columns, name, target, target_columns in cursor.execute(KEYS).fetchall()
    ]


def is_there(cursor: DuckDBPyConnection, catalog: str | None, schema: str | None, table: str) -> bool:
    """Tell whether there is a table or a view of this name."""
    known = (
        "SELECT count(*) FROM information_schema.tables WHERE lower(table_name) = lower($1) "
        "AND table_catalog = coalesce($2, current_database()) AND table_schema = coalesce($3, current_schema())"
    )
    (count,) = cursor.execute(known, [table, catalog, schema]).fetchall()[0]
    return bool(count)


def _columns(cursor: DuckDBPyConnection, *name: str) -> Any:  # noqa: ANN401 - a pyarrow.Schema
    relation: Any = cursor.sql(f"FROM {'.'.join(map(quote, name))} LIMIT 0")
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    reader = read(1)
    reader.close()
    return reader.schema
