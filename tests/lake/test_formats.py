"""What is particular to Iceberg, Delta, Lance, DuckDB and Flight."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import lance
import numpy as np
import pyarrow as pa
import pyarrow.flight
import pytest
from deltalake import write_deltalake
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.types import StringType

import ruvector as rv
from ruvector.lake import PullRequest
from ruvector.lake.adapters import (
    DeltaBackend,
    DuckDBBackend,
    FlightBackend,
    IcebergBackend,
    LanceBackend,
)
from tests.lake.places import lists
from tests.lake.rows import DIM, make, nearest, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def pulled(backend: Any, collection: str, **request: Any) -> pa.Table:
    return pa.Table.from_batches(list(backend.pull(collection, PullRequest(**request))))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[SqlCatalog]:
    """An Iceberg catalog with a namespace."""
    made = SqlCatalog("c", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/warehouse")
    made.create_namespace("library")
    yield made
    made.close()


def test_iceberg_reads_older_files_by_a_newer_schema(catalog: SqlCatalog) -> None:
    table = lists(make(10))
    backend = IcebergBackend("iceberg", catalog)
    docs = catalog.create_table("library.docs", schema=table.schema)
    docs.append(table)
    told = backend.generation("library.docs")
    with docs.update_schema() as update:
        update.add_column("title", StringType())
    # No row has changed, and what is read is the snapshot's.
    assert backend.generation("library.docs") == told
    assert "title" not in pulled(backend, "library.docs").column_names
    more = lists(make(5, first=10)).append_column("title", pa.array(["t"] * 5))
    catalog.load_table("library.docs").append(more)
    found = pulled(backend, "library.docs", columns=("id", "title"))
    assert sorted(found.to_pylist(), key=lambda row: row["id"])[9:11] == [
        {"id": 9, "title": None},
        {"id": 10, "title": "t"},
    ]


def test_iceberg_that_is_rolled_back_is_what_it_was(catalog: SqlCatalog) -> None:
    backend = IcebergBackend("iceberg", catalog)
    docs = catalog.create_table("library.docs", schema=lists(make(1)).schema)
    assert backend.generation("library.docs") == 0
    docs.append(lists(make(10)))
    first = backend.generation("library.docs")
    docs.append(lists(make(10, first=10)))
    assert backend.generation("library.docs") != first
    assert isinstance(first, int)
    catalog.load_table("library.docs").manage_snapshots().set_current_snapshot(first).commit()
    assert backend.generation("library.docs") == first
    assert plain(pulled(backend, "library.docs")) == plain(lists(make(10)))


def test_iceberg_leaves_out_files_that_a_filter_rules_out(catalog: SqlCatalog) -> None:
    backend = IcebergBackend("iceberg", catalog)
    docs = catalog.create_table("library.docs", schema=lists(make(1)).schema)
    for first in (0, 100, 200):
        docs.append(lists(make(100, first=first)))
    gone = [task.file.file_path for task in docs.scan(row_filter="id < 100").plan_files()]
    assert len(gone) == 1
    Path(gone[0].removeprefix("file://")).unlink()
    found = pulled(backend, "library.docs", columns=("id",), filter=((("id", ">=", 150),),))
    assert sorted(found.column("id").to_pylist()) == list(range(150, 300))


def test_delta_made_anew_is_another_one(tmp_path: Path) -> None:
    backend = DeltaBackend("delta", tmp_path)
    write_deltalake(tmp_path / "docs", lists(make(10)))
    told, where = backend.generation("docs"), backend.layout("docs").data_ref
    shutil.rmtree(tmp_path / "docs")
    write_deltalake(tmp_path / "docs", lists(make(10, seed=1)))
    assert backend.generation("docs") != told
    assert backend.layout("docs").data_ref != where


def test_delta_partitions_are_columns(tmp_path: Path) -> None:
    table = lists(make(30)).drop_columns(["weight"])
    write_deltalake(tmp_path / "docs", table, partition_by=["lang"])
    backend = DeltaBackend("delta", tmp_path)
    assert plain(pulled(backend, "docs").select(table.column_names)) == plain(table)
    found = pulled(backend, "docs", columns=("id",), filter=((("lang", "=", "de"),),))
    assert sorted(found.column("id").to_pylist()) == [1, 7, 13, 19, 25]


@pytest.mark.parametrize("columns", [("id", "vector"), ("vector", "lang", "id")])
def test_delta_with_mapped_columns_is_read_by_its_own_engine(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    table = lists(make(40))
    mapped = {
        "delta.columnMapping.mode": "name",
        "delta.minReaderVersion": "2",
        "delta.minWriterVersion": "5",
    }
    write_deltalake(tmp_path / "docs", table, configuration=mapped)
    backend = DeltaBackend("delta", tmp_path)
    assert backend.layout("docs").pieces == ()
    assert plain(pulled(backend, "docs", columns=columns)) == plain(table.select(columns))
    found = pulled(backend, "docs", columns=columns, filter=((("lang", "=", "it's"),),))
    assert sorted(found.column("id").to_pylist()) == [3, 9, 15, 21, 27, 33, 39]


def test_lance_made_anew_is_another_one(tmp_path: Path) -> None:
    backend = LanceBackend("lance", tmp_path)
    lance.write_dataset(make(10), tmp_path / "docs.lance")
    told = backend.generation("docs")
    shutil.rmtree(tmp_path / "docs.lance")
    lance.write_dataset(make(10, seed=1), tmp_path / "docs.lance")
    assert backend.generation("docs") != told


def test_lance_searches(tmp_path: Path) -> None:
    table = make(300)
    lance.write_dataset(table, tmp_path / "docs.lance", max_rows_per_file=100)
    lance.dataset(tmp_path / "docs.lance").delete("id = 17")
    kept = table.filter(pa.compute.not_equal(table.column("id"), 17))
    queries = np.random.default_rng(5).standard_normal((3, DIM)).astype(np.float32)
    column = pa.array([queries[0], None, queries[2]], pa.list_(pa.float32(), DIM))
    found = LanceBackend("lance", tmp_path).search("docs", column, 10)
    for row in (0, 2):
        hits = [hit for hit in found.to_pylist() if hit["query_row"] == row]
        assert [hit["id"] for hit in hits] == nearest(kept, queries[row], 10)
        assert [hit["rank"] for hit in hits] == list(range(10))
    assert set(found.column("query_row").to_pylist()) == {0, 2}


def test_duckdb_without_ids_keeps_its_order(tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE docs AS SELECT [i, 1]::FLOAT[2] AS v FROM range(5000) t(i)")
    backend = DuckDBBackend("duckdb", tmp_path / "a.db")
    assert backend.layout("docs").id is None
    found = pulled(backend, "docs", skip_rows=10).column("v").to_pylist()
    assert found == [[float(row), 1.0] for row in range(10, 5000)]
    told = backend.generation("docs")
    with duckdb.connect(tmp_path / "a.db") as connection:
        connection.execute(
            "CREATE OR REPLACE TABLE docs AS SELECT [4999 - i, 1]::FLOAT[2] AS v FROM range(5000) t(i)"
        )
    assert backend.generation("docs") != told


def test_duckdb_views_over_files_notice_that_these_change(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(make(10), tmp_path / "docs.parquet")
    with duckdb.connect(tmp_path / "a.db") as connection:
        connection.execute(f"CREATE VIEW docs AS SELECT * FROM '{tmp_path}/docs.parquet'")
        connection.execute("CREATE VIEW numbers AS SELECT vector::FLOAT[] AS vector FROM docs")
    backend = DuckDBBackend("duckdb", tmp_path / "a.db")
    assert backend.layout("docs").dim == DIM
    told = backend.generation("docs")
    pq.write_table(make(10, seed=1), tmp_path / "docs.parquet")
    assert backend.generation("docs") != told
    with pytest.raises(rv.InvalidParameter, match="a column of ids"):
        backend.layout("numbers")


def test_duckdb_takes_a_query_for_its_generation() -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE docs AS SELECT 1 AS id, [1, 2]::FLOAT[2] AS v, 5 AS changed")
    backend = DuckDBBackend("duckdb", connection)
    backend.register("named", "docs", generation="SELECT max(changed) FROM docs")
    assert backend.generation("named") == "5"
    connection.execute("INSERT INTO docs VALUES (2, [3, 4], 9)")
    assert backend.generation("named") == "9"
    connection.close()


def test_duckdb_does_not_see_what_is_not_committed() -> None:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE docs AS SELECT 1 AS id, [1, 2]::FLOAT[2] AS v")
    backend = DuckDBBackend("duckdb", connection)
    told = backend.generation("docs")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO docs VALUES (2, [3, 4])")
    assert backend.generation("docs") == told
    assert pulled(backend, "docs").num_rows == 1
    connection.execute("COMMIT")
    assert backend.generation("docs") != told
    connection.close()


def test_a_duckdb_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    backend = DuckDBBackend("duckdb", tmp_path / "none.db")
    with pytest.raises(duckdb.IOException, match="does not exist"):
        backend.list_collections()
    assert not (tmp_path / "none.db").exists()


def test_flight_tells_its_generation_in_three_ways(flight_server: str) -> None:
    info = pyarrow.flight.FlightInfo
    path = pyarrow.flight.FlightDescriptor.for_path("docs")
    plain_schema = pa.schema([("id", pa.int64())])
    told = FlightBackend("flight", flight_server).tell
    assert told(info(plain_schema, path, [], app_metadata=b"17")) == 17
    assert told(info(plain_schema, path, [], app_metadata=b"v-17")) == "v-17"
    assert told(info(plain_schema, path, [], app_metadata=b"007")) == "007"
    assert told(info(plain_schema, path, [], app_metadata=b"\xff\x00")) == "ff00"
    assert told(info(plain_schema.with_metadata({"generation": "3"}), path, [])) == 3
    with pytest.raises(rv.InvalidParameter, match="app_metadata"):
        told(info(plain_schema, path, []))
    by_records = FlightBackend("flight", flight_server, generation=lambda found: found.total_records)
    assert by_records.tell(info(plain_schema, path, [], 5)) == 5


def test_flight_gives_columns_that_are_aligned(flight_server: str) -> None:
    client = pyarrow.flight.FlightClient(flight_server)
    backend = FlightBackend("flight", flight_server)
    for length in range(1, 9):
        # Names and texts of odd lengths move what comes after them.
        table = make(50).append_column("x" * length, pa.array(["y" * length] * 50))
        writer, _ = client.do_put(pyarrow.flight.FlightDescriptor.for_path("odd", "replace"), table.schema)
        with writer:
            writer.write_table(table)
        for batch in backend.pull("odd", PullRequest()):
            vectors = batch.column("vector").values
            assert vectors.buffers()[1].address % 4 == 0
            assert batch.column("lang").buffers()[1].address % 4 == 0
            assert batch.column("id").buffers()[1].address % 8 == 0
    client.close()


def test_flight_without_a_server_is_an_error() -> None:
    backend = FlightBackend("flight", "grpc://127.0.0.1:1")
    with pytest.raises(pyarrow.flight.FlightUnavailableError):
        backend.generation("docs")
