"""Frames and their columns: names, types, batches in order, functions of one use."""

from __future__ import annotations

from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any

from ruvector._sql.arrow import pa
from ruvector._sql.refusal import refuse
from ruvector.datafusion.engine import engine
from ruvector.errors import RuVectorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ruvector._sql.arrow import Array, Table
    from ruvector.datafusion.engine import DataType, Expr, Frame

__all__ = ["batches", "call", "column", "expect", "list_of", "plainly", "unnested"]

_calls = count()


def call(
    name: str,
    run: Callable[..., Array],
    arguments: Sequence[Expr],
    types: Sequence[DataType],
    returned: DataType,
    *,
    folds: bool,
) -> Expr:
    """
    Return a call of a function that only this call has.

    DataFusion takes two functions of one name for one function, and calls it once for both, so every name is
    new. If `folds`, a call with literals may be made when the plan is.
    """
    volatility = "stable" if folds else "volatile"
    function = engine.udf(plainly(run), list(types), returned, volatility, name=f"{name}_{next(_calls)}")
    casted = [argument.cast(wanted) for argument, wanted in zip(arguments, types, strict=True)]
    return function(*casted)


def plainly(run: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with bare errors: DataFusion shows every line of code that they came through."""

    @wraps(run)
    def call(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever it takes and returns
        try:
            return run(*arguments, **options)
        except RuVectorError as error:
            raise error.with_traceback(None) from None

    return call


def column(name: str) -> Expr:
    """Return the column of exactly this name; DataFusion would read an unquoted one as SQL."""
    return engine.col('"' + name.replace('"', '""') + '"')


def expect(frame: Frame, argument: str, name: str) -> DataType:
    """Return the type of a column, or refuse the argument that names it."""
    schema = frame.schema()
    if name not in schema.names:
        raise refuse(argument, f"one of the columns {', '.join(schema.names)}", repr(name))
    return schema.field(schema.names.index(name)).type


def list_of(kind: DataType) -> DataType | None:
    """Return the type of the elements of a list of any kind, None if it is no list."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    views = (pa.types.is_list_view, pa.types.is_large_list_view)
    return kind.value_type if any(is_kind(kind) for is_kind in (*kinds, *views)) else None


def unnested(frame: Frame, name: str, parts: Mapping[str, str], *, keep_nulls: bool) -> Frame:
    """
    Replace a column of lists of structs by one row per struct and one column per part, with the name given.

    Lists first, then structs: some versions of DataFusion (54 was seen to) lose the type of a column of lists
    when a field is taken from what it becomes.
    """
    kept = [column(other) for other in frame.schema().names if other != name]
    rows = frame.unnest_columns(name, preserve_nulls=keep_nulls).unnest_columns(name)
    return rows.select(*kept, *(column(f"{name}.{part}").alias(new) for part, new in parts.items()))


def batches(frame: Frame) -> Iterator[Table]:
    """
    Give the batches of a frame, without ever holding all of them.

    One partition after the other, which is the order of the rows each time. Where DataFusion deals rows out
    to its threads there is no order, and a partition that is not read piles up: then as they come.
    """
    is_dealt_out = "RepartitionExec" in frame.execution_plan().display_indent()
    streams = [frame.execute_stream()] if is_dealt_out else frame.execute_stream_partitioned()
    for stream in streams:
        for batch in stream:
            yield batch.to_pyarrow()
