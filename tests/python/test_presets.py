"""The four presets: what they find, what they refuse, what they keep."""

from __future__ import annotations

import doctest
import importlib
import pickle
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import ruvector as rv
from ruvector import presets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.python.conftest import Clustered, Vectors

EXACT = [rv.FlatF32Index, rv.RabitqPlusIndex, rv.RabitqAsymIndex]
ALL: list[Any] = [*EXACT, rv.RabitqIndex]
each = pytest.mark.parametrize("preset", ALL)
each_exact = pytest.mark.parametrize("preset", EXACT)


@pytest.mark.parametrize("module", [name for _, name, _ in pkgutil.iter_modules(presets.__path__)])
def test_examples_of_the_docstrings_run(module: str) -> None:
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    assert (
        doctest.testmod(importlib.import_module(f"ruvector.presets.{module}"), optionflags=flags).failed == 0
    )


@each_exact
def test_exact_presets_find_the_truth(preset: Any, docs: Vectors, queries: Vectors) -> None:
    index = preset.build(docs)
    truth = rv.exact_search(docs, queries, k=10).to_numpy()
    for query, ids, scores in zip(queries, *truth, strict=True):
        hits = index.search(query, 10) if preset is rv.FlatF32Index else index.search(query, 10, recall=1)
        assert hits == list(zip(ids.tolist(), scores.tolist(), strict=True))
        assert (type(hits[0].id), type(hits[0].score)) == (int, float)


def test_codes_alone_estimate(docs: Vectors, queries: Vectors) -> None:
    index = rv.RabitqIndex.build(docs)
    assert not index.search_batch(queries).exact
    truth = rv.exact_search(docs, queries, k=10).to_numpy()[0]
    shares = []
    for bits in (1, 4, 7):
        found = rv.RabitqIndex.build(docs, bits=bits).search_batch(queries, 10).to_numpy()[0]
        shares.append(np.mean([len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]) / 10)
    assert 0.3 < shares[0] < shares[1] < shares[2] > 0.9
    without = rv.RabitqAsymIndex.build(docs, rerank_factor=1)
    assert without.search(queries[0], 5) == index.search(queries[0], 5)


@each
def test_a_batch_is_an_arrow_table_of_the_single_answers(
    preset: Any, docs: Vectors, queries: Vectors
) -> None:
    index = preset.build(docs, metric="cosine")
    table = pa.table(index.search_batch(queries, 3))
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("query_index", "int64"),
        ("rank", "int32"),
        ("id", "int64"),
        ("score", "float"),
    ]
    assert table["query_index"].to_pylist() == [query for query in range(20) for _ in range(3)]
    single = [hit for query in queries for hit in index.search(query, 3)]
    assert list(zip(table["id"].to_pylist(), table["score"].to_pylist(), strict=True)) == single
    scores = index.search_batch(queries, 3)
    assert (len(scores), scores.num_queries) == (60, 20)
    assert scores.to_polars().columns == table.column_names
    assert pl.DataFrame(scores).equals(scores.to_polars())
    assert scores.to_arrow().equals(table)


@each
def test_ties_are_broken_by_id_and_k_is_clamped(preset: Any) -> None:
    rows = np.zeros((5, 8), np.float32)
    index = preset.build(rows, ids=[2**40 + 5, 3, 1, 2**63 - 1, -4])
    assert [hit.id for hit in index.search(rows[0], 3)] == [-4, 1, 3]
    assert [hit.id for hit in index.search(rows[0], 100)] == [-4, 1, 3, 2**40 + 5, 2**63 - 1]
    for k in (0, -1):
        with pytest.raises(ValueError, match="k: expected at least 1") as raised:
            index.search(rows[0], k)
        assert isinstance(raised.value, rv.RuVectorError)


@each
def test_only_float32_comes_in(preset: Any, docs: Vectors) -> None:
    for wrong in (
        docs.astype(np.float64),
        docs.astype(np.float16),
        docs.astype(np.int32),
        docs.T,
        docs[:, ::2],
    ):
        with pytest.raises(rv.InvalidVectorType):
            preset.build(wrong)
    halves = pa.FixedSizeListArray.from_arrays(pa.array(docs[:4].astype(np.float16).ravel()), 32)
    with pytest.raises(rv.InvalidVectorType, match="expected float32, got float16"):
        preset.build(halves)
    index = preset.build(docs)
    with pytest.raises(rv.InvalidVectorType):
        index.search(docs[0].astype(np.float64), 1)
    with pytest.raises(rv.InvalidVectorType):
        index.add(id=9999, vector=docs[0].astype(np.float16))
    with pytest.raises(rv.EmptyIndex):
        preset.build(np.empty((0, 4), np.float32))
    with pytest.raises(rv.InvalidParameter, match="one query"):
        index.search(docs[:2], 1)


