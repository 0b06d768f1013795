"""ruLake: a cache of vector indexes before the lakes where vectors live.

A backend owns the vectors: memory, files, Parquet, or whatever an adapter in Python reaches. The lake keeps
an index of each state it was asked about, within a budget of bytes, asks the backend again when the
collection's consistency says so, and searches several collections as if they were one.
"""

from __future__ import annotations

from ruvector.lake.adapter import BackendAdapter, Layout, Piece, PullRequest
from ruvector.lake.answers import LakeBatch, LakeHits, SearchResult, Shard
from ruvector.lake.audit import ArrowTable, AuditEvents
from ruvector.lake.backends import FsBackend, LocalBackend, ParquetBackend
from ruvector.lake.builder import RuLakeBuilder
from ruvector.lake.bundle import Published, RefreshResult, RuLakeBundle, public_key
from ruvector.lake.collection import LakeCollection
from ruvector.lake.conditions import RowFilter
from ruvector.lake.consistency import Consistency
from ruvector.lake.policy import Decision, Mask, Policy, PolicyRequest, RowPolicy
from ruvector.lake.rulake import RuLake
from ruvector.lake.scanning import scan_polars
from ruvector.lake.session import LakeSession
from ruvector.lake.stats import CacheStats, Histogram, PerBackendStats

__all__ = [
    "ArrowTable",
    "AuditEvents",
    "BackendAdapter",
    "CacheStats",
    "Consistency",
    "Decision",
    "FsBackend",
    "Histogram",
    "LakeBatch",
    "LakeCollection",
    "LakeHits",
    "LakeSession",
    "Layout",
    "LocalBackend",
    "Mask",
    "ParquetBackend",
    "PerBackendStats",
    "Piece",
    "Policy",
    "PolicyRequest",
    "Published",
    "PullRequest",
    "RefreshResult",
    "RowFilter",
    "RowPolicy",
    "RuLake",
    "RuLakeBuilder",
    "RuLakeBundle",
    "SearchResult",
    "Shard",
    "public_key",
    "scan_polars",
]
