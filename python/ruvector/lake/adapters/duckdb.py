"""
Tables of DuckDB, in a file or in the database of a connection.

**Generation**: a digest of all rows, in their order where they have no ids: DuckDB keeps no number of a
table's changes that could be asked for. It is right however the table is changed, and costs a scan of the
table. Of a table in a file the digest is kept as long as neither the file nor its write-ahead log changes,
so that asking usually costs two looks at the file system. Views, and tables of a database in memory, are
scanned each time: give such a collection a cheaper `generation` in `DuckDBBackend.register`, or ask for it
less often by the lake's consistency.

**Pushed down**: columns, and filters with their values as parameters. A digest and the rows that belong to
it are read in one transaction; rows that were there only for a moment in between never come under another
state's generation.
"""

from __future__ import annotations

import time
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ruvector.lake.adapters._arrow import pa, skip
from ruvector.lake.adapters._extras import load
from ruvector.lake.adapters._sql import quoted, where
from ruvector.lake.adapters._table import Snapshot, Source, TableAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from os import PathLike

    from ruvector.lake.adapters._arrow import Batch, Schema
    from ruvector.lake.conditions import Dnf

__all__ = ["DuckDBBackend"]

# A file that was changed so lately may be changed again without its time being another one.
_SETTLED_SECONDS = 1.0
_BATCH_ROWS = 65_536
# A schema and a table.
_MAX_NAMES = 2

_FIND_TABLES = """
SELECT table_schema, table_name FROM information_schema.columns
WHERE table_catalog = current_database()
  AND (data_type LIKE 'FLOAT[%' OR data_type LIKE 'DOUBLE[%' OR data_type LIKE 'FLOAT16[%')
"""


_FIND_TABLE = """
SELECT table_type FROM information_schema.tables
WHERE table_catalog = current_database() AND table_name = ? AND table_schema = ?
"""

_FIND_FILE = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"


class _Place(NamedTuple):
    """A table or a view."""

    names: tuple[str, ...]
    generation: str | None = None

    @property
    def sql(self) -> str:
        return ".".join(map(quoted, self.names))


