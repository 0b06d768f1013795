"""The extension module. Its public names are exported by `ruvector`; import them from there."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, ClassVar, Literal, Self, SupportsIndex, final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]

from ruvector._tuning import Tuning
from ruvector.flight._shapes import FlightRun, FlightServed
from ruvector.lake.conditions import Dnf
from ruvector.lake.shapes import (
    LakeAsking,
    LakeBucket,
    LakeCounters,
    LakeFields,
    LakeKept,
    LakeMade,
    LakeMeant,
)
from ruvector.typing import (
    ArrowArrayExportable,
    ArrowStreamExportable,
    Compacted,
    CpuFeatures,
    Filter,
    IdColumn,
    IdType,
    Metric,
    ProgressCallback,
    Queries,
    VectorSource,
)

__all__ = [
    "ArrowColumn",
    "FlightClient",
    "FlightRemote",
    "FlightServer",
    "FlightTenant",
    "Hits",
    "Index",
    "Lake",
    "LakeAnswer",
    "LakeFs",
    "LakeJob",
    "LakeLocal",
    "LakeParquet",
    "LakeRows",
    "LakeTable",
    "LakeTarget",
    "MultiVectorIndex",
    "Nearest",
    "NestedHits",
    "Rotation",
    "Scores",
    "Table",
    "__version__",
    "_from_bytes",
    "_from_path",
    "buffer_addresses",
    "build",
    "build_stream",
    "cpu_features",
    "distance",
    "exact_search",
    "flight_connect",
    "flight_serve",
    "is_rbpx1",
    "lake_async_threads",
    "lake_collections",
    "lake_generation",
    "lake_layout",
    "lake_new",
    "lake_public_key",
    "lake_read_bundle",
    "lake_write_bundle",
    "open",
    "plan_filter",
    "plan_reference",
    "planned_indexes",
    "preset_adopt",
    "preset_build",
    "preset_held_bytes",
    "preset_ids",
    "preset_norms",
    "preset_originals",
    "preset_packed",
    "preset_pairs",
    "preset_put",
    "preset_put_batch",
    "preset_rotation",
    "preset_scores",
    "quantize",
    "read_rbpx1",
    "recall_at_k",
    "simd_level",
    "write_rbpx1",
]

__version__: str

def build(
    data: VectorSource,
    ids: IdColumn | str | None = None,
    *,
    column: str | None = None,
    dim: SupportsIndex | None = None,
    metric: Metric = "l2sq",
    nlist: SupportsIndex | None = None,
    bits: SupportsIndex = 1,
    seed: SupportsIndex = 0,
    threads: SupportsIndex | None = None,
    progress: bool | ProgressCallback = False,
) -> Index:
    """
    Build an index over a column of vectors.

    The index keeps codes of one bit per dimension, or of more, and borrows the column for exact distances:
    the column stays in memory for as long as the index, and is not copied. Do not write into it meanwhile.
    The same data and seed give the same index, whatever the number of threads and the CPU.

    Codes and error bound are RaBitQ's (Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a
    Theoretical Error Bound for Approximate Nearest Neighbor Search", SIGMOD 2024), in inverted lists around
    k-means centroids.

    Parameters
    ----------
    data
        Vectors, n rows of dim float32 or float16 (see `ruvector.typing.VectorColumn`), or a table that has
        such a column. Rows that are null are left out; the others keep their row numbers.
    ids
        One integer or string per row, null rows included, or, with a table, the name of a column. Default:
        the row number, from 0.
    column
        The vector column of a table. Needed only if there are several.
    dim
        Elements per vector. Needed only for ``fixed_size_binary`` columns of float16, which do not tell it.
    metric
        The distance. ``"l2sq"``: ``sum((a - b)**2)``; ``"l2"``: its square root; ``"cosine"``:
        ``1 - a @ b / (|a| |b|)``, which is 1 where a vector is zero; ``"ip"``: ``-a @ b``.
    nlist
        The number of inverted lists. Default: ``sqrt(n)``, at most ``n / 64``.
    bits
        Bits per dimension of a code, 1 to 9. One is enough while the vectors are at hand. An index that is
        saved without them (``Index.save(path, vectors="none")``) answers by its codes: each further bit makes
        its distances twice as good and takes ``dim / 8`` bytes more per row. Without a vector, 4 bits find
        about nine of the ten nearest rows, 5 bits 95 in a hundred, 7 bits 99.
    seed
        Fixes everything that is drawn by lot, 0 to ``2**64 - 1``.
    threads
        Default: every core that this process may use.
    progress
        True draws a bar with tqdm. A callable is told ``(phase, done, total)`` a few times a second, on the
        calling thread; an exception it raises stops the build and is raised here. The phases are ``check``,
        ``train``, ``assign``, ``encode`` and ``calibrate``, with ``search`` inside the last.

    Returns
    -------
    Index
        Of n rows less the null ones.

    Raises
    ------
    EmptyIndex
        If no row holds a vector.
    InvalidVector
        If a row holds NaN, infinity or a null element, or its length differs; if an id is null.
    InvalidVectorType
        If `data` or `ids` are of another type or layout. Nothing is ever converted without being asked for.
    InvalidParameter
        If an argument has an impossible value, or there is not one id per row.
    DuplicateId
        If two rows have the same id.
    KeyboardInterrupt
        Within a second of Ctrl-C.

    Warns
    -----
    CopyWarning
        If a column had to be copied because its memory is not aligned to its type.

    Examples
    --------
    >>> import polars as pl
    >>> import ruvector as rv
    >>> docs = pl.DataFrame(
    ...     {"title": ["cat", "dog", "car"], "v": [[1.0, 0.1], [0.9, 0.3], [0.0, 1.0]]},
    ...     schema={"title": pl.String, "v": pl.Array(pl.Float32, 2)},
    ... )
    >>> rv.build(docs, ids="title", metric="cosine")
    Index(3 x 2, cosine, 1 lists, 1 bit, borrowed vectors, ...)
    """

def build_stream(
    batches: Callable[[], Iterable[VectorSource]] | Iterable[VectorSource],
    *,
    column: str | None = None,
    ids: str | None = None,
    vectors: Literal["none", "f16", "f32"] = "f16",
    rows: SupportsIndex | None = None,
    metric: Metric = "l2sq",
    nlist: SupportsIndex | None = None,
    bits: SupportsIndex = 1,
    seed: SupportsIndex = 0,
    checkpoint: str | PathLike[str] | None = None,
    threads: SupportsIndex | None = None,
    progress: bool | ProgressCallback = False,
) -> Index:
    """
    Build an index of a table that comes in batches and never lies in memory as a whole.

    Memory holds the codes, the vectors that are kept, a sample, and one batch.

    Parameters
    ----------
    batches
        A callable that gives the batches from the beginning each time it is called, for two passes: one
        draws a sample of all rows, one codes them. Or an iterable, for one pass: then the first rows are the
        sample, so they should not be sorted. A batch is whatever `build` takes.
    column
        As in `build`, for each batch.
    ids
        The name of the column of ids in each batch. Default: row numbers.
    vectors
        How vectors are kept in the index: not at all, as half floats, or as floats. There is no column to
        borrow them from.
    rows
        How many rows will come, if known. Helps one pass to choose the number of lists.
    checkpoint
        A folder for what is done so far, written about every 65,000 rows and removed in the end. When a build
        was stopped, by Ctrl-C, an error of the batches, or with its process, the same call goes on there: the
        batches come from the beginning again, cut wherever you like, and rows that are coded are only read,
        to see that they are the same. For one build at a time.
    metric, nlist, bits, seed, threads, progress
        As in `build`.

    Raises
    ------
    DimensionMismatch, DuplicateId, EmptyIndex, InvalidParameter, InvalidVector, InvalidVectorType
        As in `build`; also KeyboardInterrupt, and whatever the batches raise. InvalidParameter, too, if the
        checkpoint is of a build with other arguments or over other rows.
    PersistError
        If the checkpoint cannot be written or read.

    Examples
    --------
    >>> import numpy as np, ruvector as rv
    >>> def batches():
    ...     for part in range(4):
    ...         yield np.random.default_rng(part).normal(size=(500, 16)).astype("f4")
    >>> index = rv.build_stream(batches, metric="cosine")
    >>> len(index), index.vectors
    (2000, 'stored')
    """

def open(  # noqa: A001 - read as rv.open
    path: str | PathLike[str], *, verify: bool = True, vectors: VectorSource | None = None
) -> Index:
    """
    Open a saved index.

    The file is mapped and searched in place: opening takes no time but for the check, and processes share its
    pages. A file of upstream's format, ``.rbpx`` version 1, is known by its first bytes; it holds no codes,
    so the index is built again from its vectors, in memory.

    Parameters
    ----------
    path
        What `Index.save` wrote, or an ``rbpx1`` file (see `RabitqPlusIndex.save`).
    verify
        Whether every byte is compared with its digest. False looks at the structure only, so that the file is
        not read through; `Index.verify` catches up on it.
    vectors
        The column that the index was built from, borrowed again for exact distances: for a file without
        vectors.

    Raises
    ------
    IndexFileNotFound
        If there is no such file.
    PersistError
        If the file cannot be read, is not an index, was written by a later version, or is damaged.
    DimensionMismatch, InvalidParameter
        If `vectors` is not the column that the index was built from, or given for an ``rbpx1`` file.
    EmptyIndex
        If it is an ``rbpx1`` file without rows.

    Examples
    --------
    >>> import ruvector as rv
    >>> rv.build([[0.0, 0.0], [3.0, 4.0]], metric="l2").save("example.rbpx")
    >>> with rv.open("example.rbpx") as index:
    ...     index.search([0.0, 0.0]).to_numpy()[1].tolist()
    [[0.0, 5.0]]
    """

def exact_search(
    data: VectorSource,
    queries: Queries,
    k: SupportsIndex = 10,
    *,
    ids: IdColumn | str | None = None,
    column: str | None = None,
    dim: SupportsIndex | None = None,
    metric: Metric = "l2sq",
    threads: SupportsIndex | None = None,
) -> Hits:
    """
    Compare every query with every row.

    The truth that recall is measured by, and the right choice for a few thousand rows.

    Parameters
    ----------
    data, ids, column, dim, metric, threads
        As in `build`.
    queries
        One query of dim numbers, or a column of them.
    k
        The number of neighbours. Fewer rows give fewer neighbours.

    Raises
    ------
    DimensionMismatch
        If the queries are not as wide as the rows.
    EmptyIndex, InvalidVector, InvalidVectorType, InvalidParameter, DuplicateId, KeyboardInterrupt
        As in `build`.

    Examples
    --------
    >>> import ruvector as rv
    >>> hits = rv.exact_search([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], [[3.0, 4.0]], k=2)
    >>> hits.to_numpy()[0].tolist()
    [[1, 0]]
    """

def distance(
    a: Queries, b: Queries, metric: Metric = "l2sq", *, threads: SupportsIndex | None = None
) -> ArrowColumn:
    """
    Measure the distance between the vectors of each row.

    Parameters
    ----------
    a, b
        Columns of as many vectors of as many dimensions. One vector is measured against every row of the
        other column.
    metric
        As in `build`.
    threads
        As in `Index.search`.

    Returns
    -------
    ArrowColumn
        float32, null where either vector is: bit for bit the distances of an exact search, where `a` is the
        query.

    Raises
    ------
    DimensionMismatch
        If the columns are not of one width.
    EmptyIndex
        If no row of a column of lists tells its width.
    InvalidParameter
        If the columns are not of one length, or the metric is none.
    InvalidVector, InvalidVectorType, KeyboardInterrupt
        As in `build`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> import ruvector as rv
    >>> pa.array(rv.distance([[0.0, 0.0], None], [3.0, 4.0], "l2")).to_pylist()
    [5.0, None]
    """

def quantize(
    vectors: Queries,
    bits: SupportsIndex = 1,
    seed: SupportsIndex = 0,
    *,
    threads: SupportsIndex | None = None,
) -> ArrowColumn:
    """
    Code each vector by itself, around the origin: RaBitQ without an index.

    A vector is rotated by the seed, as `Rotation` does, and each of its `padded_dim` coordinates becomes a
    whole number ``u`` of `bits` bits. With ``z = u - (2**bits - 1) / 2`` and a query ``q`` rotated by the
    same seed, ``f_add + q @ q + f_rescale * (z @ q)`` estimates the squared distance. Its standard deviation
    is ``f_error * norm(q)``.

    Parameters
    ----------
    vectors
        A column of vectors.
    bits
        Bits per dimension, 1 to 9.
    seed
        As in `build`.
    threads
        As in `Index.search`.

    Returns
    -------
    ArrowColumn
        A struct of ``code``, binary: `bits` planes of ``padded_dim / 8`` bytes, the highest bit of all
        numbers first, dimension ``i`` in bit ``i % 8`` of byte ``i // 8``; of ``norm``, the length of the
        vector; and of ``f_add``, ``f_rescale`` and ``f_error``, all float32. Null where the vector is.

    Raises
    ------
    EmptyIndex
        If no row of a column of lists tells its width.
    InvalidParameter, InvalidVector, InvalidVectorType, KeyboardInterrupt
        As in `build`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> import ruvector as rv
    >>> code = pa.array(rv.quantize([[3.0, 4.0]], bits=2)).to_pylist()[0]
    >>> len(code["code"]), code["norm"]
    (16, 5.0)
    """

def recall_at_k(found: Hits, truth: Hits) -> float:
    """
    Return the share of the true neighbours that were found, averaged over the queries that have any.

    Counted by distance, as ann-benchmarks does (Aumüller, Bernhardsson and Faithfull, 2017): a row as near as
    the last true neighbour is one, whichever of several equally near rows the truth lists.

    Raises
    ------
    InvalidParameter
        If the two do not answer the same number of queries.

    Examples
    --------
    >>> import ruvector as rv
    >>> rows = [[0.0], [1.0], [2.0], [3.0]]
    >>> truth = rv.exact_search(rows, rows, k=2)
    >>> rv.recall_at_k(rv.build(rows).search(rows, k=2), truth)
    1.0
    """

def cpu_features() -> CpuFeatures:
    """
    Return what this CPU can do, and what is made of it.

    Returns
    -------
    dict
        ``arch``: the architecture; ``detected``: the instruction sets that matter here, and whether this CPU
        has them; ``kernel``: the level whose kernels run (see `simd_level`); ``threads``: how many run where
        none are asked for.

    Raises
    ------
    InvalidParameter
        As `simd_level`.

    Examples
    --------
    >>> import ruvector as rv
    >>> rv.cpu_features()["kernel"] == rv.simd_level()
    True
    """

def simd_level() -> str:
    """
    Return the level whose kernels run: the best this CPU has, or the one that ``RUVECTOR_SIMD`` names.

    Every level gives the same bits.

    Raises
    ------
    InvalidParameter
        If ``RUVECTOR_SIMD`` names no level, or one that this CPU lacks.

    Examples
    --------
    >>> import ruvector as rv
    >>> rv.simd_level() in {"scalar", "avx2", "avx512", "neon"}
    True
    """

def buffer_addresses(data: VectorSource, column: str | None = None) -> list[int]:
    """
    Return the address of the first vector of each chunk, as the core sees it.

    For tests and diagnosis: addresses equal to those of the dataframe's own buffers prove that nothing was
    copied.
    """

def plan_reference(index: Index | LakeTarget | FlightRemote, *, keep: bool = True) -> dict[str, str | None]:
    """Return how a query plan should name an index. For `ruvector.polars`."""

def plan_filter(index: Index, filter: Filter) -> dict[str, bytes | list[str]]:
    """Return the ids that a filter allows, as a query plan carries them. For `ruvector.polars`."""

def planned_indexes() -> int:
    """Return how many indexes the query plans of this process can find. For the tests."""

def preset_build(
    data: VectorSource,
    ids: IdColumn | str | None = None,
    *,
    column: str | None = None,
    metric: Metric = "l2sq",
    nlist: SupportsIndex | None = None,
    bits: SupportsIndex = 1,
    seed: SupportsIndex = 42,
    threads: SupportsIndex | None = None,
    progress: bool | ProgressCallback = False,
    originals: bool = True,
) -> Index:
    """Build an index with an id for every row, over float32 only; with codes only if not `originals`."""

def preset_adopt(index: Index, originals: bool) -> Index:
    """Return an opened index with an id for every row, and with codes only if not `originals`."""

def preset_put(index: Index, id: int | str, vector: Queries, replace: bool) -> int:
    """Add one row, or replace the one with its id; return how many were replaced."""

def preset_put_batch(
    index: Index,
    data: VectorSource,
    ids: IdColumn | str,
    replace: bool,
    *,
    column: str | None = None,
) -> int:
    """Add rows, or replace those with their ids; return how many were replaced."""

def preset_held_bytes(index: Index) -> int:
    """Return all bytes that the index keeps alive: codes, tables, vectors, mapped pages."""

def preset_originals(index: Index) -> tuple[Index, npt.NDArray[np.float32]]:
    """Return all vectors as one array, and the index in which they lie so: the one given, or one like it."""

def preset_rotation(index: Index) -> Rotation:
    """Return the rotation of an index."""

def preset_ids(index: Index) -> ArrowColumn:
    """Return the ids of all rows, in their order."""

def preset_norms(index: Index) -> ArrowColumn:
    """Return the lengths of all rows, whose vectors lie in one piece."""

def preset_packed(index: Index) -> ArrowColumn:
    """Return the one-bit codes of all rows, in their order."""

def preset_pairs(hits: Hits) -> list[tuple[Any, float]]:
    """Return the hits of one query as pairs of an id and a distance."""

def preset_scores(hits: Hits) -> Scores:
    """Return hits under the names that the presets have for them."""

def is_rbpx1(path: str | PathLike[str]) -> bool:
    """Return whether a file begins as one of upstream's, ``.rbpx`` version 1."""

