"""A question with its options: checked once, asked for every batch of a statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ruvector._sql.arrow import pa, pc
from ruvector._sql.refusal import quoted, refuse

if TYPE_CHECKING:
    from ruvector._sql.arrow import Array
    from ruvector._sql.catalog import Pin
    from ruvector.typing import Metric

__all__ = ["Asked", "Options"]

METRICS: tuple[Metric, ...] = ("l2sq", "l2", "cosine", "ip")


class Options(TypedDict, total=False):
    """The named options of a search as an engine hands them over; None, or nothing, is the default."""

    recall: float | None
    nprobe: int | None
    epsilon: float | None
    rerank: bool | None
    exact: bool | None
    metric: str | None
    filter: Array | None


@dataclass(frozen=True)
class Asked:
    """
    What is asked of one state of an index.

    Attributes
    ----------
    pin
        The index.
    k
        The number of neighbours; None for all within a radius.
    how
        Keywords for `Index.search`.
    """

    pin: Pin
    k: int | None
    how: dict[str, Any]

    @classmethod
    def nearest(cls, pin: Pin, k: int | None, **options: Any) -> Asked:  # noqa: ANN401 - `Options`
        """
        Ask for the `k` nearest rows.

        Raises
        ------
        InvalidParameter
            If an option has an impossible value.
        """
        if k is None or k < 1:
            raise refuse("k", "at least 1", k)
        return cls(pin, k, _keywords(pin, cast("Options", options)))

    @classmethod
    def within(cls, pin: Pin, **options: Any) -> Asked:  # noqa: ANN401 - `Options`
        """Ask for all rows within a radius, which comes with each query. As `nearest`, with fewer options."""
        return cls(pin, None, _keywords(pin, cast("Options", options)))


def check_metric(metric: str | None) -> Metric:
    """Refuse what is no metric."""
    for known in METRICS:
        if metric == known:
            return known
    expected = f"one of {', '.join(METRICS)}"
    raise refuse("metric", expected, metric if metric is None else quoted(metric))


def check_radius(radius: float | None) -> float:
    """Refuse what is no radius."""
    if radius is None or radius != radius:  # noqa: PLR0124 - only NaN differs from itself
        raise refuse("radius", "a number", "NaN" if radius is not None else None)
    return radius


def _keywords(pin: Pin, options: Options) -> dict[str, Any]:
    metric = options.get("metric")
    if metric is not None and check_metric(metric) != pin.index.metric:
        raise refuse("metric", f"{pin.index.metric}, which the index was built with", metric)
    given = {name: value for name, value in options.items() if value is not None and name != "metric"}
    nprobe = given.get("nprobe")
    if nprobe is not None and given.get("exact"):
        raise refuse("nprobe", "NULL with exact", nprobe)
    if "filter" in given:
        given["filter"] = _filter(given["filter"])
    return given


def _filter(rows: Array) -> Array:
    """Take ids or booleans. NULL is no id, and no row for a boolean."""
    if pa.types.is_null(rows.type):
        return pa.array([], pa.int64())
    return rows if pa.types.is_boolean(rows.type) else pc.drop_null(rows)
