"""Columns of pgvector as Arrow vectors: from the binary form that a driver hands on, or from text."""

from __future__ import annotations

from typing import Any

from ruvector.lake.adapters._arrow import pa, pc
from ruvector.lake.adapters._extras import load

__all__ = ["HEADER", "item_of", "vectors"]

HEADER = 4
"""Bytes before the elements: how many there are, and two that are not used."""

# Elements of pgvector's types: in Arrow, and as they are sent, most significant byte first.
_ITEMS = {"vector": (pa.float32(), ">f4"), "halfvec": (pa.float16(), ">f2")}


def item_of(kind: Any) -> Any:  # noqa: ANN401 - pyarrow types
    """Return the type of the elements of a column of pgvector; None if it is another column."""
    name = getattr(kind, "type_name", None)
    return _ITEMS[name][0] if name in _ITEMS and pa.types.is_binary(kind.storage_type) else None


def vectors(column: Any) -> Any:  # noqa: ANN401 - pyarrow arrays
    """
    Return a column of pgvector, or of texts like ``[1,2,3]``, as lists of floats.

    Raises
    ------
    ValueError
        If it holds vectors of several widths in binary form, or something else than vectors.
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        numbers = pc.replace_substring_regex(column, r"[\[\]{}()\s]", "")
        return pc.split_pattern(numbers, ",").cast(pa.list_(pa.float32()))
    return _from_binary(column.storage, *_ITEMS[column.type.type_name])


def _from_binary(column: Any, item: Any, sent: str) -> Any:  # noqa: ANN401 - pyarrow arrays
    np: Any = load("numpy", "adbc")
    valid = column.drop_null()
    if len(valid) == 0:
        return pa.nulls(len(column), pa.list_(item))
    sizes = pc.min_max(pc.binary_length(valid)).as_py()
    size = sizes["max"]
    _, offsets, data = valid.buffers()
    start = np.frombuffer(offsets, np.int32)[valid.offset]
    # A column of one width lies without gaps; a null takes no room.
    if sizes["min"] != size:
        raise ValueError(f"vectors of {sizes['min']} and of {size} bytes in one column")
    rows = np.frombuffer(data, np.uint8)[start : start + size * len(valid)].reshape(len(valid), size)
    dim = (size - HEADER) // np.dtype(sent).itemsize
    if not (rows[:, :2].copy().view(">u2") == dim).all():
        raise ValueError(f"values of {size} bytes that are no vectors of {dim} elements")
    values = np.ascontiguousarray(rows[:, HEADER:]).view(sent).astype(item.to_pandas_dtype())
    if column.null_count == 0:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), dim)
    null = column.is_null()
    spread = np.zeros((len(column), dim), values.dtype)
    spread[~null.to_numpy(zero_copy_only=False)] = values
    return pa.FixedSizeListArray.from_arrays(pa.array(spread.reshape(-1)), dim, mask=null)
