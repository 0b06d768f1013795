"""What PostgreSQL is asked: which tables hold vectors, what state one is in, which rows are nearest."""

from __future__ import annotations

from ruvector.lake.adapters._sql import quoted

__all__ = ["BEGIN", "DIGEST", "EXISTS", "LIST", "SNAPSHOT", "TEXT_TYPES", "WIDTHS", "nearest"]

BEGIN = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

LIST = """
SELECT DISTINCT n.nspname::text, c.relname::text, pg_table_is_visible(c.oid)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND t.typname IN ('vector', 'halfvec', '_float4', '_float8')
  AND has_table_privilege(c.oid, 'SELECT')
"""

EXISTS = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)"

WIDTHS = """
SELECT attname::text, atttypmod FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND atttypmod > 0
"""

SNAPSHOT = "SELECT pg_current_snapshot()::text || ' ' || pg_postmaster_start_time()::text"
"""Which transactions are seen: where this is the same, so are all rows of all tables."""

DIGEST = """
SELECT count(*), sum(hash_record_extended((tableoid, ctid, xmin), 0))::text,
       bit_xor(hash_record_extended((tableoid, ctid, xmin), 1))::text
FROM {table}
"""
"""Which versions of rows are seen: each is known by its place and the transaction that wrote it."""

TEXT_TYPES = frozenset({b"text", b"varchar"})
"""Types whose texts compare by all of their characters, under the collation "C" by their bytes."""


def nearest(table: str, vector: str, id: str, kind: str) -> str:
    """
    Return a statement for the nearest rows of several queries, of which each is a text.

    Its parameters are the array of queries and the number of neighbours.
    """
    column, query = quoted(vector), f"q.query::{kind}"
    return f"""
SELECT q.place - 1 AS query_row, near.id, near.distance * near.distance AS distance
FROM unnest($1::text[]) WITH ORDINALITY AS q(query, place), LATERAL (
    SELECT {quoted(id)} AS id, {column} <-> {query} AS distance FROM {table}
    WHERE {column} IS NOT NULL AND q.query IS NOT NULL
    ORDER BY {column} <-> {query} LIMIT $2
) AS near
ORDER BY 1, 3, 2
"""  # noqa: S608 - names are quoted
