"""Giving a connection the functions, and indexes their names."""

from __future__ import annotations

import threading
import weakref
from contextlib import closing
from importlib import resources
from inspect import Parameter, Signature
from itertools import count
from typing import TYPE_CHECKING, Any

from duckdb import CatalogException

from ruvector._sql.catalog import is_nameable
from ruvector._sql.refusal import refuse
from ruvector.duckdb.door import Door
from ruvector.errors import RuVectorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckdb import DuckDBPyConnection

    from ruvector._sql.catalog import Catalog, Nameable

__all__ = ["macros", "register", "reading", "unregister"]

# The files of macros, in the order they are needed.
MACROS = ("statement", "search", "within", "vectors", "indexes")

# The functions that change something: a file, or a name.
CHANGES = ("build", "register", "unregister")
HIT = "distance FLOAT"
WIDE = f"STRUCT(id_int64 BIGINT, id_uint64 UBIGINT, id_str VARCHAR, {HIT})[]"
CODE = "STRUCT(code BLOB, norm FLOAT, f_add FLOAT, f_rescale FLOAT, f_error FLOAT)"
INFO = (
    "STRUCT(name VARCHAR, path VARCHAR, rows BIGINT, dim INTEGER, metric VARCHAR, bits INTEGER, "
    "nlist INTEGER, id_type VARCHAR, vectors VARCHAR, null_count BIGINT, memory_bytes BIGINT, "
    "mapped_bytes BIGINT)[]"
)
# A database knows its door by a number: DuckDB keeps the functions, and they keep the door.
_doors: weakref.WeakValueDictionary[int, Door] = weakref.WeakValueDictionary()
_numbers = count(1)
_lock = threading.Lock()


def register(con: DuckDBPyConnection, /, **indexes: Nameable) -> None:
    """
    Give a connection the SQL functions, and indexes their names.

    May be called as often as one likes: to add names, to give a name to another index, for another
    connection. Names belong to the database, so its other connections and cursors see them; the functions
    belong to the connection, and each cursor needs a call of its own. Statements that are running go on with
    the indexes they began with. These are kept until their connection begins another statement, or until it
    has asked nothing for ten minutes.

    Parameters
    ----------
    con
        A connection or a cursor, without an open result.
    **indexes
        Indexes by name. They are held until `unregister`, or until the database is closed. A collection of a
        lake can have a name, too; and with a lake among them, under whatever name, statements may address
        each of its collections as ``lake://backend/collection``. A statement asks the backend once, as the
        collection's consistency says, and sees one state.

    Raises
    ------
    InvalidParameter
        If what is to be named is neither.

    Examples
    --------
    >>> import duckdb
    >>> import ruvector as rv
    >>> import ruvector.duckdb
    >>> con = duckdb.connect()
    >>> rv.duckdb.register(con, docs=rv.build([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], ids=[10, 20, 30]))
    >>> con.sql("SELECT * FROM ruvector_knn('docs', [3.0, 3.0], k := 2) ORDER BY distance").fetchall()
    [(20, 1.0), (10, 18.0)]
    """
    for name, index in indexes.items():
        if not is_nameable(index):
            raise refuse(name, "an index, a lake or a collection of one", type(index).__qualname__)
    with _lock:
        door = _door(con)
        if door is None:
            door = Door()
            _create(con, door)
    owner = _one(con, "SELECT current_connection_id()::VARCHAR")
    if door.connections.get(owner) is not con:
        for text in macros():
            con.execute(text)
        door.connections[owner] = con
    for name, index in indexes.items():
        door.catalog.register(name, index)


def unregister(con: DuckDBPyConnection, /, *names: str) -> None:
    """
    Take names away from indexes.

    Parameters
    ----------
    con
        A connection or cursor of the database.
    *names
        Names that `register` has given.

    Raises
    ------
    InvalidParameter
        If there is no such name.

    Examples
    --------
    >>> import duckdb
    >>> import ruvector as rv
    >>> import ruvector.duckdb
    >>> con = duckdb.connect()
    >>> rv.duckdb.register(con, docs=rv.build([[0.0, 0.0]]))
    >>> rv.duckdb.unregister(con, "docs")
    """
    door = _door(con) or Door()
    for name in names:
        door.catalog.unregister(name)


