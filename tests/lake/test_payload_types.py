"""Columns of several places at once: text is text however a reader lays it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"plain": pa.string(), "large": pa.large_string(), "view": pa.string_view()}


def write(folder: Path, name: str, first: int, title: pa.Array) -> None:
    vectors = pa.array([[float(first + row), 0.0] for row in range(3)], pa.list_(pa.float32(), 2))
    table = pa.table({"id": range(first, first + 3), "title": title, "vector": vectors})
    pq.write_table(table, folder / f"{name}.parquet")


@pytest.fixture
def lake(tmp_path: Path) -> rv.RuLake:
    for place, (name, kind) in enumerate(KINDS.items()):
        titles = pa.array([f"{name} {row}" if row else None for row in range(3)], kind)
        write(tmp_path, name, place * 10, titles)
    write(tmp_path, "numbers", 30, pa.array(range(3)))
    lake = rv.RuLake.builder().build()
    lake.register_backend(rv.ParquetBackend("files", tmp_path))
    return lake


def test_texts_of_every_layout_are_one_column(lake: rv.RuLake) -> None:
    targets = [("files", name) for name in KINDS]
    found = lake.search_federated(query=[0.0, 0.0], targets=targets, k=9, columns=["title"], exact=True)
    table = found.to_arrow()
    assert table.schema.field("title").type == pa.string()
    expected = [f"{name} {row}" if row else None for name in KINDS for row in range(3)]
    assert table["title"].to_pylist() == expected


def test_one_layout_alone_stays_as_it_is(lake: rv.RuLake) -> None:
    found = lake.search_one("large", [0.0, 0.0], k=1, columns=["title"]).to_arrow()
    assert found.schema.field("title").type == pa.large_string()


def test_text_beside_numbers_is_refused(lake: rv.RuLake) -> None:
    targets = [("files", "plain"), ("files", "numbers")]
    with pytest.raises(rv.InvalidParameter, match='column "title" of one type'):
        lake.search_federated(query=[0.0, 0.0], targets=targets, columns=["title"])
