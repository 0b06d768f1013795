"""The lake's own backends as places of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import S3FileSystem

import ruvector as rv
from tests.lake.places import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["NATIVE"]


def _columns(table: pa.Table) -> dict[str, Any]:
    vectors = np.array(table.column("vector").to_pylist(), np.float32)
    return {"ids": table.column("id").to_pylist(), "vectors": vectors}


class Local(Place):
    """A collection in memory."""

    has_payload = False

    def __init__(self, folder: Path, servers: Any) -> None:
        del folder, servers
        self.backend = rv.LocalBackend("memory")

    def replace(self, table: pa.Table) -> None:
        self.backend.put_collection(self.collection, **_columns(table))

    def append(self, table: pa.Table) -> None:
        self.backend.upsert(self.collection, **_columns(table))

    def delete(self, id: int) -> None:
        self.backend.delete(self.collection, [id])


class Files(Place):
    """A file of rows."""

    has_payload = False

    def __init__(self, folder: Path, servers: Any) -> None:
        del servers
        self.table = pa.table({})
        self.backend = rv.FsBackend("files", folder)

    def replace(self, table: pa.Table) -> None:
        self.table = table
        self.backend.write(self.collection, "docs.ruvec", **_columns(table))

    def append(self, table: pa.Table) -> None:
        self.replace(pa.concat_tables([self.table, table]))

    def delete(self, id: int) -> None:
        self.replace(self.table.filter(pa.compute.not_equal(self.table.column("id"), id)))


class Parquet(Place):
    """A folder of Parquet files, on disk."""

    appends_in_pieces = True

    def __init__(self, folder: Path, servers: Any) -> None:
        del servers
        self.files: list[pa.Table] = []
        self.folder = str(folder)
        self.filesystem: Any = None
        (folder / "docs").mkdir()
        self.backend = rv.ParquetBackend("parquet", folder)
        self.backend.register("docs", "docs")

    def _write(self, place: int) -> None:
        path = f"{self.folder}/docs/{place:04}.parquet"
        pq.write_table(self.files[place], path, filesystem=self.filesystem, row_group_size=64)

    def replace(self, table: pa.Table) -> None:
        for place in range(1, len(self.files)):
            self.files[place] = self.files[place].slice(0, 0)
            self._write(place)
        self.files[:1] = [table]
        self._write(0)

    def append(self, table: pa.Table) -> None:
        self.files.append(table)
        self._write(len(self.files) - 1)

    def delete(self, id: int) -> None:
        for place, table in enumerate(self.files):
            self.files[place] = table.filter(pa.compute.not_equal(table.column("id"), id))
            self._write(place)


class S3(Parquet):
    """A folder of Parquet files, in an object store over HTTP."""

    def __init__(self, folder: Path, servers: Any) -> None:
        del folder
        endpoint = servers("s3_server")
        keys = {"access_key_id": "key", "secret_access_key": "secret"}
        self.files = []
        self.folder = f"bucket-{uuid4().hex}/library"
        self.filesystem = S3FileSystem(
            access_key=keys["access_key_id"],
            secret_key=keys["secret_access_key"],
            endpoint_override=endpoint,
            region="us-east-1",
            allow_bucket_creation=True,
        )
        self.filesystem.create_dir(self.folder.partition("/")[0])
        self.backend = rv.ParquetBackend(
            "s3",
            f"s3://{self.folder}",
            endpoint=endpoint,
            region="us-east-1",
            access_key_id=keys["access_key_id"],
            secret_access_key=keys["secret_access_key"],
            allow_http=True,
        )
        self.backend.register("docs", "docs")


NATIVE: dict[str, Callable[[Path, Any], Place]] = {
    "memory": Local,
    "files": Files,
    "parquet": Parquet,
    "s3": S3,
}