def read_rbpx1(path: str | PathLike[str]) -> tuple[Index, int]:
    """Return an index over what such a file holds, and the file's rerank factor."""

def write_rbpx1(index: Index, path: str | PathLike[str], rerank_factor: SupportsIndex) -> None:
    """Write the rows of an index as such a file."""

def _from_path(path: str, digest: str) -> Index: ...
def _from_bytes(bytes: bytes) -> Index: ...

@final
class Index:
    """
    An index, safe to search and to change from many threads at once.

    Made by `build` and `open`. `add`, `upsert`, `delete`, `merge` and `compact` change it by snapshots: a
    search that is under way, or begins while a change is made, sees the rows as they were before, and never
    waits. Changes wait for each other.

    ``id in index``, ``index[id]`` and ``iter(index)`` speak of ids, as with a dict. Two are
    equal when a search cannot tell them apart (see `digest`). A pickle holds the path if the index lies in a
    file that gives the same answers, and its bytes otherwise.

    A context manager: leaving it closes the index.

    Examples
    --------
    >>> import numpy as np
    >>> import ruvector as rv
    >>> rng = np.random.default_rng(0)
    >>> vectors = rng.standard_normal((1000, 64), dtype=np.float32)
    >>> index = rv.build(vectors)
    >>> len(index), index.dim, index.metric
    (1000, 64, 'l2sq')
    >>> index.search(vectors[:3], k=1).to_numpy()[0].ravel().tolist()
    [0, 1, 2]
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def dim(self) -> int:
        """Elements per vector."""
    @property
    def metric(self) -> Metric:
        """The distance it searches by."""
    @property
    def nlist(self) -> int:
        """The number of inverted lists."""
    @property
    def bits(self) -> int:
        """Bits per dimension of the codes."""
    @property
    def seed(self) -> int:
        """The seed it was built with."""
    @property
    def id_type(self) -> IdType:
        """The type of the ids."""
    @property
    def vectors(self) -> Literal["borrowed", "stored", "none"]:
        """Where exact distances come from: the column it was built from, its file, or nowhere."""
    @property
    def null_count(self) -> int:
        """Rows that were left out because they held no vector."""
    @property
    def path(self) -> str | None:
        """The file that it was last saved to or opened from, absolute; None once it has changed since."""
    @property
    def digest(self) -> str:
        """
        The BLAKE3 digest, in hex, of everything a search depends on but the vectors kept beside it.

        An index with recent or deleted rows is compacted first, as by ``compact(retrain=False)``; so do
        `save`, ``==`` and pickling.
        """
    @property
    def memory_bytes(self) -> int:
        """Bytes of private memory that it holds: without the borrowed column, without mapped pages."""
    @property
    def mapped_bytes(self) -> int:
        """Bytes of the file that it maps, 0 if none."""

    def search(
        self,
        queries: Queries,
        k: SupportsIndex = 10,
        *,
        filter: Filter | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        rerank: bool = True,
        threads: SupportsIndex | None = None,
    ) -> Hits:
        """
        Find the nearest rows of one query or of many.

        With vectors at hand (see `vectors`) distances are exact: the codes' error bound only decides which
        rows are worth looking at. Without them, distances are the codes' estimates.

        Parameters
        ----------
        queries
            One query of dim numbers, or a column of them (see `ruvector.typing.Queries`). A null query has no
            hits.
        k
            The number of neighbours. An index with fewer rows returns all of them.
        filter
            The rows that may be returned: ids, of which unknown ones are ignored; a Roaring bitmap of integer
            ids, serialized or as `pyroaring` has it; or one boolean per row, null counting as false. The rows
            that booleans stand for are those of the column that the index was built from, then those that
            were added, in order; where rows have no ids of their own, position and id are the same. They
            are refused once the order is lost (see `compact`). A search goes on until it has `k` allowed rows
            or has seen all lists; few allowed rows are all compared.
        recall
            The share of the true neighbours to find, above 0, at most 1. What it takes was measured when the
            index was built. 1 compares with every row.
        nprobe
            Look into this many lists instead.
        epsilon
            Drop a row when the lower bound of its distance, this many standard deviations below the estimate,
            is above the k-th best. Default: follows `recall`, by the tail of the normal distribution (RaBitQ,
            theorem 3.2; the paper's 1.9 drops 2.9 % wrongly). 0 trusts the estimate.
        exact
            Compare with every row.
        rerank
            False gives the codes' estimates although there are vectors, which are not looked at then: quicker
            where they are on disk, and good with several bits (see `build`). Rows that were added lately have
            no codes yet and are compared exactly.
        threads
            Default: every core that this process may use. Hits do not depend on it.

        Returns
        -------
        Hits
            Best first, ties by id.

        Raises
        ------
        DimensionMismatch
            If the queries are not as wide as the index.
        InvalidVector
            If a query holds NaN, infinity or a null element.
        InvalidVectorType
            If `queries` is no column of vectors.
        InvalidParameter
            If an argument has an impossible value, or the index is closed.
        KeyboardInterrupt
            Within a second of Ctrl-C.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], ids=[10, 20, 30])
        >>> index.search([[3.0, 3.0], [0.0, 1.0]], k=2).to_polars()
        shape: (4, 4)
        ┌───────────┬──────┬─────┬──────────┐
        │ query_row ┆ rank ┆ id  ┆ distance │
        │ ---       ┆ ---  ┆ --- ┆ ---      │
        │ i64       ┆ i32  ┆ i64 ┆ f32      │
        ╞═══════════╪══════╪═════╪══════════╡
        │ 0         ┆ 0    ┆ 20  ┆ 1.0      │
        │ 0         ┆ 1    ┆ 10  ┆ 18.0     │
        │ 1         ┆ 0    ┆ 10  ┆ 1.0      │
        │ 1         ┆ 1    ┆ 20  ┆ 18.0     │
        └───────────┴──────┴─────┴──────────┘
        """

    def explain(
        self,
        queries: Queries,
        k: SupportsIndex = 10,
        *,
        filter: Filter | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        exact: bool = False,
        rerank: bool = True,
        threads: SupportsIndex | None = None,
    ) -> Table:
        """
        Tell what `search` does for each query, with the same arguments.

        Returns
        -------
        Table
            Columns ``query_row``; ``lists`` looked into; ``codes`` scanned in them (of allowed rows);
            ``pruned``, those that the error bound dropped; ``survivors``, the others; ``reranked``, rows
            whose exact distance was computed, all of them where codes are not used; and ``on_target``,
            whether the recall asked for was met when the index measured itself and the query is as near as
            the rows are.
            False for a search by ``nprobe``, which has no target. Null for a null query.

        Examples
        --------
        >>> import numpy as np, ruvector as rv
        >>> index = rv.build(np.random.default_rng(0).normal(size=(2000, 32)).astype("f4"))
        >>> told = index.explain(index.reconstruct([0]), k=10).to_dict()
        >>> told["codes"][0] == told["pruned"][0] + told["survivors"][0]
        True
        """

    def measure_recall(
        self,
        queries: Queries,
        k: SupportsIndex = 10,
        *,
        filter: Filter | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        epsilon: float | None = None,
        threads: SupportsIndex | None = None,
    ) -> float:
        """
        Search, search exactly, and give the share of the true neighbours that were found.

        A row as near as the last true neighbour counts as one (see `ruvector.recall_at_k`), so the index must
        have vectors; estimates cannot be compared with distances.

        Examples
        --------
        >>> import numpy as np, ruvector as rv
        >>> rows = np.random.default_rng(0).normal(size=(2000, 32)).astype("f4")
        >>> rv.build(rows).measure_recall(rows[:50]) > 0.9
        True
        """

    def tune(
        self, queries: Queries | None = None, k: SupportsIndex = 10, *, threads: SupportsIndex | None = None
    ) -> Tuning:
        """
        Measure what each recall costs.

        Parameters
        ----------
        queries
            Queries like those to come. Default: 200 rows of the index, each its own nearest neighbour.
        k
            The number of neighbours.
        threads
            As in `search`.

        Returns
        -------
        Tuning
            A ``frame``, an Arrow table of target, recall, queries per second and what `explain` counts; and a
            ``picture``, the same as a curve in SVG, which notebooks show.

        Raises
        ------
        InvalidParameter
            For an index that keeps codes only.

        Examples
        --------
        >>> import numpy as np, ruvector as rv
        >>> index = rv.build(np.random.default_rng(0).normal(size=(2000, 32)).astype("f4"))
        >>> index.tune().frame.to_dict()["target"]
        [0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999]
        """

    def within(
        self,
        queries: Queries,
        radius: float,
        *,
        filter: Filter | None = None,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        exact: bool = False,
        threads: SupportsIndex | None = None,
    ) -> Hits:
        """
        Find all rows within a radius of one query or of many.

        The lists to look into follow `recall`, for as many neighbours as the radius turns out to hold: a row
        may be missed as it may be by `search`. ``exact=True`` misses none.

        Parameters
        ----------
        queries, filter, recall, nprobe, exact, threads
            As in `search`.
        radius
            The largest distance, in the index's metric, included.

        Returns
        -------
        Hits
            As many as there are for each query, best first, ties by id. ``to_numpy()`` is as wide as the
            query with the most hits, and pads the others with id -1 and distance infinity.

        Raises
        ------
        InvalidParameter
            If the radius is no number, the index keeps codes only, or it is closed.
        DimensionMismatch, InvalidVector, InvalidVectorType, KeyboardInterrupt
            As in `search`.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0], [1.0], [3.0]], metric="l2")
        >>> index.within([0.0], 1.5).to_numpy()[0].tolist()
        [[0, 1]]
        """

    def neighbours(
        self,
        k: SupportsIndex = 10,
        *,
        recall: float = 0.99,
        nprobe: SupportsIndex | None = None,
        exact: bool = False,
        threads: SupportsIndex | None = None,
    ) -> Hits:
        """
        Find the nearest other rows of every row: the graph of k nearest neighbours.

        Parameters
        ----------
        k, recall, nprobe, exact, threads
            As in `search`.

        Returns
        -------
        Hits
            One query per row, in the order of ``iter(index)``. The row itself is left out; other rows with
            the same vector are not.

        Raises
        ------
        InvalidParameter
            If the index keeps codes only, or is closed.
        KeyboardInterrupt
            Within a second of Ctrl-C.

        Examples
        --------
        >>> import ruvector as rv
        >>> rv.build([[0.0], [1.0], [3.0]]).neighbours(k=1).to_numpy()[0].tolist()
        [[1], [0], [1]]
        """

    def iterate(
        self,
        query: Queries,
        batch: SupportsIndex = 10,
        *,
        recall: float = 0.99,
        exact: bool = False,
        threads: SupportsIndex | None = None,
    ) -> Nearest:
        """
        Iterate over the neighbours of one query, a batch at a time, for as long as one likes.

        No row comes twice, and all rows come in the end, those that the index had when this was called. Each
        time the iterator runs out it looks for twice as many as before. A row that is nearer than some that
        came already may come late, as rarely as `recall` lets it.

        Parameters
        ----------
        query
            One query of dim numbers.
        batch
            How many rows to give at a time.
        recall, exact, threads
            As in `search`.

        Returns
        -------
        Nearest
            An iterator of `Hits`.

        Raises
        ------
        InvalidParameter
            If there is not one query, or an argument has an impossible value.
        DimensionMismatch, InvalidVector, InvalidVectorType
            As in `search`.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0], [1.0], [3.0]])
        >>> [hits.to_numpy()[0].tolist() for hits in index.iterate([0.9], batch=2)]
        [[[1, 0]], [[2]]]
        """

    def reconstruct(self, ids: IdColumn) -> npt.NDArray[np.float32]:
        """
        Return the vectors of the rows with these ids, of shape (len(ids), dim).

        As they were given where they are kept (see `vectors`). Otherwise they are read back from codes of one
        bit per dimension, which remember a direction roughly and, under ``"cosine"``, no length.

        Raises
        ------
        UnknownId
            If no row has one of the ids.
        InvalidVectorType, InvalidParameter
            If the ids are of another type than the index's, or the index is closed.

        Examples
        --------
        >>> import ruvector as rv
        >>> rv.build([[0.0], [1.0], [3.0]]).reconstruct([2, 0]).tolist()
        [[3.0], [0.0]]
        """

    def add(
        self,
        data: VectorSource,
        ids: IdColumn | str | None = None,
        *,
        column: str | None = None,
        threads: SupportsIndex | None = None,
    ) -> range | None:
        """
        Add rows. All of them are there, or none.

        Added vectors are copied; the column that the index was built from stays borrowed. They are compared
        exactly until there are some thousands, and coded then.

        Parameters
        ----------
        data, column
            Vectors of shape (rows, dim), as in `build`. Null rows are left out.
        ids
            One id per row, of the index's type, none of them there already; or the name of a column. Only for
            an index that was built with ids.
        threads
            Default: every core that this process may use.

        Returns
        -------
        range or None
            The numbers that the rows got, where nobody gave ids; numbers are never given twice.

        Raises
        ------
        DuplicateId
            If an id is there already, or twice in `ids`.
        InvalidParameter
            If ids are missing or given where the index has them otherwise, or the index is closed.
        DimensionMismatch, InvalidVector, InvalidVectorType, KeyboardInterrupt
            As in `build`.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0, 0.0], [3.0, 4.0]])
        >>> index.add([[6.0, 8.0]])
        range(2, 3)
        >>> len(index), 2 in index
        (3, True)
        """

    def upsert(
        self,
        data: VectorSource,
        ids: IdColumn | str,
        *,
        column: str | None = None,
        threads: SupportsIndex | None = None,
    ) -> int:
        """
        Add rows, each in place of the row with its id if there is one. All of them are there, or none.

        Parameters
        ----------
        data, column, threads
            As in `add`; a null row is refused.
        ids
            One id per row, of the index's type; of several rows with one id the last counts. An index that
            was built without ids takes the numbers that it has given out, and keeps an id column (8 bytes a
            row) from then on.

        Returns
        -------
        int
            How many rows were replaced.

        Raises
        ------
        InvalidVector
            If a row is null, or holds NaN or infinity.
        InvalidParameter
            If an id is a number that was never given to a row, or the index is closed.
        DimensionMismatch, InvalidVectorType, KeyboardInterrupt
            As in `build`.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0, 0.0], [3.0, 4.0]], ids=["a", "b"])
        >>> index.upsert([[1.0, 1.0], [2.0, 2.0]], ["b", "c"])
        1
        >>> index["b"].tolist(), len(index)
        ([1.0, 1.0], 3)
        """

    def delete(self, ids: IdColumn) -> int:
        """
        Delete the rows with these ids. Ids that no row has are ignored.

        Returns
        -------
        int
            How many rows there were.

        Raises
        ------
        InvalidVectorType, InvalidParameter
            If the ids are of another type than the index's, or the index is closed.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0], [1.0], [2.0]])
        >>> index.delete([0, 7])
        1
        >>> index.search([0.1], k=1).to_numpy()[0].tolist()
        [[1]]
        """

    def merge(self, other: Index, *, threads: SupportsIndex | None = None) -> range | None:
        """
        Add all rows of another index, with their ids or, where rows are numbered, under new numbers.

        Raises
        ------
        InvalidParameter
            If the other index keeps codes only, or one of the two is closed.
        DuplicateId, DimensionMismatch, InvalidVectorType, KeyboardInterrupt
            As in `add`.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0], [1.0]])
        >>> index.merge(rv.build([[2.0], [3.0]]))
        range(2, 4)
        """

    def compact(
        self,
        *,
        retrain: bool | None = None,
        threads: SupportsIndex | None = None,
        progress: bool | ProgressCallback = False,
    ) -> Compacted:
        """
        Make one segment of all rows, without those that were deleted. Searches go on meanwhile.

        Until then, the codes and vectors of rows that were replaced or deleted take up memory. Added rows
        move up to where others were deleted. An index with ids of its own forgets the order of its
        rows then, and no longer takes booleans as a filter.

        Parameters
        ----------
        retrain
            Whether to train centroids and measure recall anew, which takes as long as a build. Default: if
            rows are much further from their centroids than they were when the index was first changed, or the
            number of rows has become another by a factor of 8.
        threads, progress
            As in `build`.

        Returns
        -------
        dict
            ``rows``: how many there are; ``dropped``: deleted rows that were still coded; ``segments``: how
            many there were; ``drift``: the mean squared distance to the centroids, as a multiple of what it
            was at first, or None; ``retrained``.

        Raises
        ------
        InvalidParameter
            If centroids are to be trained and the index keeps codes only, or it is closed.
        KeyboardInterrupt
            Within a second of Ctrl-C; the index stays as it was.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0], [1.0], [2.0]])
        >>> index.delete([0])
        1
        >>> index.compact()["dropped"]
        1
        """

    def snapshot(self) -> Index:
        """
        Give the index as it is now, for as long as one likes.

        Costs nothing and copies nothing. Changes to this index are not seen by the snapshot, which refuses to
        be changed itself; it may be searched, saved and closed by itself.

        Raises
        ------
        InvalidParameter
            If the index is closed; by the methods of the snapshot that would change it.

        Examples
        --------
        >>> import ruvector as rv
        >>> index = rv.build([[0.0], [1.0]])
        >>> before = index.snapshot()
        >>> index.delete([0]), len(index), len(before)
        (1, 1, 2)
        """

    def save(
        self, path: str | PathLike[str], *, vectors: Literal["keep", "f16", "f32", "none"] = "keep"
    ) -> None:
        """
        Write the index to a file: an Arrow IPC file that `open` maps and every Arrow reader can read.

        Parameters
        ----------
        path
            The file. An old one is replaced in one step, once the new one is complete.
        vectors
            ``"keep"`` writes the vectors as they are, a borrowed column too; ``"f32"`` and ``"f16"`` write
            them in that precision; ``"none"`` leaves them out: the file is small, and `open` needs
            ``vectors=`` for exact distances.

        Raises
        ------
        PersistError
            If the file cannot be written.
        InvalidParameter
            If vectors are asked for that the index does not have.
        """

    def verify(self) -> None:
        """
        Compare every byte of an opened file with its digest.

        Raises
        ------
        PersistError
            If they are not those that were written.
        """

    def close(self) -> None:
        """
        Let go of the memory, the file and the borrowed column.

        Searches that are under way end as usual; every later use raises `InvalidParameter`. Closing twice is
        fine.
        """

    def __len__(self) -> int: ...
    def __contains__(self, id: object, /) -> bool: ...
    def __getitem__(self, id: int | str, /) -> npt.NDArray[np.float32]:
        """
        Return the vector of the row with this id, of shape (dim,), as it was given.

        Raises
        ------
        UnknownId
            If no row has it.
        InvalidParameter
            If the index keeps codes only, or is closed.
        """

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the ids, in the order in which the rows came."""

    def __eq__(self, other: object, /) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the index as its Arrow table: one row per block of 32 codes."""

@final
class Nearest:
    """The neighbours of one query, a batch at a time: what `Index.iterate` returns."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Hits: ...

