"""What goes between the lake's classes and the extension module, as types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike
    from typing import SupportsIndex

    from ruvector.lake.conditions import Dnf
    from ruvector.lake.policy import Action, Decided
    from ruvector.typing import Metric

__all__ = [
    "LakeAsking",
    "LakeBucket",
    "LakeCounters",
    "LakeFields",
    "LakeKept",
    "LakeMade",
    "LakeMeant",
    "LakeMode",
    "LakeTimes",
]

LakeMode: TypeAlias = "tuple[int, float | None, float | None]"
"""A consistency: its number, and the seconds that belong to it."""

LakeMeant: TypeAlias = "Sequence[tuple[str, str]] | tuple[bool, str]"
"""The collections that a search means: pairs, or a name and whether every backend is meant."""

LakeTimes: TypeAlias = "tuple[tuple[int, ...], float, float]"
"""A histogram: counts by powers of two of microseconds, all of them in seconds, the last one."""

LakeCounters: TypeAlias = "dict[str, int | LakeTimes]"
"""What the cache counted."""

LakeFields: TypeAlias = "dict[str, Any]"
"""The fields of a bundle."""


class LakeKept(TypedDict):
    """How a collection is indexed and kept."""

    consistency: LakeMode
    metric: Metric
    bits: SupportsIndex
    rotation_seed: SupportsIndex
    rerank_factor: SupportsIndex
    pinned: bool
    rows: Dnf | None
    pii_policy: str | None
    lineage_id: str | None
    memory_class: str | None


class LakeMade(TypedDict):
    """How a lake is made."""

    max_cache_entries: SupportsIndex | None
    max_cache_bytes: SupportsIndex | None
    threads: SupportsIndex | None
    spill_to: str | PathLike[str] | None
    unknown_ttl: float
    max_rows: SupportsIndex | None
    max_dim: SupportsIndex | None
    max_bytes: SupportsIndex | None
    sign_with: bytes | None
    trust: list[bytes]
    policy: Callable[[str | None, str, str, Action], Decided] | None
    audit: SupportsIndex


class LakeAsking(TypedDict):
    """How a search is asked."""

    k: SupportsIndex
    recall: float
    nprobe: SupportsIndex | None
    epsilon: float | None
    exact: bool
    columns: list[str] | None
    filter: Dnf | None
    cache_only: bool
    deadline: float | None
    on_error: str
    dedupe: bool
    push_down: bool
    hedge: float | None


class LakeBucket(TypedDict):
    """Where a bucket is, and who asks."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None
    allow_http: bool
    retries: int
