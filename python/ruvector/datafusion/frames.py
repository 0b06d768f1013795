"""Frames and their columns: names, types, batches in order, functions of one use."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from datafusion import DataFrame, Expr, col, udf

from ruvector._sql.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["batches", "call", "column", "expect", "list_of", "unnested"]

_calls = count()


def call(
    name: str,
    run: Callable[..., pa.Array],
    arguments: Sequence[Expr],
    types: Sequence[pa.DataType],
    returned: pa.DataType,
    *,
    folds: bool,
) -> Expr:
    """
    Return a call of a function that only this call has.

    DataFusion takes two functions of one name for one function, and calls it once for both, so every name is
    new. If `folds`, a call with literals may be made when the plan is.
    """
    volatility = "stable" if folds else "volatile"
    function: Any = udf(run, list(types), returned, volatility, name=f"{name}_{next(_calls)}")
    casted = [argument.cast(type) for argument, type in zip(arguments, types, strict=True)]
    return function(*casted)  # type: ignore[no-any-return]


def column(name: str) -> Expr:
    """Return the column of exactly this name; DataFusion would read an unquoted one as SQL."""
    return col('"' + name.replace('"', '""') + '"')


def expect(frame: DataFrame, argument: str, name: str) -> pa.DataType:
    """Return the type of a column, or refuse the argument that names it."""
    schema = frame.schema()
    if name not in schema.names:
        raise refuse(argument, f"one of the columns {', '.join(schema.names)}", repr(name))
    return schema.field(schema.names.index(name)).type


def list_of(type: pa.DataType) -> pa.DataType | None:
    """Return the type of the elements of a list of any kind, None if it is no list."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    views = (pa.types.is_list_view, pa.types.is_large_list_view)
    return type.value_type if any(is_kind(type) for is_kind in (*kinds, *views)) else None


def unnested(frame: DataFrame, name: str, parts: Mapping[str, str], *, keep_nulls: bool) -> DataFrame:
    """
    Replace a column of lists of structs by one row per struct and one column per part, with the name given.

    Lists first, then structs: some versions of DataFusion (54 was seen to) lose the type of a column of lists
    when a field is taken from what it becomes.
    """
    kept = [column(other) for other in frame.schema().names if other != name]
    rows = frame.unnest_columns(name, preserve_nulls=keep_nulls).unnest_columns(name)
    return rows.select(*kept, *(column(f"{name}.{part}").alias(new) for part, new in parts.items()))


def batches(frame: DataFrame) -> Iterator[pa.RecordBatch]:
    """Give the batches of a frame, one partition after the other: the same order each time."""
    for partition in frame.execute_stream_partitioned():
        for batch in partition:
            yield batch.to_pyarrow()
