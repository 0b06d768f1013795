"""`ruvector_build` of the extension: the index that Python builds of the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Loaded, Vectors

COLUMNS = (
    "name, path, rows, dim, metric, bits, nlist, id_type, vectors, null_count, memory_bytes, mapped_bytes"
)


@pytest.fixture
def docs_table(loaded: Loaded, docs: Vectors) -> pa.Table:
    """A table with ids of every type, and rows without a vector."""
    vectors = pa.array(
        [None if at % 97 == 5 else row for at, row in enumerate(docs)], pa.list_(pa.float32(), 32)
    )
    loaded.table(
        "docs",
        v=vectors,
        small=pa.array(np.arange(2000, dtype=np.int16)),
        unsigned=pa.array(np.arange(2000, dtype=np.uint32)),
        name=pa.array([f"document {at}" for at in range(2000)]),
    )
    return pa.table(
        {"v": vectors, "small": np.arange(2000), "name": [f"document {at}" for at in range(2000)]}
    )


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("", {}),
        (", id := 'small'", {"ids": "small"}),
        (", id := 'name', metric := 'cosine', bits := 4", {"ids": "name", "metric": "cosine", "bits": 4}),
        (", nlist := 20, seed := 7, vectors := 'f16'", {"nlist": 20, "seed": 7, "vectors": "f16"}),
        (", vectors := 'none'", {"vectors": "none"}),
    ],
)
def test_the_index_is_that_of_python(
    loaded: Loaded, docs_table: pa.Table, tmp_path: Path, written: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "docs.rbpx"
    (row,) = loaded.rows(f"FROM ruvector_build('docs', 'v', '{path}'{written})")
    assert [row] == loaded.rows(f"SELECT {COLUMNS} FROM ruvector_index_info('{path}')")
    how = {"vectors": "f32", **options}
    expected = rv.build_stream(lambda: [docs_table], column="v", **how)
    with rv.open(path) as built:
        assert built.digest == expected.digest
        assert built.null_count == 21
    assert [file.name for file in tmp_path.iterdir()] == ["docs.rbpx"]


def test_tables_are_views_queries_and_quoted_names(
    loaded: Loaded, docs_table: pa.Table, tmp_path: Path
) -> None:
    loaded.con.execute('CREATE VIEW "my view" AS SELECT id AS "the id", v::DOUBLE[] AS "the v" FROM docs')
    path = tmp_path / "docs.rbpx"
    (row,) = loaded.rows(f"""FROM ruvector_build('"my view"', '"the v"', '{path}', id := '"the id"')""")
    assert row[2:4] == (2000 - 21, 32)
    (row,) = loaded.rows(f"FROM ruvector_build('docs WHERE id < 100', 'v', '{path}', id := 'unsigned')")
    assert (row[2], row[7]) == (99, "uint64")
    assert len(docs_table) == 2000


def test_what_the_statement_sees_is_built(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "docs.rbpx"
    loaded.con.execute("BEGIN")
    loaded.con.execute("CREATE TABLE fresh AS SELECT i AS id, [i, 1.0]::FLOAT[2] AS v FROM range(10) t(i)")
    (row,) = loaded.rows(f"FROM ruvector_build('fresh', 'v', '{path}', id := 'id')")
    assert row[2] == 10
    loaded.con.execute("ROLLBACK")


def test_tables_that_cannot_be_built_are_refused(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "docs.rbpx"
    path.write_bytes(b"what was there before")
    for rows, message in (
        ("SELECT 1 AS id, NULL::FLOAT[2] AS v", "empty index: v has no vector that is not null"),
        ("SELECT 1 AS id, [1.0]::FLOAT[1] AS v WHERE false", "empty index: v has no vector that is not null"),
        ("SELECT 1 AS id, 'text' AS v", "v: expected a list or an array of numbers, got VARCHAR"),
        ("SELECT i % 3 AS id, [i]::FLOAT[1] AS v FROM range(9) t(i)", "duplicate id 0: rows 0 and 3"),
        ("SELECT NULL::INT AS id, [1.0]::FLOAT[1] AS v", "id, row 0: is null, expected an id"),
        ("SELECT 0.5 AS id, [1.0]::FLOAT[1] AS v", "id: expected integers or strings, got DECIMAL"),
        ("SELECT i AS id, [1.0 FOR x IN range(i)]::FLOAT[] AS v FROM range(1, 3) t(i)", "dimension mismatch"),
        ("SELECT 1 AS id, ['inf'::FLOAT] AS v", "v, row 0: element 0 is inf, expected a finite number"),
    ):
        loaded.con.execute(f"CREATE OR REPLACE TABLE bad AS {rows}")
        with pytest.raises(loaded.error, match=message):
            loaded.rows(f"FROM ruvector_build('bad', 'v', '{path}', id := 'id')")
    assert path.read_bytes() == b"what was there before"
    assert [file.name for file in tmp_path.iterdir()] == ["docs.rbpx"]
    with pytest.raises(loaded.error, match="No such file or directory"):
        loaded.rows(f"FROM ruvector_build('bad', 'v', '{tmp_path}/no/folder/docs.rbpx')")
