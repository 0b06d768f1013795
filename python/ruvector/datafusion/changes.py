"""The table functions that change something: they do it when the statement is planned, once, as DDL does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ruvector import _ruvector, _sql
from ruvector._sql.arrow import pa
from ruvector._sql.refusal import refuse
from ruvector.datafusion.arguments import Arguments, bind
from ruvector.datafusion.engine import engine
from ruvector.datafusion.frames import batches
from ruvector.datafusion.tables import INFO, rows
from ruvector.datafusion.values import value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruvector._sql import Catalog
    from ruvector._sql.arrow import Table
    from ruvector.datafusion.engine import Context, Frame

__all__ = ["Changes"]

_BUILD = ("id", "metric", "bits", "nlist", "seed", "vectors")


class Changes:
    """The table functions that change something, over one catalog of names."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def build(self, *given: Any, session: Context) -> Frame:  # noqa: ANN401 - of DataFusion
        """Run ``ruvector_build(table, column, path, {option: value, ...})``."""
        arguments = bind(given, ("table", "column", "path"), _BUILD)
        table, column = (_text(arguments, name, "a name") for name in ("table", "column"))
        path = _text(arguments, "path", "a path")
        options = {name: value(name, scalar) for name, scalar in arguments.known.items() if name in _BUILD}
        for name in _BUILD:
            arguments.literal(name)
        id_column = options.pop("id", None)

        def run() -> None:
            frame = session.table(table)
            asked = frame.select(engine.col(column), *([] if id_column is None else [engine.col(id_column)]))
            names = asked.schema().names
            _sql.build(
                lambda: _tables(asked),
                column=names[0],
                id=None if id_column is None else names[1],
                path=path,
                **options,
            )

        # The thread that plans may not wait for another plan; another thread may.
        with ThreadPoolExecutor(max_workers=1) as apart:
            apart.submit(run).result()
        return rows("ruvector_build", INFO, [_sql.info(self._catalog.pin(path))])

    def register(self, *given: Any) -> Frame:  # noqa: ANN401 - expressions of DataFusion
        """Run ``ruvector_register(name, path)``."""
        arguments = bind(given, ("name", "path"), ())
        name, path = _text(arguments, "name", "a name"), _text(arguments, "path", "a path")
        self._catalog.register(name, _ruvector.open(path))
        return rows("ruvector_register", INFO, [_sql.info(self._catalog.pin(name))])

    def unregister(self, *given: Any) -> Frame:  # noqa: ANN401 - expressions of DataFusion
        """Run ``ruvector_unregister(name)``."""
        name = _text(bind(given, ("name",), ()), "name", "a name")
        self._catalog.unregister(name)
        return rows("ruvector_unregister", pa.struct([("name", pa.string())]), [{"name": name}])


def _text(arguments: Arguments, name: str, expected: str) -> str:
    found = arguments.literal(name)
    if not isinstance(found, str):
        raise refuse(name, expected, found)
    return found


def _tables(frame: Frame) -> Iterator[Table]:
    """Give the batches with strings of the plain kind."""
    for batch in batches(frame):
        fields = [
            pa.field(field.name, pa.string()) if pa.types.is_string_view(field.type) else field
            for field in batch.schema
        ]
        yield pa.Table.from_batches([batch]).cast(pa.schema(fields))