class DuckDBBackend(TableAdapter[_Place]):
    """
    The tables and views of a DuckDB database that have a column of vectors.

    Parameters
    ----------
    name
        What the lake knows the backend by.
    database
        A file, which is opened read-only for each call and closed again, so that others can write to it in
        between; or a connection, of which each call takes a cursor. A process that has the file open
        for writing gives its connection.

    Raises
    ------
    MissingExtra
        If duckdb or pyarrow is not installed: ``ruvector-arrow[duckdb]``.

    Examples
    --------
    >>> import duckdb
    >>> from ruvector.lake.adapters import DuckDBBackend
    >>> connection = duckdb.connect()
    >>> _ = connection.sql("CREATE TABLE docs AS SELECT 1 AS id, [0.5, 1.5]::FLOAT[2] AS vector")
    >>> backend = DuckDBBackend("duckdb", connection)
    >>> backend.list_collections()
    ['docs']
    >>> backend.layout("docs").dim
    2
    """

    def __init__(self, name: str, database: str | PathLike[str] | Any) -> None:  # noqa: ANN401 - a connection
        super().__init__(name)
        self._duckdb: Any = load("duckdb", "duckdb")
        self._database: Any = str(Path(database).resolve()) if isinstance(database, (str, Path)) else database
        self._digests: dict[_Place, tuple[object, str]] = {}

    def register(
        self,
        collection: str,
        table: str | tuple[str, ...] | None = None,
        *,
        vector: str | None = None,
        id: str | None = None,
        generation: str | None = None,
    ) -> None:
        """
        Name a table or a view, and say which of its columns are meant.

        Parameters
        ----------
        collection
            The collection.
        table
            The table, with its schema where it needs one: ``"docs"``, ``"library.docs"``, or names in a tuple
            if there are dots in them; by default the collection's name.
        vector
            The column of vectors; by default the only one, or the one called ``vector`` or ``embedding``.
        id
            The column of ids; by default ``id``, or none.
        generation
            A query of one value that is another one whenever the rows are others, such as
            ``"SELECT max(changed) FROM docs"``.
        """
        names = tuple((table or collection).split(".")) if isinstance(table, str | None) else table
        self._sources[collection] = Source(_Place(names, generation), vector, id)

    def _tables(self) -> list[str]:
        connection = self._connect()
        try:
            found = connection.execute(_FIND_TABLES).fetchall()
        finally:
            connection.close()
        return [table if schema == "main" else f"{schema}.{table}" for schema, table in found]

    def _find(self, collection: str) -> Source[_Place]:
        return Source(_Place(tuple(collection.split("."))))

    def _token(self, source: Source[_Place]) -> str | None:
        snapshot = self._snapshot(source)
        if snapshot is None:
            return None
        snapshot.close()
        return str(snapshot.generation)

    def _snapshot(self, source: Source[_Place]) -> Snapshot | None:
        stamp = self._stamp()
        connection = self._connect()
        try:
            # What it reads from here on is of one state.
            connection.execute("BEGIN TRANSACTION READ ONLY")
            kind = self._kind(connection, source.location)
            if kind is None:
                connection.close()
                return None
            return self._open(connection, source, kind, stamp)
        except BaseException:
            connection.close()
            raise

    def _open(self, connection: Any, source: Source[_Place], kind: str, stamp: object) -> Snapshot:  # noqa: ANN401 - a connection
        place = source.location
        schema = connection.sql(f"SELECT * FROM {place.sql} LIMIT 0").to_arrow_table().schema  # noqa: S608 - quoted
        by_number = kind == "BASE TABLE" and source.id is None and "id" not in schema.names
        known = self._digests.get(place)
        if place.generation is not None:
            generation = str(connection.execute(place.generation).fetchall()[0][0])
        elif kind == "BASE TABLE" and stamp is not None and known is not None and known[0] == stamp:
            generation = known[1]
        else:
            generation = _digest(connection, place, schema, by_number=by_number)
            self._digests[place] = (stamp, generation)
        return _DuckDBSnapshot(
            connection, place, schema, generation, by_number=by_number, ordered=kind == "BASE TABLE"
        )

    def _connect(self) -> Any:  # noqa: ANN401 - a connection
        if isinstance(self._database, str):
            return self._duckdb.connect(self._database, read_only=True)
        return self._database.cursor()

    def _kind(self, connection: Any, place: _Place) -> str | None:  # noqa: ANN401 - a connection
        schema = place.names[-2] if place.names[1:] else "main"
        found = connection.execute(_FIND_TABLE, [place.names[-1], schema]).fetchall()
        return str(found[0][0]) if found and len(place.names) <= _MAX_NAMES else None

    def _stamp(self) -> tuple[object, ...] | None:
        """Return what changes with every change of the file; None if there is no such thing, or not yet."""
        if not isinstance(self._database, str):
            file = self._database.cursor().execute(_FIND_FILE).fetchall()[0][0]
        else:
            file = self._database
        if file is None:
            return None
        stats = [_stat(Path(f"{file}{end}")) for end in ("", ".wal")]
        latest = max(when for _, when, _ in stats)
        return None if time.time() - latest / 1e9 < _SETTLED_SECONDS else tuple(stats)


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (-1, 0, 0)
    return (found.st_size, found.st_mtime_ns, found.st_ino)


def _digest(connection: Any, place: _Place, schema: Schema, *, by_number: bool) -> str:  # noqa: ANN401 - a connection
    columns = ", ".join([*map(quoted, schema.names), *(["rowid"] if by_number else [])])
    query = f"SELECT count(*), sum(hash({columns})), bit_xor(hash({columns})) FROM {place.sql}"  # noqa: S608 - quoted
    digest = blake2b(repr((str(schema), connection.execute(query).fetchall())).encode(), digest_size=16)
    return digest.hexdigest()


class _DuckDBSnapshot(Snapshot):
    """A table as a transaction sees it."""

    def __init__(
        self,
        connection: Any,  # noqa: ANN401 - DuckDB's
        place: _Place,
        schema: Schema,
        generation: str,
        *,
        by_number: bool,
        ordered: bool,
    ) -> None:
        self._connection = connection
        self._place = place
        self._by_number = by_number
        self.generation = generation
        self.schema = schema
        self.ordered = ordered
        file = connection.execute(_FIND_FILE).fetchall()[0][0]
        self.data_ref = None if file is None else f"duckdb://{file}#{place.sql}"

    def read(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterable[Batch]:
        values: list[object] = []

        def value(given: object) -> str:
            values.append(given)
            return "?"

        query = f"SELECT {', '.join(map(quoted, columns))} FROM {self._place.sql}"  # noqa: S608 - quoted
        if filter is not None:
            query += f" WHERE {where(filter, self._column, value)}"
        if self._by_number:
            query += " ORDER BY rowid"
        relation = self._connection.sql(query, params=values)
        reader: Callable[[int], Any] = (
            getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
        )
        return skip(reader(_BATCH_ROWS), skip_rows)

    def _column(self, name: str, operator: str) -> str:
        # A column may have been given another order of texts than that of their bytes.
        is_text = pa.types.is_string(self.schema.field(name).type)
        return f'{quoted(name)} COLLATE "binary"' if is_text and operator not in {"=", "in"} else quoted(name)

    def close(self) -> None:
        self._connection.close()
