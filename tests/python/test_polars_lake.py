"""A collection of a lake in Polars: searched as an index is, in the state it has when the plan runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import ruvector as rv
from ruvector.lake import Decision, PolicyRequest, scan_polars

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Vectors


def frame(vectors: Vectors) -> pl.DataFrame:
    return pl.DataFrame({"v": vectors}, schema={"v": pl.Array(pl.Float32, vectors.shape[1])})


def ids(hits: pl.Series) -> list[list[Any]]:
    return [[hit["id"] for hit in found] for found in hits.to_list()]


@pytest.fixture
def memory(docs: Vectors) -> rv.LocalBackend:
    backend = rv.LocalBackend("memory")
    backend.put_collection("docs", ids=np.arange(len(docs)) * 3 + 1, vectors=docs)
    return backend


@pytest.fixture
def lake(memory: rv.LocalBackend) -> rv.RuLake:
    lake = rv.RuLake.builder().build()
    lake.register_backend(memory)
    return lake


@pytest.fixture
def files(docs: Vectors, tmp_path: Path) -> rv.ParquetBackend:
    rows = pl.DataFrame({"id": np.arange(len(docs)), "part": np.arange(len(docs)) % 10})
    rows.with_columns(frame(docs)["v"]).write_parquet(tmp_path / "docs.parquet", row_group_size=500)
    return rv.ParquetBackend("files", tmp_path)


def test_expression_finds_what_the_lake_finds(lake: rv.RuLake, queries: Vectors) -> None:
    expected = lake.search_batch("docs", queries, k=5)
    answers = frame(queries).select(pl.col("v").ruvector.knn(lake.collection("docs"), k=5))["v"]
    assert ids(answers) == [[hit.id for hit in hits] for hits in expected]
    scores = [[hit.score for hit in hits] for hits in expected]
    assert [[hit["distance"] for hit in hits] for hits in answers.to_list()] == scores


def test_plan_sees_the_rows_there_are_when_it_runs(
    lake: rv.RuLake, memory: rv.LocalBackend, docs: Vectors
) -> None:
    plan = frame(docs[:1]).lazy().select(pl.col("v").ruvector.knn(lake.collection("docs"), k=1))
    assert ids(plan.collect()["v"]) == [[1]]
    memory.delete("docs", [1])
    assert ids(plan.collect()["v"]) != [[1]]
    memory.upsert("docs", ids=[-5], vectors=docs[:1])
    assert ids(plan.collect()["v"]) == [[-5]]


def test_plan_keeps_a_lake_that_nothing_else_holds(docs: Vectors) -> None:
    def plan() -> pl.LazyFrame:
        backend = rv.LocalBackend("memory")
        backend.put_collection("docs", ids=[7, 8], vectors=docs[:2])
        lake = rv.RuLake.builder().build()
        lake.register_backend(backend)
        return frame(docs[:2]).lazy().select(pl.col("v").ruvector.knn(lake.collection("docs"), k=1))

    assert ids(plan().collect()["v"]) == [[7], [8]]


def test_filter_holds_the_ids_of_now(lake: rv.RuLake, queries: Vectors) -> None:
    collection = lake.collection("docs")
    answers = frame(queries[:3]).select(pl.col("v").ruvector.knn(collection, k=2, filter=[1, 4, 7]))["v"]
    assert all(set(found) <= {1, 4, 7} and len(found) == 2 for found in ids(answers))


def test_where_narrows_a_collection(files: rv.ParquetBackend, queries: Vectors) -> None:
    lake = rv.RuLake.builder().build()
    lake.register_backend(files)
    narrow = lake.collection("docs").where([("part", "=", 3)]).where([("id", "<", 1000)])
    assert len(narrow) == 100
    answers = frame(queries).select(pl.col("v").ruvector.knn(narrow, k=100, exact=True))["v"]
    assert all(sorted(found) == list(range(3, 1000, 10)) for found in ids(answers))
    index = narrow.index()
    assert sorted(index) == list(range(3, 1000, 10))
    with pytest.raises(rv.InvalidParameter, match="snapshot"):
        index.delete([3])


def test_join_brings_the_rows_of_the_lake(files: rv.ParquetBackend, docs: Vectors) -> None:
    lake = rv.RuLake.builder().build()
    lake.register_backend(files)
    left = frame(docs[10:12]).with_columns(q=pl.Series([10, 11]))
    right = scan_polars(lake, "docs", columns=["id", "part"])
    joined = left.lazy().ruvector.knn_join(right, left_on="v", k=1, index=lake.collection("docs"), id="id")
    assert joined.select("q", "id", "part", "distance").collect().rows() == [
        (10, 10, 0, 0.0),
        (11, 11, 1, 0.0),
    ]
    with pytest.raises(rv.InvalidParameter, match="the index's own"):
        left.ruvector.knn_join(right, left_on="v", index=lake.collection("docs"), id="id", metric="cosine")


def test_scan_reads_what_the_plan_needs(files: rv.ParquetBackend, docs: Vectors) -> None:
    lake = rv.RuLake.builder().build()
    lake.register_backend(files)
    rows = scan_polars(lake, "docs")
    schema = rows.collect_schema()
    assert schema["v"] == pl.Array(pl.Float32, docs.shape[1])
    assert schema.names() == ["id", "part", "v"]
    assert rows.select(pl.len()).collect().item() == len(docs)
    assert rows.filter(pl.col("part") == 4).select("id").collect()["id"].to_list() == list(range(4, 2000, 10))
    assert rows.select("part", "id").head(3).collect().rows() == [(0, 0), (1, 1), (2, 2)]
    some = scan_polars(lake, "docs", columns=["id"], filter=[("id", ">=", 1998)])
    assert some.collect().rows() == [(1998,), (1999,)]
    np.testing.assert_array_equal(rows.select("v").collect()["v"].to_numpy(), docs)


def test_scan_refuses_what_is_not_there(lake: rv.RuLake) -> None:
    with pytest.raises(rv.errors.UnknownCollection, match="nothing"):
        scan_polars(lake, "nothing", backend="memory")
    with pytest.raises(rv.InvalidParameter):
        scan_polars(lake, "docs", columns=["title"])


def test_policy_holds_in_expressions(files: rv.ParquetBackend, queries: Vectors) -> None:
    def policy(request: PolicyRequest) -> Decision:
        if request.action == "pull":
            return Decision()
        return Decision(
            allow=request.principal == "ada", rows=[("part", "in", [0, 1])], mask={"part": "null"}
        )

    lake = rv.RuLake.builder().policy(policy).build()
    lake.register_backend(files)
    ada = lake.acting_as("ada")
    answers = frame(queries).select(pl.col("v").ruvector.knn(ada.collection("docs"), k=10))["v"]
    assert {found % 10 for each in ids(answers) for found in each} == {0, 1}
    assert {found % 10 for found in ada.collection("docs").index()} == {0, 1}
    rows = scan_polars(ada, "docs").select("id", "part").collect()
    assert rows.height == 400
    assert rows["part"].null_count() == 400
    with pytest.raises(rv.errors.PolicyDenied, match="search"):
        pl.col("v").ruvector.knn(lake.collection("docs"))
    plan = frame(queries).lazy().select(pl.col("v").ruvector.knn(ada.collection("docs")))
    assert plan.collect().height == len(queries)


def test_plan_of_a_lake_stays_in_its_process(
    lake: rv.RuLake, queries: Vectors, python: Any, tmp_path: Path
) -> None:
    plan = frame(queries[:1]).lazy().select(pl.col("v").ruvector.knn(lake.collection("docs")))
    plan.serialize(tmp_path / "plan")
    said = python(
        f"""
import polars as pl
import ruvector
try:
    pl.LazyFrame.deserialize({str(tmp_path / "plan")!r}).collect()
except pl.exceptions.ComputeError as error:
    print(error)
"""
    )
    assert "a collection of a lake lives in its process" in said


def test_batches_are_in_the_audit_and_plans_are_not(memory: rv.LocalBackend, queries: Vectors) -> None:
    lake = rv.RuLake.builder().audit(capacity=100).build()
    lake.register_backend(memory)
    plan = frame(queries[:2]).lazy().select(pl.col("v").ruvector.knn(lake.collection("docs"), k=3))
    searches = pl.col("action") == "search"
    assert lake.audit_events().to_polars().filter(searches).is_empty()
    plan.collect()
    events = lake.audit_events().to_polars().filter(searches)
    # Polars may ask for the rows in parts.
    assert events.select("collection", "outcome").unique().rows() == [("docs", "answered")]
    assert events["rows"].sum() == 6
