"""Four ways to keep and to search vectors, as presets over the one engine.

| class | keeps | scores |
|---|---|---|
| `FlatF32Index` | vectors | exact, every row is compared |
| `RabitqIndex` | codes | estimates |
| `RabitqPlusIndex` | codes and vectors | exact, of the rows that the codes point out |
| `RabitqAsymIndex` | codes, and vectors if ``rerank_factor > 1`` | exact with vectors, estimates without |

All of them search, change, save and load alike. `ruvector.Index` is the engine itself, with more options and
Arrow hits; `recommend` says which of the four to take.
"""

from __future__ import annotations

from ruvector.presets.base import Neighbor
from ruvector.presets.flat import FlatF32Index
from ruvector.presets.protocol import AnyIndex
from ruvector.presets.rabitq import RabitqAsymIndex, RabitqIndex, RabitqPlusIndex
from ruvector.presets.recommend import Recommendation, recommend

__all__ = [
    "AnyIndex",
    "FlatF32Index",
    "Neighbor",
    "RabitqAsymIndex",
    "RabitqIndex",
    "RabitqPlusIndex",
    "Recommendation",
    "recommend",
]
