"""What arguments are worth: literals when the statement is planned, the others when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruvector._sql.arrow import pa
from ruvector._sql.refusal import quoted, refuse
from ruvector.datafusion.frames import list_of

if TYPE_CHECKING:
    from ruvector._sql.arrow import Array
    from ruvector.datafusion.engine import DataType, Scalar

__all__ = ["TYPES", "filter_type", "value"]

# What an argument is made into that the statement works out. A filter depends on the index.
TYPES = {
    "query": pa.list_(pa.float32()),
    "radius": pa.float64(),
    "k": pa.int64(),
    "recall": pa.float64(),
    "nprobe": pa.int64(),
    "epsilon": pa.float64(),
    "rerank": pa.bool_(),
    "exact": pa.bool_(),
    "metric": pa.string(),
}

_WHOLE = {"k", "nprobe", "bits", "nlist", "seed"}
_NUMBERS = {"radius", "recall", "epsilon"}
_FLAGS = {"rerank", "exact"}


def value(name: str, scalar: Scalar) -> Any:  # noqa: ANN401 - arrays of vectors and filters, scalars of all else
    """Return the value of an argument as the functions take it, None for NULL."""
    if name == "query":
        return _query(scalar)
    if name == "filter":
        return _filter(scalar)
    found = scalar.as_py()
    if found is None:
        return None
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    if name in _WHOLE:
        expected, fits = "a whole number", is_number and found == int(found)
    elif name in _NUMBERS:
        expected, fits = "a number", is_number
    elif name in _FLAGS:
        expected, fits = "true or false", isinstance(found, bool)
    else:
        expected, fits = "text", isinstance(found, str)
    if not fits:
        raise refuse(name, expected, quoted(found) if isinstance(found, str) else found)
    return int(found) if name in _WHOLE else found


def _query(scalar: Scalar) -> Array:
    """Return a column of one vector."""
    if pa.types.is_null(scalar.type):
        return pa.nulls(1, TYPES["query"])
    element = list_of(scalar.type)
    if element is None:
        raise refuse("query", "a list of numbers", _told(scalar))
    if not scalar.is_valid:
        return pa.nulls(1, TYPES["query"])
    numbers = scalar.values.cast(pa.float32()) if pa.types.is_null(element) else scalar.values
    return pa.ListArray.from_arrays(pa.array([0, len(numbers)], pa.int32()), numbers)


def _filter(scalar: Scalar) -> Array | None:
    """Return ids or booleans; the null list that `array_agg` makes of no rows has none."""
    if pa.types.is_null(scalar.type):
        return None
    element = list_of(scalar.type)
    if element is None or not _can_filter(element):
        raise refuse("filter", "a list of ids or of booleans", _told(scalar))
    if not scalar.is_valid:
        return pa.array([], pa.int64())
    return scalar.values.cast(pa.string()) if pa.types.is_string_view(element) else scalar.values


def filter_type(given: DataType, ids: DataType) -> DataType:
    """Return what a filter of some type is made into, for an index whose ids are of another."""
    if pa.types.is_null(given):
        return pa.list_(ids)
    element = list_of(given)
    if element is None or not _can_filter(element):
        raise refuse("filter", "a list of ids or of booleans", given)
    return pa.list_(pa.string() if pa.types.is_string_view(element) else element)


def _can_filter(element: DataType) -> bool:
    kinds = ("null", "boolean", "integer", "string", "large_string", "string_view")
    return any(getattr(pa.types, f"is_{kind}")(element) for kind in kinds)


def _told(scalar: Scalar) -> str:
    found = scalar.as_py()
    return quoted(found) if isinstance(found, str) else str(found)
