"""
Files of configuration of ``ruvector serve``, in TOML.

A lake, for ``--lake``::

    [lake]                           # all of it optional
    max_cache_bytes = 8_000_000_000  # also max_cache_entries
    spill_to = "/var/cache/ruvector"
    consistency = "eventual"         # "fresh", "eventual" or "frozen"
    ttl = 60.0                       # seconds, with "eventual"; also stale
    metric = "cosine"                # also bits, rotation_seed, rerank_factor, threads, unknown_ttl

    [[backends]]
    name = "files"
    kind = "parquet"
    root = "s3://bucket/prefix"
    access_key_id_env = "AWS_ACCESS_KEY_ID"
    secret_access_key_env = "AWS_SECRET_ACCESS_KEY"
    deadline = 10.0                  # with any kind; also concurrency

    [backends.collections.docs]      # with any kind; may be left out where the backend finds it by its name
    path = "docs/"
    vector = "embedding"
    id = "id"

Kinds, what they need, and what their collections may say:

- ``parquet``: root, and endpoint, region, access_key_id, secret_access_key, session_token, allow_http and
  retries for a bucket; path, vector, id, dim
- ``fs``: root; filename
- ``iceberg``: catalog (its name) and properties (a table); identifier, vector, id
- ``delta``, ``lance``: root and storage_options (a table); location, vector, id
- ``duckdb``: database; table, vector, id, generation
- ``adbc``: uri; table, vector, id, generation
- ``flight``: location; vector, id

Any text can be the value of an environment variable: ``uri_env = "NAME"`` in place of ``uri``.

Tokens, for ``--tokens``::

    [[tokens]]
    secret_env = "READER_TOKEN"      # or secret
    principal = "reader"
    collections = ["docs", "files/*"]  # all, where it is left out
    verbs = ["search", "read"]       # these, where it is left out; also "write", "build", "sql"
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ruvector.flight.serving import Token
from ruvector.lake.backends import FsBackend, ParquetBackend
from ruvector.lake.consistency import Consistency, refuse
from ruvector.lake.rulake import RuLake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from ruvector.lake.adapter import BackendAdapter
    from ruvector.lake.backends import NativeBackend

    Table = dict[str, Any]

__all__ = ["read_lake", "read_tokens"]


def read_lake(path: str | PathLike[str], environment: Mapping[str, str] | None = None) -> RuLake:
    """
    Make the lake that a file describes.

    Parameters
    ----------
    path
        The file.
    environment
        Where values come from that the file only names. Default: this process's environment.

    Raises
    ------
    InvalidParameter
        If something in the file is unknown, missing or cannot be meant. The key is named.
    MissingExtra
        If a backend needs a package that is not installed.
    """
    told = _resolved(_read(path), os.environ if environment is None else environment, "")
    _only(told, {"lake", "backends"}, "")
    builder = RuLake.builder()
    settings: Table = told.get("lake", {})
    _only(settings, {*_SETTINGS, "consistency", "ttl", "stale"}, "lake.")
    for key in _SETTINGS & settings.keys():
        getattr(builder, key)(settings[key])
    if "consistency" in settings:
        modes = {mode.name.lower(): mode for mode in Consistency}
        if settings["consistency"] not in modes:
            refuse("lake.consistency", f"one of {', '.join(modes)}", repr(settings["consistency"]))
        mode = modes[settings["consistency"]]
        builder.consistency(mode, ttl=settings.get("ttl"), stale=settings.get("stale"))
    elif settings.keys() & {"ttl", "stale"}:
        refuse("lake.ttl", "a consistency with it", "none")
    lake = builder.build()
    for at, backend in enumerate(told.get("backends", [])):
        _register(lake, backend, f"backends[{at}].")
    return lake


def read_tokens(path: str | PathLike[str], environment: Mapping[str, str] | None = None) -> list[Token]:
    """
    Return the tokens that a file lists.

    Parameters
    ----------
    path, environment
        As in `read_lake`.

    Raises
    ------
    InvalidParameter
        As `read_lake`; also if there is no token: everybody could do everything then.
    """
    told = _resolved(_read(path), os.environ if environment is None else environment, "")
    _only(told, {"tokens"}, "")
    tokens: list[Token] = []
    for at, each in enumerate(told.get("tokens", [])):
        where = f"tokens[{at}]."
        _only(each, {"secret", "principal", "collections", "verbs"}, where)
        for key in ("secret", "principal"):
            _need(each, key, where)
        lists = {key: tuple(each[key]) for key in ("collections", "verbs") if key in each}
        tokens.append(Token(secret=each["secret"], principal=each["principal"], **lists))
    if not tokens:
        refuse("tokens", "at least one", "none")
    return tokens


_SETTINGS = {
    "max_cache_bytes",
    "max_cache_entries",
    "spill_to",
    "metric",
    "bits",
    "rotation_seed",
    "rerank_factor",
    "threads",
    "unknown_ttl",
}


class _Kind(NamedTuple):
    """A kind of backend: how it is made, of which keys, and which keys its collections have."""

    make: Callable[..., NativeBackend | BackendAdapter]
    needed: tuple[str, ...]
    others: tuple[str, ...]
    collection: tuple[str, ...]


def _iceberg(name: str, catalog: str, properties: Table | None = None) -> BackendAdapter:
    from ruvector.lake.adapters._extras import load
    from ruvector.lake.adapters.iceberg import IcebergBackend

    loaded = load("pyiceberg.catalog", "iceberg").load_catalog(catalog, **(properties or {}))
    return IcebergBackend(name, loaded)


def _delta(name: str, root: str | None = None, storage_options: Table | None = None) -> BackendAdapter:
    from ruvector.lake.adapters.delta import DeltaBackend

    return DeltaBackend(name, root, storage_options=storage_options)


def _lance(name: str, root: str | None = None, storage_options: Table | None = None) -> BackendAdapter:
    from ruvector.lake.adapters.lance import LanceBackend

    return LanceBackend(name, root, storage_options=storage_options)


def _duckdb(name: str, database: str) -> BackendAdapter:
    from ruvector.lake.adapters.duckdb import DuckDBBackend

    return DuckDBBackend(name, database)


def _adbc(name: str, uri: str) -> BackendAdapter:
    from ruvector.lake.adapters.adbc import AdbcBackend

    return AdbcBackend(name, uri)


def _flight(name: str, location: str) -> BackendAdapter:
    from ruvector.lake.adapters.flight import FlightBackend

    return FlightBackend(name, location)


_BUCKET = (
    "endpoint",
    "region",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "allow_http",
    "retries",
)
_TABLE = ("table", "vector", "id", "generation")
_PLACE = ("location", "vector", "id")
_KINDS = {
    "parquet": _Kind(ParquetBackend, ("root",), _BUCKET, ("path", "vector", "id", "dim")),
    "fs": _Kind(FsBackend, ("root",), (), ("filename",)),
    "iceberg": _Kind(_iceberg, ("catalog",), ("properties",), ("identifier", "vector", "id")),
    "delta": _Kind(_delta, (), ("root", "storage_options"), _PLACE),
    "lance": _Kind(_lance, (), ("root", "storage_options"), _PLACE),
    "duckdb": _Kind(_duckdb, ("database",), (), _TABLE),
    "adbc": _Kind(_adbc, ("uri",), (), _TABLE),
    "flight": _Kind(_flight, ("location",), (), ("vector", "id")),
}
# What a collection of these kinds cannot do without.
_COLLECTION_NEEDS = {"parquet": "path", "fs": "filename", "delta": "location", "lance": "location"}


def _register(lake: RuLake, told: Table, where: str) -> None:
    for key in ("name", "kind"):
        _need(told, key, where)
    kind = _KINDS.get(told["kind"])
    if kind is None:
        refuse(f"{where}kind", f"one of {', '.join(_KINDS)}", repr(told["kind"]))
    own = {*kind.needed, *kind.others}
    _only(told, {"name", "kind", "collections", "deadline", "concurrency", *own}, where)
    for key in kind.needed:
        _need(told, key, where)
    backend: Any = kind.make(told["name"], **{key: told[key] for key in own & told.keys()})
    for name, collection in told.get("collections", {}).items():
        inside = f"{where}collections.{name}."
        _only(collection, set(kind.collection), inside)
        if told["kind"] in _COLLECTION_NEEDS:
            _need(collection, _COLLECTION_NEEDS[told["kind"]], inside)
        backend.register(name, **collection)
    options = {key: told[key] for key in ("deadline", "concurrency") if key in told}
    lake.register_backend(backend, **options)


def _read(path: str | PathLike[str]) -> Table:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        refuse(os.fspath(path), "a file in toml", str(error))


def _resolved(told: Table, environment: Mapping[str, str], where: str) -> Table:
    """Return the same with values in place of the names of environment variables."""
    found: Table = {}
    for key, value in told.items():
        given: object = value
        if isinstance(given, dict):
            found[key] = _resolved(cast("Table", given), environment, f"{where}{key}.")
        elif isinstance(given, list) and all(isinstance(each, dict) for each in cast("list[object]", given)):
            tables = enumerate(cast("list[Table]", given))
            found[key] = [_resolved(each, environment, f"{where}{key}[{at}].") for at, each in tables]
        elif key.endswith("_env"):
            plain = key.removesuffix("_env")
            if plain in told:
                refuse(f"{where}{key}", f"no {plain} beside it", "both")
            if not isinstance(given, str) or given not in environment:
                refuse(f"{where}{key}", "the name of an environment variable that is set", repr(value))
            found[plain] = environment[given]
        else:
            found[key] = value
    return found


def _only(told: Table, known: set[str], where: str) -> None:
    for key in told:
        if key not in known:
            refuse(f"{where}{key}", f"one of {', '.join(sorted(known))}", "a key that nobody knows")


def _need(told: Table, key: str, where: str) -> None:
    if key not in told:
        refuse(f"{where}{key}", "a value", "none")
