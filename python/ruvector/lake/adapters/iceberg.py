"""
Tables of an Apache Iceberg catalog, by pyiceberg.

**Generation**: the id of the table's current snapshot, 0 before the first one. Rows are read from that
snapshot with its own schema, so that nothing that happens meanwhile is seen. Asking costs what the catalog
takes to load a table.

**Pushed down**: columns, and filters as Iceberg expressions, which leave out whole files by their
statistics and then rows. **Pieces** are the data files in the order of their sequence numbers, as long as
none has delete files: appended files are read alone.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from ruvector.lake.adapter import Piece
from ruvector.lake.adapters._arrow import skip
from ruvector.lake.adapters._extras import load
from ruvector.lake.adapters._table import Snapshot, Source, TableAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ruvector.lake.adapters._arrow import Batch
    from ruvector.lake.conditions import Condition, Dnf

__all__ = ["IcebergBackend"]


class IcebergBackend(TableAdapter[str]):
    """
    The tables of an Iceberg catalog; a collection is a table's identifier, such as ``"library.docs"``.

    Parameters
    ----------
    name
        What the lake knows the backend by.
    catalog
        A catalog of pyiceberg.

    Raises
    ------
    MissingExtra
        If pyiceberg or pyarrow is not installed: ``ruvector-arrow[iceberg]``.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from pyiceberg.catalog.sql import SqlCatalog
    >>> from ruvector.lake.adapters import IcebergBackend
    >>> folder = tempfile.mkdtemp()
    >>> catalog = SqlCatalog("c", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    >>> catalog.create_namespace("library")
    >>> rows = pa.table({"id": [1, 2], "vector": pa.array([[0.0, 1.0], [1.0, 0.0]], pa.list_(pa.float32()))})
    >>> catalog.create_table("library.docs", schema=rows.schema).append(rows)
    >>> backend = IcebergBackend("iceberg", catalog)
    >>> backend.list_collections()
    ['library.docs']
    >>> backend.layout("library.docs").dim
    2
    """

    def __init__(self, name: str, catalog: Any) -> None:  # noqa: ANN401 - a pyiceberg.catalog.Catalog
        super().__init__(name)
        self._catalog = catalog
        self._missing: type[Exception] = load("pyiceberg.exceptions", "iceberg").NoSuchTableError

    def register(
        self,
        collection: str,
        identifier: str | None = None,
        *,
        vector: str | None = None,
        id: str | None = None,
    ) -> None:
        """
        Name a collection, or say which of its columns are meant.

        Parameters
        ----------
        collection
            The collection.
        identifier
            The table; by default the collection's name.
        vector
            The column of vectors; by default the only one, or the one called ``vector`` or ``embedding``.
        id
            The column of ids; by default ``id``, or none.
        """
        self._sources[collection] = Source(identifier or collection, vector, id)

    def _tables(self) -> Iterator[str]:
        spaces = list(self._catalog.list_namespaces())
        while spaces:
            space = spaces.pop()
            spaces.extend(self._catalog.list_namespaces(space))
            yield from (".".join(identifier) for identifier in self._catalog.list_tables(space))

    def _find(self, collection: str) -> Source[str]:
        return Source(collection)

    def _token(self, source: Source[str]) -> int | None:
        table = self._load(source)
        return None if table is None else _generation(table)

    def _snapshot(self, source: Source[str]) -> Snapshot | None:
        table = self._load(source)
        return None if table is None else _IcebergSnapshot(table)

    def _load(self, source: Source[str]) -> Any:  # noqa: ANN401 - a pyiceberg.table.Table
        # A catalog takes no identifier without a namespace.
        if "." not in source.location:
            return None
        try:
            return self._catalog.load_table(source.location)
        except self._missing:
            return None


def _generation(table: Any) -> int:  # noqa: ANN401 - a pyiceberg.table.Table
    snapshot = table.current_snapshot()
    return 0 if snapshot is None else int(snapshot.snapshot_id)


class _IcebergSnapshot(Snapshot):
    """A table at one of its snapshots."""

    def __init__(self, table: Any) -> None:  # noqa: ANN401 - a pyiceberg.table.Table
        self._reading: Any = load("pyiceberg.io.pyarrow", "iceberg")
        self._table = table
        self.generation = _generation(table)
        self.data_ref = f"iceberg://{table.metadata.table_uuid}"
        self.schema = self._reading.schema_to_pyarrow(self._scan().projection())
        self._tasks = self._in_order()

    def _scan(self, **options: Any) -> Any:  # noqa: ANN401 - pyiceberg's
        return self._table.scan(snapshot_id=self.generation or None, **options)

    def _in_order(self) -> list[Any]:
        snapshot = self._table.current_snapshot()
        if snapshot is None:
            return []
        added = {
            entry.data_file.file_path: entry.sequence_number or 0
            for manifest in snapshot.manifests(self._table.io)
            for entry in manifest.fetch_manifest_entry(self._table.io)
        }
        tasks = self._scan().plan_files()
        return sorted(tasks, key=lambda task: (added.get(task.file.file_path, 0), task.file.file_path))

    def pieces(self) -> tuple[Piece, ...]:
        if any(task.delete_files for task in self._tasks):
            return ()
        return tuple(Piece(task.file.file_path, task.file.record_count) for task in self._tasks)

    def read(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterable[Batch]:
        expression = None if filter is None else _expression(filter)
        options = {} if expression is None else {"row_filter": expression}
        scan = self._scan(selected_fields=columns, **options)
        if expression is None:
            tasks, skip_rows = self._behind(skip_rows)
        else:
            wanted = {task.file.file_path for task in scan.plan_files()}
            tasks = [task for task in self._tasks if task.file.file_path in wanted]
        projection = scan.projection()
        schema = self._reading.schema_to_pyarrow(projection)
        reading = self._reading.ArrowScan(self._table.metadata, self._table.io, projection, scan.row_filter)
        # One file after the other: as a whole, the reader would hold all of them in memory.
        batches = (batch for task in tasks for batch in reading.to_record_batches([task]))
        return skip((batch.cast(schema) for batch in batches), skip_rows)

    def _behind(self, rows: int) -> tuple[list[Any], int]:
        """Return the files that are not skipped as a whole, and how many rows of the first of them are."""
        tasks = list(self._tasks)
        while tasks and not tasks[0].delete_files and tasks[0].file.record_count <= rows:
            rows -= tasks.pop(0).file.record_count
        return tasks, rows


def _expression(filter: Dnf) -> Any:  # noqa: ANN401 - pyiceberg ships types, but its classes are made at run time
    expressions: Any = load("pyiceberg.expressions", "iceberg")
    # A dot means a field of a struct, and single conditions on these say nothing about a column of that name.
    kept = [[each for each in alternative if "." not in each[0]] for alternative in filter]
    if not all(kept):
        return None
    alternatives = [reduce(expressions.And, map(_comparison, alternative)) for alternative in kept]
    return reduce(expressions.Or, alternatives)


def _comparison(condition: Condition) -> Any:  # noqa: ANN401 - as above
    expressions: Any = load("pyiceberg.expressions", "iceberg")
    kinds = {
        "=": expressions.EqualTo,
        "!=": expressions.NotEqualTo,
        "<": expressions.LessThan,
        "<=": expressions.LessThanOrEqual,
        ">": expressions.GreaterThan,
        ">=": expressions.GreaterThanOrEqual,
        "in": expressions.In,
        "not in": expressions.NotIn,
    }
    column, operator, value = condition
    return kinds[operator](column, value)
