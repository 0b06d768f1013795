"""What the extension refuses, in which words; the connection works afterwards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import ruvector as rv
    from tests.python.conftest import Loaded

QUERY = "[" + ", ".join(["0.5"] * 32) + "]"
NAN = QUERY.replace("[0.5, 0.5, 0.5,", "[0.5, 0.5, 'nan'::FLOAT,")
NULL = QUERY.replace("[0.5, 0.5, 0.5,", "[0.5, 0.5, NULL,")
UNKNOWN = 'index: expected the name of a registered index or the path of a saved one, got "nope"'

REFUSED = [
    (f"'nope', {QUERY}", UNKNOWN),
    (f"NULL, {QUERY}", "index: expected a name or a path, got NULL"),
    (f"'{{path}}', {QUERY}, k := NULL", "k: expected at least 1, got NULL"),
    (f"'{{path}}', {QUERY}, k := 0", "k: expected at least 1, got 0"),
    (f"'{{path}}', {QUERY}, k := -3", "k: expected at least 1, got -3"),
    ("'{path}', [1.0, 2.0, 3.0]", "dimension mismatch: the index has 32, query has 3"),
    (f"'{{path}}', {NAN}", "query, row 0: element 2 is NaN, expected a finite number"),
    (f"'{{path}}', {NULL}", "query, row 0: element 2 is null, expected a number"),
    (f"'{{path}}', {QUERY}, metric := 'ip'", "metric: expected l2sq, which the index was built with, got ip"),
    (f"'{{path}}', {QUERY}, metric := 'foo'", 'metric: expected one of l2sq, l2, cosine, ip, got "foo"'),
    (f"'{{path}}', {QUERY}, recall := 2", "recall: expected above 0, at most 1, got 2"),
    (f"'{{path}}', {QUERY}, nprobe := 0", "nprobe: expected at least 1, got 0"),
    (f"'{{path}}', {QUERY}, epsilon := -1", "epsilon: expected a finite number, at least 0, got -1"),
    (f"'{{path}}', {QUERY}, nprobe := 3, exact := true", "nprobe: expected NULL with exact, got 3"),
    (f"'{{path}}', {QUERY}, filter := ['a']", "filter: expected int64 ids, as in the index, got str"),
    (f"'{{path}}', {QUERY}, filter := [true]", "filter: expected one boolean per row (2000), got 1 booleans"),
    (f"'{{path}}', {QUERY}, filter := [0.5]", "filter: expected a list of ids or of booleans, got DECIMAL[]"),
]


@pytest.mark.parametrize("function", ["ruvector_knn", "system.main.ruvector_knn"])
@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_mistakes_are_named(
    loaded: Loaded, saved: rv.Index, function: str, arguments: str, message: str
) -> None:
    with pytest.raises(loaded.error, match=re.escape(message)):
        loaded.rows(f"SELECT * FROM {function}({arguments.replace('{path}', str(saved.path))})")
    assert len(loaded.rows(f"SELECT * FROM {function}('{saved.path}', {QUERY})")) == 10


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("FROM ruvector_within('{path}', {v}, NULL)", "radius: expected a number, got NULL"),
        ("FROM ruvector_within('{path}', {v}, 'nan'::DOUBLE)", "radius: expected a number, got NaN"),
        ("FROM system.main.ruvector_within('{path}', {v}, NULL)", "radius: expected a number, got NULL"),
        ("SELECT ruvector_search('{path}', {v}, NULL)", "k: expected at least 1, got NULL"),
        ("SELECT ruvector_search('{path}', 'text', 3)", "query: expected a list or an array of numbers"),
        (
            "SELECT system.main.ruvector_search('{path}', {v}, 3, {'reach': 1})",
            "options: expected some of recall, nprobe, epsilon, rerank, exact, metric, filter, got reach",
        ),
        ("SELECT system.main.ruvector_search('{path}', {v}, 3, 7)", "options: expected a struct, as in"),
        (
            "SELECT system.main.ruvector_search('{path}', {v}, 3, {'exact': 7})",
            "exact: expected a boolean, got INTEGER",
        ),
        ("SELECT ruvector_distance([1.0], [1.0], NULL)", "metric: expected a name, got NULL"),
        ("SELECT ruvector_distance([1.0], [1.0], 'foo')", "metric: expected one of l2sq, l2, cosine, ip"),
        ("SELECT ruvector_distance([1.0], [1.0, 2.0], 'l2')", "dimension mismatch: a has 1, b has 2"),
        (
            "SELECT ruvector_distance('a', [1.0], 'l2')",
            "a: expected a list or an array of numbers, got VARCHAR",
        ),
        (
            "SELECT ruvector_distance(['a'], [1.0], 'l2')",
            "a: expected a list or an array of numbers, got one of",
        ),
        (
            "SELECT ruvector_distance([]::FLOAT[], []::FLOAT[], 'l2')",
            "a: dimensions: expected 1 to 65535, got 0",
        ),
        ("SELECT ruvector_quantize([1.0], bits := 10)", "bits: expected 1 to 9, got 10"),
        ("SELECT ruvector_quantize([1.0, 'nan'::FLOAT])", "v, row 0: element 1 is NaN"),
        ("FROM ruvector_index_info('nope')", UNKNOWN),
        ("FROM ruvector_index_info(NULL)", "index: expected a name or a path, got NULL"),
        ("FROM ruvector_recall('{path}', k := 0)", "k: expected at least 1, got 0"),
        ("FROM ruvector_register(NULL, 'x')", "name: expected a name, got NULL"),
        ("FROM ruvector_register('x', NULL)", "path: expected a path, got NULL"),
        ("FROM ruvector_unregister('x')", 'name: expected the name of a registered index, got "x"'),
        ("FROM ruvector_build(NULL, 'v', 'x')", "table: expected a name, got NULL"),
        ("FROM ruvector_build('docs', NULL, 'x')", "column: expected a name, got NULL"),
        ("FROM ruvector_build('docs', 'v', NULL)", "path: expected a path, got NULL"),
        ("FROM ruvector_build('docs', 'v', 'x', metric := 'foo')", "metric: expected one of"),
        (
            "FROM ruvector_build('docs', 'v', 'x', vectors := 'f64')",
            "vectors: expected one of none, f16, f32",
        ),
        ("FROM ruvector_build('docs', 'v', 'x', nlist := 0)", "nlist: expected at least 1, got 0"),
        ("SELECT __ruvector_step(7, 0)", "job 7 is not of a statement that runs"),
    ],
)
def test_every_function_names_its_mistakes(loaded: Loaded, saved: rv.Index, query: str, message: str) -> None:
    loaded.con.execute("CREATE TABLE docs AS SELECT [1.0::FLOAT] AS v")
    with pytest.raises(loaded.error, match=re.escape(message)):
        loaded.rows(query.replace("{path}", str(saved.path)).replace("{v}", QUERY))
    assert loaded.rows("SELECT ruvector_distance([0], [3], 'l2')") == [(3.0,)]


def test_a_file_that_is_no_index_is_named(loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "text.rbpx"
    path.write_text("neither an index nor an arrow file, but long enough to be looked into" * 10)
    for query in (
        f"FROM ruvector_index_info('{path}')",
        f"SELECT ruvector_search('{path}', {QUERY}, 3)",
        f"FROM ruvector_register('docs', '{path}')",
    ):
        with pytest.raises(loaded.error, match=re.escape(f"{path}: not a readable arrow ipc file")):
            loaded.rows(query)


def test_null_queries_have_no_neighbours(loaded: Loaded, saved: rv.Index) -> None:
    for function in ("ruvector_knn", "system.main.ruvector_knn"):
        assert loaded.rows(f"FROM {function}('{saved.path}', NULL)") == []
    assert loaded.rows(f"FROM system.main.ruvector_within('{saved.path}', NULL, 1.0)") == []
    assert loaded.rows(f"SELECT ruvector_search('{saved.path}', NULL, 3), ruvector_quantize(NULL)") == [
        (None, None)
    ]


def test_prepared_statements_take_every_argument(loaded: Loaded, saved: rv.Index) -> None:
    query = [0.5] * 32
    expected = loaded.rows(f"FROM ruvector_knn('{saved.path}', {QUERY}, k := 4)")
    for function in ("ruvector_knn", "system.main.ruvector_knn"):
        assert loaded.rows(f"FROM {function}(?, ?, k := ?)", [saved.path, query, 4]) == expected