@each
def test_all_forms_of_input_are_one(preset: Any, docs: Vectors) -> None:
    rows = docs[:50]
    column = pl.Series("v", rows, dtype=pl.Array(pl.Float32, 32))
    table = pl.DataFrame({"key": range(100, 150), "v": column})
    arrow = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 32)
    expected = preset.build(rows, ids=range(100, 150))
    assert preset.build(table, ids="key") == expected
    for form in (rows, column, arrow, rows.tolist(), tuple(map(tuple, rows.tolist()))):
        assert preset.build(form, ids=np.arange(100, 150)) == expected


@each
def test_rows_come_and_go(preset: Any, docs: Vectors) -> None:
    index = preset.build(docs[:100], ids=range(1000, 1100))
    index.add(id=2**62, vector=docs[100])
    index.add_batch(ids=[5, 6], vectors=docs[101:103])
    assert (len(index), 5 in index, 2**62 in index, 7 in index, "5" in index) == (
        103,
        True,
        True,
        False,
        False,
    )
    assert index.search(docs[100], 1)[0].id == 2**62
    assert (index.upsert(id=5, vector=docs[200].tolist()), index.upsert(id=7, vector=docs[201])) == (
        True,
        False,
    )
    assert index.search(docs[200], 1)[0].id == 5
    assert index.upsert_batch([5, 8], docs[101:103]) == 1
    assert (index.delete(1000), index.delete(1000), index.delete_batch([1001, 1002, 4])) == (True, False, 2)
    assert (len(index), 1000 in index) == (102, False)
    assert 1000 not in [hit.id for hit in index.search(docs[0], 100)]


@each
def test_a_refused_row_changes_nothing(preset: Any, docs: Vectors) -> None:
    index = preset.build(docs[:100])
    before, digest = index.search(docs[3], 5), index.digest
    with pytest.raises(rv.DimensionMismatch) as raised:
        index.add(id=500, vector=docs[0, :31])
    assert (raised.value.expected, raised.value.actual) == (32, 31)
    with pytest.raises(rv.DimensionMismatch):
        index.upsert(id=3, vector=[1.0])
    with pytest.raises(rv.DuplicateId):
        index.add(id=3, vector=docs[0])
    with pytest.raises(rv.InvalidVector, match=r"NaN|nan"):
        index.add(id=500, vector=np.full(32, np.nan, np.float32))
    with pytest.raises(rv.InvalidParameter):
        index.add_batch([500, 501], docs[:3])
    with pytest.raises(rv.InvalidParameter, match="one vector"):
        index.add(id=500, vector=docs[:2])
    assert (len(index), index.search(docs[3], 5), index.digest) == (100, before, digest)


@each
def test_an_emptied_index_says_so_and_can_be_filled(preset: Any, docs: Vectors, tmp_path: Path) -> None:
    index = preset.build(docs[:3])
    assert index.delete_batch([0, 1, 2]) == 3
    for ask in (index.search, index.search_batch):
        with pytest.raises(rv.EmptyIndex):
            ask(docs[0], 1)
    with pytest.raises(rv.EmptyIndex):
        index.save(tmp_path / "empty")
    if preset is not rv.RabitqIndex:
        assert (np.asarray(index).shape, list(index)) == ((0, 32), [])
    other = preset.build(docs[5:6])
    other.delete(0)
    assert index == other
    index.add(id=4, vector=docs[4])
    assert [hit.id for hit in index.search(docs[4], 3)] == [4]


@each_exact
def test_vectors_lie_in_one_piece(preset: Any, docs: Vectors, tmp_path: Path) -> None:
    index = preset.build(docs, ids=range(5000, 7000))
    array = np.asarray(index)
    assert np.shares_memory(array, docs)
    assert (str(array.dtype), array.flags.writeable, array.shape) == ("float32", False, (2000, 32))
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True
    index.delete_batch([5000, 5002])
    index.add(id=1, vector=docs[7])
    after = np.asarray(index)
    assert after.tolist() == [*docs[[1]].tolist(), *docs[3:].tolist(), docs[7].tolist()]
    assert np.shares_memory(after, np.asarray(index))
    assert pa.array(index.ids).to_pylist() == [5001, *range(5003, 7000), 1]
    assert array.tolist() == docs.tolist()
    index.save(tmp_path / "index")
    loaded = preset.load(tmp_path / "index")
    assert (loaded, np.asarray(loaded).tolist()) == (index, after.tolist())
    del index, loaded
    assert after[-1].tolist() == docs[7].tolist()


