"""Conditions on columns: the form that pyarrow, pandas and dask take, checked and made alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeAlias, cast, get_args

from ruvector.errors import InvalidParameter

__all__ = ["Condition", "Dnf", "Operator", "RowFilter", "conjunction", "normal_form"]

Operator: TypeAlias = Literal["=", "==", "!=", "<", "<=", ">", ">=", "in", "not in"]
"""How a column compares with a value. Nulls fulfil none of them."""

Condition: TypeAlias = tuple[str, str, Any]
"""A column, how it compares (an `Operator`), and with what: an integer, a float, a text or a truth; a list of
them for ``in`` and ``not in``."""

RowFilter: TypeAlias = Sequence[Condition | Sequence[Condition]]
"""Conditions that all must hold, or a list of such lists, one of which must."""

Dnf: TypeAlias = tuple[tuple[Condition, ...], ...]
"""A filter made alike: alternatives, each of conditions that all must hold. ``==`` is written ``=``."""

_OPERATORS: frozenset[str] = frozenset(get_args(Operator))


def normal_form(filter: RowFilter | None) -> Dnf | None:
    """
    Return a filter as alternatives of conditions; None if it allows every row.

    Examples
    --------
    >>> normal_form([("lang", "==", "en"), ("year", "in", [2020, 2021])])
    ((('lang', '=', 'en'), ('year', 'in', (2020, 2021))),)

    Raises
    ------
    InvalidParameter
        If it is something else.
    """
    if filter is None:
        return None
    given = _items(filter)
    if not given:
        return None
    if all(_is_condition(each) for each in given):
        return (tuple(_condition(each) for each in given),)
    alternatives = [_items(each) for each in given]
    if not all(alternatives):
        _refuse("conditions in every alternative", "an empty one")
    return tuple(tuple(_condition(each) for each in alternative) for alternative in alternatives)


def conjunction(one: Dnf | None, two: Dnf | None) -> Dnf | None:
    """Return the filter that allows the rows that both allow."""
    if one is None or two is None:
        return one if two is None else two
    return tuple((*first, *second) for first in one for second in two)


def _is_condition(given: Any) -> bool:  # noqa: ANN401 - whatever somebody passes
    return isinstance(given, tuple) and isinstance(next(iter(cast("Any", given)), None), str)


def _items(given: Any) -> tuple[Any, ...]:  # noqa: ANN401 - whatever somebody passes
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        _refuse("a list of conditions (column, operator, value), or a list of such lists", repr(given))
    return tuple(given)


def _condition(given: object) -> Condition:
    parts = _items(given)
    if len(parts) != 3:  # noqa: PLR2004 - a column, an operator, a value
        _refuse("conditions of a column, an operator and a value", repr(given))
    column, operator, value = parts
    if not isinstance(column, str):
        _refuse("the name of a column first", repr(given))
    if not isinstance(operator, str) or operator not in _OPERATORS:
        _refuse(f"one of {', '.join(get_args(Operator))}", repr(operator))
    if operator in {"in", "not in"}:
        return column, operator, tuple(_scalar(each) for each in _items(value))
    return column, "=" if operator == "==" else operator, _scalar(value)


def _scalar(value: object) -> int | float | str | bool:
    if hasattr(value, "item") and not isinstance(value, (bool, int, float, str)):
        value = cast("Any", value).item()  # a scalar of numpy
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and not math.isnan(value):
        return value
    return _refuse("an integer of 64 bits, a float, a text or a truth as value", repr(value))


def _refuse(expected: str, actual: str) -> NoReturn:
    message = f"filter: expected {expected}, got {actual}"
    raise InvalidParameter(message, name="filter", expected=expected, actual=actual)
