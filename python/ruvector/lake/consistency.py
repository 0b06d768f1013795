"""When a backend is asked whether its rows are still the same."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

from ruvector.errors import InvalidParameter

if TYPE_CHECKING:
    from ruvector.lake.shapes import LakeMode

__all__ = ["Consistency", "mode"]


class Consistency(IntEnum):
    """When a backend is asked whether its rows are still the same."""

    FRESH = 0
    """Before every search."""
    EVENTUAL = 1
    """When the last answer is older than ``ttl``. Until it is older than ``ttl + stale``, searches go on
    with the rows there are while the new ones are fetched in the background; after that they wait."""
    FROZEN = 2
    """Never, once there are rows."""
    STALE = 2
    """Another name of FROZEN."""


def mode(consistency: Consistency, ttl: float | None, stale: float | None) -> LakeMode:
    """Check a mode and its times."""
    if type(consistency) is not Consistency:
        refuse("consistency", "a ruvector.Consistency", repr(consistency))
    if stale is not None and consistency is not Consistency.EVENTUAL:
        refuse("stale", "None but with EVENTUAL", repr(stale))
    return int(consistency), ttl, stale


def refuse(name: str, expected: str, actual: str) -> NoReturn:
    """Refuse an argument as the core does."""
    message = f"{name}: expected {expected}, got {actual}"
    raise InvalidParameter(message, name=name, expected=expected, actual=actual)
