"""Indexes outlive their process: files, pickles, digests."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.conftest import Vectors


def same(a: rv.Index, b: rv.Index, queries: Vectors) -> bool:
    return a == b and a.search(queries).to_arrow().equals(b.search(queries).to_arrow())


@pytest.mark.parametrize("ids", ["rows", "int64", "uint64", "str"])
def test_a_saved_index_is_the_same(ids: str, docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "rows": None,
        "int64": np.arange(2000) - 2**40,
        "uint64": np.arange(2000, dtype=np.uint64) + np.uint64(2**63),
        "str": [f"d{row}" for row in range(2000)],
    }
    index = rv.build(docs, keys[ids], metric="cosine", seed=3)
    index.save(tmp_path / "docs.rbpx")
    assert index.path == str(tmp_path / "docs.rbpx")
    opened = rv.open(tmp_path / "docs.rbpx")
    assert same(index, opened, queries)
    assert (opened.vectors, opened.path, opened.id_type) == ("stored", index.path, index.id_type)
    assert (len(opened), opened.dim, opened.metric, opened.seed) == (2000, 32, "cosine", 3)
    assert opened.mapped_bytes == (tmp_path / "docs.rbpx").stat().st_size
    assert opened.memory_bytes < index.memory_bytes


def test_vectors_are_kept_as_asked(docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs)
    sizes = {}
    for vectors in ("keep", "f32", "f16", "none"):
        index.save(tmp_path / vectors, vectors=vectors)
        sizes[vectors] = (tmp_path / vectors).stat().st_size
    assert sizes["keep"] == sizes["f32"] > sizes["f16"] > sizes["none"]
    bare, half = rv.open(tmp_path / "none"), rv.open(tmp_path / "f16")
    assert bare == half == index
    assert half.search(queries, k=1, exact=True).to_numpy()[0].tolist() == (
        index.search(queries, k=1, exact=True).to_numpy()[0].tolist()
    )
    estimates = bare.search(queries)
    assert (bare.vectors, estimates.exact) == ("none", False)
    assert repr(estimates) == "Hits(20 queries, 200 hits, estimated distances)"
    with pytest.raises(rv.InvalidParameter, match="exact"):
        bare.search(queries, exact=True)
    with pytest.raises(rv.InvalidParameter):
        bare.save(tmp_path / "more", vectors="f32")
    with pytest.raises(rv.InvalidParameter, match='vectors: expected one of keep, f16, f32, none, got "f64"'):
        index.save(tmp_path / "more", vectors="f64")  # type: ignore[arg-type]


def test_a_file_without_vectors_borrows_them_again(docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs)
    index.save(tmp_path / "codes", vectors="none")
    opened = rv.open(tmp_path / "codes", vectors=docs)
    assert opened.vectors == "borrowed"
    assert same(index, opened, queries)
    with pytest.raises(rv.InvalidParameter, match="expected the column that the index was built from"):
        rv.open(tmp_path / "codes", vectors=docs[:100])
    with pytest.raises(rv.DimensionMismatch):
        rv.open(tmp_path / "codes", vectors=np.zeros((2000, 3), np.float32))


def test_damage_is_found(docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    path = tmp_path / "docs.rbpx"
    rv.build(docs).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(rv.PersistError, match="digest") as caught:
        rv.open(path)
    assert caught.value.reason == "digest_mismatch"
    lazy = rv.open(path, verify=False)
    assert len(lazy.search(queries)) == 200
    with pytest.raises(rv.PersistError, match="digest"):
        lazy.verify()
    path.write_bytes(content[:-100])
    with pytest.raises(rv.PersistError, match=str(path)):
        rv.open(path, verify=False)


def test_an_undamaged_file_verifies(docs: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs)
    index.verify()
    index.save(tmp_path / "docs.rbpx")
    rv.open(tmp_path / "docs.rbpx", verify=False).verify()


def test_other_arrow_files_are_refused(docs: Vectors, tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3]})
    with pa.ipc.new_file(tmp_path / "other.arrow", table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(rv.PersistError) as caught:
        rv.open(tmp_path / "other.arrow")
    assert caught.value.reason == "not_an_index"
    with pytest.raises(OSError, match=r"cannot write into .*: entity not found"):
        rv.build(docs).save(tmp_path / "no" / "folder")


def test_any_arrow_reader_reads_the_file(docs: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs)
    index.save(tmp_path / "docs.rbpx", vectors="none")
    with pa.OSFile(str(tmp_path / "docs.rbpx")) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.column("bin_code").to_pylist() == pa.table(index).column("bin_code").to_pylist()


def test_an_index_in_memory_is_pickled_whole(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs, [f"d{row}" for row in range(2000)])
    pickled = pickle.dumps(index)
    assert len(pickled) > docs.nbytes
    again = pickle.loads(pickled)
    assert same(index, again, queries)
    assert again.path is None
    assert same(index, pickle.loads(pickle.dumps(again)), queries)


def test_a_saved_index_is_pickled_by_its_path(
    docs: Vectors,
    queries: Vectors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    python: Callable[..., str],
) -> None:
    index = rv.build(docs)
    monkeypatch.chdir(tmp_path)
    index.save("docs.rbpx")
    (tmp_path / "pickled").write_bytes(pickle.dumps(index))
    assert (tmp_path / "pickled").stat().st_size < 500
    monkeypatch.chdir("/")
    for opened in (rv.open(tmp_path / "docs.rbpx"), pickle.loads((tmp_path / "pickled").read_bytes())):
        assert same(index, pickle.loads(pickle.dumps(opened)), queries)
    code = f"import pickle; print(pickle.load(open({str(tmp_path / 'pickled')!r}, 'rb')).digest)"
    assert python(code).strip() == index.digest


def test_a_file_that_cannot_stand_for_the_index_is_not_used(
    docs: Vectors, queries: Vectors, tmp_path: Path
) -> None:
    index = rv.build(docs)
    index.save(tmp_path / "codes", vectors="none")
    again = pickle.loads(pickle.dumps(index))
    assert same(index, again, queries)
    assert (again.vectors, again.path) == ("stored", None)
    index.save(tmp_path / "docs")
    rv.build(docs, seed=9).save(tmp_path / "docs")
    assert same(index, pickle.loads(pickle.dumps(index)), queries)


def test_a_pickled_path_whose_file_changed_is_refused(docs: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs)
    index.save(tmp_path / "docs")
    pickled = pickle.dumps(index)
    rv.build(docs, seed=9).save(tmp_path / "docs")
    with pytest.raises(rv.PersistError, match="the pickled index: digest mismatch"):
        pickle.loads(pickled)
    Path(tmp_path / "docs").unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)


def test_a_closed_index_refuses(docs: Vectors, queries: Vectors, tmp_path: Path) -> None:
    with rv.build(docs) as index:
        index.save(tmp_path / "docs")
    with rv.open(tmp_path / "docs") as opened:
        hits = opened.search(queries)
    assert len(hits) == 200
    for closed in (index, opened):
        closed.close()
        assert repr(closed) == "Index(closed)"
        uses: list[Callable[[], Any]] = [
            lambda: len(closed),  # noqa: B023 - called at once
            lambda: closed.search(queries),  # noqa: B023
            lambda: closed.digest,  # noqa: B023
            lambda: closed == closed,  # noqa: B023, PLR0124
            lambda: closed.save(tmp_path / "again"),  # noqa: B023
            lambda: pickle.dumps(closed),  # noqa: B023
            lambda: pa.table(closed),  # noqa: B023
            closed.__enter__,
        ]
        for use in uses[:-1]:
            with pytest.raises(
                rv.InvalidParameter, match="index: expected an open one, got one that is closed"
            ):
                use()


def test_closing_frees_the_column() -> None:
    import weakref

    class Array(np.ndarray):
        """An array that can be watched."""

    rows = np.ones((100, 8), np.float32).view(Array)
    alive = weakref.ref(rows)
    index = rv.build(rows)
    del rows
    assert alive() is not None
    index.close()
    assert alive() is None