def reading(con: DuckDBPyConnection, catalog: Catalog) -> None:
    """
    Give a database the functions that change nothing, over a catalog of its own.

    Their macros are the database's: all its connections have them.
    """
    _create(con, Door(catalog), changes=False)
    for statement in con.extract_statements(";".join(macros())):
        if not any(f"__ruvector_{name}(" in statement.query for name in CHANGES):
            con.execute(statement.query.replace(" TEMP MACRO ", " MACRO "))


def macros() -> list[str]:
    """Give the SQL that makes the macros."""
    folder = resources.files("ruvector.duckdb") / "sql"
    return [(folder / f"{name}.sql").read_text(encoding="utf-8") for name in MACROS]


def _door(con: DuckDBPyConnection) -> Door | None:
    ask = "SELECT __ruvector_door()"
    with closing(con.cursor()) as cursor:
        try:
            return _doors.get(_one(cursor, ask))
        except CatalogException:
            pass
    # A transaction that has not ended may have made it, and must not end by an error. This takes a while.
    known = "SELECT count(*) FROM duckdb_functions() WHERE function_name = '__ruvector_door'"
    return _doors.get(_one(con, ask)) if _one(con, known) else None


def _one(con: DuckDBPyConnection, query: str) -> Any:  # noqa: ANN401 - a value of SQL
    (value,) = con.execute(query).fetchall()[0]
    return value


def called(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """Give a function that DuckDB can look at: it counts parameters, and evaluates annotations."""

    def call(*columns: object) -> object:
        try:
            return function(*columns)
        except RuVectorError as error:
            # DuckDB writes the lines of our code that it came through into its message.
            raise error.with_traceback(None) from None

    call.__annotations__ = {}
    parameters = [Parameter(f"column_{at}", Parameter.POSITIONAL_ONLY) for at in range(count)]
    vars(call)["__signature__"] = Signature(parameters)
    return call


def _create(con: DuckDBPyConnection, door: Door, *, changes: bool = True) -> None:
    number = next(_numbers)
    _doors[number] = door

    # Its types are not the same in all versions.
    untyped: Any = con
    create_function = untyped.create_function

    def create(
        name: str, function: Callable[..., Any], takes: list[str], gives: str, *, volatile: bool = False
    ) -> None:
        create_function(
            f"__ruvector_{name}",
            called(function, len(takes)),
            takes,
            gives,
            type="arrow",
            null_handling="special",
            side_effects=volatile,
        )

    text, whole, real, flag, vector = "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "FLOAT[]"
    statement = [text, text]
    filtered = ["VARCHAR[]", text, text, *statement]
    create("columns", door.columns, [text], text)
    create("ask", door.ask, [text, whole, real, whole, real, flag, flag, text, *filtered], text)
    create("ask_within", door.ask_within, [text, real, whole, flag, text, *filtered], text)
    create("knn", door.knn, [text, vector], WIDE)
    create("within", door.within, [text, vector, real], WIDE)
    create("search", door.search, [text, vector], f"STRUCT(id BIGINT, {HIT})[]")
    create("search_text", door.search_text, [text, vector], f"STRUCT(id VARCHAR, {HIT})[]")
    create("distance", door.distance, [vector, vector, text], "FLOAT")
    create("quantize", door.quantize, [vector, whole, "UBIGINT"], CODE)
    create("info", door.info, [text, *statement], INFO)
    create(
        "recall",
        door.recall,
        [text, whole, real, whole, real, *statement],
        "STRUCT(queries BIGINT, recall DOUBLE)[]",
    )
    if changes:
        options = [text, whole, whole, "UBIGINT", text]
        create("build", door.build, [text, text, text, text, *options, text], INFO, volatile=True)
        create("register", door.register, [text, text], INFO, volatile=True)
        create("unregister", door.unregister, [text], text, volatile=True)
    # The last one: a database that has it has them all.
    create_function("__ruvector_door", lambda: number, [], "BIGINT")