@final
class MultiVectorIndex:
    """
    An index over documents of several vectors each, as ColBERT and its kin make them.

    The distance of a document to a query is the sum, over the query's vectors, of the distance to the nearest
    of the document's: under ``"ip"``, minus the MaxSim score. Immutable.

    Examples
    --------
    >>> import pyarrow as pa
    >>> import ruvector as rv
    >>> vector = pa.list_(pa.float32(), 2)
    >>> docs = pa.array([[[1, 0], [0, 1]], [[1, 0]], None], pa.list_(vector))
    >>> index = rv.MultiVectorIndex.build(docs, ids=["both", "one", "none"])
    >>> index.search([[1.0, 0.0], [0.0, 1.0]], k=5).to_polars().rows()
    [(0, 0, 'both', -2.0), (0, 1, 'one', -1.0)]
    """

    @staticmethod
    def build(
        column: ArrowStreamExportable | ArrowArrayExportable,
        ids: IdColumn | None = None,
        *,
        metric: Metric = "ip",
        nlist: SupportsIndex | None = None,
        seed: SupportsIndex = 0,
        threads: SupportsIndex | None = None,
    ) -> MultiVectorIndex:
        """
        Build an index over a column of lists of vectors.

        Parameters
        ----------
        column
            One list of vectors per document, each of dim float32 or float16:
            ``list<fixed_size_list<float>>``.
            A document that is null or has no vectors is never found. The vectors are copied unless one
            document has them all.
        ids
            One integer or string per document. Default: its row number.
        metric, nlist, seed, threads
            As in `ruvector.build`.

        Raises
        ------
        EmptyIndex
            If no document has a vector.
        InvalidVectorType
            If `column` is no column of lists of vectors.
        InvalidVector, InvalidParameter, DuplicateId, KeyboardInterrupt
            As in `ruvector.build`.
        """

    def search(
        self,
        queries: Queries,
        k: SupportsIndex = 10,
        *,
        recall: float = 0.99,
        exact: bool = False,
        threads: SupportsIndex | None = None,
    ) -> Hits:
        """
        Find the nearest documents of one query or of many.

        Documents that have a vector among the neighbours of some vector of the query are compared exactly.

        Parameters
        ----------
        queries
            One query as its vectors, of shape (vectors, dim), or many as a column like that of the documents.
        k
            The number of documents.
        recall
            The share of each vector's neighbours to find.
        exact
            Compare with every document.
        threads
            As in `Index.search`.

        Raises
        ------
        DimensionMismatch, InvalidVector, InvalidVectorType, InvalidParameter, KeyboardInterrupt
            As in `Index.search`.
        """

    def __len__(self) -> int: ...

