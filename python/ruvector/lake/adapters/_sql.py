"""Filters and names as SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ruvector.lake.conditions import Condition, Dnf

__all__ = ["literal", "quoted", "where"]


def quoted(name: str) -> str:
    """Return a name as SQL takes it, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return a value as SQL writes it."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return repr(value)


def where(filter: Dnf, column: Callable[[str, str], str], value: Callable[[object], str]) -> str:
    """
    Return a filter as an SQL condition.

    Parameters
    ----------
    filter
        The filter.
    column
        How a column is written in a comparison.
    value
        How a value is written: as a literal, or as a parameter that is remembered.
    """
    alternatives = [
        " AND ".join(_condition(each, column, value) for each in alternative) for alternative in filter
    ]
    return " OR ".join(f"({alternative})" for alternative in alternatives)


def _condition(
    condition: Condition, column: Callable[[str, str], str], value: Callable[[object], str]
) -> str:
    name, operator, given = condition
    left = column(name, operator)
    if operator not in {"in", "not in"}:
        sign = "<>" if operator == "!=" else "=" if operator == "==" else operator
        return f"{left} {sign} {value(given)}"
    values = ", ".join(value(each) for each in given)
    if values:
        return f"{left} {operator.upper()} ({values})"
    return f"{left} IS NOT NULL" if operator == "not in" else "1 = 0"
