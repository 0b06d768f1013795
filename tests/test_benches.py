"""What the benches count as found, and how figures come into the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import ruvector as rv
from benches.peers import picture, report, run
from benches.peers.data import Data, clustered, limits, mixture, recall

if TYPE_CHECKING:
    from benches.peers.peer import Metric

ROOT = Path(__file__).parents[1]
K = 10


@pytest.mark.parametrize(("metric", "ours"), [("l2", "l2sq"), ("ip", "ip")])
def test_recall_agrees_with_the_library(metric: Metric, ours: rv.typing.Metric) -> None:
    drawn = mixture(3000, 128, 30)
    data = Data("drawn", metric, drawn.docs, drawn.queries)
    truth = rv.exact_search(data.docs, data.queries, K, metric=ours)
    index = rv.build(data.docs, metric=ours)
    for found in (truth, index.search(data.queries, K, nprobe=1)):
        counted = recall(data, found.to_numpy()[0], limits(data, K))
        assert counted == pytest.approx(rv.recall_at_k(found, truth), abs=1e-9)


def test_equally_near_rows_count_and_repeated_ones_do_not() -> None:
    docs = np.array([[0.0], [0.0], [1.0], [2.0]], dtype=np.float32)
    data = Data("ties", "l2", docs, np.array([[0.0]], dtype=np.float32))
    limit = limits(data, 1)
    assert [recall(data, np.array([[row]]), limit) for row in (0, 1, 2, -1, 2**32 - 1)] == [1, 1, 0, 0, 0]
    assert recall(data, np.array([[1, 1]]), limits(data, 2)) == 0.5


def test_truth_under_a_filter_knows_allowed_rows_only() -> None:
    data = clustered(500, 16, 5)
    allowed = np.arange(data.rows) % 100 == 0
    hits = rv.exact_search(data.docs[allowed], data.queries, 3)
    assert limits(data, 3, allowed) == pytest.approx(hits.to_numpy()[1][:, 2], rel=1e-5)


def test_data_are_the_same_each_time() -> None:
    first, again = (clustered(300, 8, 4) for _ in range(2))
    assert (first.docs == again.docs).all()
    assert (first.queries == again.queries).all()


def test_of_two_rounds_each_figure_is_the_quicker() -> None:
    def found(build: float, *points: tuple[float, float, float]) -> dict[str, Any]:
        names = ("recall", "batch_qps", "single_qps")
        return {"build_s": build, "points": [dict(zip(names, point, strict=True)) for point in points]}

    one, other = found(3.0, (0.9, 100.0, 10.0), (1.0, 50.0, 5.0)), found(2.0, (0.8, 90.0, 11.0))
    assert run.better(one, other)["build_s"] == 2.0
    assert run.better(one, other)["points"] == [
        {"recall": pytest.approx(0.85), "batch_qps": 100.0, "single_qps": 11.0}
    ]
    failed = {**one, "error": "status 1"}
    assert run.better(failed, other) == run.better(other, failed) == other


def test_a_picture_is_xml_with_a_line_per_peer() -> None:
    lines = [picture.Line(name, [(0.9, 100.0), (1.0, 10.0)]) for name in ("ours & us", "theirs")]
    drawn = picture.draw("<title>", lines, picture.by_recall(), picture.by_powers("q/s", [10, 100]))
    tree = ET.fromstring(drawn)  # noqa: S314 - drawn just now
    assert len(tree.findall("{*}polyline")) == len(lines)


def test_the_page_has_a_place_for_every_section(tmp_path: Path) -> None:
    text = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
    for name in report.Page([], "", tmp_path).sections():
        text = report.fill(text, name, "figures")
        assert f"<!-- figures: {name} -->\n\nfigures\n\n<!-- end: {name} -->" in text
