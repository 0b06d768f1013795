"""
Lance datasets, by pylance.

**Generation**: the dataset's version and a digest of the names of its files, ``"3-9f86d081884c7d65"``; the
digest, because a dataset that is made anew in the same place counts its versions from 1 again. Asking reads
one manifest.

**Pushed down**: columns; filters as Lance's SQL; and, with ``push_down=True``, the search itself, by
Lance's ``nearest`` without its approximate indexes, so that it finds what the lake would. **Pieces** are
the fragments; those that an append brings are read alone.

pylance is a large package (more than 200 MB installed), under the Apache licence.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruvector.lake.adapter import Piece
from ruvector.lake.adapters._arrow import pa, skip
from ruvector.lake.adapters._extras import load
from ruvector.lake.adapters._sql import literal, where
from ruvector.lake.adapters._table import Snapshot, Source, TableAdapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from ruvector.lake.adapters._arrow import Batch
    from ruvector.lake.conditions import Dnf
    from ruvector.typing import ArrowArrayExportable

__all__ = ["LanceBackend"]


class LanceBackend(TableAdapter[str]):
    """
    Lance datasets: the ``*.lance`` folders of a folder, and others that are registered.

    Parameters
    ----------
    name
        What the lake knows the backend by.
    root
        A local folder; ``docs.lance`` in it is the collection ``docs``.
    storage_options
        What pylance needs to reach an object store.

    Raises
    ------
    MissingExtra
        If pylance or pyarrow is not installed: ``ruvector-arrow[lance]``.

    Examples
    --------
    >>> import lance, pyarrow as pa, tempfile
    >>> from ruvector.lake.adapters import LanceBackend
    >>> folder = tempfile.mkdtemp()
    >>> vectors = pa.array([[0.0, 1.0], [1.0, 0.0]], pa.list_(pa.float32(), 2))
    >>> rows = pa.table({"id": [1, 2], "vector": vectors})
    >>> _ = lance.write_dataset(rows, f"{folder}/docs.lance")
    >>> backend = LanceBackend("lance", folder)
    >>> backend.list_collections()
    ['docs']
    >>> backend.layout("docs").dim
    2
    """

    def __init__(
        self,
        name: str,
        root: str | PathLike[str] | None = None,
        *,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name)
        self._lance: Any = load("lance", "lance")
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
        Name a dataset, and say which of its columns are meant.

        Parameters
        ----------
        collection
            The collection.
        location
            The dataset's folder, or its URL in an object store.
        vector
            The column of vectors; by default the only one, or the one called ``vector`` or ``embedding``.
        id
            The column of ids; by default ``id``, or none.
        """
        self._sources[collection] = Source(str(location), vector, id)

    def search(self, collection: str, queries: ArrowArrayExportable, k: int) -> Any:  # noqa: ANN401 - a pyarrow.Table
        """
        Return the nearest rows by squared distance, as Lance finds them by looking at all.

        Raises
        ------
        UnknownCollection
            If there is no such dataset.
        """
        layout = self.layout(collection)
        if layout.id is None:
            return None
        dataset = self._load(self._source(collection))
        if dataset is None:
            raise self._unknown(collection)
        found: list[Any] = []
        for row, query in enumerate(pa.array(queries)):
            # A null has no neighbours.
            if not query.is_valid:
                continue
            nearest = {"column": layout.vector, "q": query.values, "k": k, "metric": "l2", "use_index": False}
            hits = dataset.to_table(columns=[layout.id, "_distance"], nearest=nearest).sort_by("_distance")
            ranks = pa.array(range(len(hits)), pa.uint32())
            rows = pa.array([row] * len(hits), pa.uint32())
            columns = [rows, ranks, hits.column(layout.id), hits.column("_distance")]
            found.append(pa.table(columns, names=["query_row", "rank", "id", "distance"]))
        return pa.concat_tables(found) if found else None

    def _tables(self) -> list[str]:
        if self._root is None:
            return []
        return [folder.stem for folder in self._root.glob("*.lance") if folder.is_dir()]

    def _find(self, collection: str) -> Source[str] | None:
        if self._root is None or collection not in self._tables():
            return None
        return Source(str(self._root / f"{collection}.lance"))

    def _token(self, source: Source[str]) -> str | None:
        dataset = self._load(source)
        return None if dataset is None else _generation(dataset)

    def _snapshot(self, source: Source[str]) -> Snapshot | None:
        dataset = self._load(source)
        return None if dataset is None else _LanceSnapshot(dataset)

    def _load(self, source: Source[str]) -> Any:  # noqa: ANN401 - a lance.LanceDataset
        try:
            return self._lance.dataset(source.location, storage_options=self._storage_options or None)
        except ValueError as error:
            # There is no class for it, in whatever store the dataset lies.
            if "was not found" in str(error):
                return None
            raise


def _pieces(dataset: Any) -> list[Piece]:  # noqa: ANN401 - a lance.LanceDataset
    pieces: list[Piece] = []
    for fragment in dataset.get_fragments():
        files = ",".join(file.path for file in fragment.metadata.files)
        deleted = fragment.metadata.deletion_file
        name, rows = f"{fragment.fragment_id}:{files}", fragment.metadata.physical_rows
        if deleted is not None:
            name, rows = f"{name}:{deleted.read_version}-{deleted.id}", rows - deleted.num_deleted_rows
        pieces.append(Piece(name, rows))
    return pieces


def _generation(dataset: Any) -> str:  # noqa: ANN401 - a lance.LanceDataset
    names = "\n".join(piece.name for piece in _pieces(dataset))
    return f"{dataset.version}-{blake2b(names.encode(), digest_size=8).hexdigest()}"


class _LanceSnapshot(Snapshot):
    """A dataset at one of its versions."""

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401 - a lance.LanceDataset
        self._dataset = dataset
        self.generation = _generation(dataset)
        self.data_ref = f"lance://{dataset.uri}"
        self.schema = dataset.schema

    def pieces(self) -> tuple[Piece, ...]:
        return tuple(_pieces(self._dataset))

    def read(self, columns: tuple[str, ...], filter: Dnf | None, skip_rows: int) -> Iterable[Batch]:
        condition = None if filter is None else where(filter, lambda name, _: _quoted(name), literal)
        fragments = list(self._dataset.get_fragments())
        pieces = _pieces(self._dataset)
        while pieces and pieces[0].rows <= skip_rows:
            skip_rows -= pieces.pop(0).rows
            fragments.pop(0)
        if not fragments:
            return ()
        scanner = self._dataset.scanner(
            columns=list(columns), filter=condition, fragments=fragments, scan_in_order=True
        )
        return skip(scanner.to_batches(), skip_rows)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
