"""Which part of a filter another engine may be given: the lake's comparisons and its own must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruvector.lake.adapters._arrow import pa

if TYPE_CHECKING:
    from ruvector.lake.conditions import Condition, Dnf

__all__ = ["pushed"]

# Whole numbers beyond this are not all doubles.
_EXACT = 2**53


def pushed(filter: Dnf | None, schema: Any) -> Dnf | None:  # noqa: ANN401 - a pyarrow.Schema
    """
    Return what of a filter is beyond doubt in every engine; None if nothing is left, or it allows all.

    Left out are conditions on columns that are not there, on single floats (engines round the value to the
    column's type), and of values that are not of the column's type, or outside of its range: the lake looks
    at these itself. What is returned allows every row that the whole filter allows.
    """
    if filter is None:
        return None
    kinds = {field.name: field.type for field in schema}
    kept = [tuple(each for each in alternative if _is_plain(each, kinds)) for alternative in filter]
    return tuple(kept) if all(kept) else None


def _is_plain(condition: Condition, kinds: dict[str, Any]) -> bool:
    column, operator, value = condition
    kind = kinds.get(column)
    values = value if operator in {"in", "not in"} else (value,)
    return kind is not None and all(_fits(each, kind) for each in values)


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401 - a pyarrow.DataType
    types = pa.types
    if isinstance(value, bool):
        return bool(types.is_boolean(kind))
    if isinstance(value, str):
        return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
    if isinstance(value, int) and types.is_integer(kind):
        bits = kind.bit_width
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if types.is_signed_integer(kind) else (0, 2**bits)
        return bool(low <= value < min(high, 2**63))
    return isinstance(value, (int, float)) and bool(types.is_float64(kind)) and abs(value) <= _EXACT
