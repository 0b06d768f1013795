"""
Nearest neighbours in DataFusion: SQL functions, and a join of data frames that stays lazy.

>>> import ruvector as rv
>>> from datafusion import SessionContext
>>> from ruvector.datafusion import register
>>> ctx = SessionContext()
>>> register(ctx, docs=rv.build([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], ids=["a", "b", "c"]))
>>> ctx.sql("SELECT id FROM ruvector_knn('docs', [3.0, 3.0], {k: 1})").to_pylist()
[{'id': 'b'}]

The functions are those of every engine (``sql/contract.md``, whose last section tells what DataFusion
does differently): `ruvector_knn`, `ruvector_within`, `ruvector_search`, `ruvector_distance`, ... `knn_join`
joins data frames.
"""

from __future__ import annotations

from ruvector.datafusion.join import knn_join
from ruvector.datafusion.registration import register, unregister

__all__ = ["knn_join", "register", "unregister"]
