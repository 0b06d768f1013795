"""Collections of lakes in SQL: by an address or by a name, one state for each statement."""

from __future__ import annotations

from typing import Any

import datafusion
import duckdb
import numpy as np
import pytest

import ruvector as rv
import ruvector.datafusion
import ruvector.duckdb
from ruvector.lake import Decision, RowPolicy

DOCS = np.random.default_rng(5).standard_normal((500, 8), dtype=np.float32)


class DuckDB:
    error: type[Exception] = duckdb.Error

    def __init__(self) -> None:
        self.con = duckdb.connect()

    def register(self, **named: Any) -> None:
        ruvector.duckdb.register(self.con, **named)

    def knn(self, name: str, query: list[float], k: int) -> list[tuple[Any, ...]]:
        return self.con.execute(
            f"SELECT id, distance FROM ruvector_knn('{name}', {query}, k := {k}) ORDER BY distance, id"
        ).fetchall()

    def info(self, name: str) -> dict[str, Any]:
        found = self.con.execute(f"SELECT * FROM ruvector_index_info('{name}')")
        return dict(zip([column[0] for column in found.description], found.fetchall()[0], strict=True))


class DataFusion:
    error: type[Exception] = Exception

    def __init__(self) -> None:
        self.ctx = datafusion.SessionContext()

    def register(self, **named: Any) -> None:
        ruvector.datafusion.register(self.ctx, **named)

    def knn(self, name: str, query: list[float], k: int) -> list[tuple[Any, ...]]:
        sql = f"SELECT id, distance FROM ruvector_knn('{name}', {query}, {{k: {k}}}) ORDER BY distance, id"
        return [tuple(row.values()) for row in self.ctx.sql(sql).to_pylist()]

    def info(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ctx.sql(f"SELECT * FROM ruvector_index_info('{name}')").to_pylist()[0]
        return found


@pytest.fixture(params=[DuckDB, DataFusion])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def memory() -> rv.LocalBackend:
    backend = rv.LocalBackend("memory")
    backend.put_collection("docs", ids=np.arange(500) + 100, vectors=DOCS)
    return backend


@pytest.fixture
def lake(memory: rv.LocalBackend) -> rv.RuLake:
    lake = rv.RuLake.builder().build()
    lake.register_backend(memory)
    return lake


def test_address_and_name_find_what_the_lake_finds(engine: Any, lake: rv.RuLake) -> None:
    engine.register(lake=lake, mine=lake.collection("docs"))
    query = DOCS[7].tolist()
    expected = [(hit.id, hit.score) for hit in lake.search_one("docs", query, k=5)]
    assert engine.knn("lake://memory/docs", query, 5) == expected
    assert engine.knn("mine", query, 5) == expected
    info = engine.info("lake://memory/docs")
    assert (info["name"], info["path"], info["rows"], info["id_type"]) == (
        "lake://memory/docs",
        None,
        500,
        "int64",
    )


def test_each_statement_sees_the_rows_there_are(
    engine: Any, lake: rv.RuLake, memory: rv.LocalBackend
) -> None:
    engine.register(lake=lake)
    query = DOCS[7].tolist()
    assert engine.knn("lake://memory/docs", query, 1) == [(107, 0.0)]
    memory.delete("docs", [107])
    assert engine.knn("lake://memory/docs", query, 1) != [(107, 0.0)]
    memory.upsert("docs", ids=[3], vectors=DOCS[7:8])
    assert engine.knn("lake://memory/docs", query, 1) == [(3, 0.0)]


def test_backend_is_asked_as_the_consistency_says(
    engine: Any, lake: rv.RuLake, memory: rv.LocalBackend
) -> None:
    engine.register(frozen=lake.with_consistency(rv.Consistency.FROZEN).collection("docs"))
    query = DOCS[7].tolist()
    assert engine.knn("frozen", query, 1) == [(107, 0.0)]
    memory.delete("docs", [107])
    assert engine.knn("frozen", query, 1) == [(107, 0.0)]


def test_rows_a_policy_hides_are_not_found(engine: Any, memory: rv.LocalBackend) -> None:
    policy = RowPolicy({"ada": Decision(rows=[("id", "<", 110)])}, default=Decision(rows=[("id", "<", 105)]))
    lake = rv.RuLake.builder().policy(policy).build()
    lake.register_backend(memory)
    engine.register(everybody=lake.collection("docs"), ada=lake.acting_as("ada").collection("docs"))
    query = DOCS[7].tolist()
    assert sorted(row for row, _ in engine.knn("everybody", query, 50)) == list(range(100, 105))
    assert sorted(row for row, _ in engine.knn("ada", query, 50)) == list(range(100, 110))
    assert engine.info("ada")["rows"] == 10


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lake://other/docs", "expected a backend of one registered lake (memory)"),
        ("lake://memory/nothing", 'unknown collection "nothing"'),
        ("lake://memory", "expected lake://backend/collection"),
        ("lake", "expected a collection of the lake: lake://backend/collection"),
    ],
)
def test_refusals_say_what_would_do(engine: Any, lake: rv.RuLake, name: str, said: str) -> None:
    engine.register(lake=lake)
    with pytest.raises(engine.error) as refused:
        engine.knn(name, DOCS[0].tolist(), 1)
    assert said in str(refused.value)


def test_address_must_mean_one_lake(engine: Any, lake: rv.RuLake, memory: rv.LocalBackend) -> None:
    other = rv.RuLake.builder().build()
    other.register_backend(memory)
    engine.register(one=lake, two=lake)
    assert engine.knn("lake://memory/docs", DOCS[7].tolist(), 1) == [(107, 0.0)]
    engine.register(two=other)
    with pytest.raises(engine.error) as refused:
        engine.knn("lake://memory/docs", DOCS[7].tolist(), 1)
    assert "which 2 lakes have" in str(refused.value)


def test_only_indexes_lakes_and_collections_have_names(engine: Any, lake: rv.RuLake) -> None:
    with pytest.raises(rv.InvalidParameter, match="an index, a lake or a collection of one"):
        engine.register(docs=DOCS)
    with pytest.raises(rv.InvalidParameter, match="no address"):
        engine.register(**{"lake://memory/docs": lake})


def test_statements_are_in_the_audit(engine: Any, memory: rv.LocalBackend) -> None:
    lake = rv.RuLake.builder().audit(capacity=100).build()
    lake.register_backend(memory)
    engine.register(ada=lake.acting_as("ada").collection("docs"))
    assert len(engine.knn("ada", DOCS[7].tolist(), 3)) == 3
    events = lake.audit_events().to_polars().filter(action="search")
    assert events.select("principal", "backend", "collection", "outcome", "rows").unique().rows() == [
        ("ada", "memory", "docs", "answered", 500)
    ]
