"""
Nearest neighbours in Polars: expressions and joins that stay lazy, stream, and let filters through.

``import ruvector`` adds a namespace to Polars' classes:

- ``pl.col("v").ruvector.knn(index)``: the nearest rows of an index, `List(Struct{id, distance})`;
- ``pl.col("v").ruvector.distance(other)``: the distance between two vectors;
- ``lf.ruvector.knn_join(docs, on="v")``: each row beside its nearest rows of another frame;
- ``lf.ruvector.build_index("v")``: an index over a column.

Type checkers cannot see namespaces. The same four are functions here, as in
``ruvector.polars.knn(pl.col("v"), index)``.
"""

from __future__ import annotations

from ruvector.polars.expr import distance, knn
from ruvector.polars.frame import build_index
from ruvector.polars.join import knn_join
from ruvector.polars.namespaces import DataFrameNamespace, ExprNamespace, LazyFrameNamespace

__all__ = [
    "DataFrameNamespace",
    "ExprNamespace",
    "LazyFrameNamespace",
    "build_index",
    "distance",
    "knn",
    "knn_join",
]
