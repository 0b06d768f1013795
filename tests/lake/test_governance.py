"""Policies that act, sessions that repeat, and what is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ruvector as rv
from ruvector.lake import Decision, PolicyRequest, RowPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ruvector.lake import Policy
    from ruvector.lake.policy import Action

ROWS = np.random.default_rng(0).standard_normal((40, 4), dtype=np.float32)


def tables(folder: Path) -> rv.ParquetBackend:
    table = pa.table(
        {
            "id": pa.array(range(40), pa.int64()),
            "lang": ["en", "de"] * 20,
            "email": [f"{row}@example.org" for row in range(40)],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(ROWS.reshape(-1)), 4),
        }
    )
    pq.write_table(table, folder / "docs.parquet")
    backend = rv.ParquetBackend("files", folder)
    backend.register("docs", "docs.parquet")
    return backend


def lake_of(folder: Path, policy: Policy) -> rv.RuLake:
    lake = rv.RuLake.builder().policy(policy).audit(capacity=100).build()
    lake.register_backend(tables(folder))
    return lake


def test_each_principal_sees_their_own_rows(tmp_path: Path) -> None:
    policy = RowPolicy(
        {
            "ada": Decision(rows=[("lang", "=", "en")], mask={"email": "hash"}),
            "bob": Decision(rows=[("lang", "=", "de")], mask={"email": "null", "lang": "drop"}),
            "eve": Decision(allow=False),
        },
    )
    lake = lake_of(tmp_path, policy)
    ada, bob = lake.acting_as("ada"), lake.acting_as("bob")
    seen = ada.search_one("docs", ROWS[1], k=40, columns=["email", "lang"]).to_polars()
    assert sorted(seen["id"]) == list(range(0, 40, 2))
    assert set(seen["lang"]) == {"en"}
    assert all(len(digest) == 64 for digest in seen["email"])
    seen = bob.search_one("docs", ROWS[1], k=40, columns=["email", "lang"]).to_polars()
    assert sorted(seen["id"]) == list(range(1, 40, 2))
    assert "lang" not in seen.columns
    assert seen["email"].null_count() == 20
    some = bob.search_one("docs", ROWS[1], k=40, filter=[("id", "<", 5)])
    assert {hit.id for hit in some} == {1, 3}
    assert sorted(pl.DataFrame(bob.scan("docs", columns=["id"]))["id"]) == list(range(1, 40, 2))
    assert lake.cache_stats().primes == 1, "what is kept is everybody's"
    for view, name in ((lake.acting_as("eve"), "eve"), (lake, None), (lake.acting_as("mallory"), "mallory")):
        with pytest.raises(rv.PolicyDenied) as denied:
            view.search_one(("files", "docs"), ROWS[0])
        assert isinstance(denied.value, PermissionError)
        details = (denied.value.principal, denied.value.backend, denied.value.collection, denied.value.action)
        assert details == (name, "files", "docs", "search")
    with pytest.raises(rv.PolicyDenied, match="masked"):
        ada.search_one("docs", ROWS[0], filter=[("email", "=", "7@example.org")])


@pytest.mark.parametrize("action", ["search", "pull", "scan", "publish", "save"])
def test_each_action_is_asked_about(tmp_path: Path, action: Action) -> None:
    asked: list[PolicyRequest] = []

    def policy(request: PolicyRequest) -> bool:
        asked.append(request)
        return request.action != action or request.principal == "root"

    lake = lake_of(tmp_path, policy)
    root, user = lake.acting_as("root"), lake.acting_as("user")
    calls: dict[str, Callable[[rv.RuLake], object]] = {
        "search": lambda view: view.search_one("docs", ROWS[0]),
        "pull": lambda view: view.search_one("docs", ROWS[0]),
        "scan": lambda view: view.scan("docs"),
        "publish": lambda view: view.publish_bundle("docs", tmp_path / "out"),
        "save": lambda view: view.save_cache_to_dir("docs", tmp_path / "out"),
    }
    if action == "save":
        root.search_one("docs", ROWS[0])
    with pytest.raises(rv.PolicyDenied) as denied:
        calls[action](user)
    assert denied.value.action == action
    calls[action](root)
    assert PolicyRequest("user", "files", "docs", action) in asked


def test_a_policy_that_raises_denies(tmp_path: Path) -> None:
    def policy(request: PolicyRequest) -> Decision:
        raise ConnectionError(f"no directory to look up {request.principal}")

    with pytest.raises(rv.PolicyDenied, match="no directory") as denied:
        lake_of(tmp_path, policy).acting_as("ada").search_one("docs", ROWS[0])
    assert isinstance(denied.value.__cause__, ConnectionError)


BLUR: Any = {"a": "blur"}


@pytest.mark.parametrize("answer", ["yes", 1, Decision(rows=[("lang", "~", "en")]), Decision(mask=BLUR)])
def test_an_answer_that_is_none_denies(tmp_path: Path, answer: Any) -> None:
    with pytest.raises(rv.PolicyDenied) as denied:
        lake_of(tmp_path, lambda _: answer).search_one("docs", ROWS[0])
    assert denied.value.__cause__ is not None


def test_what_happened_is_written_down(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, RowPolicy({"ada": Decision()}))
    ada = lake.acting_as("ada")
    ada.search_one("docs", ROWS[0], k=3)
    ada.search_one("docs", ROWS[1], k=3)
    with pytest.raises(rv.PolicyDenied):
        lake.search_one("docs", ROWS[0])
    events = ada.audit_events()
    assert events.dropped == 0
    searches = events.to_polars().filter(pl.col("action") == "search")
    assert searches.select("principal", "backend", "collection", "outcome", "rows").rows() == [
        ("ada", "files", "docs", "answered", 3),
        ("ada", "files", "docs", "answered", 3),
        (None, "files", "docs", "denied", 0),
    ]
    assert searches["query_digest"][0] == searches["query_digest"][2] != searches["query_digest"][1]
    assert searches["witness"][0] == lake.cache_witness_of(("files", "docs"))
    assert searches.schema["time"] == pl.Datetime("us", "UTC")
    assert len(lake.audit_events()) == 0
    for _ in range(150):
        ada.search_one("docs", ROWS[0], k=1)
    last = lake.audit_events()
    assert (len(last), last.dropped) == (100, 50)
    assert pa.table(last).num_rows == 100


def test_a_session_repeats_its_reads() -> None:
    backend = rv.LocalBackend("memory")
    backend.put_collection("docs", ids=range(40), vectors=ROWS)
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    with lake.session() as session:
        before = session.search_batch("docs", ROWS[:5], k=3)
        backend.delete("docs", range(20))
        assert session.search_batch("docs", ROWS[:5], k=3) == before
        assert session.search_federated("docs", ROWS[:5], k=3) == before
        assert lake.search_batch("docs", ROWS[:5], k=3) != before
    with pytest.raises(rv.InvalidParameter, match="ended"):
        session.search_one("docs", ROWS[0])


def test_the_lake_tells_what_it_holds() -> None:
    backend = rv.LocalBackend("memory")
    backend.put_collection("docs", ids=range(40), vectors=ROWS)
    backend.put_collection("more", ids=range(40), vectors=ROWS[::-1].copy())
    lake = rv.RuLake.builder().max_cache_entries(1).build()
    lake.register_backend(backend)
    same = rv.build(ROWS, ids=range(40), seed=42)
    other = rv.build(ROWS, ids=range(40), seed=43)
    docs = lake.collection("docs")
    items: list[object] = [same, "docs", ("memory", "docs"), docs]
    assert not any(item in lake for item in items)
    lake.search_one("docs", ROWS[0])
    items.append(rv.RabitqPlusIndex.build(ROWS, ids=range(40), seed=42))
    assert all(item in lake for item in items)
    others: list[object] = [other, "more", ("memory", "more"), ("none", "docs")]
    assert not any(item in lake for item in others)
    lake.search_one("more", ROWS[0])
    assert "docs" not in lake
    stats = lake.cache_stats()
    assert (stats.entries, stats.evictions, stats.primes, stats.hits) == (1, 1, 2, 0)
    assert stats.bytes > ROWS.nbytes
    assert stats.hit_rate == 0
    assert stats.avg_prime_ms is not None
    assert stats.pull_time.quantile(1.0) is not None
    assert lake.cache_stats_by_collection()["memory", "more"].primes == 1
    lake.invalidate_cache("more")
    assert (len(lake.cache_entries()), lake.cache_entry_count()) == (0, 0)
    lake.reset_stats()
    empty = lake.cache_stats()
    assert (empty.hit_rate, empty.avg_prime_ms, empty.last_prime_ms, empty.pull_time.mean) == (None,) * 4


def test_what_is_larger_than_allowed_is_refused() -> None:
    backend = rv.LocalBackend("memory")
    backend.put_collection("docs", ids=range(40), vectors=ROWS)
    for limits, what in (
        ({"max_rows": 39}, "rows"),
        ({"max_dim": 3}, "dimensions"),
        ({"max_bytes": 10}, "bytes"),
    ):
        lake = rv.RuLake.builder().limits(**limits).build()
        lake.register_backend(backend)
        with pytest.raises(rv.TooLarge) as large:
            lake.search_one("docs", ROWS[0])
        assert (large.value.what, large.value.limit) == (what, *limits.values())


def test_indexes_that_must_go_are_mapped_from_files(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).standard_normal((5000, 32), dtype=np.float32)
    backend = rv.LocalBackend("memory")
    for name in ("a", "b", "c"):
        backend.put_collection(name, ids=range(5000), vectors=vectors)
    alone = rv.RuLake.builder().build()
    alone.register_backend(backend)
    expected = [hit[2:] for hit in alone.search_one("a", vectors[7])]
    room = alone.cache_stats().bytes * 3 // 2
    lake = rv.RuLake.builder().max_cache_bytes(room).spill_to(tmp_path).build()
    lake.register_backend(backend)
    for _ in range(2):
        for name in ("a", "b", "c"):
            assert [hit[2:] for hit in lake.search_one(name, vectors[7])] == expected
    stats = lake.cache_stats()
    assert (stats.primes, stats.hits) == (3, 3)
    assert stats.spills >= 2
    assert stats.bytes <= room
    assert True in lake.cache_entries().to_polars()["spilled"].to_list()
