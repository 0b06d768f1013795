"""What goes between the classes of Flight and the extension module, as types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ruvector._ruvector import Index, LakeTarget

__all__ = ["FlightRun", "FlightServed"]

FlightServed: TypeAlias = "Index | LakeTarget"
"""What can be given a name."""

FlightRun: TypeAlias = "dict[str, Any]"
"""How a server is run."""
