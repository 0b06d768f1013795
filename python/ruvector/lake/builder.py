"""How a lake is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ruvector._ruvector import lake_new
from ruvector.lake.consistency import Consistency, mode
from ruvector.lake.policy import decider
from ruvector.lake.rulake import RuLake

if TYPE_CHECKING:
    from os import PathLike
    from typing import SupportsIndex

    from ruvector.lake.policy import Policy
    from ruvector.lake.shapes import LakeKept, LakeMade
    from ruvector.typing import Metric

__all__ = ["RuLakeBuilder"]


class RuLakeBuilder:
    """
    How a lake is made: each method sets something and returns the builder.

    Examples
    --------
    >>> import ruvector as rv
    >>> lake = rv.RuLake.builder().consistency(rv.Consistency.EVENTUAL, ttl=5).max_cache_bytes(2**30).build()
    """

    __slots__ = ("_kept", "_made")

    def __init__(self) -> None:
        self._kept: LakeKept = {
            "consistency": mode(Consistency.FRESH, None, None),
            "metric": "l2sq",
            "bits": 1,
            "rotation_seed": 42,
            "rerank_factor": 20,
            "pinned": False,
            "rows": None,
            "pii_policy": None,
            "lineage_id": None,
            "memory_class": None,
        }
        self._made: LakeMade = {
            "max_cache_entries": None,
            "max_cache_bytes": None,
            "threads": None,
            "spill_to": None,
            "unknown_ttl": 1.0,
            "max_rows": None,
            "max_dim": None,
            "max_bytes": None,
            "sign_with": None,
            "trust": [],
            "policy": None,
            "audit": 0,
        }

    def rerank_factor(self, n: SupportsIndex) -> Self:
        """Set upstream's number of candidates per neighbour: part of the witness, and of nothing else."""
        self._kept["rerank_factor"] = n
        return self

    def rotation_seed(self, n: SupportsIndex) -> Self:
        """Fix what is drawn by lot, 0 to ``2**64 - 1``. Default: 42."""
        self._kept["rotation_seed"] = n
        return self

    def metric(self, m: Metric) -> Self:
        """Set the distance. Default: ``"l2sq"``."""
        self._kept["metric"] = m
        return self

    def bits(self, n: SupportsIndex) -> Self:
        """Set the bits per dimension of the codes, 1 to 9 (see `ruvector.build`)."""
        self._kept["bits"] = n
        return self

    def max_cache_entries(self, n: SupportsIndex) -> Self:
        """Allow at most so many indexes in memory: one is of one collection. Default: any number."""
        self._made["max_cache_entries"] = n
        return self

    def max_cache_bytes(self, n: SupportsIndex) -> Self:
        """Allow indexes, with the vectors they hold, so many bytes of memory. Default: any number."""
        self._made["max_cache_bytes"] = n
        return self

    def consistency(
        self, consistency: Consistency, *, ttl: float | None = None, stale: float | None = None
    ) -> Self:
        """
        Set when backends are asked, for collections that are not configured otherwise.

        Parameters
        ----------
        consistency
            Default: `Consistency.FRESH`.
        ttl
            With EVENTUAL, and always with it: how long an answer of the backend counts, in seconds.
        stale
            With EVENTUAL: how long it may be used besides, while another one is on its way, in seconds.

        Raises
        ------
        InvalidParameter
            If it is no `Consistency`, or the times do not go with it.
        """
        self._kept["consistency"] = mode(consistency, ttl, stale)
        return self

    def threads(self, n: SupportsIndex) -> Self:
        """Compute on so many threads. Default: every core that this process may use."""
        self._made["threads"] = n
        return self

    def spill_to(self, path: str | PathLike[str]) -> Self:
        """Let indexes that must leave the memory go to files of this folder, and be mapped from there."""
        self._made["spill_to"] = path
        return self

    def unknown_ttl(self, seconds: float) -> Self:
        """Take an unknown collection to be unknown for so long, unless it must be fresh. Default: 1."""
        self._made["unknown_ttl"] = seconds
        return self

    def limits(
        self,
        *,
        max_rows: SupportsIndex | None = None,
        max_dim: SupportsIndex | None = None,
        max_bytes: SupportsIndex | None = None,
    ) -> Self:
        """
        Set how large a collection may be. What is larger raises `TooLarge` before the memory is full.

        Default: 100,000,000 rows, 8192 dimensions, 16 GiB.
        """
        self._made["max_rows"] = max_rows
        self._made["max_dim"] = max_dim
        self._made["max_bytes"] = max_bytes
        return self

    def sign_with(self, secret: bytes) -> Self:
        """Sign the bundles that are published, with a secret of 32 bytes (Ed25519)."""
        self._made["sign_with"] = secret
        return self

    def trust(self, *public_keys: bytes) -> Self:
        """Believe only bundles that one of these public keys of 32 bytes has signed."""
        self._made["trust"] = [*self._made["trust"], *public_keys]
        return self

    def policy(self, policy: Policy) -> Self:
        """
        Ask this policy before rows are pulled, and before anything is returned.

        Parameters
        ----------
        policy
            Called with a `PolicyRequest`, from several threads at once and before every search: keep it
            cheap. It returns a `Decision`, a bool, or None, which allows. One that raises denies.
        """
        self._made["policy"] = decider(policy)
        return self

    def audit(self, *, capacity: SupportsIndex) -> Self:
        """Keep so many events until `RuLake.audit_events` is called. Default: none."""
        self._made["audit"] = capacity
        return self

    def build(self) -> RuLake:
        """
        Return the lake.

        Raises
        ------
        InvalidParameter
            If something that was set cannot be meant.
        PersistError
            If the folder for spilled indexes cannot be made.
        """
        return RuLake(lake_new(self._kept, self._made))
