"""Which state of an index a statement of the extension sees, and what an interrupted one leaves behind."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

import ruvector as rv
from ruvector.duckdb.extension import extension_path

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Loaded

QUERY = [0.0, 0.0]


def save(path: Path, offset: int, rows: int = 300, *, texts: bool = False) -> str:
    """Write an index whose ids begin with `offset`."""
    vectors = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    ids = np.arange(rows) + offset
    rv.build(vectors, ids=[str(id_) for id_ in ids] if texts else ids).save(path, vectors="f32")
    return str(path)


def refusal(loaded: Loaded, query: str) -> str:
    """Return what a query is refused with; nothing if it is answered."""
    try:
        loaded.rows(query)
    except loaded.error as error:
        return str(error)
    return ""


def test_the_next_statement_sees_what_has_changed(loaded: Loaded, tmp_path: Path) -> None:
    one, two = save(tmp_path / "one", 0), save(tmp_path / "two", 5000)
    loaded.rows(f"FROM ruvector_register('docs', '{one}')")
    loaded.con.execute("PREPARE table_ AS SELECT id FROM ruvector_knn('docs', [0.0, 0.0], k := 1)")
    loaded.con.execute("PREPARE plain AS SELECT id FROM system.main.ruvector_knn('docs', [0.0, 0.0], k := 1)")
    loaded.con.execute("PREPARE value AS SELECT ruvector_search('docs', [0.0, 0.0], 1)[1].id")
    loaded.con.execute("PREPARE raw AS SELECT system.main.ruvector_search('docs', [0.0, 0.0], 1)[1].id")

    def seen() -> set[int]:
        return {loaded.rows(f"EXECUTE {name}")[0][0] for name in ("table_", "plain", "value", "raw")}

    assert seen() == {0}
    loaded.rows(f"FROM ruvector_register('docs', '{two}')")
    assert seen() == {5000}
    save(tmp_path / "two", 7000)
    assert seen() == {7000}


def test_ids_of_another_type_are_not_taken_for_the_planned_ones(loaded: Loaded, tmp_path: Path) -> None:
    loaded.rows(f"FROM ruvector_register('docs', '{save(tmp_path / 'one', 0)}')")
    loaded.con.execute("PREPARE plain AS SELECT id FROM system.main.ruvector_knn('docs', [0.0, 0.0], k := 1)")
    loaded.con.execute("PREPARE macro AS SELECT id FROM ruvector_knn('docs', [0.0, 0.0], k := 1)")
    loaded.rows(f"FROM ruvector_register('docs', '{save(tmp_path / 'texts', 0, texts=True)}')")
    assert loaded.rows("EXECUTE macro") == [("0",)]
    # Some versions of DuckDB plan a prepared statement anew whenever something was registered.
    if said := refusal(loaded, "EXECUTE plain"):
        assert "have another type by now, prepare anew" in said
    else:
        assert loaded.rows("EXECUTE plain") == [("0",)]


def test_a_statement_sees_one_state_from_its_first_chunk_to_its_last(loaded: Loaded, tmp_path: Path) -> None:
    paths = [save(tmp_path / name, offset) for name, offset in (("one", 0), ("two", 5000))]
    loaded.rows(f"FROM ruvector_register('docs', '{paths[0]}')")
    loaded.con.execute("CREATE TABLE queries AS SELECT [0.0, 0.0]::FLOAT[2] AS v FROM range(400000)")
    other = loaded.con.cursor()
    stop = threading.Event()

    def change() -> None:
        at = 0
        while not stop.is_set():
            other.execute(f"FROM ruvector_register('docs', '{paths[at % 2]}')").fetchall()
            at += 1

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(5):
            found = loaded.rows("SELECT DISTINCT n.id FROM queries q, ruvector_knn('docs', q.v, k := 1) n")
            assert found in ([(0,)], [(5000,)])
            call = "SELECT DISTINCT h[1].id FROM (SELECT ruvector_search('docs', v, 1) AS h FROM queries)"
            assert loaded.rows(call) in ([(0,)], [(5000,)])
    finally:
        stop.set()
        changing.join()


def test_eight_connections_ask_while_another_registers(loaded: Loaded, tmp_path: Path) -> None:
    paths = [save(tmp_path / name, offset) for name, offset in (("one", 0), ("two", 5000), ("three", 9000))]
    loaded.rows(f"FROM ruvector_register('docs', '{paths[0]}')")
    macros = [row[0] for row in loaded.rows("FROM ruvector_macros()")]
    wrong: list[object] = []

    def ask() -> None:
        with loaded.con.cursor() as con:
            for macro in macros:
                con.execute(macro)
            for _ in range(60):
                found = con.execute(
                    "SELECT min(n.id), max(n.id) FROM range(50) q, ruvector_knn('docs', [0.0, 0.0], k := 2) n"
                ).fetchall()
                if found not in ([(0, 1)], [(5000, 5001)], [(9000, 9001)]):
                    wrong.append(found)

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for thread in asking:
        thread.start()
    at = 0
    while any(thread.is_alive() for thread in asking):
        loaded.rows(f"FROM ruvector_register('docs', '{paths[at % 3]}')")
        shutil.copyfile(paths[at % 3], tmp_path / "copy")
        at += 1
    assert wrong == []
    assert at > 8


def test_an_interrupted_build_leaves_nothing_behind(loaded: Loaded, tmp_path: Path) -> None:
    loaded.con.execute(
        "CREATE TABLE docs AS SELECT [random() FOR x IN range(16)]::FLOAT[16] AS v FROM range(400000)"
    )
    timer = threading.Timer(0.5, loaded.con.interrupt)
    timer.start()
    with pytest.raises(duckdb.InterruptException):
        loaded.rows(f"FROM ruvector_build('docs', 'v', '{tmp_path}/docs.rbpx', nlist := 2000, bits := 9)")
    timer.join()
    assert list(tmp_path.iterdir()) == []
    assert loaded.rows("SELECT count(*) FROM docs") == [(400_000,)]


def test_a_closed_database_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "store.duckdb"
    for _ in range(3):
        with duckdb.connect(file, config={"allow_unsigned_extensions": True}) as con:
            con.execute(f"LOAD '{extension_path()}'")
            con.execute("CREATE OR REPLACE TABLE one AS SELECT ruvector_distance([0], [3], 'l2') AS d")
        # What holds on to the database would keep its log, and another process out.
        assert [path.name for path in tmp_path.iterdir()] == ["store.duckdb"]
