"""The tree of errors: what each carries, and what Python would have raised in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = np.arange(12, dtype=np.float32).reshape(4, 3)
INDEX = rv.build(GOOD, metric="l2")


def caught(act: Callable[[], Any]) -> rv.RuVectorError:
    with pytest.raises(rv.RuVectorError) as error:
        act()
    return error.value


def test_errors_carry_what_they_say(tmp_path: Path) -> None:
    mismatch = caught(lambda: INDEX.search([1.0]))
    assert isinstance(mismatch, rv.DimensionMismatch)
    assert (mismatch.expected, mismatch.actual, mismatch.code) == (3, 1, "dimension_mismatch")
    vector = caught(lambda: rv.build([[0.0], [1.0], [np.nan]]))
    assert isinstance(vector, rv.InvalidVector)
    assert (vector.column, vector.row) == ("vectors", 2)
    double = caught(lambda: rv.build(GOOD, [7, 8, 9, 8]))
    assert isinstance(double, rv.DuplicateId)
    assert (double.id, double.rows) == ("8", (1, 3))
    parameter = caught(lambda: INDEX.search(GOOD, k=0))
    assert isinstance(parameter, rv.InvalidParameter)
    assert (parameter.name, parameter.expected, parameter.actual) == ("k", "at least 1", "0")
    missing = caught(lambda: rv.open(tmp_path / "none"))
    assert isinstance(missing, rv.IndexFileNotFound)
    assert (missing.path, missing.filename, missing.errno) == (
        str(tmp_path / "none"),
        str(tmp_path / "none"),
        2,
    )
    (tmp_path / "junk").write_bytes(b"junk" * 100)
    junk = caught(lambda: rv.open(tmp_path / "junk"))
    assert isinstance(junk, rv.PersistError)
    assert (junk.path, junk.reason, junk.errno) == (str(tmp_path / "junk"), "not_arrow", None)


def test_errors_are_also_what_python_would_raise() -> None:
    parents: dict[type[rv.RuVectorError], type[Exception]] = {
        rv.DimensionMismatch: ValueError,
        rv.EmptyIndex: ValueError,
        rv.InvalidVector: ValueError,
        rv.InvalidVectorType: TypeError,
        rv.InvalidParameter: ValueError,
        rv.DuplicateId: ValueError,
        rv.PersistError: OSError,
        rv.IndexFileNotFound: FileNotFoundError,
    }
    for error, parent in parents.items():
        assert issubclass(error, (rv.VectorIndexError, parent))
        assert issubclass(error, parent)
    assert rv.IndexError is rv.VectorIndexError
    assert "IndexError" not in rv.__all__
