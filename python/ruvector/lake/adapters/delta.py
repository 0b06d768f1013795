"""
Delta tables, by deltalake.

**Generation**: the table's version and its id, ``"7-6d052ee5-..."``; the id, because a table that is made
anew in the same place counts its versions from 0 again. Asking reads the end of the log.

**Pushed down**: columns, and filters: to Parquet's row groups, and as partitions. **Pieces** are the files in
the order they were added; files that an append brings are read alone. Tables with deletion vectors or mapped
columns are read by deltalake's own engine, which gives rows in any order: they need a column of ids, and
are read as a whole.
"""

from __future__ import annotations

import operator
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ruvector.lake.adapter import Piece
from ruvector.lake.adapters._arrow import pa, pc, skip
from ruvector.lake.adapters._extras import load
from ruvector.lake.adapters._sql import literal, quoted, where
from ruvector.lake.adapters._table import Snapshot, Source, TableAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike

    from ruvector.lake.adapters._arrow import Batch
    from ruvector.lake.conditions import Condition, Dnf

__all__ = ["DeltaBackend"]

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class DeltaBackend(TableAdapter[str]):
    """
    Delta tables: the folders of a folder, and others that are registered.

    Parameters
    ----------
    name
        What the lake knows the backend by.
    root
        A local folder; each folder in it that holds a Delta table is a collection.
    storage_options
        What deltalake needs to reach an object store.

    Raises
    ------
    MissingExtra
        If deltalake or pyarrow is not installed: ``ruvector-arrow[delta]``.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from deltalake import write_deltalake
    >>> from ruvector.lake.adapters import DeltaBackend
    >>> folder = tempfile.mkdtemp()
    >>> rows = pa.table({"id": [1, 2], "vector": pa.array([[0.0, 1.0], [1.0, 0.0]], pa.list_(pa.float32()))})
    >>> write_deltalake(f"{folder}/docs", rows)
    >>> backend = DeltaBackend("delta", folder)
    >>> backend.list_collections()
    ['docs']
    >>> backend.generation("docs").partition("-")[0]
    '0'
    """

    def __init__(
        self,
        name: str,
        root: str | PathLike[str] | None = None,
        *,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name)
        self._delta: Any = load("deltalake", "delta")
        self._root = None if root is None else Path(root)
        self._storage_options = dict(storage_options or {})

    def register(
        self,
        collection: str,
        location: str | PathLike[str],
        *,
        vector: str | None = None,
        id: str | None = None,
    ) -> None:
        """
        Name a table, and say which of its columns are meant.

        Parameters
        ----------
        collection
            The collection.
        location
            The table's folder, or its URL in an object store.
        vector
            The column of vectors; by default the only one, or the one called ``vector`` or ``embedding``.
        id
            The column of ids; by default ``id``, or none.
        """
        self._sources[collection] = Source(str(location), vector, id)

    def _tables(self) -> list[str]:
        if self._root is None:
            return []
        return [folder.parent.name for folder in self._root.glob("*/_delta_log")]

    def _find(self, collection: str) -> Source[str] | None:
        return Source(str(self._root / collection)) if collection in self._tables() and self._root else None

    def _token(self, source: Source[str]) -> str | None:
        table = self._load(source)
        return None if table is None else _generation(table)

    def _snapshot(self, source: Source[str]) -> Snapshot | None:
        table = self._load(source)
        return None if table is None else _DeltaSnapshot(table)

    def _load(self, source: Source[str]) -> Any:  # noqa: ANN401 - a deltalake.DeltaTable
        options = self._storage_options or None
        if not self._delta.DeltaTable.is_deltatable(source.location, options):
            return None
        return self._delta.DeltaTable(source.location, storage_options=options)


def _generation(table: Any) -> str:  # noqa: ANN401 - a deltalake.DeltaTable
    return f"{table.version()}-{table.metadata().id}"


def _is_plain(table: Any) -> bool:  # noqa: ANN401 - a deltalake.DeltaTable
    """Return whether the table's files hold its rows and nothing else, under the names of its columns."""
    features: list[str] = table.protocol().reader_features or []
    mapping: str = table.metadata().configuration.get("delta.columnMapping.mode") or "none"
    return mapping == "none" and "deletionVectors" not in features


class _DeltaSnapshot(Snapshot):
    """A table at one of its versions."""

    def __init__(self, table: Any) -> None:  # noqa: ANN401 - a deltalake.DeltaTable
        self._table = table
        self.generation = _generation(table)
        self.data_ref = f"delta://{table.metadata().id}"
        self.schema = pa.schema(table.schema().to_arrow())
        self.ordered = _is_plain(table)
        self._files = self._in_order() if self.ordered else []

    def _in_order(self) -> list[Piece]:
        actions = pa.table(self._table.get_add_actions(flatten=True)).select(
            ["path", "modification_time", "num_records"]
        )
        files = sorted(actions.to_pylist(), key=lambda action: (action["modification_time"], action["path"]))
        return [
            Piece(action["path"], -1 if (rows := action["num_records"]) is None else rows) for action in files
        ]

    def pieces(self) -> tuple[Piece, ...]:
        # Statistics are optional in the log.
        return () if any(piece.rows < 0 for piece in self._files) else tuple(self._files)

    def read(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterable[Batch]:
        if self.ordered:
            return self._read_files(columns, filter, skip_rows)
        predicate = None if filter is None else where(filter, lambda name, _: quoted(name), literal)
        scan = self._table.scan(columns=list(columns), predicate=predicate)
        return skip(pa.RecordBatchReader.from_stream(scan), skip_rows)

    def _read_files(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterator[Batch]:
        dataset = self._table.to_pyarrow_dataset(schema=self.schema)
        fragments = {fragment.path: fragment for fragment in dataset.get_fragments()}
        expression = None if filter is None else _expression(filter)
        files = list(self._files)
        while files and 0 <= files[0].rows <= skip_rows:
            skip_rows -= files.pop(0).rows

        def batches() -> Iterator[Batch]:
            for piece in files:
                # The log writes paths as URLs.
                scanner = fragments[unquote(piece.name)].scanner(
                    schema=self.schema, columns=list(columns), filter=expression
                )
                yield from scanner.to_batches()

        return skip(batches(), skip_rows)


def _expression(filter: Dnf) -> Any:  # noqa: ANN401 - a pyarrow.compute.Expression
    alternatives = [reduce(_both, map(_comparison, alternative)) for alternative in filter]
    return reduce(_either, alternatives)


def _both(one: Any, other: Any) -> Any:  # noqa: ANN401 - of pyarrow.compute.Expression
    return one & other


def _either(one: Any, other: Any) -> Any:  # noqa: ANN401 - of pyarrow.compute.Expression
    return one | other


def _comparison(condition: Condition) -> Any:  # noqa: ANN401 - a pyarrow.compute.Expression
    name, how, value = condition
    column = pc.field(name)
    if how in {"in", "not in"}:
        found = column.isin(list(value)) if value else pc.scalar(value=False)
        return found if how == "in" else ~found
    return _COMPARE[how](column, value)
