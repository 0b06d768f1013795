"""Data and processes that the tests of the Python package share."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest

import ruvector as rv
from ruvector.duckdb.extension import install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Vectors = npt.NDArray[np.float32]


class Clustered(Protocol):
    """Makes rows of clustered Gaussians, as embeddings are."""

    def __call__(self, rows: int, dim: int, *, seed: int = 0) -> Vectors: ...


@pytest.fixture(scope="session")
def clustered() -> Clustered:
    """Rows of 50 Gaussian clusters; the seed draws the rows, not the clusters."""

    def make(rows: int, dim: int, *, seed: int = 0) -> Vectors:
        centres = np.random.default_rng(7).standard_normal((50, dim), dtype=np.float32)
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal((rows, dim), dtype=np.float32)
        noise *= np.float32(0.7)
        noise += centres[rng.integers(0, 50, rows)]
        return noise

    return make


@pytest.fixture(scope="session")
def docs(clustered: Clustered) -> Vectors:
    """Two thousand rows that nobody writes into."""
    rows = clustered(2000, 32)
    rows.flags.writeable = False
    return rows


@pytest.fixture(scope="session")
def queries(clustered: Clustered) -> Vectors:
    """Twenty more of the same kind."""
    return clustered(20, 32, seed=1)


@pytest.fixture(scope="session")
def distances() -> Callable[[Any, Any, str], npt.NDArray[np.float64]]:
    """The metrics as their definitions say, in double precision: one row per query, one column per row."""

    def compute(rows: Any, asked: Any, metric: str) -> npt.NDArray[np.float64]:
        a, b = np.asarray(asked, np.float64), np.asarray(rows, np.float64)
        if metric in {"l2sq", "l2"}:
            squared: npt.NDArray[np.float64] = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
            if metric == "l2":
                squared **= 0.5
            return squared
        if metric == "cosine":
            lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None, :]
            cosines: npt.NDArray[np.float64] = np.divide(
                a @ b.T, lengths, out=np.zeros_like(lengths), where=lengths > 0
            )
            return 1.0 - cosines
        products: npt.NDArray[np.float64] = np.negative(a @ b.T)
        return products

    return compute


@pytest.fixture(scope="session")
def python() -> Callable[..., str]:
    """Run code in a fresh interpreter, with environment variables; returns what it printed."""

    def run(code: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(params=["in-memory", "streaming"])
def collect(request: pytest.FixtureRequest) -> Callable[[pl.LazyFrame], pl.DataFrame]:
    """Run a plan on one of Polars' engines. Before 1.23 streaming was a switch."""
    engine: dict[str, Any] = {"engine": request.param}
    if "streaming" in inspect.signature(pl.LazyFrame.collect).parameters:
        engine = {"streaming": request.param == "streaming"}

    def run(plan: pl.LazyFrame) -> pl.DataFrame:
        found = plan.collect(**engine)
        assert isinstance(found, pl.DataFrame)
        return found

    return run


class Loaded:
    """A connection of DuckDB with the loadable extension and its macros."""

    def __init__(self, con: Any, error: type[Exception]) -> None:
        self.con = con
        self.error = error

    def rows(self, query: str, parameters: list[Any] | None = None) -> list[Any]:
        """Return the rows of an answer."""
        done = self.con.execute(query) if parameters is None else self.con.execute(query, parameters)
        return list(done.fetchall())

    def table(self, name: str, /, **columns: Any) -> None:
        """Make a table of Arrow columns, with the numbers of its rows as `id`."""
        count = len(next(iter(columns.values())))
        self.con.register("arrow_table", pa.table({"id": np.arange(count), **columns}))
        self.con.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM arrow_table")
        self.con.unregister("arrow_table")


@pytest.fixture
def loaded() -> Iterator[Loaded]:
    """Make a database with the extension."""
    with duckdb.connect(config={"allow_unsigned_extensions": True, "threads": 2}) as con:
        install(con)
        yield Loaded(con, duckdb.Error)


@pytest.fixture(scope="session")
def saved(docs: Vectors, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rv.Index]:
    """The documents as a saved index, with ids of their own."""
    path = tmp_path_factory.mktemp("saved") / "docs.rbpx"
    rv.build(docs, ids=np.arange(2000) * 3 - 1000, nlist=40).save(path, vectors="f32")
    with rv.open(path) as opened:
        yield opened
