"""The namespaces: `.ruvector` on Polars' expressions and frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

import polars as pl

from ruvector.polars import expr, frame, join

if TYPE_CHECKING:
    from typing import SupportsIndex

    from ruvector._ruvector import Index
    from ruvector.flight import RemoteCollection
    from ruvector.lake import LakeCollection
    from ruvector.polars.expr import Vector
    from ruvector.typing import Filter, Metric, ProgressCallback

__all__: list[str] = []


@pl.api.register_expr_namespace("ruvector")
class ExprNamespace:
    """`pl.Expr.ruvector`."""

    def __init__(self, expr: pl.Expr) -> None:
        self._expr = expr

    def knn(
        self,
        index: Index | LakeCollection | RemoteCollection,
        k: SupportsIndex = 10,
        *,
        filter: Filter | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        rerank: bool = True,
        exact: bool = False,
    ) -> pl.Expr:
        """Find the nearest rows of an index for each vector: see `ruvector.polars.knn`."""
        return expr.knn(
            self._expr,
            index,
            k,
            filter=filter,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            rerank=rerank,
            exact=exact,
        )

    def distance(self, other: pl.Expr | str | Vector, metric: Metric = "l2sq") -> pl.Expr:
        """Measure the distance to another column, or to one vector: see `ruvector.polars.distance`."""
        return expr.distance(self._expr, other, metric)


class _FrameNamespace(Generic[join.Frame]):
    def __init__(self, frame: join.Frame) -> None:
        self._frame: join.Frame = frame

    def build_index(
        self,
        column: str,
        id: str | None = None,
        *,
        metric: Metric = "l2sq",
        nlist: SupportsIndex | None = None,
        bits: SupportsIndex = 1,
        seed: SupportsIndex = 0,
        threads: SupportsIndex | None = None,
        progress: bool | ProgressCallback = False,
    ) -> Index:
        """Build an index over a column: see `ruvector.polars.build_index`."""
        return frame.build_index(
            self._frame,
            column,
            id,
            metric=metric,
            nlist=nlist,
            bits=bits,
            seed=seed,
            threads=threads,
            progress=progress,
        )

    def knn_join(
        self,
        right: pl.DataFrame | pl.LazyFrame,
        on: str | None = None,
        *,
        left_on: str | None = None,
        right_on: str | None = None,
        k: SupportsIndex = 10,
        how: join.How = "inner",
        metric: Metric | None = None,
        index: Index | LakeCollection | RemoteCollection | None = None,
        id: str | None = None,
        filter: Filter | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        suffix: str = "_right",
    ) -> join.Frame:
        """Join each row with the rows of another frame that are nearest: see `ruvector.polars.knn_join`."""
        return join.knn_join(
            self._frame,
            right,
            on,
            left_on=left_on,
            right_on=right_on,
            k=k,
            how=how,
            metric=metric,
            index=index,
            id=id,
            filter=filter,
            recall=recall,
            nprobe=nprobe,
            epsilon=epsilon,
            exact=exact,
            suffix=suffix,
        )


@pl.api.register_lazyframe_namespace("ruvector")
class LazyFrameNamespace(_FrameNamespace[pl.LazyFrame]):
    """`pl.LazyFrame.ruvector`."""


@pl.api.register_dataframe_namespace("ruvector")
class DataFrameNamespace(_FrameNamespace[pl.DataFrame]):
    """`pl.DataFrame.ruvector`."""
