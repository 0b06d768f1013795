"""The errors of the lake: what they are, what they carry, and that they travel."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import ruvector as rv
from ruvector import errors

DETAILS: dict[type[rv.LakeError], tuple[type[Exception], dict[str, Any], bool]] = {
    rv.UnknownBackend: (LookupError, {"backend": "b", "known": ("a",)}, False),
    rv.UnknownCollection: (LookupError, {"backend": "b", "collection": "c"}, False),
    rv.AmbiguousCollection: (ValueError, {"collection": "c", "backends": ("a", "b")}, False),
    rv.CacheMissError: (LookupError, {"backend": "b", "collection": "c"}, True),
    rv.BackendError: (Exception, {"backend": "b", "retryable": True}, True),
    rv.DeadlineExceeded: (TimeoutError, {"backend": "b", "collection": "c", "seconds": 0.5}, True),
    rv.Unsettled: (Exception, {"backend": "b", "collection": "c", "attempts": 3}, True),
    rv.Superseded: (
        Exception,
        {"backend": "b", "collection": "c", "expected": "1", "actual": "2"},
        True,
    ),
    rv.WitnessMismatch: (ValueError, {"what": "f", "expected": "1", "actual": "2"}, False),
    rv.InvalidBundle: (ValueError, {"path": "p", "reason": "r"}, False),
    rv.UnsafePath: (ValueError, {"name": "n", "reason": "r"}, False),
    rv.TooLarge: (ValueError, {"what": "rows", "limit": 1, "actual": 2}, False),
    rv.PolicyDenied: (
        PermissionError,
        {"principal": "p", "backend": "b", "collection": "c", "action": "scan"},
        False,
    ),
}


@pytest.mark.parametrize("kind", DETAILS)
def test_an_error_carries_what_it_says_and_travels(kind: type[rv.LakeError]) -> None:
    also, details, retryable = DETAILS[kind]
    made = kind("the message", **details)
    for error in (made, pickle.loads(pickle.dumps(made))):
        assert type(error) is kind
        assert isinstance(error, (rv.LakeError, rv.RuVectorError))
        assert isinstance(error, also)
        assert str(error) == "the message"
        assert {name: getattr(error, name) for name in details} == details
        assert error.retryable is retryable
    assert kind.code not in {other.code for other in DETAILS if other is not kind}


def test_all_errors_of_the_lake_are_here() -> None:
    found = {kind for name in errors.__all__ if issubclass(kind := getattr(errors, name), rv.LakeError)}
    assert found - {rv.LakeError} == set(DETAILS)


@pytest.mark.parametrize("thing", ["lake", "backend", "hits", "batch", "collection", "session"])
def test_what_lives_in_its_process_says_so(thing: str) -> None:
    backend = rv.LocalBackend("memory")
    backend.upsert("docs", ids=[1], vectors=[[1.0]])
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    things: dict[str, object] = {
        "lake": lake,
        "backend": backend,
        "hits": lake.search_one("docs", [1.0]),
        "batch": lake.search_batch("docs", [[1.0]]),
        "collection": lake.collection("docs"),
        "session": lake.session(),
    }
    with pytest.raises(TypeError, match=f"cannot pickle {type(things[thing]).__name__}"):
        pickle.dumps(things[thing])


def test_values_travel(tmp_path: Any) -> None:
    backend = rv.LocalBackend("memory")
    backend.upsert("docs", ids=[1], vectors=[[1.0]])
    lake = rv.RuLake.builder().build()
    lake.register_backend(backend)
    hits = lake.search_one("docs", [1.0])
    published = lake.publish_bundle("docs", tmp_path)
    for value in (hits[0], hits.shards, lake.cache_stats(), lake.bundle_of("docs"), published):
        assert pickle.loads(pickle.dumps(value)) == value
