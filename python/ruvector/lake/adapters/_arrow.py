"""Arrow columns and batches as the adapters need them: columns found, vectors made alike, rows skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ruvector.errors import InvalidParameter
from ruvector.lake.adapters._extras import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Batch",
    "Schema",
    "is_vector",
    "pa",
    "pc",
    "select",
    "skip",
    "vector_column",
    "width",
    "with_vectors",
]

pa: Any = load("pyarrow", "arrow")
pc: Any = load("pyarrow.compute", "arrow")

Array: TypeAlias = Any
"""A `pyarrow.Array`."""
Batch: TypeAlias = Any
"""A `pyarrow.RecordBatch`."""
Schema: TypeAlias = Any
"""A `pyarrow.Schema`."""
DataType: TypeAlias = Any
"""A `pyarrow.DataType`."""


def _is_list(kind: DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_vector(kind: DataType) -> bool:
    """Return whether a column of this type may hold vectors: lists of floats."""
    return _is_list(kind) and bool(pa.types.is_floating(kind.value_type))


def vector_column(schema: Schema) -> str:
    """
    Return the column of vectors that is meant if none was named.

    Raises
    ------
    InvalidParameter
        If there is none, or several and none is called vector or embedding.
    """
    found: list[str] = [field.name for field in schema if is_vector(field.type)]
    named = [name for name in ("vector", "embedding") if name in found]
    if named or len(found) == 1:
        return (named or found)[0]
    expected = "the name of the column of vectors, given to register()"
    message = f"vector: expected {expected}, for the columns {schema.names} do not tell it"
    raise InvalidParameter(message, name="vector", expected=expected, actual=f"{found}")


def width(kind: DataType, batches: Iterable[Batch]) -> int | None:
    """Return how wide the vectors of the first column are, by its type or a vector; None if none is there."""
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for batch in batches:
        vectors = batch.column(0).drop_null()
        if len(vectors) > 0:
            return len(vectors[0].as_py())
    return None


def with_vectors(batch: Batch, column: str) -> Batch:
    """
    Return a batch whose vectors are ``fixed_size_list`` of float or halffloat, if they are all of one width.

    Others stay as they are: the lake says which row is wrong.
    """
    place = batch.schema.get_field_index(column)
    if place < 0 or batch.num_rows == 0:
        return batch
    vectors = _fixed(batch.column(place))
    return batch.set_column(place, pa.field(column, vectors.type), vectors)


def _fixed(vectors: Array) -> Array:
    kind = vectors.type
    if not is_vector(kind):
        return vectors
    item = pa.float16() if kind.value_type == pa.float16() else pa.float32()
    if pa.types.is_fixed_size_list(kind):
        return vectors if kind.value_type == item else vectors.cast(pa.list_(item, kind.list_size))
    lengths = pc.min_max(pc.list_value_length(vectors)).as_py()
    if lengths["min"] is None or lengths["min"] != lengths["max"]:
        return vectors
    size = lengths["max"]
    if vectors.null_count == 0:
        return pa.FixedSizeListArray.from_arrays(vectors.flatten().cast(item), size)
    return vectors.cast(pa.list_(item, size))


def select(batches: Iterable[Batch], columns: Iterable[str]) -> Iterator[Batch]:
    """Yield batches of some of their columns."""
    names = list(columns)
    for batch in batches:
        yield batch.select(names)


def skip(batches: Iterable[Batch], rows: int) -> Iterator[Batch]:
    """Yield batches without the first rows."""
    for batch in batches:
        if rows >= batch.num_rows > 0:
            rows -= batch.num_rows
            continue
        yield batch.slice(rows) if rows else batch
        rows = 0
