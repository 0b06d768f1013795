"""Neighbours in SQL beside what the engines do by themselves: `python -m benches.sql --help`.

The same join, k neighbours for each query row, is asked of DuckDB and DataFusion: through our functions, and
by the engine's own ``ORDER BY distance LIMIT k``. All ways have the same tables and threads. The index is
built before; what that took stands beside.
"""

from __future__ import annotations

import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
from datafusion import SessionConfig, SessionContext

import ruvector as rv
import ruvector.datafusion
import ruvector.duckdb
from benches.peers import data
from benches.peers.command import add_search_options, parser, save
from benches.peers.data import Data, limits, recall
from benches.peers.machine import describe
from benches.peers.measure import SMOKE, Budget, best, latency
from benches.peers.ours import METRICS
from benches.peers.tables import sql_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benches.peers.peer import Ids

    Way = Callable[[int], Ids]

# Of the ways that compare every query with every row, so many queries are measured: the rate is the same.
FEW = 20
SELECTIVITY = 0.01
NATIVE = {"l2": "array_distance", "ip": "array_negative_inner_product", "cosine": "array_cosine_distance"}
FUSED = {"l2": "array_distance", "cosine": "cosine_distance"}


def column(vectors: NDArray[np.float32]) -> pa.FixedSizeListArray:
    """Return the rows as the column of a table."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def tables(loaded: Data) -> tuple[pa.Table, pa.Table]:
    """Return rows and queries, with ids and something to filter by."""
    share = np.random.default_rng(data.SEED).random(loaded.rows)
    docs = pa.table({"id": np.arange(loaded.rows), "share": share, "v": column(loaded.docs)})
    return docs, pa.table({"qid": np.arange(len(loaded.queries)), "v": column(loaded.queries)})


def ids_of(rows: pa.Table, queries: int, k: int) -> Ids:
    """Return the ids of a join's rows, a line per query, best first; what is missing is -1."""
    query, ids, near = (rows.column(name).to_numpy() for name in ("qid", "id", "distance"))
    found = np.full((queries, k), -1, np.int64)
    order = np.lexsort((ids, near, query))
    query, ids = query[order], ids[order]
    places = np.arange(len(query)) - np.searchsorted(query, query)
    found[query, places] = ids
    return found


class Duck:
    """DuckDB, with our functions from Python, or from the loadable extension."""

    def __init__(
        self, loaded: Data, index: rv.Index, threads: int, k: int, *, loadable: Path | None = None
    ) -> None:
        self.con = duckdb.connect(config={"threads": threads, "allow_unsigned_extensions": True})
        docs, queries = tables(loaded)
        for name, table in {"docs": docs, "queries": queries}.items():
            self.con.register(f"{name}_lent", table)
            self.con.execute(f"CREATE TABLE {name} AS FROM {name}_lent")
        # The macro of that name, which joins, hides the extension's own function, which does not.
        self.knn = "ruvector_knn" if loadable is None else "system.main.ruvector_knn"
        if loadable is None:
            ruvector.duckdb.register(self.con, docs_index=index)
        else:
            index.save(loadable)
            ruvector.duckdb.install(self.con)
            self.con.execute("FROM ruvector_register('docs_index', ?)", [str(loadable)]).fetchall()
        self.k, self.own = k, NATIVE[loaded.metric]

    def rows(self, sql: str, queries: int) -> Ids:
        """Run a join."""
        return ids_of(self.con.sql(sql).to_arrow_table(), queries, self.k)

    def ours(self, queries: int, options: str = "") -> Ids:
        """Join by `ruvector_knn`."""
        asked = f"(SELECT qid, v FROM queries WHERE qid < {queries})"
        knn = f"ruvector_knn('docs_index', q.v, k := {self.k}{options})"
        return self.rows(f"SELECT qid, n.id, n.distance FROM {asked} q, {knn} n", queries)

    def filtered(self, queries: int) -> Ids:
        """Join by `ruvector_knn` with the rows that a WHERE leaves."""
        allowed = f"(SELECT list(id) FROM docs WHERE share < {SELECTIVITY})"
        return self.ours(queries, f", filter := {allowed}")

    def ordered(self, queries: int) -> Ids:
        """Join by ORDER BY and LIMIT for each query."""
        near = f"SELECT id, {self.own}(d.v, q.v) AS distance FROM docs d ORDER BY distance LIMIT {self.k}"
        asked = f"(SELECT qid, v FROM queries WHERE qid < {queries})"
        return self.rows(f"SELECT qid, n.id, n.distance FROM {asked} q, LATERAL ({near}) n", queries)

    def nearest(self, queries: int) -> Ids:
        """Join by DuckDB's own words for it."""
        asked = f"(SELECT qid, v FROM queries WHERE qid < {queries})"
        near = f"NEAREST {self.k} BY DISTANCE {self.own}(d.v, q.v)"
        select = f"SELECT qid, d.id, {self.own}(d.v, q.v) AS distance"
        return self.rows(f"{select} FROM {asked} q JOIN docs d {near}", queries)

    def single(self, query: NDArray[np.float32]) -> object:
        """Ask for the neighbours of one query, given as a parameter."""
        knn = f"SELECT id, distance FROM {self.knn}('docs_index', ?, k := {self.k})"
        return self.con.execute(knn, [query]).fetchall()


