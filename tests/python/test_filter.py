"""A search returns only rows that its filter allows, in whatever form it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Vectors

ALLOWED = [3, 50, 51, 52, 1999]


class Bitmap:
    """A Roaring bitmap with one container of five values, by the portable format of 32 bits."""

    def serialize(self) -> bytes:
        header = (
            np.array([12346, 1], np.uint32).tobytes() + np.array([0, len(ALLOWED) - 1], np.uint16).tobytes()
        )
        return header + np.array([16], np.uint32).tobytes() + np.array(ALLOWED, np.uint16).tobytes()


def flags(count: int = 2000) -> Any:
    return np.isin(np.arange(count), ALLOWED)


FORMS: dict[str, Any] = {
    "list": ALLOWED,
    "repeated": [*ALLOWED, *ALLOWED, 10**9, -1],
    "tuple": tuple(ALLOWED),
    "set": set(ALLOWED),
    "array": np.array(ALLOWED, np.uint16),
    "arrow": pa.array(ALLOWED),
    "series": pl.Series(ALLOWED),
    "flags": flags(),
    "list of flags": flags().tolist(),
    "arrow flags": pa.chunked_array([flags()[:777], flags()[777:]]),
    "nullable flags": pl.Series([True if flag else None for flag in flags()]),
    "bitmap": Bitmap(),
    "bytes": Bitmap().serialize(),
    "wide bytes": np.array([1, 0, 0], np.uint32).tobytes() + Bitmap().serialize(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("effort", [{}, {"exact": True}, {"nprobe": 1}])
def test_every_form_allows_the_same_rows(
    form: str, effort: dict[str, Any], docs: Vectors, queries: Vectors
) -> None:
    index = rv.build(docs)
    found, near = index.search(queries, k=10, filter=FORMS[form], **effort).to_numpy()
    truth = rv.exact_search(docs[ALLOWED], queries, ids=ALLOWED, k=5)
    assert found.tolist() == truth.to_numpy()[0].tolist()
    assert np.array_equal(near, truth.to_numpy()[1])


def test_ids_may_be_strings(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs, [f"d{row}" for row in range(2000)])
    wanted = [f"d{row}" for row in ALLOWED]
    for form in ([*wanted, "nobody"], set(wanted), pl.Series(wanted), flags()):
        assert set(index.search(queries, filter=form).to_numpy()[0].ravel()) == set(wanted)
    with pytest.raises(rv.InvalidVectorType, match="filter: expected str ids, as in the index, got int64"):
        index.search(queries, filter=ALLOWED)
    with pytest.raises(
        rv.InvalidVectorType, match="filter: expected str ids, as in the index, got a roaring"
    ):
        index.search(queries, filter=Bitmap())


@pytest.mark.parametrize("nothing", [[], set(), [-5], np.zeros(2000, bool)])
def test_nothing_allowed_is_nothing_found(nothing: Any, docs: Vectors, queries: Vectors) -> None:
    hits = rv.build(docs).search(queries, filter=nothing)
    assert (len(hits), hits.num_queries) == (0, 20)
    assert hits.to_numpy()[0].shape == (20, 0)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 64, 65, 1003])
def test_booleans_of_numpy_are_read_to_the_last_row(rows: int) -> None:
    docs = np.random.default_rng(rows).standard_normal((rows, 8), dtype=np.float32)
    index = rv.build(docs)
    allowed = np.arange(rows) % 3 != 1
    allowed[-1] = True
    found = index.search(docs[0], rows, filter=allowed, exact=True).to_numpy()[0]
    assert sorted(found[0].tolist()) == np.flatnonzero(allowed).tolist()
    # Bytes that somebody takes for booleans.
    anything = np.random.default_rng(rows).choice(np.array([0, 1, 2, 16, 128, 255], "u1"), rows)
    found = index.search(docs[0], rows, filter=anything.view(bool), exact=True).to_numpy()[0]
    assert sorted(found[0].tolist()) == np.flatnonzero(anything).tolist()


def test_a_sparse_filter_passes_over_null_rows(docs: Vectors, tmp_path: Path) -> None:
    there, allowed = np.arange(2000) % 40 != 0, np.arange(2000) % 20 == 0
    values, null = pa.array(docs.reshape(-1)), pa.array(~there)
    built = rv.build(pa.FixedSizeListArray.from_arrays(values, docs.shape[1], mask=null))
    built.save(tmp_path / "stored.rvx", vectors="f32")
    truth = rv.exact_search(docs[allowed & there], docs[0], 100, ids=np.flatnonzero(allowed & there))
    for index in (built, rv.open(tmp_path / "stored.rvx")):
        found = index.search(docs[0], 100, filter=allowed).to_numpy()[0][0]
        assert found.tolist() == truth.to_numpy()[0][0].tolist()


def test_half_of_the_rows_are_found_as_surely_as_all(docs: Vectors, queries: Vectors) -> None:
    index = rv.build(docs)
    half = np.arange(2000) % 2 == 0
    found, truth = index.search(queries, filter=half), index.search(queries, filter=half, exact=True)
    assert rv.recall_at_k(found, truth) >= 0.99
    assert (found.to_numpy()[0] % 2 == 0).all()


BAD: dict[str, tuple[Any, type[rv.RuVectorError], str]] = {
    "short": (flags(3), rv.InvalidParameter, "filter: expected one boolean per row (2000), got 3 booleans"),
    "number": (
        3,
        rv.InvalidVectorType,
        "a numpy array, a list, a set), or a roaring bitmap, got int",
    ),
    "floats": (
        np.ones(2000, np.float32),
        rv.InvalidVectorType,
        "filter: expected booleans or integers (or strings: call .tolist()), got float32",
    ),
    "arrow floats": (
        pa.array([1.0]),
        rv.InvalidVectorType,
        "filter: expected integers or strings, got Float64",
    ),
    "null id": (pa.array([1, None]), rv.InvalidVector, "filter, row 1: is null, expected an id"),
    "mixed": ([True, 3.5], rv.InvalidVectorType, "filter, row 1: expected integers of 64 bits, or strings"),
    "bytes": (
        b"zz",
        rv.InvalidParameter,
        "filter: expected a serialized roaring bitmap (portable format, 32 or 64 bits), got 2 other bytes",
    ),
    "cut": (Bitmap().serialize()[:-1], rv.InvalidParameter, "roaring bitmap"),
    "table": (
        pa.table({"a": [1], "b": [2]}),
        rv.InvalidParameter,
        "filter: expected one column, got a table of 2 columns",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_filter_is_refused(case: str, docs: Vectors) -> None:
    given, error, message = BAD[case]
    with pytest.raises(error) as caught:
        rv.build(docs).search(docs[0], filter=given)
    assert message in str(caught.value)
