"""
Nearest neighbours in DuckDB: SQL functions over indexes, by name or by path.

`register` gives a connection the functions, and indexes their names:

- ``ruvector_knn(index, query, k := 10)``: the nearest rows of one query or, beside a table, of each row;
- ``ruvector_within(index, query, radius)``: all rows within a radius;
- ``ruvector_search(index, query, k)``: the nearest rows as a list;
- ``ruvector_distance``, ``ruvector_quantize``: what needs no index;
- ``ruvector_build``, ``ruvector_index_info``, ``ruvector_recall``, ``ruvector_register``: indexes themselves.

`build` makes an index of whatever the connection can query, without holding it in memory. `install` brings
the loadable extension instead, the same functions for every client of DuckDB.
"""

from __future__ import annotations

from ruvector.duckdb.building import build
from ruvector.duckdb.extension import extension_path, install
from ruvector.duckdb.registering import register, unregister

__all__ = ["build", "extension_path", "install", "register", "unregister"]
