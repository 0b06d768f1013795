"""
Tables of any database that has an ADBC driver; PostgreSQL with pgvector is the one that is tested.

**Generation** in PostgreSQL (14 and later): a digest of the places of all rows and the transactions that
wrote them (``ctid`` and ``xmin``), which is another one after every insert, update and delete, and after
nothing else but a rewrite of the table by VACUUM FULL or CLUSTER. It costs a scan of the table, though not
of vectors that lie beside it (TOAST). The digest is kept as long as no transaction of the whole server has
written anything (``pg_current_snapshot()``), which takes one short question to find out. Limits: views and
foreign tables have no such places, and very large tables of a busy server are better asked otherwise, by a
query of one value given to `AdbcBackend.register`, such as a version that a trigger counts. Other databases
always need such a query.

Rows and the generation they belong to are read in one transaction (in PostgreSQL; elsewhere the lake asks
for the generation before and after).

**Pushed down**: columns; filters with their values as parameters, texts compared by their bytes; and in
PostgreSQL, with ``push_down=True``, the search, by ``ORDER BY v <-> $1 LIMIT k``: squared distances, and
approximate where pgvector has an index.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from ruvector.errors import InvalidParameter
from ruvector.lake.adapters import _postgres as postgres
from ruvector.lake.adapters._arrow import is_vector, pa, skip
from ruvector.lake.adapters._extras import load
from ruvector.lake.adapters._pgvector import item_of, vectors
from ruvector.lake.adapters._pool import Pool
from ruvector.lake.adapters._sql import quoted, where
from ruvector.lake.adapters._table import Snapshot, Source, TableAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ruvector.lake.adapters._arrow import Batch, Schema
    from ruvector.lake.conditions import Dnf
    from ruvector.typing import ArrowArrayExportable

__all__ = ["AdbcBackend"]

# A schema and a table.
_MAX_NAMES = 2


class _Place(NamedTuple):
    """A table or a view."""

    names: tuple[str, ...]
    generation: str | None = None

    @property
    def sql(self) -> str:
        return ".".join(map(quoted, self.names))


class AdbcBackend(TableAdapter[_Place]):
    """
    Tables of a database.

    In PostgreSQL the collections are the tables and views with a column of type ``vector``, ``halfvec``,
    ``real[]`` or ``double precision[]``, those of schemas outside the search path as ``"schema.table"``;
    elsewhere those that were registered. Each needs a column of ids: SQL gives rows in any order.

    Parameters
    ----------
    name
        What the lake knows the backend by.
    connect
        The URI of a PostgreSQL server; or, for any driver, a function that returns a new connection of its
        ``dbapi``, in autocommit mode.

    Raises
    ------
    MissingExtra
        If the driver or pyarrow is not installed: ``ruvector-arrow[adbc]``.

    Examples
    --------
    SQLite, where vectors are texts, and triggers count the changes:

    >>> import sqlite3, tempfile
    >>> from adbc_driver_sqlite import dbapi
    >>> from ruvector.lake.adapters import AdbcBackend
    >>> file = f"{tempfile.mkdtemp()}/library.db"
    >>> connection = sqlite3.connect(file)
    >>> _ = connection.executescript(
    ...     "CREATE TABLE docs (id INTEGER PRIMARY KEY, vector TEXT);"
    ...     "CREATE TABLE changes (number INTEGER);"
    ...     "INSERT INTO changes VALUES (0);"
    ...     "CREATE TRIGGER added AFTER INSERT ON docs BEGIN UPDATE changes SET number = number + 1; END;"
    ...     "INSERT INTO docs VALUES (7, '[0.5, 1.5]');"
    ... )
    >>> connection.close()
    >>> backend = AdbcBackend("sqlite", lambda: dbapi.connect(file, autocommit=True))
    >>> backend.register("docs", vector="vector", generation="SELECT number FROM changes")
    >>> backend.generation("docs"), backend.layout("docs").dim
    ('1', 2)
    >>> backend.close()
    """

    def __init__(self, name: str, connect: str | Callable[[], Any]) -> None:
        super().__init__(name)
        self._uri = connect if isinstance(connect, str) else None
        self._pool = Pool(_postgres_at(connect) if isinstance(connect, str) else connect)
        self._vendor: str | None = None
        self._digests: dict[_Place, tuple[str, str]] = {}

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
            The table: ``"docs"``, ``"library.docs"``, or names in a tuple if there are dots in them; by
            default the collection's name.
        vector
            The column of vectors: of a vector type, of lists of floats, or of texts such as ``[1,2,3]``. By
            default the only one that is not text, or the one called ``vector`` or ``embedding``.
        id
            The column of ids; by default ``id``.
        generation
            A query of one value that is another one whenever the rows are others.
        """
        names = tuple((table or collection).split(".")) if isinstance(table, str | None) else table
        self._sources[collection] = Source(_Place(names, generation), vector, id)

    def search(self, collection: str, queries: ArrowArrayExportable, k: int) -> Any:  # noqa: ANN401 - a pyarrow.Table
        """
        Return the nearest rows by squared distance, as pgvector finds them; None if it is not pgvector.

        Raises
        ------
        UnknownCollection
            If there is no such table.
        """
        layout = self.layout(collection)
        place = self._source(collection).location
        asked = [json.dumps(query) if query is not None else None for query in pa.array(queries).to_pylist()]
        with self._transaction() as cursor:
            kind = _schema_of(cursor, place).field(layout.vector).type
            if item_of(kind) is None or layout.id is None:
                return None
            statement = postgres.nearest(place.sql, layout.vector, layout.id, kind.type_name)
            cursor.execute(statement, [asked, k])
            found = cursor.fetch_arrow_table()
        rows: list[int] = found.column("query_row").to_pylist()
        first = {row: place for place, row in reversed(list(enumerate(rows)))}
        ranks = pa.array((place - first[row] for place, row in enumerate(rows)), pa.uint32())
        columns = [
            found.column("query_row").cast(pa.uint32()),
            ranks,
            found.column("id"),
            found.column("distance").cast(pa.float32()),
        ]
        return pa.table(columns, names=["query_row", "rank", "id", "distance"])

    def _tables(self) -> list[str]:
        with self._transaction() as cursor:
            if not self._is_postgres:
                return []
            cursor.execute(postgres.LIST)
            found = cursor.fetchall()
        return [table if visible else f"{schema}.{table}" for schema, table, visible in found]

    def _find(self, collection: str) -> Source[_Place] | None:
        names = tuple(collection.split("."))
        with self._transaction():
            return Source(_Place(names)) if self._is_postgres and len(names) <= _MAX_NAMES else None

    def close(self) -> None:
        """Close the connections that are open. The backend can be used again, and makes new ones."""
        self._pool.close()

    def _token(self, source: Source[_Place]) -> str | None:
        with self._transaction() as cursor:
            return self._generation(cursor, source.location)

    def _snapshot(self, source: Source[_Place]) -> Snapshot | None:
        opened = self._transaction()
        cursor = opened.__enter__()
        try:
            generation = self._generation(cursor, source.location)
            if generation is not None:
                return _AdbcSnapshot(opened, cursor, source, generation, is_postgres=self._is_postgres)
        except BaseException as error:
            opened.__exit__(type(error), error, error.__traceback__)
            raise
        opened.__exit__(None, None, None)
        return None

    @property
    def _is_postgres(self) -> bool:
        return self._vendor == "PostgreSQL"

    @contextmanager
    def _transaction(self) -> Generator[Any]:
        """Lend a cursor; in PostgreSQL all it reads is of one state."""
        connection = self._pool.take()
        try:
            if self._vendor is None:
                self._vendor = str(connection.adbc_get_info()["vendor_name"])
            with connection.cursor() as cursor:
                if self._is_postgres:
                    cursor.execute(postgres.BEGIN)
                yield cursor
                if self._is_postgres:
                    cursor.execute("ROLLBACK")
        except BaseException:
            self._pool.drop(connection)
            raise
        self._pool.give(connection)

    def _generation(self, cursor: Any, place: _Place) -> str | None:  # noqa: ANN401 - a dbapi cursor
        kind = "?"
        if self._is_postgres:
            cursor.execute(postgres.EXISTS, [place.sql])
            found = cursor.fetchone()
            if found is None:
                return None
            kind = found[0]
        if place.generation is not None:
            cursor.execute(place.generation)
            return str(cursor.fetchone()[0])
        if kind not in {"r", "p", "m"}:
            expected = "a query that tells the generation, given to register(): no other way is known here"
            message = f"generation: expected {expected} ({place.sql})"
            raise InvalidParameter(message, name="generation", expected=expected, actual="none")
        cursor.execute(postgres.SNAPSHOT)
        seen = cursor.fetchone()[0]
        known = self._digests.get(place)
        if known is None or known[0] != seen:
            cursor.execute(postgres.DIGEST.format(table=place.sql))
            digested = repr((cursor.fetchone(), str(_schema_of(cursor, place))))
            known = seen, blake2b(digested.encode(), digest_size=16).hexdigest()
            self._digests[place] = known
        return known[1]


