"""SQL through the ADBC driver for Flight SQL, which no one here wrote."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.flight.sql_client import QUERY, ROWS, VECTORS, connect, docs, meta, rows, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruvector.flight import FlightServer

NEVER_ENDS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE (a.range * b.range) % 7 = 3"


@pytest.fixture(scope="module")
def server() -> Iterator[FlightServer]:
    with serve({"docs": docs()}, tables={"meta": meta()}) as running:
        yield running


@pytest.fixture
def connection(server: FlightServer) -> Iterator[Any]:
    with connect(server) as connected:
        yield connected


@pytest.fixture
def cursor(connection: Any) -> Iterator[Any]:
    with connection.cursor() as opened:
        yield opened


def test_a_query_gives_its_rows_and_their_types(cursor: Any) -> None:
    cursor.execute("SELECT 1 AS a, 'x' AS b, [1.5, 2.5]::FLOAT[2] AS v")
    table = cursor.fetch_arrow_table()
    assert table.schema.field("v").type == pa.list_(pa.float32(), 2)
    assert table.to_pylist() == [{"a": 1, "b": "x", "v": [1.5, 2.5]}]


def test_a_statement_searches_an_index_by_name(cursor: Any) -> None:
    found = rows(cursor, f"SELECT id, distance FROM ruvector_knn('docs', {QUERY}, k := 3) ORDER BY distance")
    expected = docs().search(VECTORS[:1], 3).to_arrow()
    assert found == list(zip(expected["id"].to_pylist(), expected["distance"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    "vector_type", [pa.list_(pa.float32()), pa.list_(pa.float32(), 8), pa.list_(pa.float64())]
)
def test_a_vector_may_be_bound(cursor: Any, vector_type: pa.DataType) -> None:
    bound = pa.record_batch([pa.array([QUERY], vector_type)], names=["query"])
    found = rows(cursor, "SELECT id FROM ruvector_knn('docs', ?, k := 3) ORDER BY distance", bound)
    assert [id_ for (id_,) in found] == docs().search(VECTORS[:1], 3).to_arrow()["id"].to_pylist()


def test_rows_of_values_run_a_query_once_each(cursor: Any) -> None:
    bound = pa.record_batch([pa.array(VECTORS[:5].tolist(), pa.list_(pa.float32()))], names=["query"])
    found = rows(cursor, "SELECT id FROM ruvector_knn('docs', ?, k := 1)", bound)
    assert found == [(0,), (1,), (2,), (3,), (4,)]


def test_hits_join_a_registered_table(cursor: Any) -> None:
    sql = "SELECT m.title FROM ruvector_knn('docs', ?, k := ?) n JOIN meta m USING (id) ORDER BY n.distance"
    assert rows(cursor, sql, (QUERY, 1)) == [("title 0",)]


def test_each_row_of_a_table_may_be_a_query(cursor: Any) -> None:
    rows(cursor, f"CREATE OR REPLACE TABLE queries AS SELECT 1 AS q, {QUERY}::FLOAT[] AS v")
    assert rows(cursor, "SELECT q, n.id FROM queries, ruvector_knn('docs', v, k := 1) n") == [(1, 0)]


def test_parameters_are_told_with_their_types(cursor: Any) -> None:
    told = cursor.adbc_prepare("SELECT * FROM ruvector_knn('docs', ?, k := ?)")
    assert [field.type for field in told] == [pa.list_(pa.field("l", pa.float32())), pa.int64()]


def test_the_schema_of_a_query_is_told_without_running_it(cursor: Any) -> None:
    told = cursor.adbc_execute_schema("SELECT id, distance FROM ruvector_knn('docs', ?, k := ?)")
    assert told == pa.schema([("id", pa.int64()), ("distance", pa.float32())])


def test_an_index_that_is_added_later_is_found(server: FlightServer, cursor: Any) -> None:
    server.add("late", docs())
    assert rows(cursor, f"SELECT id FROM ruvector_knn('late', {QUERY}, k := 1)") == [(0,)]
    server.remove("late")
    with pytest.raises(Exception, match="expected the name of an index or a collection that is served"):
        rows(cursor, f"SELECT id FROM ruvector_knn('late', {QUERY}, k := 2)")


def test_tables_are_made_changed_and_dropped(cursor: Any) -> None:
    rows(cursor, "CREATE OR REPLACE TABLE numbers (x INTEGER)")
    cursor.executemany("INSERT INTO numbers VALUES (?)", [(1,), (2,), (3,)])
    assert cursor.rowcount == 3
    assert rows(cursor, "UPDATE numbers SET x = x + 10 WHERE x > 1") == [(2,)]
    assert rows(cursor, "DELETE FROM numbers WHERE x = 1 RETURNING x") == [(1,)]
    assert rows(cursor, "SELECT x FROM numbers ORDER BY x") == [(12,), (13,)]
    rows(cursor, "DROP TABLE numbers")


def test_of_many_rows_all_are_written_or_none(cursor: Any) -> None:
    rows(cursor, "CREATE OR REPLACE TABLE small (x TINYINT)")
    with pytest.raises(Exception, match="out of range"):
        cursor.executemany("INSERT INTO small VALUES (?)", [(1,), (1000,)])
    assert rows(cursor, "SELECT count(*) FROM small") == [(0,)]


def test_tables_are_written_in_bulk(cursor: Any) -> None:
    rows(cursor, "DROP TABLE IF EXISTS bulk")
    table = pa.table({"id": [1, 2], "v": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))})
    assert cursor.adbc_ingest("bulk", table, mode="create") == 2
    assert cursor.adbc_ingest("bulk", table, mode="append") == 2
    cursor.execute("SELECT * FROM bulk ORDER BY id")
    assert cursor.fetch_arrow_table().column("v").to_pylist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    with pytest.raises(Exception, match="expected a name that is free"):
        cursor.adbc_ingest("bulk", table, mode="create")
    assert cursor.adbc_ingest("bulk", table, mode="replace") == 2
    assert rows(cursor, "SELECT count(*) FROM bulk") == [(2,)]


def test_a_transaction_is_committed_or_rolled_back(server: FlightServer) -> None:
    with connect(server, autocommit=False) as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE OR REPLACE TABLE account (x INTEGER)")
        connection.commit()
        rows(cursor, "INSERT INTO account VALUES (1)")
        connection.rollback()
        rows(cursor, "INSERT INTO account VALUES (2)")
        connection.commit()
        with connect(server) as other, other.cursor() as looking:
            assert rows(looking, "SELECT x FROM account") == [(2,)]


def test_statements_of_one_transaction_may_overlap(server: FlightServer) -> None:
    with (
        connect(server, autocommit=False) as connection,
        connection.cursor() as one,
        connection.cursor() as two,
    ):
        one.execute("SELECT i FROM range(100000) t(i)")
        assert rows(two, "SELECT 42") == [(42,)]
        assert len(one.fetchall()) == 100_000


def test_results_come_as_they_are_read(cursor: Any) -> None:
    began = time.monotonic()
    cursor.execute("SELECT i FROM range(100000000000) t(i)")
    reader = cursor.fetch_record_batch()
    assert reader.read_next_batch().column(0)[0].as_py() == 0
    reader.close()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("incremental", ["false", "true"])
def test_an_answer_may_be_read_by_another_cursor(connection: Any, cursor: Any, incremental: str) -> None:
    cursor.adbc_statement.set_options(**{"adbc.statement.exec.incremental": incremental})
    (partition,), schema = cursor.adbc_execute_partitions("SELECT 42 AS x")
    assert schema in {None, pa.schema([("x", pa.int32())])}
    with connection.cursor() as other:
        other.adbc_read_partition(partition)
        assert other.fetchall() == [(42,)]


def test_a_query_is_cancelled(server: FlightServer) -> None:
    with connect(server) as connection, connection.cursor() as cursor:
        threading.Timer(0.3, cursor.adbc_cancel).start()
        with pytest.raises(Exception, match=r"(?i)cancel"):
            cursor.execute(NEVER_ENDS)
        assert rows(cursor, "SELECT 1") == [(1,)]


def test_the_database_tells_what_there_is(connection: Any, cursor: Any) -> None:
    rows(cursor, "CREATE OR REPLACE TABLE parents (id INTEGER PRIMARY KEY)")
    (catalog,) = connection.adbc_get_objects(depth="tables", table_name_filter="meta").read_all().to_pylist()
    (schema,) = catalog["catalog_db_schemas"]
    assert schema["db_schema_name"] == "main"
    assert [(t["table_name"], t["table_type"]) for t in schema["db_schema_tables"]] == [("meta", "VIEW")]
    assert connection.adbc_get_table_schema("meta") == pa.schema([("id", pa.int64()), ("title", pa.string())])
    assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
    info = connection.adbc_get_info()
    assert info["vendor_name"].startswith("ruvector (DuckDB ")


def test_messages_say_what_was_wrong_and_nothing_of_the_server(cursor: Any) -> None:
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT.*Parser Error: syntax error at or near"):
        cursor.execute("SELEC 1")
    with pytest.raises(Exception, match="dimension mismatch: the index has 8, query has 1") as raised:
        rows(cursor, "SELECT * FROM ruvector_knn('docs', [1.0])")
    assert "Traceback" not in str(raised.value)
    assert ".py" not in str(raised.value)


def test_many_clients_ask_at_once(server: FlightServer) -> None:
    failed: list[BaseException] = []

    def ask(at: int) -> None:
        try:
            with connect(server) as connection, connection.cursor() as cursor:
                for _ in range(5):
                    sql = "SELECT id FROM ruvector_knn('docs', ?, k := 1)"
                    assert rows(cursor, sql, (VECTORS[at].tolist(),)) == [(at,)]
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert ROWS > 8
