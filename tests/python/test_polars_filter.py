"""A filter in an expression allows what it allows in a search."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from pathlib import Path

    from tests.python.conftest import Vectors

ALLOWED = [3, 50, 51, 52, 1999]
FORMS: dict[str, Any] = {
    "ids": ALLOWED,
    "series": pl.Series(ALLOWED),
    "flags": np.isin(np.arange(2000), ALLOWED),
    "nothing": [],
}


def frame(vectors: Vectors) -> pl.DataFrame:
    return pl.DataFrame({"v": vectors}, schema={"v": pl.Array(pl.Float32, vectors.shape[1])})


def found(answers: pl.Series) -> list[list[Any]]:
    return [[hit["id"] for hit in hits] for hits in answers.to_list()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("effort", [{}, {"exact": True}, {"rerank": False, "nprobe": 8}])
def test_expression_finds_what_the_search_finds(
    form: str, effort: dict[str, Any], docs: Vectors, queries: Vectors
) -> None:
    index = rv.build(docs)
    knn = pl.col("v").ruvector.knn(index, k=4, filter=FORMS[form], **effort)
    searched = index.search(queries, k=4, filter=FORMS[form], **effort).to_polars()
    expected = searched.group_by("query_row", maintain_order=True).agg("id")["id"].to_list()
    assert found(frame(queries).select(knn)["v"]) == (expected or [[]] * len(queries))


@pytest.mark.parametrize("kind", ["str", "uint64", "negative"])
def test_ids_of_every_type(kind: str, docs: Vectors, queries: Vectors) -> None:
    numbers = np.arange(len(docs))
    ids: Any = {
        "str": [f"row {number}" for number in numbers],
        "uint64": numbers.astype(np.uint64) + np.uint64(2**63),
        "negative": -numbers,
    }[kind]
    index = rv.build(docs, ids=ids)
    allowed = [ids[row] for row in ALLOWED]
    answers = frame(queries).select(pl.col("v").ruvector.knn(index, k=10, filter=allowed))["v"]
    assert all(sorted(hits) == sorted(allowed) for hits in found(answers))


def test_expression_remembers_what_was_allowed_when_it_was_made(docs: Vectors) -> None:
    index = rv.build(docs)
    allowed = list(ALLOWED)
    knn = pl.col("v").ruvector.knn(index, k=10, filter=allowed)
    allowed.append(7)
    index.delete([50])
    assert sorted(found(frame(docs[:1]).select(knn)["v"])[0]) == [3, 51, 52, 1999]


def test_two_filters_over_one_index_do_not_mix(docs: Vectors) -> None:
    index = rv.build(docs)
    one = pl.col("v").ruvector.knn(index, filter=[1, 2]).alias("one")
    other = pl.col("v").ruvector.knn(index, filter=[3]).alias("other")
    answers = frame(docs[:50]).select(one, other)
    assert all(sorted(ids) == [1, 2] for ids in found(answers["one"]))
    assert all(ids == [3] for ids in found(answers["other"]))


def test_filter_travels_with_a_plan_into_another_process(docs: Vectors, tmp_path: Path) -> None:
    index = rv.build(docs)
    index.save(tmp_path / "docs.rbpx")
    plan = frame(docs[:2]).lazy().select(pl.col("v").ruvector.knn(index, filter=ALLOWED)).serialize()
    code = "import io, sys, polars as pl; print(pl.LazyFrame.deserialize(io.BytesIO(sys.stdin.buffer.read()))"
    code += ".collect()['v'].list.eval(pl.element().struct.field('id')).to_list())"
    done = subprocess.run([sys.executable, "-c", code], input=plan, capture_output=True, check=True)
    expected = index.search(docs[:2], filter=ALLOWED).to_numpy()[0].tolist()
    assert done.stdout.decode().strip() == str(expected)


def test_join_over_an_index_with_a_filter_has_k_rows(docs: Vectors, queries: Vectors) -> None:
    right = frame(docs).with_row_index("number").with_columns(pl.col("number").cast(pl.Int64))
    kept = right.filter(pl.col("number") % 100 == 0)
    index = rv.build(docs)
    joined = frame(queries).ruvector.knn_join(right, on="v", index=index, filter=kept["number"], k=7)
    assert joined.height == 7 * len(queries)
    truth = rv.exact_search(docs[::100].copy(), queries, ids=np.arange(0, len(docs), 100), k=7)
    assert joined["number"].to_list() == truth.to_numpy()[0].ravel().tolist()


def test_a_join_that_builds_its_index_takes_no_filter(docs: Vectors) -> None:
    with pytest.raises(rv.InvalidParameter, match="filter the right frame"):
        frame(docs).ruvector.knn_join(frame(docs), on="v", filter=[1])


@pytest.mark.parametrize(("filter", "error"), [(["a"], rv.InvalidVectorType), ([True], rv.InvalidParameter)])
def test_bad_filters_are_refused_when_the_expression_is_made(
    filter: Any, error: type[Exception], docs: Vectors
) -> None:
    with pytest.raises(error):
        pl.col("v").ruvector.knn(rv.build(docs), filter=filter)


def test_index_of_more_bits(docs: Vectors) -> None:
    assert frame(docs).ruvector.build_index("v", bits=4).bits == 4
