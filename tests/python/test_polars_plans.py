"""Plans travel: to other processes, through memory that stays bounded, again and again without a leak."""

from __future__ import annotations

import gc
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
import pytest

import ruvector as rv

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Rows: TypeAlias = npt.NDArray[np.float32]
    Python: TypeAlias = Callable[..., str]

# A plan that was made elsewhere. Polars loads the library by itself.
RUN = """
import sys
import polars as pl
plan = pl.LazyFrame.deserialize({plan!r})
try:
    plan.collect().write_parquet({answer!r})
except pl.exceptions.ComputeError as error:
    print(error)
assert ("ruvector" in sys.modules) == {imported}
"""


@pytest.fixture
def asked(queries: Rows) -> pl.LazyFrame:
    return pl.LazyFrame({"v": pl.Series(queries)})


@pytest.fixture(params=[False, True], ids=["bare", "imported"])
def elsewhere(
    request: pytest.FixtureRequest, python: Python, tmp_path: Path
) -> Callable[[pl.LazyFrame], Any]:
    """Run a plan in a process that has imported ruvector or not; returns the answer, or Polars' error."""

    def run(plan: pl.LazyFrame) -> Any:
        where, answer = tmp_path / "plan", tmp_path / "answer.parquet"
        plan.serialize(where)
        code = RUN.format(plan=str(where), answer=str(answer), imported=request.param)
        said = python("import ruvector\n" + code if request.param else code)
        return said or pl.read_parquet(answer)

    return run


def test_a_saved_index_is_found_elsewhere(
    docs: Rows, asked: pl.LazyFrame, tmp_path: Path, elsewhere: Callable[[pl.LazyFrame], Any]
) -> None:
    index = rv.build(docs, [f"doc {row}" for row in range(len(docs))], metric="cosine")
    index.save(tmp_path / "docs.rbpx")
    for known in (index, rv.open(tmp_path / "docs.rbpx")):
        plan = asked.with_columns(hits=pl.col("v").ruvector.knn(known, k=3))
        assert elsewhere(plan).equals(plan.collect())


def test_an_index_that_was_never_saved_is_not(
    docs: Rows, asked: pl.LazyFrame, elsewhere: Callable[[pl.LazyFrame], Any]
) -> None:
    plan = asked.with_columns(hits=pl.col("v").ruvector.knn(rv.build(docs)))
    assert "lives only in the memory of the process that built it" in elsewhere(plan)


def test_another_index_in_its_file_is_refused(
    docs: Rows, asked: pl.LazyFrame, tmp_path: Path, elsewhere: Callable[[pl.LazyFrame], Any]
) -> None:
    path = tmp_path / "docs.rbpx"
    index = rv.build(docs)
    index.save(path)
    plan = asked.with_columns(hits=pl.col("v").ruvector.knn(index))
    path.unlink()
    assert "docs.rbpx" in elsewhere(plan)
    rv.build(docs[:100]).save(path)
    assert "holds another index than the one this plan was made with" in elsewhere(plan)
    assert plan.collect().height == 20, "here it is still in memory"


def test_joins_and_distances_need_no_file(
    docs: Rows, asked: pl.LazyFrame, elsewhere: Callable[[pl.LazyFrame], Any]
) -> None:
    right = pl.LazyFrame({"title": [f"doc {row}" for row in range(len(docs))], "v": pl.Series(docs)})
    plan = asked.ruvector.knn_join(right, on="v", k=2).with_columns(itself=pl.col("v").ruvector.distance("v"))
    assert elsewhere(plan).equals(plan.collect())


def test_plans_of_another_version_are_refused(asked: pl.LazyFrame) -> None:
    plan = asked.select(rv.polars.plugin.call("knn", [pl.col("v")], {"k": 3, "rerank": "never"}))
    with pytest.raises(pl.exceptions.ComputeError, match="made by another version of ruvector"):
        plan.collect_schema()


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_calls_leak_nothing(docs: Rows) -> None:
    many = np.tile(docs, (5, 1))
    asked, index = pl.DataFrame({"v": pl.Series(many)}), rv.build(docs[:50])
    right = pl.LazyFrame({"v": pl.Series(docs)})

    def work() -> None:
        asked.select(pl.col("v").ruvector.knn(index, k=8))
        asked.select(pl.col("v").ruvector.distance(pl.col("v")))
        asked.lazy().head(5).ruvector.knn_join(right, on="v", k=1).collect()
        with pytest.raises(pl.exceptions.ComputeError):
            asked.select(pl.lit("north").ruvector.knn(index))
        with pytest.raises(pl.exceptions.ComputeError):
            asked.select((pl.col("v").arr.to_list() * float("nan")).ruvector.knn(index))

    for _ in range(10):
        work()
    gc.collect()
    before = resident()
    for _ in range(40):
        work()
    gc.collect()
    # One call's vectors and hits together are 2 MB; lost each time they would be 80.
    assert resident() - before < 20e6


STREAM = """
import inspect
import pathlib
import numpy as np
import polars as pl
import ruvector as rv

def peak():
    status = pathlib.Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) * 1024

streaming = {{"engine": "streaming"}}
if "streaming" in inspect.signature(pl.LazyFrame.collect).parameters:
    streaming = {{"streaming": True}}
docs = pl.DataFrame({{"v": pl.Series(np.random.default_rng(0).random((64, 16), dtype=np.float32))}})
index = docs.ruvector.build_index("v")

def run(rows):
    asked = pl.scan_parquet({path!r}, n_rows=rows)
    hits = ({plan})
    found = hits.group_by(pl.col("q") % 2).agg(pl.len(), pl.col("distance").mean()).collect(**streaming)
    return found["len"].sum()

run(300_000)
before = peak()
print(run(1_000_000), peak() - before)
"""

# The nested hits of one query take 360 bytes, the rows of a join as many.
PLANS = {
    "knn": """asked.with_columns(h=pl.col("v").ruvector.knn(index, k=30))
        .select("q", distance=pl.col("h").list.get(0).struct.field("distance"))""",
    "knn_join": 'asked.ruvector.knn_join(docs.lazy().with_row_index("d"), on="v", k=10)',
}


# The first streaming engine of Polars, told apart by its own argument, has no joins of this kind.
FIRST_ENGINE = "streaming" in inspect.signature(pl.LazyFrame.collect).parameters
STREAMED = ["knn"] if FIRST_ENGINE else list(PLANS)


@pytest.fixture(scope="session")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of a million generated queries."""
    path = tmp_path_factory.mktemp("million") / "queries.parquet"
    values = np.random.default_rng(1).random((1_000_000, 16), dtype=np.float32)
    table = pl.DataFrame({"q": np.arange(len(values)), "v": pl.Series(values)})
    table.write_parquet(path, row_group_size=20_000, compression="uncompressed")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("plan", STREAMED)
def test_a_million_queries_stream_in_bounded_memory(plan: str, python: Python, million: Path) -> None:
    found, more = (
        int(figure) for figure in python(STREAM.format(plan=PLANS[plan], path=str(million))).split()
    )
    assert found == {"knn": 1_000_000, "knn_join": 10_000_000}[plan]
    # What 700,000 more queries and their hits would take, if they were held, is 300 MB.
    assert more < 200e6