def _postgres_at(uri: str) -> Callable[[], Any]:
    driver: Any = load("adbc_driver_postgresql.dbapi", "adbc")
    return lambda: driver.connect(uri, autocommit=True)


def _schema_of(cursor: Any, place: _Place) -> Schema:  # noqa: ANN401 - a dbapi cursor
    manager: Any = load("adbc_driver_manager", "adbc")
    query = f"SELECT * FROM {place.sql}"  # noqa: S608 - quoted
    try:
        return cursor.adbc_execute_schema(query)
    except manager.NotSupportedError:
        # Drivers of databases without types look at rows.
        cursor.execute(query)
        with cursor.fetch_record_batch() as reader:
            return reader.schema


def _is_text(field: Any) -> bool:  # noqa: ANN401 - a pyarrow.Field
    metadata: dict[bytes, bytes] = field.metadata or {}
    return metadata.get(b"POSTGRESQL:type", b"text") in postgres.TEXT_TYPES


class _AdbcSnapshot(Snapshot):
    """A table as a transaction sees it."""

    ordered = False

    def __init__(
        self,
        opened: Any,  # noqa: ANN401 - a transaction
        cursor: Any,  # noqa: ANN401 - its dbapi cursor
        source: Source[_Place],
        generation: str,
        *,
        is_postgres: bool,
    ) -> None:
        self._opened = opened
        self._cursor = cursor
        self._place = source.location
        self._is_postgres = is_postgres
        self._id = source.id or "id"
        self._text = source.vector
        self._finished = True
        self.generation = generation
        self.data_ref = None
        self._sent = _schema_of(cursor, self._place)
        widths: dict[str, int] = {}
        if is_postgres:
            cursor.execute(postgres.WIDTHS, [self._place.sql])
            widths = dict(cursor.fetchall())
        self.schema = pa.schema([self._field(field, widths.get(field.name, -1)) for field in self._sent])

    def _field(self, field: Any, width: int) -> Any:  # noqa: ANN401 - a pyarrow.Field
        item = item_of(field.type)
        if item is not None:
            return pa.field(field.name, pa.list_(item, width))
        if field.name == self._text and not is_vector(field.type):
            return pa.field(field.name, pa.list_(pa.float32()))
        return field

    def comparable(self) -> Schema:
        """Return the columns without those whose order is not that of their texts, such as enums."""
        fields = zip(self.schema, self._sent, strict=True)
        return pa.schema(
            [field for field, sent in fields if not pa.types.is_string(field.type) or _is_text(sent)]
        )

    def read(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterator[Batch]:
        values: list[object] = []

        def value(given: object) -> str:
            values.append(given)
            return f"${len(values)}" if self._is_postgres else "?"

        query = f"SELECT {', '.join(map(quoted, columns))} FROM {self._place.sql}"  # noqa: S608 - quoted
        if filter is not None:
            query += f" WHERE {where(filter, self._column, value)}"
        if skip_rows:
            query += f" ORDER BY {quoted(self._id)}"
        self._finished = False
        self._cursor.execute(query, values or None)
        yield from skip((self._converted(batch) for batch in self._cursor.fetch_record_batch()), skip_rows)
        self._finished = True

    def _column(self, name: str, operator: str) -> str:
        by_bytes = (
            self._is_postgres
            and operator not in {"=", "in"}
            and pa.types.is_string(self.schema.field(name).type)
        )
        return f'{quoted(name)} COLLATE "C"' if by_bytes else quoted(name)

    def _converted(self, batch: Batch) -> Batch:
        for place, field in enumerate(batch.schema):
            if item_of(field.type) is not None or (field.name == self._text and not is_vector(field.type)):
                converted = vectors(batch.column(place))
                batch = batch.set_column(place, pa.field(field.name, converted.type), converted)
        return batch

    def close(self) -> None:
        # What was not read to its end is not worth waiting for: the connection goes.
        error = None if self._finished else GeneratorExit()
        self._opened.__exit__(type(error) if error else None, error, None)