@final
class Table:
    """
    A small table of named columns of equal lengths, for whatever reads Arrow through ``__arrow_c_stream__``.

    >>> import ruvector as rv
    >>> rv.Table({"lists": [1, 2], "recall": [0.9, 1.0]}).columns
    ['lists', 'recall']
    """

    def __new__(cls, columns: Mapping[str, Sequence[float | None]]) -> Self:
        """
        Make a table of lists, each of whole numbers, floats or booleans.

        Raises
        ------
        TypeError
            For a list of anything else.
        """

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""

    def to_dict(self) -> dict[str, list[Any]]:
        """Give the columns as lists; nulls are None."""

    def __len__(self) -> int: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...

@final
class Hits:
    """
    The neighbours of one or more queries.

    An Arrow table for whatever reads one through ``__arrow_c_stream__``, with the columns

    - ``query_row``, int64: the row of the query, from 0;
    - ``rank``, int32: 0 is the nearest;
    - ``id``, int64, uint64 or large_string;
    - ``distance``, float32: the metric's value.

    Its length is the number of rows of that table.

    Examples
    --------
    >>> import pyarrow as pa
    >>> import ruvector as rv
    >>> hits = rv.build([[0.0], [1.0], [2.0]]).search([0.2], k=2)
    >>> hits
    Hits(1 queries, 2 hits, exact distances)
    >>> pa.table(hits).column("id").to_pylist()
    [0, 1]
    """

    @property
    def num_queries(self) -> int:
        """The number of queries, null ones included."""
    @property
    def exact(self) -> bool:
        """Whether the distances are the metric's own values and not estimates."""

    def to_arrow(self) -> pa.Table:  # pyright: ignore[reportUnknownMemberType]
        """Return the table as a `pyarrow.Table`."""

    def to_polars(self) -> pl.DataFrame:
        """Return the table as a `polars.DataFrame`."""

    def to_numpy(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """
        Return ids and distances as two arrays of shape ``(num_queries, min(k, rows))``.

        The row of a null query is filled with id -1 (uint64: ``2**64 - 1``; str: None) and distance infinity.

        Returns
        -------
        ids
            int64, uint64 or object (str).
        distances
            float32.
        """

    def nested(self) -> NestedHits:
        """Return one list per query instead of one row per hit."""

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class NestedHits:
    """
    Hits as an Arrow array of ``large_list<struct<id, distance>>``.

    One list per query, null where the query was null.

    Examples
    --------
    >>> import polars as pl
    >>> import ruvector as rv
    >>> hits = rv.build([[0.0], [1.0], [2.0]]).search([[0.2], [1.9]], k=1)
    >>> pl.DataFrame({"query": ["a", "b"], "hits": pl.Series(hits.nested())})["hits"].to_list()
    [[{'id': 0, 'distance': 0.04...}], [{'id': 2, 'distance': 0.01...}]]
    """

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class Scores:
    """
    The neighbours of many queries, as the presets answer.

    An Arrow table for whatever reads one through ``__arrow_c_stream__``, with the columns

    - ``query_index``, int64: the row of the query, from 0;
    - ``rank``, int32: 0 is the nearest;
    - ``id``, int64, uint64 or large_string;
    - ``score``, float32: the metric's value.

    Its length is the number of rows of that table.

    Examples
    --------
    >>> import pyarrow as pa
    >>> import ruvector as rv
    >>> scores = rv.FlatF32Index.build([[0.0], [1.0], [3.0]]).search_batch([[0.0], [3.0]], k=2)
    >>> pa.table(scores).column("score").to_pylist()
    [0.0, 1.0, 0.0, 4.0]
    """

    @property
    def num_queries(self) -> int:
        """The number of queries, null ones included."""
    @property
    def exact(self) -> bool:
        """Whether the scores are the metric's own values and not estimates."""

    def to_arrow(self) -> pa.Table:  # pyright: ignore[reportUnknownMemberType]
        """Return the table as a `pyarrow.Table`."""

    def to_polars(self) -> pl.DataFrame:
        """Return the table as a `polars.DataFrame`."""

    def to_numpy(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Return ids and scores as two arrays of shape ``(num_queries, min(k, rows))``; as `Hits`."""

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class ArrowColumn:
    """
    One column, for whatever reads an Arrow array through ``__arrow_c_array__``.

    Examples
    --------
    >>> import pyarrow as pa
    >>> import ruvector as rv
    >>> pa.array(rv.FlatF32Index.build([[0.0], [1.0]], ids=[7, 8]).ids).to_pylist()
    [7, 8]
    """

    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class Rotation:
    """
    The rotation that an index applies to every vector before it is coded.

    Examples
    --------
    >>> import numpy as np
    >>> import ruvector as rv
    >>> rotation = rv.RabitqIndex.build([[3.0, 4.0]], seed=1).rotation()
    >>> rotation
    Rotation(fht-kac, seed=1, 2 -> 64 dimensions)
    >>> round(float(np.linalg.norm(rotation.apply([3.0, 4.0]))), 3)
    5.0
    """

    @property
    def kind(self) -> str:
        """The construction: ``"fht-kac"``, Hadamard transforms with random signs and Kac steps between."""
    @property
    def version(self) -> int:
        """The version of the construction and of its generator."""
    @property
    def seed(self) -> int:
        """The seed it is drawn from."""
    @property
    def dim(self) -> int:
        """Elements of what goes in."""
    @property
    def padded_dim(self) -> int:
        """Elements of what comes out: `dim` rounded up to a multiple of 64."""

    def apply(self, vector: Queries) -> npt.NDArray[np.float32]:
        """
        Rotate one vector.

        Parameters
        ----------
        vector
            `dim` numbers of float32.

        Returns
        -------
        numpy.ndarray
            `padded_dim` numbers of float32. Lengths, angles and inner products stay what they were.

        Raises
        ------
        DimensionMismatch
            If the vector has another length.
        InvalidParameter, InvalidVectorType
            If it is not one vector.
        """

# The lake: handles and calls without defaults. `ruvector.lake` documents what they do.

@final
class Lake:
    def register(self, backend: object, deadline: float | None, concurrency: SupportsIndex) -> None: ...
    def backend_ids(self) -> list[str]: ...
    def collections(self) -> list[tuple[str, str]]: ...
    def configure(self, key: tuple[str, str], kept: LakeKept) -> None: ...
    def settings(self, key: tuple[str, str]) -> LakeKept: ...
    def with_consistency(self, mode: int, ttl: float | None, stale: float | None) -> Lake: ...
    def acting_as(self, principal: str) -> Lake: ...
    def session(self) -> Lake: ...
    def target(self, key: tuple[str, str]) -> LakeTarget: ...
    def search(self, queries: object, name: str, targets: LakeMeant, asking: LakeAsking) -> LakeAnswer: ...
    def search_async(
        self,
        settle: Callable[[LakeAnswer | None, BaseException | None], None],
        queries: object,
        name: str,
        targets: LakeMeant,
        asking: LakeAsking,
    ) -> LakeJob: ...
    def scan(self, key: tuple[str, str], columns: list[str] | None, filter: Dnf | None) -> LakeRows: ...
    def publish_bundle(
        self, key: tuple[str, str], folder: str | PathLike[str]
    ) -> tuple[PathLike[str], str, str]: ...
    def refresh_from_bundle_dir(self, key: tuple[str, str], folder: str | PathLike[str]) -> str: ...
    def save_cache_to_dir(
        self, key: tuple[str, str], folder: str | PathLike[str]
    ) -> tuple[PathLike[str], str, str]: ...
    def warm_from_dir(self, key: tuple[str, str], folder: str | PathLike[str]) -> int: ...
    def forget(self, key: tuple[str, str], ids: IdColumn, folder: str | PathLike[str] | None) -> int: ...
    def invalidate_cache(self, key: tuple[str, str]) -> None: ...
    def bundle_of(self, key: tuple[str, str]) -> LakeFields | None: ...
    def cache_refcount_of(self, witness: str) -> int: ...
    def cache_stats(self) -> tuple[LakeCounters, int, int]: ...
    def cache_stats_by_backend(self) -> list[tuple[str, LakeCounters]]: ...
    def cache_stats_by_collection(self) -> list[tuple[tuple[str, str], LakeCounters]]: ...
    def cache_entries(self) -> LakeTable: ...
    def audit_events(self) -> tuple[LakeTable, int]: ...
    def holds_index(self, digest: str) -> bool: ...
    def reset_stats(self) -> None: ...

@final
class LakeTarget:
    def describe(self) -> tuple[int, IdType, int, Metric]: ...
    def index(self) -> Index: ...
    def where(self, filter: Dnf | None) -> LakeTarget: ...

@final
class LakeAnswer:
    def __len__(self) -> int: ...
    def count(self, query: int) -> int: ...
    def hits(self, query: int, start: int, end: int) -> list[tuple[str, str, int | str, float]]: ...
    def of_query(self, query: int) -> LakeAnswer: ...
    def shards(self) -> list[tuple[Any, ...]]: ...
    @property
    def partial(self) -> bool: ...
    @property
    def one(self) -> bool: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class LakeRows:
    """Rows of a collection as Arrow, to be read once: as a stream, or batch by batch as an iterator."""

    def empty(self) -> LakeRows:
        """Return a stream without rows, for its schema."""

    def __iter__(self) -> Self:
        """Return itself."""

    def __next__(self) -> LakeRows:
        """Return the next batch, as a stream of one."""

    def __arrow_c_schema__(self) -> object:
        """Return the schema of the rows as a capsule."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the rows as a stream, in a capsule; `InvalidParameter` the second time."""

@final
class LakeTable:
    def __len__(self) -> int: ...
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

@final
class LakeJob:
    def cancel(self) -> None: ...

@final
class LakeLocal:
    def __new__(cls, name: str) -> Self: ...
    def put_collection(self, collection: str, ids: IdColumn, vectors: VectorSource) -> None: ...
    def append(self, collection: str, ids: IdColumn, vectors: Queries) -> None: ...
    def upsert(self, collection: str, ids: IdColumn, vectors: VectorSource) -> int: ...
    def delete(self, collection: str, ids: IdColumn) -> int: ...
    def drop(self, collection: str) -> bool: ...

@final
class LakeFs:
    def __new__(cls, name: str, root: str | PathLike[str]) -> Self: ...
    def register(self, collection: str, filename: str) -> None: ...
    def write(
        self, collection: str, filename: str, ids: IdColumn, vectors: VectorSource
    ) -> PathLike[str]: ...

@final
class LakeParquet:
    def __new__(cls, name: str, root: str | PathLike[str]) -> Self: ...
    @staticmethod
    def in_s3(
        name: str,
        s3: LakeBucket,
        send: Callable[[str, str, list[tuple[str, str]], bytes], tuple[int, list[tuple[str, str]], bytes]],
    ) -> LakeParquet: ...
    def register(
        self, collection: str, path: str, vector: str | None, id: str | None, dim: int | None
    ) -> None: ...

def lake_new(kept: LakeKept, made: LakeMade) -> Lake: ...
def lake_async_threads() -> int: ...
def lake_collections(backend: object) -> list[str]: ...
def lake_generation(backend: object, collection: str) -> int | str: ...
def lake_layout(rows: object) -> tuple[str, str | None, int]: ...
def lake_public_key(secret: bytes) -> bytes: ...
def lake_read_bundle(folder: str | PathLike[str]) -> tuple[LakeFields, bytes | None] | None: ...
def lake_write_bundle(
    json: str, folder: str | PathLike[str], secret: bytes | None
) -> tuple[PathLike[str], str, str]: ...

@final
class FlightServer:
    def address(self) -> tuple[str, int]: ...
    def metrics(self) -> str | None: ...
    def put(self, name: str, what: FlightServed, path: str | PathLike[str] | None) -> None: ...
    def remove(self, name: str) -> bool: ...
    def names(self) -> list[str]: ...
    def stop(self, drain: float | None) -> bool | None: ...
    def running(self) -> bool: ...

@final
class FlightClient:
    def location(self) -> str: ...
    def remote(self, collection: str) -> FlightRemote: ...
    def action(self, kind: str, body: str, again: bool) -> list[str]: ...
    def put(
        self, ask: str, data: VectorSource, ids: IdColumn | str | None, column: str | None
    ) -> list[str]: ...
    def delete(self, ask: str, ids: IdColumn) -> list[str]: ...
    def rows(self, ask: str) -> LakeRows: ...
    def index(self, ask: str) -> Index: ...

@final
class FlightRemote:
    def describe(self) -> tuple[int, IdType, int, Metric]: ...
    def search(
        self,
        queries: Queries,
        k: SupportsIndex,
        ids: str | None,
        *,
        recall: float,
        nprobe: SupportsIndex | None,
        epsilon: float | None,
        exact: bool,
        rerank: bool,
    ) -> Hits: ...

def flight_connect(
    location: str,
    token: str | None,
    roots: str | None,
    certificate: tuple[str, str] | None,
    timeout: float | None,
    retries: SupportsIndex,
) -> FlightClient: ...

@final
class FlightTenant:
    @property
    def key(self) -> str: ...
    def knows(self, name: str) -> bool: ...
    def find(self, name: str) -> Index: ...

def flight_serve(
    served: list[tuple[str, FlightServed, str | None]],
    lake: Lake | None,
    folder: str | PathLike[str] | None,
    run: FlightRun,
) -> FlightServer: ...
