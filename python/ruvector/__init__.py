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

from importlib.util import find_spec
from pathlib import Path

from ruvector._ruvector import (
    Hits,
    Index,
    MultiVectorIndex,
    NestedHits,
    Table,
    __version__,
    build,
    build_stream,
    cpu_features,
    exact_search,
    recall_at_k,
    simd_level,
)
from ruvector._ruvector import (
    open as open,  # noqa: A004 - read as rv.open
)
from ruvector.errors import (
    ConflictWarning,
    CopyWarning,
    DimensionMismatch,
    DuplicateId,
    EmptyIndex,
    IndexFileNotFound,
    InvalidParameter,
    InvalidVector,
    InvalidVectorType,
    PersistError,
    RuVectorError,
    RuVectorWarning,
    UnknownId,
    VectorIndexError,
)

IndexError = VectorIndexError  # noqa: A001 - in the package it has no rival

# Without `open` and `IndexError`: they would hide the builtins.
__all__ = [
    "ConflictWarning",
    "CopyWarning",
    "DimensionMismatch",
    "DuplicateId",
    "EmptyIndex",
    "Hits",
    "Index",
    "IndexFileNotFound",
    "InvalidParameter",
    "InvalidVector",
    "InvalidVectorType",
    "MultiVectorIndex",
    "NestedHits",
    "PersistError",
    "RuVectorError",
    "RuVectorWarning",
    "Table",
    "UnknownId",
    "VectorIndexError",
    "__version__",
    "build",
    "build_stream",
    "cpu_features",
    "exact_search",
    "recall_at_k",
    "simd_level",
]


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
