"""Who may do what with which collection, and what of it they may see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from ruvector.lake.conditions import normal_form

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ruvector.lake.conditions import Dnf, RowFilter

__all__ = ["Action", "Decision", "Mask", "Policy", "PolicyRequest", "RowPolicy", "decider"]

Action: TypeAlias = Literal["pull", "search", "scan", "publish", "save"]
"""What somebody wants to do with a collection: have its rows read for the cache, search it, read its rows,
write its bundle or its index into a folder."""

Mask: TypeAlias = Literal["drop", "null", "hash"]
"""What becomes of a column that is returned: it is left out, its values are, or each is a digest of
itself."""


@dataclass(frozen=True, slots=True)
class PolicyRequest:
    """What a policy is asked."""

    principal: str | None
    """Who asks (see `RuLake.acting_as`); None where nobody is named."""
    backend: str
    """The backend."""
    collection: str
    """The collection."""
    action: Action
    """What is wanted."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy answers."""

    allow: bool = True
    """Whether it may be done at all."""
    rows: RowFilter | None = None
    """Which rows may be seen. Before a pull this narrows nothing: the cache is everybody's."""
    mask: Mapping[str, Mask] = field(default_factory=dict[str, "Mask"])
    """What becomes of columns that are returned. A filter must not ask about them."""


Policy: TypeAlias = "Callable[[PolicyRequest], Decision | bool | None]"
"""Decides who may do what; None allows. One that raises denies, and its exception is the ``__cause__``."""


@dataclass(frozen=True, slots=True)
class RowPolicy:
    """
    A policy as a table: a decision for each principal.

    Parameters
    ----------
    principals
        What each may do and see.
    default
        What everybody else may, and nobody in particular. Default: nothing.

    Examples
    --------
    >>> import ruvector as rv
    >>> from ruvector.lake import Decision, RowPolicy
    >>> policy = RowPolicy({"ada": Decision(rows=[("lang", "=", "en")], mask={"email": "hash"})})
    >>> lake = rv.RuLake.builder().policy(policy).build()
    """

    principals: Mapping[str, Decision]
    default: Decision = field(default_factory=lambda: Decision(allow=False))

    def __call__(self, request: PolicyRequest) -> Decision:
        """Return the decision for whoever asks."""
        if request.principal is None:
            return self.default
        return self.principals.get(request.principal, self.default)


Decided: TypeAlias = "tuple[bool, Dnf | None, list[tuple[str, Mask]]]"


def decider(policy: Policy) -> Callable[[str | None, str, str, Action], Decided]:
    """Return a policy as the extension calls it."""

    def decide(principal: str | None, backend: str, collection: str, action: Action) -> Decided:
        answer = cast("object", policy(PolicyRequest(principal, backend, collection, action)))
        if answer is None or isinstance(answer, bool):
            return answer is not False, None, []
        if not isinstance(answer, Decision):
            kind = type(answer).__name__
            raise TypeError(f"policy: expected a Decision, a bool or None, got {kind}")
        return bool(answer.allow), normal_form(answer.rows), list(answer.mask.items())

    return decide
