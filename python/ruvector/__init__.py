"""Nearest neighbours as a dataframe operator.

Vectors stay where they are, in Arrow buffers; an index holds codes of one bit per dimension and answers
exactly.

>>> import numpy as np
>>> import ruvector as rv
>>> docs = np.eye(4, dtype=np.float32)
>>> index = rv.build(docs, ids=["north", "east", "south", "west"])
>>> ids, distances = index.search([0.9, 0.1, 0.0, 0.0], k=2).to_numpy()
>>> ids.tolist()
[['north', 'east']]
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ruvector._ruvector import (
    ArrowColumn,
    Hits,
    Index,
    MultiVectorIndex,
    NestedHits,
    Rotation,
    Scores,
    Table,
    __version__,
    build,
    build_stream,
    cpu_features,
    distance,
    exact_search,
    quantize,
    recall_at_k,
    simd_level,
)
from ruvector._ruvector import (
    open as open,  # noqa: A004 - read as rv.open
)
from ruvector.errors import (
    AmbiguousCollection,
    BackendError,
    CacheMissError,
    ConflictWarning,
    CopyWarning,
    DeadlineExceeded,
    DimensionMismatch,
    DuplicateId,
    EmptyIndex,
    IndexFileNotFound,
    InvalidBundle,
    InvalidParameter,
    InvalidVector,
    InvalidVectorType,
    LakeError,
    PersistError,
    PolicyDenied,
    RuVectorError,
    RuVectorWarning,
    Superseded,
    TooLarge,
    UnknownBackend,
    UnknownCollection,
    UnknownId,
    UnsafePath,
    Unsettled,
    VectorIndexError,
    WitnessMismatch,
)

if TYPE_CHECKING:
    from ruvector import flight as flight
    from ruvector import lake as lake
    from ruvector.lake import (
        BackendAdapter,
        CacheStats,
        Consistency,
        FsBackend,
        LocalBackend,
        ParquetBackend,
        PerBackendStats,
        RefreshResult,
        RuLake,
        RuLakeBundle,
        SearchResult,
    )
    from ruvector.presets import (
        AnyIndex,
        FlatF32Index,
        Neighbor,
        RabitqAsymIndex,
        RabitqIndex,
        RabitqPlusIndex,
        Recommendation,
        recommend,
    )

IndexError = VectorIndexError  # noqa: A001 - in the package it has no rival

# Without `open` and `IndexError`: they would hide the builtins.
__all__ = [
    "AmbiguousCollection",
    "AnyIndex",
    "ArrowColumn",
    "BackendAdapter",
    "BackendError",
    "CacheMissError",
    "CacheStats",
    "ConflictWarning",
    "Consistency",
    "CopyWarning",
    "DeadlineExceeded",
    "DimensionMismatch",
    "DuplicateId",
    "EmptyIndex",
    "FlatF32Index",
    "FsBackend",
    "Hits",
    "Index",
    "IndexFileNotFound",
    "InvalidBundle",
    "InvalidParameter",
    "InvalidVector",
    "InvalidVectorType",
    "LakeError",
    "LocalBackend",
    "MultiVectorIndex",
    "Neighbor",
    "NestedHits",
    "ParquetBackend",
    "PerBackendStats",
    "PersistError",
    "PolicyDenied",
    "RabitqAsymIndex",
    "RabitqIndex",
    "RabitqPlusIndex",
    "Recommendation",
    "RefreshResult",
    "Rotation",
    "RuLake",
    "RuLakeBundle",
    "RuVectorError",
    "RuVectorWarning",
    "Scores",
    "SearchResult",
    "Superseded",
    "Table",
    "TooLarge",
    "UnknownBackend",
    "UnknownCollection",
    "UnknownId",
    "UnsafePath",
    "Unsettled",
    "VectorIndexError",
    "WitnessMismatch",
    "__version__",
    "build",
    "build_stream",
    "cpu_features",
    "distance",
    "exact_search",
    "quantize",
    "recall_at_k",
    "recommend",
    "simd_level",
]

_PRESETS = frozenset(
    {
        "AnyIndex",
        "FlatF32Index",
        "Neighbor",
        "RabitqAsymIndex",
        "RabitqIndex",
        "RabitqPlusIndex",
        "Recommendation",
        "recommend",
    }
)
_LAKE = frozenset(
    {
        "BackendAdapter",
        "CacheStats",
        "Consistency",
        "FsBackend",
        "LocalBackend",
        "ParquetBackend",
        "PerBackendStats",
        "RefreshResult",
        "RuLake",
        "RuLakeBundle",
        "SearchResult",
    }
)


def __getattr__(name: str) -> object:
    """Import the presets, the lake, or Flight, when one of them is first asked for."""
    if name in _PRESETS:
        from ruvector import presets

        return getattr(presets, name)
    if name in _LAKE or name == "lake":
        lake = import_module("ruvector.lake")
        return lake if name == "lake" else getattr(lake, name)
    if name == "flight":
        return import_module("ruvector.flight")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """List the names that are imported later, too."""
    return sorted({*globals(), *_PRESETS, *_LAKE, "flight", "lake"})


def _warn_of_namesake() -> None:
    """Warn when PyPI's ``ruvector``, another project, is installed into the same place over this package."""
    place = Path(__file__).parents[1]
    for found in place.glob("ruvector-*.dist-info"):
        import warnings

        message = (
            f"the distribution {found.stem} installs a package of the same name into {place}: "
            "uninstall it, then install ruvector-arrow again, for some files may be theirs"
        )
        warnings.warn(message, ConflictWarning, stacklevel=3)


_warn_of_namesake()
if find_spec("polars") is not None:
    import ruvector.polars  # noqa: F401 # pyright: ignore[reportUnusedImport] - registers the namespaces
