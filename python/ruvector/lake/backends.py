"""The backends that come with the lake: in memory, in files, in Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from ruvector._ruvector import LakeFs, LakeLocal, LakeParquet, lake_collections, lake_generation
from ruvector.lake.consistency import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from ruvector.lake.shapes import LakeBucket
    from ruvector.typing import IdColumn, Queries, VectorColumn

__all__ = ["FsBackend", "LocalBackend", "NativeBackend", "ParquetBackend"]


class NativeBackend:
    """A backend of the extension's own."""

    __slots__ = ("_name", "_native")

    def __init__(self, name: str, native: LakeLocal | LakeFs | LakeParquet) -> None:
        self._name = name
        self._native = native

    def native(self) -> LakeLocal | LakeFs | LakeParquet:
        """Return the extension's handle on it."""
        return self._native

    @property
    def id(self) -> str:
        """What the lake knows the backend by."""
        return self._name

    def list_collections(self) -> list[str]:
        """Return the names of its collections."""
        return lake_collections(self._native)

    def generation(self, collection: str) -> int | str:
        """
        Return the token of the collection's present state.

        Raises
        ------
        UnknownCollection
            If it is not there.
        """
        return lake_generation(self._native, collection)

    def __repr__(self) -> str:
        """Return class and name."""
        return f"{type(self).__name__}({self._name!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        """Refuse to be pickled."""
        name = type(self).__name__
        raise TypeError(f"cannot pickle {name}: make one in the process that needs it")


class LocalBackend(NativeBackend):
    """
    Collections in memory, with ids that no two rows share.

    Parameters
    ----------
    name
        What the lake knows it by.

    Examples
    --------
    >>> import ruvector as rv
    >>> docs = rv.LocalBackend("memory")
    >>> docs.upsert("docs", ids=[7, 8], vectors=[[0.0, 0.0], [3.0, 4.0]])
    0
    >>> lake = rv.RuLake.builder().build()
    >>> lake.register_backend(docs)
    >>> [hit.id for hit in lake.search_one("docs", [3.0, 3.0], k=1)]
    [8]
    """

    __slots__ = ()
    _native: LakeLocal

    def __init__(self, name: str) -> None:
        super().__init__(name, LakeLocal(name))

    def put_collection(self, collection: str, *, ids: IdColumn, vectors: VectorColumn) -> None:
        """
        Make a collection of these rows, in place of what it held.

        Parameters
        ----------
        collection
            Its name.
        ids
            One integer or string per row, no two alike.
        vectors
            n rows of dim float32 or float16; none of them null.

        Raises
        ------
        InvalidParameter
            If there is not one id for every vector.
        InvalidVector, InvalidVectorType, DuplicateId
            If a row is no vector, a column of another type, or an id occurs twice.
        """
        self._native.put_collection(collection, ids, vectors)

    def upsert(self, collection: str, *, ids: IdColumn, vectors: VectorColumn) -> int:
        """
        Add rows, each in place of the row with its id, and make the collection if there is none.

        Returns
        -------
        int
            How many rows were replaced.

        Raises
        ------
        DimensionMismatch
            If the vectors are not as wide as the collection's.
        InvalidParameter, InvalidVector, InvalidVectorType, DuplicateId
            As `put_collection`.
        """
        return self._native.upsert(collection, ids, vectors)

    def append(self, collection: str, *, id: int | str, vector: Queries) -> None:
        """
        Add one row with an id that the collection does not have.

        Raises
        ------
        UnknownCollection
            If there is no such collection.
        DuplicateId
            If a row has the id.
        DimensionMismatch, InvalidVector, InvalidVectorType
            If the vector does not fit.
        """
        self._native.append(collection, cast("Sequence[int]", [id]), vector)

    def delete(self, collection: str, ids: IdColumn) -> int:
        """
        Delete the rows with these ids, and return how many there were.

        Raises
        ------
        UnknownCollection
            If there is no such collection.
        """
        return self._native.delete(collection, ids)

    def drop(self, collection: str) -> bool:
        """Forget a collection; return whether there was one."""
        return self._native.drop(collection)


class FsBackend(NativeBackend):
    """
    Collections in the ``ruvec1`` files of one folder, as upstream writes them.

    No file outside the folder is ever opened: names are checked, and links are refused.

    Parameters
    ----------
    name
        What the lake knows it by.
    root
        The folder, which is made if it is missing.

    Raises
    ------
    PersistError
        If it cannot be made.
    """

    __slots__ = ()
    _native: LakeFs

    def __init__(self, name: str, root: str | PathLike[str]) -> None:
        super().__init__(name, LakeFs(name, root))

    def write(self, collection: str, filename: str, *, ids: IdColumn, vectors: VectorColumn) -> Path:
        """
        Write a collection's file in one step, register it, and return its path.

        Ids are integers from 0 to ``2**64 - 1``; vectors are written as float32.

        Raises
        ------
        UnsafePath
            If the name could lead out of the folder.
        InvalidParameter
            If there is not one id for every vector.
        InvalidVectorType
            If ids are no such integers.
        TooLarge
            If the format cannot hold so much.
        PersistError
            If the file cannot be written.
        """
        return Path(self._native.write(collection, filename, ids, vectors))

    def register(self, collection: str, filename: str) -> None:
        """
        Say in which file a collection lies. It need not be there yet.

        Raises
        ------
        UnsafePath
            If the name could lead out of the folder.
        """
        self._native.register(collection, filename)


class ParquetBackend(NativeBackend):
    """
    Collections in Parquet files: one file, or all files of a folder, on a disk or in a store that speaks S3.

    Vectors are ``FixedSizeBinary`` of little-endian floats, which is read fastest, or lists of floats. Row
    groups that a filter rules out are not read, and files that were added to a folder are read alone.

    Parameters
    ----------
    name
        What the lake knows it by.
    root
        The folder that all paths are of, or ``"s3://bucket/prefix"``.
    endpoint
        The server of a bucket, such as ``"https://minio.example:9000"``. Default: Amazon's.
    region
        The region of a bucket. Default: ``"us-east-1"``.
    access_key_id, secret_access_key, session_token
        What requests to a bucket are signed with. Default: they are not signed.
    allow_http
        Whether requests to a bucket may go unencrypted.
    retries
        How often a request to a bucket is tried again that failed for a reason that may pass.

    Raises
    ------
    PersistError
        If there is no such folder.
    InvalidParameter
        If options of a bucket cannot be meant, or are given for a folder.
    """

    __slots__ = ()
    _native: LakeParquet

    def __init__(
        self,
        name: str,
        root: str | PathLike[str],
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        allow_http: bool = False,
        retries: int = 3,
    ) -> None:
        secrets = (access_key_id, secret_access_key, session_token)
        place = urlsplit(root) if isinstance(root, str) else None
        if place is None or place.scheme != "s3":
            if allow_http or any(each is not None for each in (endpoint, region, *secrets)):
                refuse("root", "s3://bucket/prefix with these options", repr(root))
            super().__init__(name, LakeParquet(name, root))
            return
        if not place.netloc:
            refuse("root", "s3://bucket/prefix", repr(root))
        if (access_key_id is None) != (secret_access_key is None):
            refuse("access_key_id", "both parts of a key, or none", "one")
        from ruvector.lake.transport import send

        bucket: LakeBucket = {
            "bucket": place.netloc,
            "prefix": place.path,
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
            "session_token": session_token,
            "allow_http": allow_http,
            "retries": retries,
        }
        super().__init__(name, LakeParquet.in_s3(name, bucket, send))

    def register(
        self,
        collection: str,
        path: str,
        *,
        vector: str | None = None,
        id: str | None = None,
        dim: int | None = None,
    ) -> None:
        """
        Say where a collection lies. It need not be there yet.

        Parameters
        ----------
        collection
            Its name.
        path
            A file, or a folder whose files, one below the other by name, are the table; relative to the
            root, with ``/`` between parts.
        vector, id
            The columns of vectors and ids. Default: the only column of vectors, or the one called
            ``vector`` or ``embedding``; the column called ``id``, or else the number of the row.
        dim
            Elements per vector. Needed only for binary vectors of half floats.

        Raises
        ------
        UnsafePath
            If the path leads elsewhere.
        """
        self._native.register(collection, path, vector, id, dim)
