"""Ten thousand random calls in a process of their own: none crashes, none leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import ruvector as rv

CALLS = """
import gc, os, random, resource
import duckdb, numpy as np
from ruvector.duckdb.extension import install

saved, folder = os.environ["SAVED"], os.environ["FOLDER"]
draw = random.Random(20)
con = duckdb.connect(config={"allow_unsigned_extensions": True, "threads": 2})
install(con)
con.execute("SET enable_progress_bar = false")
rows = np.random.default_rng(1).standard_normal((3000, 32)).astype(np.float32)
con.execute("CREATE TABLE docs AS SELECT id, v::FLOAT[32] AS v, v::DOUBLE[] AS d, 't' || id AS t FROM "
            "(SELECT unnest($ids) AS id, unnest($rows) AS v)",
            {"ids": list(range(3000)), "rows": rows.tolist()})
con.execute("UPDATE docs SET v = NULL WHERE id % 11 = 3")
con.execute(f"FROM ruvector_register('docs', '{saved}')")

ODD = ["NULL", "0", "-1", "1", "3", "2.5", "1e300", "'nan'::DOUBLE", "'inf'::FLOAT", "true", "'x'", "''",
       "9223372036854775807", "170141183460469231731687303715884105727", "[]", "[1]", "[NULL]",
    "[[1.0]]", "{'a': 1}",
       "'2020-01-01'::DATE", "'ab'::BLOB", "[1.5, 2]::FLOAT[2]", "[true, NULL]", "MAP {'a': 1}",
    "INTERVAL 1 DAY",
       "gen_random_uuid()", "['a', NULL]", "0.1::DECIMAL(38, 10)", "'1'::BIT"]
VECTORS = ["d.v", "d.d", "d.v::FLOAT[]", "d.v[1:7]", "[0.5 FOR x IN range(32)]",
    "[x FOR x IN range(32)]", "d.t",
           "[NULL FOR x IN range(32)]", "[0.1::DECIMAL(30, 5) FOR x IN range(32)]", "NULL"]
INDEXES = ["'docs'", f"'{saved}'", "'nope'", "NULL", f"'{folder}'", "7", "'/etc/passwd'"]
OPTIONS = ["k", "recall", "nprobe", "epsilon", "rerank", "exact", "metric", "filter", "foo"]
VALUES = ["5", "0.9", "true", "'l2sq'", "[1, 2, 3]", "(SELECT list(id) FROM docs)", "['t1']"]
FUNCTIONS = ["ruvector_search", "ruvector_search_text", "ruvector_distance", "ruvector_quantize",
    "ruvector_knn",
             "ruvector_within", "ruvector_index_info", "ruvector_recall", "ruvector_register",
    "ruvector_unregister",
             "ruvector_build", "__ruvector_search", "__ruvector_search_int", "__ruvector_within",
    "__ruvector_gather",
             "__ruvector_step", "__ruvector_columns", "__ruvector_job", "ruvector_macros"]
TABLES = {"ruvector_knn", "ruvector_within", "ruvector_index_info", "ruvector_recall", "ruvector_register",
          "ruvector_unregister", "ruvector_build", "__ruvector_job", "ruvector_macros"}

def one():
    kind = draw.random()
    if kind < 0.4:
        return draw.choice(ODD)
    if kind < 0.7:
        return draw.choice(VECTORS)
    return draw.choice(INDEXES) if kind < 0.85 else draw.choice(VALUES)

def good(function, system):
    if function in ("ruvector_distance",):
        return [draw.choice(VECTORS), draw.choice(VECTORS), draw.choice(["'l2'", "'ip'", "'foo'", "NULL"])]
    if function == "ruvector_quantize":
        return [draw.choice(VECTORS), str(draw.randint(0, 10)), str(draw.randint(-3, 9))][:draw.randint(1, 3)]
    if function == "ruvector_register":
        return [draw.choice(["'docs'", "'other'", "NULL"]), draw.choice(INDEXES)]
    if function in ("ruvector_build", "__ruvector_job"):
        return [draw.choice(["'docs'", "'nope'", "NULL"]), draw.choice(["'v'", "'d'", "'t'", "'id'"]),
                f"'{folder}/{draw.choice(['docs', 'b'])}.rbpx'"]
    given = [draw.choice(INDEXES[:2])]
    if "search" in function or "within" in function or "knn" in function:
        given.append(draw.choice(VECTORS[:2] if draw.random() < 0.6 else VECTORS))
        if system and "knn" in function or function == "ruvector_within":
            given[1] = "[0.5 FOR x IN range(32)]"
        if "knn" not in function:
            given.append(draw.choice(["1", "7", "2.5", "3000", "NULL"]))
    if function.startswith("__ruvector_"):
        given += [draw.choice(["NULL", "{'recall': 0.5}", "{'filter': [1, 2]}", "{'exact': true}"]),
                  draw.choice(["'1 a'", "'2 b'", "NULL", "''"]), draw.choice(["NULL", "'x'", "''"])]
    return given

def call():
    function = draw.choice(FUNCTIONS)
    system = draw.choice(["", "system.main."]) if not function.startswith("__") else ""
    given = good(function, system) if draw.random() < 0.85 else [one() for _ in range(draw.randint(0, 6))]
    if draw.random() < 0.15 and given:
        given[draw.randrange(len(given))] = one()
    if function not in ("ruvector_distance", "ruvector_macros") and draw.random() < 0.3:
        name = draw.choice(OPTIONS)
        value = one() if draw.random() < 0.5 else draw.choice(VALUES)
        given.append(f"{{'{name}': {value}}}" if system and function not in TABLES else f"{name} := {value}")
    inside = f"{system}{function}({', '.join(given)})"
    limit = draw.choice([0, 1, 5, 40, 3000 if draw.random() < 0.02 else 60])
    if function in TABLES and not any("d." in argument for argument in given):
        return f"SELECT * FROM {inside} LIMIT 500"
    if function in TABLES:
        return f"SELECT * FROM (FROM docs LIMIT {limit}) d, {inside} n LIMIT 500"
    return f"SELECT {inside} FROM (FROM docs LIMIT {limit}) d"

def held():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

done = failed = 0
for at in range(10_000):
    query = call()
    try:
        con.execute(query).fetchall()
        done += 1
    except duckdb.Error as error:
        failed += 1
        if "please report" in str(error) or "INTERNAL" in str(error):
            raise SystemExit(f"{query}: {error}")
    if at == 4000:
        before = held()
print("\\n", done, failed, before, held())
"""


def test_no_call_crashes_or_leaks(python: Callable[..., str], saved: rv.Index, tmp_path: Path) -> None:
    printed = python(CALLS, SAVED=str(saved.path), FOLDER=str(tmp_path))
    done, failed, before, after = map(int, printed.split()[-4:])
    assert done + failed == 10_000
    assert done > 1000
    assert failed > 2000
    assert after - before < 40_000_000
