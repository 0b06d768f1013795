"""The loadable extension, as this wheel brings it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ruvector.errors import RuVectorError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["extension_path", "install"]

FOLDER = Path(__file__).parent / "extensions"
NAME = "ruvector"
# The first DuckDB that takes extensions from repositories that a user trusts.
WITH_REPOSITORIES = 2


def extension_path() -> Path:
    """
    Return the file of the loadable DuckDB extension for this machine.

    Any client of DuckDB can load it, where unsigned extensions are allowed: ``LOAD '<path>'``.

    Returns
    -------
    pathlib.Path
        The file, named ``ruvector.duckdb_extension``. It loads into DuckDB 1.4 and later.

    Raises
    ------
    RuVectorError
        If the wheel was built without it.

    Examples
    --------
    >>> from ruvector.duckdb import extension_path
    >>> extension_path().name
    'ruvector.duckdb_extension'
    """
    found = sorted(FOLDER.glob(f"*/{NAME}.duckdb_extension"))
    if not found:
        raise RuVectorError("this wheel was built without the loadable extension (make build makes it)")
    return found[0]


def install(con: DuckDBPyConnection) -> None:
    """
    Load the extension into a connection's database, and make its macros for the connection.

    From DuckDB 2.0 on the extension is installed from a repository of its own that is signed by whoever
    released this wheel: this database is told to allow repositories, and DuckDB to trust that key, in its
    folder of extensions, for good. That is why it is never done unasked. A later process needs no more than
    ``LOAD ruvector FROM ruvector``. Before 2.0, and with a wheel whose extension is not signed, the
    connection must have been opened with ``config={"allow_unsigned_extensions": True}``; nothing is written
    then.

    The macros (all of ``FROM ruvector_macros()``) belong to this connection: cursors of it need their own.

    Parameters
    ----------
    con
        A connection of the package `duckdb`.

    Raises
    ------
    RuVectorError
        If this DuckDB would not load the extension; the message says what would have to be allowed.

    Examples
    --------
    >>> import duckdb
    >>> from ruvector.duckdb import install
    >>> con = duckdb.connect(config={"allow_unsigned_extensions": True})
    >>> install(con)
    >>> con.sql("SELECT ruvector_distance([1.0, 2.0], [1.0, 4.0], 'l2')").fetchone()
    (2.0,)
    """
    path, key = extension_path(), FOLDER / "public.pem"
    version = _value(con, "SELECT library_version FROM pragma_version()")
    system = _value(con, "SELECT platform FROM pragma_platform()")
    if system != path.parent.name:
        raise RuVectorError(f"this wheel's extension is for {path.parent.name}, this DuckDB for {system}")
    if _value(con, "SELECT current_setting('allow_unsigned_extensions')").lower() == "true":
        con.execute(f"LOAD {_text(path)}")
    elif int(version.removeprefix("v").split(".")[0]) < WITH_REPOSITORIES:
        raise RuVectorError(
            f"DuckDB {version} loads the extension only where unsigned ones are allowed: connect with "
            'config={"allow_unsigned_extensions": True}, or use DuckDB 2.0 or later'
        )
    elif not key.exists():
        raise RuVectorError(
            "this wheel's extension is not signed, and this connection allows signed ones only: connect with "
            'config={"allow_unsigned_extensions": True}'
        )
    else:
        _install_signed(con, path, key.read_text(encoding="utf-8"), version)
    for (statement,) in con.execute("FROM ruvector_macros()").fetchall():
        con.execute(statement)


def _install_signed(con: DuckDBPyConnection, path: Path, key: str, version: str) -> None:
    """Install from a repository that lasts as long as this call, and load."""
    if _value(con, "SELECT current_setting('allow_extension_repositories')") == "forbidden":
        raise RuVectorError(
            "this DuckDB forbids extensions from repositories: allow_extension_repositories is 'forbidden'"
        )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / version / path.parent.name
        place.mkdir(parents=True)
        shutil.copyfile(path, place / path.name)
        con.execute("SET allow_extension_repositories = 'allowed'")
        con.execute(
            f"CREATE OR REPLACE EXTENSION REPOSITORY {NAME} "
            f"WITH PREFIX {_text(folder)} USING PUBLIC KEY {_text(key)}"
        )
        con.execute(f"FORCE INSTALL {NAME} FROM {NAME}")
    con.execute(f"LOAD {NAME} FROM {NAME}")


def _value(con: DuckDBPyConnection, query: str) -> str:
    return str(con.execute(query).fetchall()[0][0])


def _text(text: object) -> str:
    return "'" + str(text).replace("'", "''") + "'"
