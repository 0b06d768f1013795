"""Refusals in the words of the core."""

from __future__ import annotations

import json

from ruvector.errors import InvalidParameter

__all__ = ["quoted", "refuse"]


def refuse(name: str, expected: str, actual: object) -> InvalidParameter:
    """Make the error for an argument whose value cannot be meant; None is NULL."""
    got = "NULL" if actual is None else str(actual)
    return InvalidParameter(
        f"{name}: expected {expected}, got {got}", name=name, expected=expected, actual=got
    )


def quoted(text: str) -> str:
    """Write text as the core does."""
    return json.dumps(text, ensure_ascii=False)