class Fused:
    """DataFusion, with our functions."""

    def __init__(self, loaded: Data, index: rv.Index, threads: int, k: int) -> None:
        self.ctx = SessionContext(SessionConfig().with_target_partitions(threads))
        for name, table in zip(("docs", "queries"), tables(loaded), strict=True):
            self.ctx.from_arrow(table, name=name)
        ruvector.datafusion.register(self.ctx, docs_index=index)
        self.index, self.k, self.own, self.queries = index, k, FUSED.get(loaded.metric), loaded.queries

    def rows(self, sql: str, queries: int) -> Ids:
        """Run a join."""
        return ids_of(self.ctx.sql(sql).to_arrow_table(), queries, self.k)

    def ours(self, queries: int) -> Ids:
        """Join by `ruvector_search` and unnest."""
        hits = f"unnest(ruvector_search('docs_index', v, {self.k}))"
        asked = f"(SELECT qid, {hits} AS n FROM queries WHERE qid < {queries})"
        return self.rows(f"SELECT qid, n['id'] AS id, n['distance'] AS distance FROM {asked}", queries)

    def joined(self, queries: int) -> Ids:
        """Join by `knn_join`."""
        left = self.ctx.sql(f"SELECT qid, v FROM queries WHERE qid < {queries}")
        right = self.ctx.sql("SELECT id, share FROM docs")
        near = ruvector.datafusion.knn_join(
            self.ctx, left, right, left_on="v", index=self.index, id="id", k=self.k
        )
        return ids_of(near.select("qid", "id", "distance").to_arrow_table(), queries, self.k)

    def ordered(self, queries: int) -> Ids:
        """Ask for one query after the other by ORDER BY and LIMIT, which becomes a TopK."""
        found = np.full((queries, self.k), -1, np.int64)
        for place in range(queries):
            literal = f"[{', '.join(map(str, self.queries[place].tolist()))}]"
            near = f"SELECT id FROM docs ORDER BY {self.own}(v, {literal}) LIMIT {self.k}"
            found[place] = self.ctx.sql(near).to_pydict()["id"]
        return found


def timed(way: Way, asked: int, loaded: Data, limit: Any, budget: Budget) -> dict[str, Any]:  # noqa: ANN401
    """Return the rate and the recall of one way, over its first queries."""
    found: list[Ids] = []
    seconds = best(lambda: found.append(way(asked)), budget)
    few = Data(loaded.name, loaded.metric, loaded.docs, loaded.queries[:asked])
    return {
        "queries": asked,
        "qps": asked / seconds,
        "recall": recall(few, found[0], limit[:asked]),
        "fewest": int((found[0] >= 0).sum(axis=1).min()),
    }


def main() -> None:
    """Measure all ways, write the figures and print the table."""
    options = parser("benches.sql", __doc__)
    add_search_options(options)
    options.add_argument("--data", default="clustered:100000,384", help="as of benches.peers")
    args = options.parse_args()

    loaded = data.load("clustered:2000,32", most=20) if args.smoke else data.load(args.data)
    budget = SMOKE if args.smoke else Budget()
    began = time.perf_counter()
    index = rv.build(loaded.docs, metric=METRICS[loaded.metric], threads=args.threads)
    built = time.perf_counter() - began
    duck, fused = Duck(loaded, index, args.threads, args.k), Fused(loaded, index, args.threads, args.k)
    folder = tempfile.TemporaryDirectory()
    loadable = Duck(loaded, index, args.threads, args.k, loadable=Path(folder.name) / "docs.rbpx")
    many, few = len(loaded.queries), min(FEW, len(loaded.queries))
    limit = limits(loaded, args.k)

    def python(queries: int) -> Ids:
        return index.search(loaded.queries[:queries], args.k, threads=args.threads).to_numpy()[0]

    ways: dict[str, tuple[Way, int]] = {
        "Python, `index.search`": (python, many),
        "DuckDB, `ruvector_knn`": (duck.ours, many),
        "DuckDB, `ruvector_knn` of the extension": (loadable.ours, many),
        "DuckDB, `ORDER BY ... LIMIT`": (duck.ordered, few),
        "DataFusion, `unnest(ruvector_search)`": (fused.ours, many),
        "DataFusion, `knn_join`": (fused.joined, many),
    }
    if int(duckdb.__version__.split(".")[0]) > 1:
        ways["DuckDB, `JOIN ... NEAREST`"] = (duck.nearest, few)
    if fused.own:
        ways["DataFusion, `ORDER BY ... LIMIT`"] = (fused.ordered, few)
    measured = {name: timed(way, asked, loaded, limit, budget) for name, (way, asked) in ways.items()}
    allowed = tables(loaded)[0].column("share").to_numpy() < SELECTIVITY
    filtered = timed(duck.filtered, many, loaded, limits(loaded, args.k, allowed), budget)
    singles = [loaded.queries[row] for row in range(min(many, budget.singles))]
    calls = {
        "python": latency(lambda query: index.search(query, args.k, threads=1), singles, budget).median_us,
        "duckdb": latency(duck.single, singles, budget).median_us,
        "extension": latency(loadable.single, singles, budget).median_us,
    }
    result = {
        "kind": "sql",
        "machine": describe(),
        "data": loaded.name,
        "metric": loaded.metric,
        "rows": loaded.rows,
        "dim": loaded.dim,
        "queries": many,
        "k": args.k,
        "threads": args.threads,
        "engines": {"duckdb": duckdb.__version__, "datafusion": version("datafusion")},
        "build_s": built,
        "ways": measured,
        "filter": {"selectivity": SELECTIVITY, **filtered},
        "call_us": calls,
    }
    folder.cleanup()
    save(result, args.out)
    print(sql_table(result))


if __name__ == "__main__":
    main()
