"""Columns of vectors as engines hand them over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ruvector._sql.arrow import one_array, pa
from ruvector.errors import InvalidVectorType

if TYPE_CHECKING:
    from ruvector._sql.arrow import Array, Column, Table

__all__ = ["named", "vectors"]

EXPECTED = "a list of numbers"


def vectors(column: Column, name: str) -> Array:
    """
    Give a column of vectors in one piece, its numbers as floats.

    Raises
    ------
    InvalidVectorType
        If it is no column of lists of numbers.
    """
    array = one_array(column)
    kind = array.type
    if pa.types.is_fixed_size_list(kind):
        wanted = pa.list_(pa.float32(), kind.list_size)
    elif pa.types.is_large_list(kind):
        wanted = pa.large_list(pa.float32())
    elif pa.types.is_list(kind):
        wanted = pa.list_(pa.float32())
    else:
        raise InvalidVectorType(
            f"{name}: expected {EXPECTED}, got {kind}", column=name, expected=EXPECTED, actual=str(kind)
        )
    element = kind.value_type
    if pa.types.is_float32(element) or pa.types.is_float16(element):
        return array
    if not (pa.types.is_integer(element) or pa.types.is_floating(element) or pa.types.is_decimal(element)):
        raise InvalidVectorType(
            f"{name}: expected {EXPECTED}, got {kind}", column=name, expected=EXPECTED, actual=str(kind)
        )
    return array.cast(wanted, safe=False)


def named(array: Array, name: str) -> Table:
    """Give a column the name that messages call it by."""
    return pa.table({name: array})
