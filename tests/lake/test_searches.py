"""What a lake finds, in whichever form it is asked and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import arro3.core
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ruvector as rv
from ruvector.lake import LakeBatch, LakeHits

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from ruvector.lake import RowFilter
    from ruvector.lake.searching import OnError

    Vectors = npt.NDArray[np.float32]


def rows(count: int, dim: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


def lake_of(*backends: Any) -> rv.RuLake:
    lake = rv.RuLake.builder().build()
    for backend in backends:
        lake.register_backend(backend)
    return lake


def local(name: str, vectors: Vectors, first: int = 0, collection: str = "docs") -> rv.LocalBackend:
    backend = rv.LocalBackend(name)
    backend.put_collection(collection, ids=range(first, first + len(vectors)), vectors=vectors)
    return backend


def pairs(hits: LakeHits) -> list[tuple[Any, float]]:
    return [(hit.id, hit.score) for hit in hits]


def test_a_lake_finds_what_the_index_finds() -> None:
    vectors, queries = rows(50_000, 128), rows(20, 128, seed=1)
    lake = lake_of(local("memory", vectors))
    direct = rv.RabitqPlusIndex.build(vectors, ids=range(50_000), seed=42)
    batch = lake.search_batch("docs", queries, k=10)
    for query, hits in zip(queries, batch, strict=True):
        expected = [(hit.id, hit.score) for hit in direct.search(query, 10)]
        assert pairs(lake.search_one("docs", query, k=10)) == expected
        assert pairs(hits) == expected
    assert lake.cache_stats().primes == 1


def test_several_collections_are_searched_as_if_they_were_one() -> None:
    vectors, queries = rows(3000, 16), rows(5, 16, seed=1)
    lake = lake_of(
        local("a", vectors[:1000]), local("b", vectors[1000:1010], 1000), local("c", vectors[1010:], 1010)
    )
    whole = rv.build(vectors, metric="l2sq")
    expected, _ = whole.search(queries, k=20, exact=True).to_numpy()
    found = lake.search_federated("docs", queries, k=20, exact=True)
    assert isinstance(found, LakeBatch)
    assert [[hit.id for hit in hits] for hits in found] == expected.tolist()
    assert [(shard.backend, shard.status, shard.rows) for shard in found.shards] == [
        ("a", "answered", 1000),
        ("b", "answered", 10),
        ("c", "answered", 1990),
    ]
    assert not found.partial
    some = lake.search_federated(targets=[("a", "docs"), ("b", "docs")], query=queries[0], k=3, exact=True)
    assert isinstance(some, LakeHits)
    assert [hit.backend for hit in some] == ["a" if int(hit.id) < 1000 else "b" for hit in some]
    assert [hit.id for hit in some] == _order(vectors[:1010], queries[0])[:3]


def _order(vectors: Vectors, query: Vectors) -> list[int]:
    return [int(row) for row in np.argsort(((vectors - query) ** 2).sum(axis=1), kind="stable")]


def test_rows_with_one_id_count_once_if_asked_to() -> None:
    vectors = rows(100, 8)
    lake = lake_of(local("a", vectors), local("b", vectors + np.float32(0.5)))
    twice = lake.search_federated("docs", vectors[3], k=4, exact=True)
    once = lake.search_federated("docs", vectors[3], k=4, exact=True, dedupe=True)
    assert isinstance(twice, LakeHits)
    assert isinstance(once, LakeHits)
    ids = [hit.id for hit in once]
    assert len(set(ids)) == 4
    assert twice[0] == once[0]
    assert once[0][:3] == ("a", "docs", 3)


def test_a_failing_backend_leaves_an_answer_if_asked_to() -> None:
    class Broken(rv.BackendAdapter):
        def list_collections(self) -> list[str]:
            return ["docs"]

        def generation(self, collection: str) -> int:
            raise ConnectionError(f"no way to {collection}")

        def pull(self, collection: str, request: object) -> Any:
            raise AssertionError(collection, request)

    vectors = rows(10, 4)
    lake = lake_of(local("a", vectors), Broken("broken"))
    with pytest.raises(rv.BackendError, match="no way to docs") as raised:
        lake.search_federated("docs", vectors[0])
    assert raised.value.retryable
    ways: tuple[OnError, ...] = ("skip", "partial")
    for how in ways:
        found = lake.search_federated("docs", vectors[0], k=1, on_error=how)
        assert isinstance(found, LakeHits)
        assert (found.partial, found[0].id) == (True, 0)
        good, bad = found.shards
        assert (good.status, good.error, bad.status, bad.backend) == ("answered", None, "failed", "broken")
        assert isinstance(bad.error, rv.BackendError)
        assert isinstance(bad.error.__cause__, ConnectionError)
    alone = [("broken", "docs")]
    with pytest.raises(rv.BackendError):
        lake.search_federated(targets=alone, query=vectors[0], on_error="skip")
    nothing = lake.search_federated(targets=alone, query=vectors[0], on_error="partial")
    assert (len(nothing), nothing.partial) == (0, True)


@pytest.mark.parametrize(
    "query",
    [
        np.array([3.0, 3.0], np.float32),
        np.array([3.0, 3.0], np.float16),
        [3.0, 3.0],
        (3, 3),
        pa.array([3.0, 3.0], pa.float32()),
        pl.Series([3.0, 3.0], dtype=pl.Float32),
    ],
)
def test_a_query_comes_as_to_every_other_door(query: Any) -> None:
    backend = rv.LocalBackend("memory")
    backend.upsert("docs", ids=["a", "b"], vectors=[[0.0, 0.0], [3.0, 4.0]])
    lake = lake_of(backend)
    assert lake.search_one("docs", query, k=1)[0] == ("memory", "docs", "b", 1.0)
    found = lake.search_federated("docs", query, k=1)
    assert isinstance(found, LakeHits)
    assert found[0] == ("memory", "docs", "b", 1.0)


@pytest.mark.parametrize(
    "queries",
    [
        np.zeros((3, 2), np.float32),
        [[0.0, 0.0]] * 3,
        pa.array([[0.0, 0.0]] * 3, pa.list_(pa.float32(), 2)),
        pa.chunked_array([pa.array([[0.0, 0.0]], pa.list_(pa.float32()))] * 3),
        pl.Series([[0.0, 0.0]] * 3, dtype=pl.Array(pl.Float32, 2)),
    ],
)
def test_queries_come_as_to_every_other_door(queries: Any) -> None:
    lake = lake_of(local("memory", np.eye(2, dtype=np.float32)))
    found = lake.search_batch("docs", queries, k=1)
    assert [pairs(hits) for hits in found] == [[(0, 1.0)]] * 3
    assert isinstance(lake.search_federated("docs", queries), LakeBatch)


def test_a_null_query_has_no_hits() -> None:
    lake = lake_of(local("memory", np.eye(2, dtype=np.float32)))
    queries = pa.array([[1.0, 0.0], None, [0.0, 1.0]], pa.list_(pa.float32(), 2))
    found = lake.search_batch("docs", queries, k=1)
    assert [pairs(hits) for hits in found] == [[(0, 0.0)], [], [(1, 0.0)]]


def test_hits_are_a_sequence() -> None:
    hits = lake_of(local("memory", rows(20, 4))).search_one("docs", np.zeros(4, np.float32), k=5)
    assert isinstance(hits, Sequence)
    assert len(hits) == 5
    assert hits[-1] == list(hits)[4]
    assert hits[1:3] == list(hits)[1:3]
    assert [hit.score for hit in hits] == sorted(hit.score for hit in hits)
    assert hits[0] in hits
    with pytest.raises(IndexError):
        hits[5]
    with pytest.raises(IndexError):
        hits[-6]
    assert hits != hits[:]
    assert hits == lake_of(local("memory", rows(20, 4))).search_one("docs", np.zeros(4, np.float32), k=5)


def test_answers_are_arrow_tables() -> None:
    lake = lake_of(local("a", rows(20, 4)), local("b", rows(20, 4, seed=1), 20))
    found = lake.search_federated("docs", rows(3, 4, seed=2), k=2)
    assert isinstance(found, LakeBatch)
    expected = [
        (query, rank, hit.id, hit.score, hit.backend, hit.collection)
        for query, hits in enumerate(found)
        for rank, hit in enumerate(hits)
    ]
    names = ["query_row", "rank", "id", "distance", "backend", "collection"]
    assert len(expected) == 6
    for table in (pa.table(found), pa.Table.from_batches([pa.record_batch(found)]), found.to_arrow()):
        assert table.column_names == names
        assert [tuple(row.values()) for row in table.to_pylist()] == expected
    for frame in (found.to_polars(), pl.DataFrame(found.to_arrow())):
        assert frame.rows() == expected
    assert pa.table(arro3.core.Table(found)).equals(pa.table(found))
    assert pa.schema(found) == pa.table(found).schema
    assert pa.table(found[1]).column("query_row").to_pylist() == [0, 0]
    assert found[1].to_polars().rows() == [(0, *row[1:]) for row in expected if row[0] == 1]


def test_rows_bring_their_columns_along(tmp_path: Path) -> None:
    vectors = rows(60, 4)
    table = pa.table(
        {
            "id": pa.array(range(60), pa.int64()),
            "text": [f"row {row}" for row in range(60)],
            "year": pa.array([None if row % 10 == 9 else 2000 + row for row in range(60)], pa.int32()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 4),
        }
    )
    pq.write_table(table, tmp_path / "docs.parquet", row_group_size=16)
    backend = rv.ParquetBackend("files", tmp_path)
    backend.register("docs", "docs.parquet")
    lake = lake_of(backend)
    found = lake.search_batch("docs", vectors[:3], k=2, columns=["year", "text"])
    joined = found.to_polars()
    assert joined.columns[6:] == ["year", "text"]
    for row in joined.rows(named=True):
        assert row["text"] == f"row {row['id']}"
        assert row["year"] == (None if row["id"] % 10 == 9 else 2000 + row["id"])
    assert found[2].to_polars()["text"][0] == "row 2"
    years = lake.search_one("docs", vectors[5], k=60, filter=[("year", ">=", 2050)], exact=True)
    assert sorted(hit.id for hit in years if isinstance(hit.id, int)) == [50, 51, 52, 53, 54, 55, 56, 57, 58]
    either: RowFilter = [[("year", "<", 2002)], [("text", "in", ["row 7", "row 8"]), ("id", "!=", 8)]]
    some = lake.search_one("docs", vectors[5], k=60, filter=either, exact=True)
    assert {hit.id for hit in some} == {0, 1, 7}
    scanned = pl.DataFrame(
        lake.scan("docs", columns=["text", "id"], filter=[("year", "not in", [2000, 2001])])
    )
    assert scanned.columns == ["text", "id"]
    assert scanned["id"].to_list() == [row for row in range(2, 60) if row % 10 != 9]
    with pytest.raises(rv.InvalidParameter, match="nothing"):
        lake.search_one("docs", vectors[0], columns=["nothing"])
    stream = lake.scan("docs")
    assert pa.table(stream).num_rows == 60
    with pytest.raises(rv.InvalidParameter, match="read"):
        pa.table(stream)


def test_only_chosen_rows_are_pulled(tmp_path: Path) -> None:
    vectors = rows(20, 4)
    table = pa.table(
        {"id": range(20), "v": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 4)}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    backend = rv.ParquetBackend("files", tmp_path)
    backend.register("docs", "t.parquet", vector="v", id="id")
    lake = lake_of(backend)
    lake.configure("docs", rows=[("id", "<", 5)], metric="l2")
    found = lake.search_one("docs", vectors[9], k=20, exact=True)
    assert sorted(hit.id for hit in found if isinstance(hit.id, int)) == [0, 1, 2, 3, 4]
    nearest = ((vectors[:5] - vectors[9]) ** 2).sum(axis=1).min() ** 0.5
    assert found[0].score == pytest.approx(nearest, rel=1e-6)


def test_a_collection_is_meant_in_several_ways() -> None:
    lake = lake_of(
        local("a", rows(5, 2)), local("b", rows(5, 2)), local("c", rows(5, 2), collection="others")
    )
    query = [0.0, 0.0]
    assert lake.collections() == [("a", "docs"), ("b", "docs"), ("c", "others")]
    others = lake.collection("others")
    assert (others.key, others.dim, others.id_type, len(others)) == (("c", "others"), 2, "int64", 5)
    expected = lake.search_one("others", query)
    assert lake.search_one(others, query) == expected
    assert lake.search_one(("c", "others"), query) == expected
    assert lake.search_one("others", query, backend="c") == expected
    with pytest.raises(rv.AmbiguousCollection) as ambiguous:
        lake.search_one("docs", query)
    assert (ambiguous.value.collection, ambiguous.value.backends) == ("docs", ("a", "b"))
    with pytest.raises(rv.AmbiguousCollection):
        lake.collection("docs")
    assert lake.search_one("docs", query, backend="b")[0].backend == "b"
    with pytest.raises(rv.UnknownCollection) as unknown:
        lake.search_one("none", query)
    assert unknown.value.collection == "none"
    with pytest.raises(rv.UnknownBackend) as nobody:
        lake.search_one(("z", "docs"), query)
    assert (nobody.value.backend, nobody.value.known) == ("z", ("a", "b", "c"))
    with pytest.raises(rv.InvalidParameter, match="backend"):
        lake.search_one(others, query, backend="a")
    three: Any = ("a", "docs", "x")
    with pytest.raises(rv.InvalidParameter, match="pair"):
        lake.search_one(three, query)


def test_changes_are_seen_as_the_consistency_says() -> None:
    backend = local("memory", np.eye(3, dtype=np.float32))
    lake = lake_of(backend)
    frozen = lake.with_consistency(rv.Consistency.FROZEN)
    eventual = lake.with_consistency(rv.Consistency.EVENTUAL, ttl=3600)
    query = [5.0, 5.0, 5.0]
    assert len(frozen.search_one("docs", query)) == 3
    backend.append("docs", id=9, vector=query)
    assert len(frozen.search_one("docs", query)) == 3
    assert len(eventual.search_one("docs", query)) == 3
    assert lake.search_one("docs", query)[0].id == 9
    assert len(frozen.search_one("docs", query)) == 4
    assert backend.upsert("docs", ids=[0, 10], vectors=[query, query]) == 1
    assert backend.delete("docs", [9, 77]) == 1
    assert [hit.id for hit in lake.search_one("docs", query, k=2)] == [0, 10]
    assert backend.drop("docs")
    assert not backend.drop("docs")
    with pytest.raises(rv.UnknownCollection):
        lake.search_one(("memory", "docs"), query)
    assert rv.Consistency["STALE"] is rv.Consistency.FROZEN


def test_modes_that_make_no_sense_are_refused() -> None:
    builder = rv.RuLake.builder()
    no_modes: list[Any] = ["fresh", 0]
    for mode in no_modes:
        with pytest.raises(rv.InvalidParameter, match="Consistency"):
            builder.consistency(mode)
    with pytest.raises(rv.InvalidParameter, match="stale"):
        builder.consistency(rv.Consistency.FRESH, stale=1)
    with pytest.raises(rv.InvalidParameter, match="ttl"):
        builder.consistency(rv.Consistency.EVENTUAL).build()
    with pytest.raises(rv.InvalidParameter, match="ttl"):
        rv.RuLake.builder().consistency(rv.Consistency.FROZEN, ttl=1).build()
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(rv.InvalidParameter, match="ttl"):
            rv.RuLake.builder().consistency(rv.Consistency.EVENTUAL, ttl=wrong).build()


def test_files_are_collections(tmp_path: Path) -> None:
    backend = rv.FsBackend("files", tmp_path / "root")
    path = backend.write("docs", "docs.bin", ids=[2**64 - 1, 5], vectors=[[0.0, 1.0], [1.0, 0.0]])
    assert path == (tmp_path / "root" / "docs.bin").resolve()
    lake = lake_of(backend)
    assert [hit.id for hit in lake.search_one("docs", [0.0, 1.0])] == [2**64 - 1, 5]
    again = rv.FsBackend("again", tmp_path / "root")
    again.register("same", "docs.bin")
    lake.register_backend(again)
    lake.search_one("same", [0.0, 1.0])
    witness = lake.cache_witness_of("docs")
    assert witness is not None
    assert lake.cache_refcount_of(witness) == 2
    assert (lake.cache_entry_count(), lake.cache_stats().shared_hits) == (1, 1)
    for name in ("../x", "/etc/passwd", "a/b", "", "a\0b", "C:x"):
        with pytest.raises(rv.UnsafePath) as unsafe:
            backend.register("bad", name)
        assert unsafe.value.name == name
    with pytest.raises(rv.InvalidVectorType, match="integers"):
        backend.write("docs", "x.bin", ids=["a"], vectors=[[0.0]])


def test_equal_answers_have_equal_hashes() -> None:
    backend = rv.LocalBackend("memory")
    backend.put_collection("docs", ids=[1, 2], vectors=[[0.0, 0.0], [3.0, 4.0]])
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    assert len({lake.search_one("docs", [0.0, 0.0]) for _ in range(2)}) == 1
    assert len({lake.search_batch("docs", [[0.0, 0.0], [3.0, 4.0]]) for _ in range(2)}) == 1
