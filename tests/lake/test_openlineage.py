"""Audit events as OpenLineage's client writes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from openlineage.client import OpenLineageClient
from openlineage.client.transport.file import FileConfig, FileTransport

from ruvector.lake.openlineage import emit, run_events

if TYPE_CHECKING:
    from pathlib import Path

TIME = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
WITNESS = "ab" * 32


def event(**changed: Any) -> dict[str, Any]:
    return {
        "time": TIME,
        "principal": "ada",
        "action": "search",
        "backend": "memory",
        "collection": "docs",
        "outcome": "answered",
        "rows": 10,
        "witness": WITNESS,
        "query_digest": "cd" * 32,
        "seconds": 0.25,
        "detail": None,
    } | changed


def table(*events: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(events))


def written(folder: Path, events: pa.Table, **options: Any) -> list[dict[str, Any]]:
    file = folder / "events.jsonl"
    client = OpenLineageClient(transport=FileTransport(FileConfig(str(file), append=True)))
    assert emit(client, events, **options) == len(events)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_what_was_answered_is_a_run_that_completed(tmp_path: Path) -> None:
    (found,) = written(tmp_path, table(event()))
    assert found["eventType"] == "COMPLETE"
    assert datetime.fromisoformat(found["eventTime"]) == TIME
    assert found["job"] == {"namespace": "ruvector", "name": "lake.search", "facets": {}}
    (read,) = found["inputs"]
    assert (read["namespace"], read["name"]) == ("ruvector://memory", "docs")
    assert read["facets"]["version"]["datasetVersion"] == WITNESS
    assert read["inputFacets"]["inputStatistics"]["rowCount"] == 10
    given = found["run"]["facets"]["tags"]["tags"]
    # The client adds some of its own.
    tags = {tag["key"]: tag["value"] for tag in given if tag["source"] == "ruvector"}
    assert tags == {
        "principal": "ada",
        "action": "search",
        "outcome": "answered",
        "query_digest": "cd" * 32,
        "seconds": "0.25",
    }
    assert found["run"]["facets"]["processing_engine"]["name"] == "ruvector"


def test_what_was_not_answered_says_why(tmp_path: Path) -> None:
    denied = event(outcome="denied", witness=None, rows=0, principal=None, detail="no reader of docs")
    events = table(event(outcome="failed"), denied, event(outcome="empty"))
    failed, denied_run, empty = written(tmp_path, events)
    assert [failed["eventType"], denied_run["eventType"], empty["eventType"]] == ["FAIL", "ABORT", "COMPLETE"]
    assert denied_run["run"]["facets"]["errorMessage"]["message"] == "no reader of docs"
    assert failed["run"]["facets"]["errorMessage"]["message"] == "failed"
    assert "errorMessage" not in empty["run"]["facets"]
    assert "version" not in denied_run["inputs"][0]["facets"]
    assert "principal" not in {tag["key"] for tag in denied_run["run"]["facets"]["tags"]["tags"]}


def test_names_can_be_those_of_the_rest_of_the_world(tmp_path: Path) -> None:
    (found,) = written(
        tmp_path,
        table(event()),
        namespace="search-team",
        job="answers",
        dataset=lambda backend, collection: ("postgres://db:5432", f"library.{backend}.{collection}"),
    )
    assert (found["job"]["namespace"], found["job"]["name"]) == ("search-team", "answers")
    assert (found["inputs"][0]["namespace"], found["inputs"][0]["name"]) == (
        "postgres://db:5432",
        "library.memory.docs",
    )


def test_an_event_always_has_the_same_run() -> None:
    one, again, other = (next(run_events(table(event(rows=rows)))).run.runId for rows in (1, 1, 2))
    assert one == again != other
