"""pyarrow, which ships no types, under names that a type checker lets pass."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeAlias

pa: Any = import_module("pyarrow")
pc: Any = import_module("pyarrow.compute")

Column: TypeAlias = Any
"""A `pyarrow.Array` or `pyarrow.ChunkedArray`."""
Array: TypeAlias = Any
"""A `pyarrow.Array`."""
Table: TypeAlias = Any
"""A `pyarrow.Table`."""

SEARCHED = {
    kind: pa.list_(pa.struct([("id", id_type), ("distance", pa.float32())]))
    for kind, id_type in (("int64", pa.int64()), ("uint64", pa.uint64()), ("str", pa.string()))
}
"""The types of the hits of one query, by the type of the ids."""


def one_array(column: Column) -> Array:
    """Give a column in one piece."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [empty(column)])


def empty(column: Column) -> Array:
    """Give no rows of the same type."""
    return pa.array([], column.type)
