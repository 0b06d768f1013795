"""
What was read through a lake, as events of OpenLineage.

`emit` takes the audit events of a lake (`RuLake.audit_events`) and sends each as the end of a run of its own,
by OpenLineage's client and whichever transport that is set up with. The collection is the run's input: its
version is the witness of the state that answered, its row count what was returned. Who asked, for what, and
how it ended are tags of the run; vectors and texts of queries are in no event, only their digests.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ruvector._ruvector import __version__
from ruvector.lake.adapters._extras import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import InputDataset, RunEvent

    from ruvector.typing import ArrowStreamExportable

__all__ = ["emit", "run_events"]

_PRODUCER = f"https://pypi.org/project/ruvector-arrow/{__version__}"
_ENDED = {"answered": "COMPLETE", "empty": "COMPLETE", "denied": "ABORT"}
_TAGS = ("principal", "action", "outcome", "query_digest", "seconds")


def run_events(
    events: ArrowStreamExportable,
    *,
    namespace: str = "ruvector",
    job: str | None = None,
    dataset: Callable[[str, str], tuple[str, str]] | None = None,
) -> Iterator[RunEvent]:
    """
    Yield an event of OpenLineage for each audit event.

    Parameters
    ----------
    events
        Audit events of a lake, as an Arrow stream or table.
    namespace
        The namespace of the jobs.
    job
        The name of the job; by default ``"lake.search"`` and its like, by what was done.
    dataset
        Returns the namespace and the name by which the rest of the world knows a collection, given backend
        and collection; by default ``("ruvector://<backend>", "<collection>")``.

    Yields
    ------
    openlineage.client.event_v2.RunEvent
        COMPLETE for what was answered, ABORT for what a policy denied, else FAIL. The same audit event always
        has the same run id.

    Raises
    ------
    MissingExtra
        If openlineage-python or pyarrow is not installed: ``ruvector-arrow[openlineage]``.
    """
    pa: Any = load("pyarrow", "openlineage")
    event_v2: Any = load("openlineage.client.event_v2", "openlineage")
    uuid: Any = load("openlineage.client.uuid", "openlineage")
    for event in pa.table(events).to_pylist():
        said = json.dumps(event, default=str, sort_keys=True)
        run_id = str(uuid.generate_static_uuid(event["time"], said.encode()))
        yield event_v2.RunEvent(
            eventTime=event["time"].isoformat(),
            eventType=event_v2.RunState[_ENDED.get(event["outcome"], "FAIL")],
            producer=_PRODUCER,
            run=event_v2.Run(run_id, _facets(event)),
            job=event_v2.Job(namespace, job or f"lake.{event['action']}"),
            inputs=[_input(event, dataset)],
            outputs=[],
        )


def emit(
    client: OpenLineageClient,
    events: ArrowStreamExportable,
    *,
    namespace: str = "ruvector",
    job: str | None = None,
    dataset: Callable[[str, str], tuple[str, str]] | None = None,
) -> int:
    """
    Send an event of OpenLineage for each audit event; return how many there were.

    Parameters
    ----------
    client
        OpenLineage's client.
    events, namespace, job, dataset
        As of `run_events`.

    Raises
    ------
    MissingExtra
        If openlineage-python or pyarrow is not installed: ``ruvector-arrow[openlineage]``.
    """
    sent = 0
    for event in run_events(events, namespace=namespace, job=job, dataset=dataset):
        client.emit(event)
        sent += 1
    return sent


def _facets(event: dict[str, Any]) -> dict[str, Any]:
    facets: Any = load("openlineage.client.facet_v2", "openlineage")
    tag = facets.tags_run.TagsRunFacetFields
    tags = [tag(name, str(event[name]), "ruvector") for name in _TAGS if event[name] is not None]
    found = {
        "processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet(
            __version__, name="ruvector", producer=_PRODUCER
        ),
        "tags": facets.tags_run.TagsRunFacet(tags, producer=_PRODUCER),
    }
    if event["outcome"] not in {"answered", "empty"}:
        message = event["detail"] or event["outcome"]
        found["errorMessage"] = facets.error_message_run.ErrorMessageRunFacet(
            message, programmingLanguage="python", producer=_PRODUCER
        )
    return found


def _input(event: dict[str, Any], dataset: Callable[[str, str], tuple[str, str]] | None) -> InputDataset:
    event_v2: Any = load("openlineage.client.event_v2", "openlineage")
    facets: Any = load("openlineage.client.facet_v2", "openlineage")
    backend, collection = event["backend"], event["collection"]
    where = (f"ruvector://{backend}", collection) if dataset is None else dataset(backend, collection)
    rows = facets.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
        rowCount=event["rows"], producer=_PRODUCER
    )
    found = {}
    if event["witness"] is not None:
        found["version"] = facets.dataset_version_dataset.DatasetVersionDatasetFacet(
            event["witness"], producer=_PRODUCER
        )
    given: InputDataset = event_v2.InputDataset(*where, {"inputStatistics": rows}, facets=found)
    return given
