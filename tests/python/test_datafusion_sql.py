"""`ruvector.datafusion`: what only DataFusion does; what all engines do alike is in tests/sql."""

from __future__ import annotations

import doctest
import gc
import importlib
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from datafusion import SessionContext

import ruvector as rv
from ruvector.datafusion import register, unregister
from ruvector.datafusion.registration import _catalogs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Vectors

NEAREST = "SELECT id, distance FROM ruvector_knn('docs', {query}, {{k: 3}}) ORDER BY distance, id"


@pytest.fixture
def index(docs: Vectors) -> rv.Index:
    """An index in memory, with ids that are no row numbers."""
    return rv.build(docs, np.arange(len(docs)) + 1000)


@pytest.fixture
def ctx(index: rv.Index, docs: Vectors, queries: Vectors) -> SessionContext:
    """A context with `docs` as an index and as a table, and a table `queries`."""
    ctx = SessionContext()
    register(ctx, docs=index)
    vector = pa.list_(pa.float32(), 32)
    rows = {"id": np.arange(len(docs)) + 1000, "even": np.arange(len(docs)) % 2 == 0}
    ctx.from_arrow(pa.table(rows | {"v": pa.array(docs.tolist(), vector)}), name="docs")
    asked = {"q": range(len(queries)), "v": pa.array(queries.tolist(), vector)}
    ctx.from_arrow(pa.table(asked), name="queries")
    return ctx


