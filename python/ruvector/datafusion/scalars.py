"""The scalar functions: columns in, columns out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ruvector import _sql
from ruvector._sql.answers import as_text, no_hits
from ruvector._sql.arrow import SEARCHED, pa
from ruvector._sql.functions import CODE, for_each
from ruvector._sql.refusal import refuse
from ruvector.datafusion.engine import engine
from ruvector.datafusion.frames import plainly

if TYPE_CHECKING:
    from ruvector._sql import Catalog
    from ruvector._sql.arrow import Array

__all__ = ["scalar_functions"]

_OPTIONS = ("recall", "nprobe", "epsilon", "rerank", "exact", "metric")
_VECTORS, _TEXT, _WHOLE = pa.list_(pa.float32()), pa.string(), pa.int64()
_ASKED = [_TEXT, _VECTORS, _WHOLE]


def scalar_functions(catalog: Catalog) -> list[Any]:
    """Make the functions over one catalog of names."""
    numbers, texts = partial(_search, catalog, "int64"), partial(_search, catalog, "str")
    functions: list[tuple[str, Any, list[Any], Any, str]] = [
        ("ruvector_search", numbers, _ASKED, SEARCHED["int64"], "stable"),
        ("ruvector_search_text", texts, _ASKED, SEARCHED["str"], "stable"),
        ("ruvector_search_with", numbers, [*_ASKED, _TEXT], SEARCHED["int64"], "stable"),
        ("ruvector_search_text_with", texts, [*_ASKED, _TEXT], SEARCHED["str"], "stable"),
        ("ruvector_distance", _sql.distance, [_VECTORS, _VECTORS, _TEXT], pa.float32(), "immutable"),
        ("ruvector_quantize", _sql.quantize, [_VECTORS, _WHOLE, _WHOLE], CODE, "immutable"),
    ]
    return [
        engine.udf(plainly(run), types, returned, kind, name=name)
        for name, run, types, returned, kind in functions
    ]


def _search(  # noqa: PLR0917 - DataFusion passes columns by position
    catalog: Catalog, kind: str, index: Array, queries: Array, k: Array, options: Array | None = None
) -> Array:
    """Answer a batch, one list of hits per row."""
    if len(queries) == 0:
        return no_hits(0, kind)
    pin = catalog.pin(_same(index, "index"))
    if kind == "int64" and pin.index.id_type != kind:
        expected = "one whose ids are of int64, as ruvector_search_text takes any"
        raise refuse("index", expected, f"ids of {pin.index.id_type}")
    how = {} if options is None else _options(_same(options, "options") or "")

    def nearest(k: int | None, rows: Array) -> Array:
        return _sql.search(_sql.Asked.nearest(pin, k, **how), rows)

    found = for_each(k, queries, nearest, no_hits(0, pin.index.id_type))
    return as_text(found) if kind == "str" else found


def _same(column: Array, name: str) -> Any:  # noqa: ANN401 - of the type of the column
    """Return the one value of a column that should be a constant."""
    values = column.unique()
    if len(values) != 1:
        raise refuse(name, "the same for all rows", f"{len(values)} different ones")
    return values[0].as_py()


def _options(text: str) -> dict[str, Any]:
    """Read ``recall=0.9 exact=true``, with spaces or commas between."""
    found: dict[str, Any] = {}
    for part in text.replace(",", " ").split():
        name, equals, value = part.partition("=")
        if not equals:
            raise refuse("options", "name=value", part)
        if name not in _OPTIONS:
            raise refuse("options", f"some of {', '.join(_OPTIONS)}", name)
        found[name] = _option(name, value)
    return found


def _option(name: str, value: str) -> Any:  # noqa: ANN401 - of the type of the option
    if name == "metric":
        return value
    if name in ("rerank", "exact"):
        if value not in ("true", "false"):
            raise refuse(name, "true or false", value)
        return value == "true"
    expected, kind = ("a whole number", int) if name == "nprobe" else ("a number", float)
    try:
        return kind(value)
    except ValueError:
        raise refuse(name, expected, value) from None
