"""Bundles: the record of one state of one collection, and what became of one in a folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ruvector._ruvector import lake_public_key, lake_read_bundle, lake_write_bundle

if TYPE_CHECKING:
    from os import PathLike

    from ruvector.typing import Metric

__all__ = ["Published", "RefreshResult", "RuLakeBundle", "public_key"]


class RefreshResult(Enum):
    """What following a folder's bundle came to."""

    UP_TO_DATE = "up_to_date"
    """The cache has what the bundle says, or nothing."""
    INVALIDATED = "invalidated"
    """The cache had something else. It is forgotten; the next search fetches the rows."""
    BUNDLE_MISSING = "bundle_missing"
    """The folder has no bundle."""


class Published(NamedTuple):
    """A bundle that was published."""

    path: Path
    """Its file."""
    witness: str
    """Its witness of version 1, which upstream compares."""
    content_witness: str
    """Its witness of version 2, which covers every field."""


@dataclass(frozen=True, slots=True)
class RuLakeBundle:
    """
    The record of one state of one collection: where its rows lie, which state it is, how they are coded.

    It lies in a folder as ``table.rulake.json``; `read` and `RuLake.bundle_of` make one.
    """

    data_ref: str
    """Where the rows lie."""
    dim: int
    """Elements per vector."""
    rotation_seed: int
    """What draws the rotation."""
    rerank_factor: int
    """Upstream's number of candidates per neighbour: part of the witness, and of nothing else."""
    generation: int | str
    """The state."""
    witness: str
    """The witness of version 1: of the fields above, as upstream computes it."""
    content_witness: str
    """The witness of version 2: of every field."""
    metric: Metric
    """The distance that is searched by."""
    bits: int
    """Bits per dimension of the codes."""
    rows: int | None
    """The number of rows, once they have been read."""
    pii_policy: str | None
    """The policy for personal data, as governance says it."""
    lineage_id: str | None
    """The lineage job that made the rows."""
    memory_class: str | None
    """The class of an agent's memory."""
    json: str = field(repr=False)
    """The text of the file."""

    @classmethod
    def read(cls, dir: str | PathLike[str]) -> Self | None:
        """
        Read the bundle of a folder; None if there is none.

        Raises
        ------
        InvalidBundle
            If it is no bundle, or one of a later version.
        WitnessMismatch
            If a witness or the signature is not that of the fields.
        TooLarge, UnsafePath
            If it is larger than any bundle, or a link.
        """
        found = lake_read_bundle(dir)
        return None if found is None else cls(**found[0])

    @classmethod
    def signer_of(cls, dir: str | PathLike[str]) -> bytes | None:
        """Return the public key of whoever signed the bundle of a folder; None without a signature."""
        found = lake_read_bundle(dir)
        return None if found is None else found[1]

    def write(self, dir: str | PathLike[str], *, sign_with: bytes | None = None) -> Published:
        """
        Write it into a folder, which is made if it is missing, in one step.

        Parameters
        ----------
        dir
            The folder.
        sign_with
            A secret of 32 bytes that signs it (Ed25519; see `public_key`).
        """
        return published(lake_write_bundle(self.json, dir, sign_with))


def public_key(secret: bytes) -> bytes:
    """
    Return the public key of a secret that signs bundles: 32 bytes for 32 bytes.

    Examples
    --------
    >>> len(public_key(bytes(range(32))))
    32
    """
    return lake_public_key(secret)


def published(given: tuple[PathLike[str], str, str]) -> Published:
    """Return what the extension says was published."""
    return Published(Path(given[0]), given[1], given[2])
