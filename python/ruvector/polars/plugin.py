"""The functions of the extension module that Polars calls, and the checks of what they are asked."""

from __future__ import annotations

import math
from operator import index as as_int
from typing import TYPE_CHECKING, Any, get_args

from polars.plugins import register_plugin_function

from ruvector import _ruvector
from ruvector.errors import InvalidParameter
from ruvector.typing import Metric

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex

    import polars as pl

    from ruvector._ruvector import Index
    from ruvector.flight import RemoteCollection
    from ruvector.lake import LakeCollection
    from ruvector.typing import Filter

__all__ = ["call", "refuse", "search_options"]

METRICS: tuple[str, ...] = get_args(Metric)

# The file, not its folder: there Polars would take the first library that it finds.
_LIBRARY = _ruvector.__file__


def call(
    name: str, inputs: Iterable[pl.Expr], options: dict[str, Any], *, is_elementwise: bool = True
) -> pl.Expr:
    """Return the expression that calls `ruvector_<name>`, row by row or once for whole columns."""
    return register_plugin_function(
        plugin_path=_LIBRARY,
        function_name=f"ruvector_{name}",
        args=list(inputs),
        kwargs=options,
        is_elementwise=is_elementwise,
        returns_scalar=not is_elementwise,
    )


def refuse(name: str, expected: str, actual: object) -> InvalidParameter:
    """Return the error for an argument that cannot be meant."""
    message = f"{name}: expected {expected}, got {actual}"
    return InvalidParameter(message, name=name, expected=expected, actual=str(actual))


def check_metric(metric: str) -> None:
    """Refuse a distance that does not exist."""
    if metric not in METRICS:
        raise refuse("metric", f"one of {', '.join(METRICS)}", repr(metric))


def search_options(
    k: SupportsIndex,
    *,
    recall: float,
    nprobe: SupportsIndex | None,
    epsilon: float | None,
    exact: bool,
    rerank: bool = True,
) -> dict[str, Any]:
    """Check what `Index.search` would check, so that a mistake is seen where it is made."""
    k = as_int(k)
    if k < 1:
        raise refuse("k", "at least 1", k)
    if not 0 < recall <= 1:
        raise refuse("recall", "above 0, at most 1", recall)
    if nprobe is not None:
        nprobe = as_int(nprobe)
        if exact:
            raise refuse("nprobe", "None with exact=True", "both")
        if nprobe < 1:
            raise refuse("nprobe", "at least 1", nprobe)
        nprobe = min(nprobe, 2**32)
    if epsilon is not None and not (math.isfinite(epsilon) and epsilon >= 0):
        raise refuse("epsilon", "a finite number, at least 0", epsilon)
    return {
        "k": min(k, 2**32),  # more rows than that are not in one index
        "recall": float(recall),
        "nprobe": nprobe,
        "epsilon": None if epsilon is None else float(epsilon),
        "exact": bool(exact),
        "rerank": bool(rerank),
        "filter": None,
    }


def index_options(
    index: Index | LakeCollection | RemoteCollection, filter: Filter | None = None, *, keep: bool = True
) -> dict[str, Any]:
    """Return how a plan names what it searches, and what has to be known of it when the plan is made."""
    if isinstance(index, _ruvector.Index):
        reference, dim, id_type = _ruvector.plan_reference(index, keep=keep), index.dim, index.id_type
    else:
        dim, id_type, *_ = index.target.describe()
        reference = _ruvector.plan_reference(index.target, keep=keep)
    allowed = None
    if filter is not None:
        from ruvector.lake.collection import LakeCollection

        if isinstance(index, _ruvector.Index):
            state = index
        elif isinstance(index, LakeCollection):
            state = index.index()
        else:
            raise refuse("filter", "None for a collection of a server: it takes ids in search", "a filter")
        allowed = _ruvector.plan_filter(state, filter)
    return {"index": reference, "dim": dim, "id_type": id_type, "filter": allowed}
