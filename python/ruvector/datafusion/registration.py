"""Making the functions known to a context, and indexes to the functions."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ruvector._sql import Catalog, is_nameable
from ruvector._sql.refusal import refuse
from ruvector.datafusion.changes import Changes
from ruvector.datafusion.engine import engine
from ruvector.datafusion.frames import plainly
from ruvector.datafusion.scalars import scalar_functions
from ruvector.datafusion.tables import TableFunctions

if TYPE_CHECKING:
    from datafusion import SessionContext

    from ruvector._sql.catalog import Nameable
    from ruvector.datafusion.engine import Context

__all__ = ["register", "unregister"]

_catalogs: WeakKeyDictionary[SessionContext, Catalog] = WeakKeyDictionary()
_lock = threading.Lock()


def register(ctx: SessionContext, /, **indexes: Nameable) -> None:
    """
    Make the SQL functions known to a context, and name indexes for them.

    May be called again, for more indexes or to give a name to another one. A table function searches the
    index as it is when the statement runs; a scalar function as it is when it is called, batch by batch.

    Parameters
    ----------
    ctx
        The context.
    **indexes
        Indexes by the names that SQL shall have for them. The index stays in memory, and may go on to change.
        A collection of a lake can have a name, too; and with a lake among them, under whatever name,
        statements may address each of its collections as ``lake://backend/collection``.

    Raises
    ------
    InvalidParameter
        If what is to be named is neither.

    Examples
    --------
    >>> import ruvector as rv
    >>> from datafusion import SessionContext
    >>> from ruvector.datafusion import register
    >>> ctx = SessionContext()
    >>> register(ctx, docs=rv.build([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    >>> ctx.sql("SELECT * FROM ruvector_knn('docs', [3.0, 3.0], {k: 2}) ORDER BY distance").to_pylist()
    [{'id': 1, 'distance': 1.0}, {'id': 0, 'distance': 18.0}]
    """
    for name, index in indexes.items():
        if not is_nameable(index):
            raise refuse(name, "an index, a lake or a collection of one", type(index).__qualname__)
    with _lock:
        catalog = _catalogs.get(ctx)
        if catalog is None:
            catalog = _catalogs[ctx] = Catalog()
            _add_functions(ctx, catalog)
    for name, index in indexes.items():
        catalog.register(name, index)


def unregister(ctx: SessionContext, /, *names: str) -> None:
    """
    Take names away from indexes, which live on wherever else they are held.

    Raises
    ------
    InvalidParameter
        If a name is not registered in this context.
    """
    catalog = _catalogs.get(ctx) or Catalog()
    for name in names:
        catalog.unregister(name)


def _add_functions(ctx: Context, catalog: Catalog) -> None:
    for function in scalar_functions(catalog):
        ctx.register_udf(function)
    reading, changing = TableFunctions(catalog), Changes(catalog)
    functions: dict[str, Any] = {
        "ruvector_knn": reading.knn,
        "ruvector_within": reading.within,
        "ruvector_index_info": reading.index_info,
        "ruvector_recall": reading.recall,
        "ruvector_register": changing.register,
        "ruvector_unregister": changing.unregister,
    }
    for name, function in functions.items():
        ctx.register_udtf(engine.udtf(plainly(function), name))
    ctx.register_udtf(engine.udtf(plainly(changing.build), "ruvector_build", with_session=True))