def rows(ctx: SessionContext, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Run a query."""
    found = ctx.sql(sql, param_values=parameters or None).to_pylist()
    return [tuple(row.values()) for row in found]


def expected(index: rv.Index, query: Any, k: int = 3, **options: Any) -> list[tuple[Any, ...]]:
    """Ask the index itself."""
    hits = index.search(query, k, **options).to_arrow()
    return list(zip(hits["id"].to_pylist(), hits["distance"].to_pylist(), strict=True))


def literal(vector: Any) -> str:
    """Write a vector in SQL."""
    return f"[{', '.join(map(repr, vector.tolist()))}]"


def test_a_query_is_a_literal_a_parameter_or_a_subquery(
    ctx: SessionContext, index: rv.Index, queries: Vectors
) -> None:
    wanted = expected(index, queries[4])
    said = literal(queries[4])
    assert rows(ctx, NEAREST.format(query=said)) == wanted
    assert rows(ctx, NEAREST.format(query=said.replace("[", "make_array(").replace("]", ")"))) == wanted
    for kind in ("FixedSizeList(32, Float32)", "LargeList(Float32)", "List(Float64)"):
        assert rows(ctx, NEAREST.format(query=f"arrow_cast({said}, '{kind}')")) == wanted
    assert rows(ctx, NEAREST.format(query="(SELECT v FROM queries WHERE q = 4)")) == wanted
    assert rows(ctx, NEAREST.format(query="$query"), query=queries[4].tolist()) == wanted


def test_a_statement_is_prepared_once_and_run_often(
    ctx: SessionContext, index: rv.Index, queries: Vectors
) -> None:
    ctx.sql(f"PREPARE nearest AS {NEAREST.format(query='$1')}")
    for query in queries[:3]:
        assert rows(ctx, f"EXECUTE nearest({literal(query)})") == expected(index, query)


def test_options_are_parameters_and_subqueries_too(ctx: SessionContext, queries: Vectors) -> None:
    said = literal(queries[0])
    sql = f"SELECT id FROM ruvector_knn('docs', {said}, {{k: $k, recall: $recall}})"
    assert len(rows(ctx, sql, k=7, recall=0.9)) == 7
    sql = f"SELECT id FROM ruvector_knn('docs', {said}, $k)"
    assert len(rows(ctx, sql, k=6)) == 6
    sql = f"SELECT id FROM ruvector_knn('docs', {said}, {{k: (SELECT count(*) FROM queries)}})"
    assert len(rows(ctx, sql)) == 20
    with pytest.raises(Exception, match="k: expected at least 1, got 0"):
        rows(ctx, f"SELECT id FROM ruvector_knn('docs', {said}, $k)", k=0)


def test_a_filter_is_a_subquery(ctx: SessionContext, index: rv.Index, queries: Vectors) -> None:
    said = literal(queries[0])

    def found(condition: str) -> list[tuple[Any, ...]]:
        ids = f"(SELECT array_agg(id) FROM docs WHERE {condition})"
        sql = f"SELECT * FROM ruvector_knn('docs', {said}, {{k: 3, filter: {ids}}})"
        return rows(ctx, sql)

    assert found("even") == expected(index, queries[0], filter=range(1000, 3000, 2))
    assert found("id = 1007") == expected(index, queries[0], filter=[1007])
    # No row makes array_agg NULL, and allows no row.
    assert found("id < 0") == []


def test_a_view_sees_the_index_of_its_time(ctx: SessionContext, index: rv.Index, queries: Vectors) -> None:
    ctx.sql(f"CREATE VIEW nearest AS {NEAREST.format(query=literal(queries[0]))}")
    before = rows(ctx, "SELECT * FROM nearest")
    assert before == expected(index, queries[0])
    index.delete([before[0][0]])
    assert rows(ctx, "SELECT * FROM nearest") == expected(index, queries[0]) != before


def test_to_plan_is_not_to_search(ctx: SessionContext, queries: Vectors) -> None:
    bad = ["CAST('NaN' AS DOUBLE)", *map(str, queries[0].tolist()[1:])]
    sql = f"SELECT * FROM ruvector_knn('docs', [{', '.join(bad)}])"
    assert rows(ctx, f"EXPLAIN {sql}")
    frame = ctx.sql(sql)
    assert frame.schema().names == ["id", "distance"]
    with pytest.raises(Exception, match="query, row 0: element 0 is NaN"):
        frame.collect()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "'docs', queries.v",
            "query: expected a literal, a parameter or a subquery; for each row of a table, unnest",
        ),
        ("'docs', v, 10", "got the column v"),
        ("queries.q, [1.0]", "index: expected"),
        ("$1, [1.0]", "index: expected a literal, got $1"),
        ("'docs', [1.0], {k: queries.q}", "No field named queries.q"),
        (
            "'docs', [1.0], {limit: 3}",
            "options: expected some of k, recall, nprobe, epsilon, rerank, exact, metric, filter, got limit",
        ),
        ("'docs', [1.0], 3, {k: 3}", "k: expected one value, got two"),
        ("'docs', [1.0], {k: 3, k: 4}", "k: expected one value, got two"),
        ("'docs'", "arguments: expected index, query, k, {option: value, ...}, got 1"),
        ("'docs', [1.0], 3, 4, 5", "arguments: expected index, query, k, {option: value, ...}, got 5"),
        ("'docs', 'near'", "query: expected a list of numbers, got"),
        ("'docs', [1.0], 'ten'", "k: expected"),
        ("'docs', [1.0], {recall: 'high'}", "recall: expected"),
        ("'docs', [1.0], {filter: 3}", "filter: expected"),
        ("'docs', [1.0], {exact: 3}", "exact: expected"),
        ("'docs', [1.0], k => 3", "k => 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(ctx: SessionContext, arguments: str, message: str) -> None:
    with pytest.raises(Exception) as refused:  # noqa: PT011 - DataFusion's own
        ctx.sql(f"SELECT n.* FROM queries, ruvector_knn({arguments}) n").collect()
    assert message in str(refused.value)
    assert len(rows(ctx, "SELECT * FROM ruvector_knn('docs', (SELECT v FROM queries WHERE q = 0))")) == 10


def test_every_kind_of_column_is_searched_with(
    ctx: SessionContext, index: rv.Index, queries: Vectors
) -> None:
    sql = "SELECT q, unnest(ruvector_search('docs', w, 2)) AS n FROM {table}"
    sql = f"SELECT n['id'] AS id, n['distance'] AS distance FROM ({sql}) h ORDER BY q, distance"
    wanted = [hit for query in queries for hit in expected(index, query, 2)]
    kinds = [
        pa.list_(pa.float32()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 32),
        pa.list_(pa.float64(), 32),
    ]
    for number, kind in enumerate(kinds):
        table = f"kind_{number}"
        ctx.from_arrow(pa.table({"q": range(20), "w": pa.array(queries.tolist(), kind)}), name=table)
        assert rows(ctx, sql.format(table=table)) == wanted


OPTIONS: dict[str, dict[str, Any]] = {
    "'exact=true'": {"exact": True},
    "'recall=0.5, epsilon=1'": {"recall": 0.5, "epsilon": 1.0},
    "'nprobe=1 rerank=false metric=l2sq'": {"nprobe": 1, "rerank": False},
    "''": {},
    "NULL": {},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_the_scalar_functions_are_text(
    ctx: SessionContext, index: rv.Index, queries: Vectors, options: str
) -> None:
    for function, kind in (("ruvector_search_with", int), ("ruvector_search_text_with", str)):
        found = rows(ctx, f"SELECT {function}('docs', v, 3, {options}) FROM queries ORDER BY q")
        wanted = [expected(index, query, **OPTIONS[options]) for query in queries]
        assert [[(hit["id"], hit["distance"]) for hit in hits] for (hits,) in found] == [
            [(kind(found_id), distance) for found_id, distance in hits] for hits in wanted
        ]


def test_options_that_cannot_be_meant_are_refused(ctx: SessionContext) -> None:
    for options, message in (
        ("recall", "options: expected name=value, got recall"),
        ("limit=3", "options: expected some of recall, nprobe, epsilon, rerank, exact, metric, got limit"),
        ("exact=perhaps", "exact: expected true or false, got perhaps"),
        ("nprobe=many", "nprobe: expected a whole number, got many"),
        ("recall=2", "recall: expected above 0, at most 1, got 2"),
    ):
        with pytest.raises(Exception, match=message):
            rows(ctx, f"SELECT ruvector_search_with('docs', v, 3, '{options}') FROM queries")


def test_names_are_registered_replaced_and_taken_away(
    ctx: SessionContext, docs: Vectors, tmp_path: Path
) -> None:
    path = tmp_path / "few.arrow"
    rv.build(docs[:10]).save(path)
    count = "SELECT rows FROM ruvector_index_info('{}')"
    register(ctx, many=rv.build(docs))
    assert rows(ctx, count.format("many")) == [(2000,)]
    register(ctx, many=rv.build(docs[:7].copy()), few=rv.open(path))
    assert rows(ctx, count.format("many")) == [(7,)]
    assert rows(ctx, count.format("few")) == [(10,)]
    unregister(ctx, "few")
    with pytest.raises(
        Exception, match="index: expected the name of a registered index or the path of a saved one"
    ):
        rows(ctx, count.format("few"))
    other = SessionContext()
    register(other)
    with pytest.raises(
        Exception, match="index: expected the name of a registered index or the path of a saved one"
    ):
        rows(other, count.format("many"))


def test_what_is_no_index_gets_no_name(ctx: SessionContext) -> None:
    path: Any = "docs.arrow"
    with pytest.raises(
        rv.InvalidParameter, match=r"^docs: expected an index, a lake or a collection of one, got str$"
    ):
        register(ctx, docs=path)
    with pytest.raises(
        rv.InvalidParameter, match=r'^name: expected the name of a registered index, got "nope"$'
    ):
        unregister(ctx, "nope")
    with pytest.raises(
        rv.InvalidParameter, match=r'^name: expected the name of a registered index, got "docs"$'
    ):
        unregister(SessionContext(), "docs")


def test_a_build_reads_what_datafusion_reads(ctx: SessionContext, docs: Vectors, tmp_path: Path) -> None:
    sql = f"SELECT rows FROM ruvector_build('docs', 'v', '{tmp_path}/{{}}.arrow', {{options}})"
    assert rows(ctx, sql.format("all", options="{id: 'id'}")) == [(2000,)]
    table = pa.table({"id": np.arange(2000) + 1000, "v": pa.array(docs.tolist(), pa.list_(pa.float32(), 32))})
    streamed = rv.build_stream(lambda: table.to_batches(300), column="v", ids="id", rows=2000)
    assert rv.open(tmp_path / "all.arrow").digest == streamed.digest
    ctx.sql("CREATE VIEW some AS SELECT id, CAST(v AS DOUBLE[]) AS w FROM docs WHERE even")
    rows(ctx, sql.replace("'docs', 'v'", "'some', 'w'").format("some", options="{id: 'id', bits: 3}"))
    assert len(rv.open(tmp_path / "some.arrow")) == 1000


@pytest.mark.parametrize("module", ["", ".join", ".registration"])
def test_what_the_documentation_shows_runs(module: str) -> None:
    assert doctest.testmod(importlib.import_module(f"ruvector.datafusion{module}")).failed == 0


def test_a_build_reads_partitions_in_order_and_dealt_out_rows_as_they_come(
    ctx: SessionContext, docs: Vectors, tmp_path: Path
) -> None:
    vector = pa.list_(pa.float32(), 32)
    table = pa.table({"id": np.arange(2000), "v": pa.array(docs.tolist(), vector)})
    frame = ctx.create_dataframe([[batch] for batch in table.to_batches(300)])
    ctx.register_table("parts", frame)
    rows(ctx, f"SELECT * FROM ruvector_build('parts', 'v', '{tmp_path}/parts.arrow')")
    streamed = rv.build_stream(table.to_batches, column="v", rows=2000)
    assert rv.open(tmp_path / "parts.arrow").digest == streamed.digest
    ctx.sql("CREATE VIEW filtered AS SELECT * FROM parts WHERE id % 2 = 0")
    rows(ctx, f"SELECT * FROM ruvector_build('filtered', 'v', '{tmp_path}/half.arrow', {{id: 'id'}})")
    half = rv.open(tmp_path / "half.arrow")
    assert sorted(half) == list(range(0, 2000, 2))
    assert half.search(docs[::2].copy(), k=1).to_numpy()[0].ravel().tolist() == list(range(0, 2000, 2))


def test_functions_run_in_many_threads(ctx: SessionContext, index: rv.Index, queries: Vectors) -> None:
    failed: list[BaseException] = []

    def ask(query: Any) -> None:
        try:
            for _ in range(5):
                assert rows(ctx, NEAREST.format(query=literal(query))) == expected(index, query)
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(query,)) for query in queries[:4]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_a_context_that_is_gone_holds_no_index(docs: Vectors) -> None:
    ctx = SessionContext()
    register(ctx, many=rv.build(docs))
    found = ctx.sql("SELECT rows FROM ruvector_index_info('many')")
    assert found.to_pylist() == [{"rows": 2000}]
    catalog = weakref.ref(_catalogs[ctx])
    del ctx
    gc.collect()
    assert found.to_pylist() == [{"rows": 2000}]
    del found
    gc.collect()
    assert catalog() is None
