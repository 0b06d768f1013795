"""ruLake: a cache of vector indexes before the lakes where vectors live."""

from __future__ import annotations

from ruvector.lake.adapter import BackendAdapter, Layout, Piece, PullRequest

__all__ = ["BackendAdapter", "Layout", "Piece", "PullRequest"]
