"""Types for annotations: what ruvector's functions accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer

__all__ = [
    "ArrowArrayExportable",
    "ArrowStreamExportable",
    "Compacted",
    "CpuFeatures",
    "Filter",
    "Flags",
    "Floats",
    "IdColumn",
    "IdSet",
    "IdType",
    "Integers",
    "Metric",
    "ProgressCallback",
    "Queries",
    "Roaring",
    "Row",
    "VectorColumn",
    "VectorSource",
]


class ArrowStreamExportable(Protocol):
    """Has an Arrow stream: polars, pyarrow tables and chunked arrays, DuckDB, DataFusion, pandas, ..."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule named ``arrow_array_stream``."""
        ...


class ArrowArrayExportable(Protocol):
    """Has one Arrow array: pyarrow and arro3 arrays and record batches, ..."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Return two capsules, named ``arrow_schema`` and ``arrow_array``."""
        ...


Floats: TypeAlias = "npt.NDArray[np.float32] | npt.NDArray[np.float16]"
"""Numbers that are read as they are. There is no silent conversion from float64."""

Integers: TypeAlias = "npt.NDArray[np.integer[Any]]"
"""Ids in an array."""

Row: TypeAlias = "Floats | Sequence[float] | None"
"""One vector of a list of vectors; None is a row without one."""

VectorColumn: TypeAlias = "ArrowStreamExportable | ArrowArrayExportable | Floats | Buffer | Sequence[Row]"
"""Vectors, one per row. Arrow types: ``fixed_size_list`` of float or halffloat, ``list`` and ``large_list``
of float or halffloat with rows of one length, ``fixed_size_binary`` of 4 or 2 bytes per dimension. Buffers:
two-dimensional, C-contiguous float32 or float16. None of these is copied; lists and tuples are."""

VectorSource: TypeAlias = VectorColumn
"""A column of vectors, or a table (whatever exports an Arrow struct) that has one."""

Queries: TypeAlias = "VectorColumn | Sequence[float]"
"""Many queries as a column of vectors, or one: a one-dimensional array, a column of numbers, a flat list."""

IdColumn: TypeAlias = (
    "ArrowStreamExportable | ArrowArrayExportable | Integers | Buffer | Sequence[int] | Sequence[str]"
)
"""Integers of up to 64 bits, signed or not, or strings; one per row, no two alike."""


class Roaring(Protocol):
    """A Roaring bitmap, as `pyroaring` has it."""

    def serialize(self) -> bytes:
        """Return the bitmap in the portable format of 32 or 64 bits."""
        ...


Flags: TypeAlias = "npt.NDArray[np.bool_] | Sequence[bool | None]"
"""One boolean per row; None counts as False."""

IdSet: TypeAlias = "set[int] | set[str] | frozenset[int] | frozenset[str]"
"""Ids in a set."""

Filter: TypeAlias = "IdColumn | IdSet | Flags | bytes | Roaring"
"""Which rows may be returned: ids, one boolean per row, or a Roaring bitmap of ids."""


class Compacted(TypedDict):
    """What `Index.compact` has done."""

    rows: int
    dropped: int
    segments: int
    drift: float | None
    retrained: bool


class CpuFeatures(TypedDict):
    """What `cpu_features` tells."""

    arch: str
    detected: dict[str, bool]
    kernel: str
    threads: int


Metric: TypeAlias = Literal["l2sq", "l2", "cosine", "ip"]
"""The distances: squared Euclidean, Euclidean, ``1 - cos``, negative inner product. Smaller is nearer,
always."""

IdType: TypeAlias = Literal["int64", "uint64", "str"]
"""The types of ids that leave: narrower integers are widened."""

ProgressCallback: TypeAlias = Callable[[str, int, int], object]
"""Called with a phase, the steps of it that are done, and their total."""