@each_exact
def test_numpy_gets_what_it_asks_for(preset: Any, docs: Vectors) -> None:
    index = preset.build(docs)
    assert np.asarray(index, dtype=np.float64).dtype == np.float64
    copied = np.array(index, copy=True)
    assert not np.shares_memory(copied, docs)
    assert copied.flags.writeable
    with pytest.raises(ValueError, match="float64"):
        np.array(index, dtype=np.float64, copy=False)


@each_exact
def test_originals_are_found_by_id(preset: Any, docs: Vectors) -> None:
    index = preset.build(docs, ids=[f"d{row}" for row in range(2000)])
    assert index["d17"].tolist() == docs[17].tolist()
    for missing in ("d2000", 17):
        with pytest.raises(KeyError) as raised:
            index[missing]
        assert isinstance(raised.value, (LookupError, rv.RuVectorError))
    pairs = list(index)
    assert [key for key, _ in pairs] == [f"d{row}" for row in range(2000)]
    assert all((vector == row).all() for (_, vector), row in zip(pairs, docs, strict=True))


@pytest.mark.parametrize("options", [None, {"rerank_factor": 1}])
def test_codes_alone_have_no_originals(options: dict[str, Any] | None, docs: Vectors, tmp_path: Path) -> None:
    index: Any = rv.RabitqAsymIndex.build(docs, **options) if options else rv.RabitqIndex.build(docs)
    asks: list[Callable[[], object]] = [
        lambda: index[3],
        lambda: list(index),
        lambda: np.asarray(index),
        lambda: index.norms,
        lambda: index.save(tmp_path / "x", format="rbpx1"),
    ]
    for ask in asks:
        with pytest.raises(TypeError, match="of codes only") as raised:
            ask()
        assert isinstance(raised.value, rv.RuVectorError)
    assert index.memory_bytes < docs.nbytes


@each
def test_what_was_saved_is_loaded(preset: Any, docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    index = preset.build(docs, ids=np.arange(2000, dtype=np.uint64) + np.uint64(2**63), metric="ip", seed=9)
    index.save(tmp_path / "index")
    loaded = preset.load(tmp_path / "index")
    assert (loaded == index, loaded.seed, loaded.metric, len(loaded)) == (True, 9, "ip", 2000)
    assert loaded.search_batch(queries).to_arrow().equals(index.search_batch(queries).to_arrow())
    loaded.add(id=1, vector=docs[0])
    assert (loaded != index, 1 in loaded, 1 in index) == (True, True, False)
    again = pickle.loads(pickle.dumps(index))
    assert (type(again), again) == (preset, index)
    with pytest.raises(rv.PersistError):
        preset.load(tmp_path / "nothing")


def test_files_cross_over_between_classes(docs: Vectors, tmp_path: Path) -> None:
    rv.RabitqIndex.build(docs).save(tmp_path / "codes")
    rv.build(docs).save(tmp_path / "engine")
    for preset in (rv.FlatF32Index, rv.RabitqPlusIndex):
        with pytest.raises(rv.InvalidParameter, match="codes only"):
            preset.load(tmp_path / "codes")
    assert rv.RabitqAsymIndex.load(tmp_path / "codes").rerank_factor == 1
    assert rv.RabitqAsymIndex.load(tmp_path / "engine").rerank_factor == 20
    for preset in ALL:
        index = preset.load(tmp_path / "engine")
        index.add(id=2000, vector=docs[0])
        assert len(index) == 2001
    assert rv.RabitqIndex.load(tmp_path / "engine").memory_bytes > 0


@each
def test_all_presets_are_built_alike(preset: Any, docs: Vectors) -> None:
    options: dict[str, Any] = {"seed": 7, "rerank_factor": 5, "rotation": "fht-kac", "bits": 1, "nlist": 3}
    index = preset.build(docs, ids=range(2000), metric="l2", **options)
    assert (index.seed, index.bits, index.metric) == (7, 1, "l2")
    assert index.nlist == (1 if preset is rv.FlatF32Index else 3)


@each
def test_equal_means_class_rows_and_seed(preset: Any, docs: Vectors) -> None:
    index = preset.build(docs[:200])
    assert index == preset.build(docs[:200])
    assert index != preset.build(docs[:200], seed=43)
    assert index != preset.build(docs[:199])
    assert all(index != other.build(docs[:200]) for other in ALL if other is not preset)
    assert preset.__hash__ is None
    with pytest.raises(TypeError):
        hash(index)
    assert repr(index).startswith(f"{preset.__name__}(n=200, dim=32, metric=l2sq, memory_bytes=")
    with pytest.raises(TypeError, match="build"):
        preset()


@each
def test_every_preset_is_an_index(preset: Any, docs: Vectors) -> None:
    assert isinstance(preset.build(docs), rv.AnyIndex)
    assert isinstance(rv.build(docs), rv.AnyIndex)
    assert not isinstance(docs.tolist(), rv.AnyIndex)


def test_memory_is_told_in_full(clustered: Clustered) -> None:
    rows = clustered(1000, 256)
    codes, flat, plus = (
        preset.build(rows).memory_bytes for preset in (rv.RabitqIndex, rv.FlatF32Index, rv.RabitqPlusIndex)
    )
    assert rows.nbytes / 20 < codes < rows.nbytes / 5
    assert codes < rows.nbytes < flat < plus < rows.nbytes * 1.2


def test_codes_are_the_signs_of_rotated_residuals(docs: Vectors) -> None:
    index = rv.RabitqPlusIndex.build(docs, nlist=1, seed=5)
    rotation = index.rotation()
    assert (rotation.kind, rotation.seed, rotation.dim, rotation.padded_dim) == ("fht-kac", 5, 32, 64)
    turned = np.array([rotation.apply(row) for row in docs], np.float64)
    assert np.allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(docs, axis=1), rtol=1e-5)
    packed = pa.array(index.packed)
    assert (packed.type, len(packed)) == (pa.binary(8), 2000)
    bits = np.unpackbits(np.frombuffer(b"".join(packed.to_pylist()), np.uint8).reshape(2000, 8), axis=1)
    residuals = turned - turned.mean(axis=0)
    sure = np.abs(residuals) > 0.5  # the centroid is the mean of a sample, and not of all rows
    assert (bits[sure] == (residuals[sure] >= 0)).all()
    norms = pa.array(index.norms).to_numpy()
    assert np.allclose(norms, np.linalg.norm(docs, axis=1), rtol=1e-6)
    for wrong in (docs[0, :5], docs[:2]):
        with pytest.raises(rv.VectorIndexError):
            rotation.apply(wrong)


