"""Building an index of what a connection can query, batch by batch."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ruvector import _sql
from ruvector._sql.arrow import pa
from ruvector._sql.refusal import quoted, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from os import PathLike
    from typing import Literal, SupportsIndex

    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from ruvector._ruvector import Index
    from ruvector.typing import Metric

__all__ = ["build", "from_table"]

# Rows that are asked for at once.
BATCH = 8192
# A name, as SQL writes it.
NAME = re.compile(r'(?:[^\W\d][\w$]*|"(?:[^"]|"")+")')


def build(
    con: DuckDBPyConnection,
    data: str | DuckDBPyRelation,
    column: str,
    path: str | PathLike[str] | None = None,
    *,
    id: str | None = None,
    metric: Metric = "l2sq",
    bits: SupportsIndex = 1,
    nlist: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
    vectors: Literal["none", "f16", "f32"] = "f32",
) -> Index:
    """
    Build an index of a query, which may have more rows than fit into memory.

    The query runs twice, batch by batch: once for a sample, once for the codes.

    Parameters
    ----------
    con
        The connection.
    data
        A query over tables, or a relation of this connection (``con.sql(...)``, ``con.table(...)``), which
        may be one over dataframes.
    column
        The name of the column of vectors: ``FLOAT[n]``, ``FLOAT[]``, ``DOUBLE[n]`` or ``DOUBLE[]``. NULL
        vectors are left out and counted.
    path
        Where to write the index. What is there is replaced once the new index is complete.
    id
        The name of the column of ids, integers or strings. Default: row numbers.
    metric, bits, nlist, seed, vectors
        As in `ruvector.build_stream`.

    Returns
    -------
    Index
        In memory; the same as in the file, if `path` is given.

    Raises
    ------
    DimensionMismatch, DuplicateId, EmptyIndex, InvalidParameter, InvalidVector, InvalidVectorType
        As `ruvector.build_stream`.
    PersistError
        If `path` cannot be written.
    duckdb.Error
        If the query fails.

    Examples
    --------
    >>> import duckdb
    >>> import ruvector.duckdb
    >>> con = duckdb.connect()
    >>> rows = con.sql("SELECT range AS key, [range, 1.0]::FLOAT[2] AS v FROM range(1000)")
    >>> ruvector.duckdb.build(con, rows, "v", id="key")
    Index(1000 x 2, l2sq, 15 lists, 1 bit, stored vectors, ...)
    """
    return _sql.build(
        # A new relation for each pass: one keeps the result that it has given.
        lambda: batches(con.sql(data) if isinstance(data, str) else data.project("*")),
        column=column,
        id=id,
        path=path,
        metric=metric,
        bits=bits,
        nlist=nlist,
        seed=seed,
        vectors=vectors,
    )


def from_table(
    con: DuckDBPyConnection,
    *,
    table: str | None,
    column: str | None,
    id: str | None,
    **options: Any,  # noqa: ANN401 - those of `_sql.build`
) -> None:
    """
    Build an index over a column of a table while another statement of the connection runs.

    A cursor of its own reads the table: it sees what was committed, and no temporary tables.
    """
    source = ".".join(map(quote, names("table", table)))
    names_ = [only_name("column", column), *([] if id is None else [only_name("id", id)])]
    # Columns are found whatever the case of their names, and called as they were asked for.
    columns = ", ".join(f"source.{quote(name)} AS {quote(name)}" for name in dict.fromkeys(names_))
    text = f"SELECT {columns} FROM {source} AS source"  # noqa: S608 - all of it is quoted
    with closing(con.cursor()) as cursor:
        # Else a table that is not there may turn out to be a variable of ours.
        cursor.execute("SET python_enable_replacements = false")
        cursor.execute("BEGIN TRANSACTION")
        _sql.build(
            lambda: batches(cursor.sql(text)),
            column=names_[0],
            id=None if id is None else names_[-1],
            **options,
        )


def batches(relation: Any) -> Iterator[Any]:  # noqa: ANN401 - versions call its methods differently
    """Run a relation and give its rows, a batch at a time."""
    if relation is None:
        raise refuse("data", "a query", "no query")
    read: Callable[[int], Any] = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    with closing(read(BATCH)) as reader:
        rows = 0
        for batch in reader:
            rows += batch.num_rows
            yield batch
        if rows == 0:
            # Its types are known all the same.
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)


def names(parameter: str, text: str | None) -> list[str]:
    """Take a name of one to three parts apart, as SQL writes it."""
    expected = "a name, quoted where SQL needs quotes"
    if text is None:
        raise refuse(parameter, expected, None)
    parts: list[str] = NAME.findall(text)
    if not 1 <= len(parts) <= 3 or ".".join(parts) != text:  # noqa: PLR2004 - database, schema, table
        raise refuse(parameter, expected, quoted(text))
    return [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]


def only_name(parameter: str, text: str | None) -> str:
    """Take a name of one part."""
    parts = names(parameter, text)
    if len(parts) > 1:
        raise refuse(parameter, "the name of a column", quoted(text or ""))
    return parts[0]


def quote(name: str) -> str:
    """Write a name as SQL does."""
    return '"' + name.replace('"', '""') + '"'