def test_impossible_options_are_refused(docs: Vectors) -> None:
    wrong: Any = "haar"
    cases: list[dict[str, Any]] = [
        {"rotation": wrong},
        {"rerank_factor": 0},
        {"bits": 0},
        {"bits": 99},
        {"nlist": 0},
    ]
    for options in cases:
        with pytest.raises(rv.InvalidParameter) as raised:
            rv.RabitqPlusIndex.build(docs, **options)
        assert raised.value.name == next(iter(options))
    with pytest.raises(rv.InvalidParameter, match="format"):
        rv.RabitqPlusIndex.build(docs).save("x", format=wrong)


def test_changes_and_copies_by_many_threads_lose_nothing(docs: Vectors) -> None:
    index = rv.RabitqPlusIndex.build(docs[:200])

    def work(thread: int) -> None:
        for step in range(40):
            index.add(id=1000 * (thread + 1) + step, vector=docs[200 + 40 * thread + step])
            rows = np.asarray(index)
            assert (rows[:200] == docs[:200]).all()
            assert index.search(docs[3], 1)[0].id == 3

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert (len(index), np.asarray(index).shape) == (360, (360, 32))
    assert all(
        index[1000 * (t + 1) + s].tolist() == docs[200 + 40 * t + s].tolist()
        for t in range(4)
        for s in range(40)
    )


def test_recommendations_come_from_the_table() -> None:
    assert rv.recommend(100_000, 128).index == "RabitqPlusIndex"
    assert rv.recommend(100_000, 128, 0.4).index == "RabitqIndex"
    exact = rv.recommend(1_000_000, 768, 1.0)
    assert (exact.index, exact.measured_recall, exact.measured_n) == ("FlatF32Index", 1.0, 100_000)
    assert exact.memory_bytes > 4 * 768 * 1_000_000
    for target in (0.5, 0.9, 0.99):
        assert rv.recommend(50_000, 384, target).measured_recall >= target
    assert hash(exact) == hash(rv.recommend(1_000_000, 768, 1.0))
    for wrong in ((0, 8, 0.9), (8, 0, 0.9), (8, 8, 0.0), (8, 8, 1.1)):
        with pytest.raises(rv.InvalidParameter):
            rv.recommend(*wrong)


def test_presets_are_imported_when_they_are_used(python: Callable[..., str]) -> None:
    code = """
import sys
sys.modules["polars"] = None  # as if it were not installed
import ruvector as rv
print("ruvector.presets" in sys.modules)
hits = rv.RabitqPlusIndex.build([[0.0], [1.0]]).search([0.9], k=1)
print(hits[0].id, [name for name in ("numpy", "pyarrow") if name in sys.modules])
"""
    assert python(code).split() == ["False", "1", "[]"]
