"""Put measured figures into a page: `python -m benches.peers.report build/bench --write BENCHMARKS.md`.

The folder holds what the benches wrote with `--out`, and `kernels.txt`, what `make bench-kernels` printed.
Between two markers of the page, `<!-- figures: NAME -->` and `<!-- end: NAME -->`, everything is replaced;
without a figure nothing is left there. So no figure is ever typed.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.peers import picture, tables
from benches.peers.curve import at_recall, frontier
from benches.peers.roofline import KERNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Result = dict[str, Any]
ORDER_BY = 0.95
SLOWEST = 1 / 300  # of the quickest: what is slower still, such as SQL, would flatten all other lines


def results(folder: Path) -> list[Result]:
    """Return all figures of a folder, in the order of the files' names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def recall_picture(result: Result, speed: str, title: str) -> str | None:
    """Return recall against speed, a line per peer: ours first, then the quicker ones."""
    curves = {peer["peer"]: frontier(peer["points"], speed) for peer in result["peers"]}
    order = sorted(curves, key=lambda name: (name != tables.OURS, -(at_recall(curves[name], ORDER_BY) or 0)))
    begin = picture.by_recall().ticks[0][0]
    lines = [picture.Line(name, [point for point in curves[name] if point[0] >= begin]) for name in order]
    quickest = max((qps for line in lines for _, qps in line.points), default=0.0)
    lines = [line for line in lines if any(qps > quickest * SLOWEST for _, qps in line.points)]
    if not lines:
        return None
    values = [qps for line in lines for _, qps in line.points]
    return picture.draw(title, lines, picture.by_recall(), picture.by_powers("queries per second", values))


def growth_picture(result: Result) -> str | None:
    """Return rows against the time of a single query."""
    lines = [
        picture.Line(name, [(rows, seconds * 1e6) for rows, seconds, _ in tables.growth_of(result, name)])
        for name in tables.growth_names(result)
    ]
    points = [point for line in lines for point in line.points]
    if not points:
        return None
    x, y = (
        picture.by_powers(*axis)
        for axis in (("rows", [a for a, _ in points]), ("µs", [b for _, b in points]))
    )
    return picture.draw(f"a single query at recall {result['recall']}, one thread", lines, x, y)


class Page:
    """The sections of the page, and the pictures that they show."""

    def __init__(self, found: list[Result], kernels: str, pictures: Path) -> None:
        self.found = found
        self.kernels = kernels
        self.pictures = pictures

    def of(self, kind: str) -> Iterable[Result]:
        """Return the figures of one kind."""
        return (result for result in self.found if result["kind"] == kind)

    def shown(self, name: str, drawing: str | None, about: str) -> str:
        """Write a picture and return the line that shows it; nothing without a picture."""
        if drawing is None:
            return ""
        self.pictures.mkdir(parents=True, exist_ok=True)
        (self.pictures / f"{name}.svg").write_text(drawing, encoding="utf-8")
        return f"![{about}]({(self.pictures / name).as_posix()}.svg)"

    def machine(self) -> str:
        """Return what was measured on, which should be one machine, and the versions."""
        machines = sorted({tables.machine(result) for result in self.found})
        peers = list(self.of("peers"))
        return "\n\n".join([*machines, tables.versions(peers)] if peers else machines)

    def peers(self) -> str:
        """Return a part for each data set."""
        return "\n\n".join(part for result in self.of("peers") for part in self.data_set(result) if part)

    def data_set(self, result: Result) -> Iterable[str]:
        """Return heading, pictures and tables of one data set."""
        name = result["data"]
        yield f"### {name}"
        titles = {"single": "single queries, 1 thread", "batch": f"batches, {result['threads']} threads"}
        for way, title in titles.items():
            about = f"{name}: {title}"
            yield self.shown(f"{name}-{way}", recall_picture(result, f"{way}_qps", about), about)
        yield tables.peer_table(result)
        yield tables.latency_table(result)
        if "scan" in result:
            yield tables.tail_table(result)
            yield tables.roofline_table(result, self.kernels)

    def growth(self) -> str:
        """Return how time grows with rows."""
        parts = [
            part
            for result in self.of("growth")
            for part in (
                self.shown("growth", growth_picture(result), "time of a single query by rows"),
                tables.growth_table(result),
            )
        ]
        return "\n\n".join(part for part in parts if part)

    def builds(self) -> str:
        """Return the builds of large indexes."""
        return "\n\n".join(map(tables.build_table, self.of("builds")))

    def filters(self) -> str:
        """Return the filters."""
        return "\n\n".join(map(tables.filter_table, self.of("filters")))

    def updates(self) -> str:
        """Return the updates."""
        return "\n\n".join(map(tables.update_table, self.of("updates")))

    def sql(self) -> str:
        """Return the joins in SQL."""
        return "\n\n".join(map(tables.sql_table, self.of("sql")))

    def lake(self) -> str:
        """Return the lake beside its index."""
        return "\n\n".join(map(tables.lake_table, self.of("lake")))

    def flight(self) -> str:
        """Return the Flight service."""
        return "\n\n".join(map(tables.flight_table, self.of("flight")))

    def kernel_lines(self) -> str:
        """Return the lines of the kernel that the rooflines are made of, as they were printed."""
        lines = "\n".join(line for line in self.kernels.splitlines() if KERNEL in line.split())
        return f"```text\n{lines}\n```" if lines else ""

    def sections(self) -> dict[str, Callable[[], str]]:
        """Return what makes each section."""
        return {
            "machine": self.machine,
            "peers": self.peers,
            "growth": self.growth,
            "builds": self.builds,
            "filters": self.filters,
            "updates": self.updates,
            "sql": self.sql,
            "lake": self.lake,
            "flight": self.flight,
            "kernels": self.kernel_lines,
        }


def fill(text: str, name: str, figures: str) -> str:
    r"""Put figures between the markers of one section.

    >>> fill("a <!-- figures: x -->old<!-- end: x --> b", "x", "new")
    'a <!-- figures: x -->\n\nnew\n\n<!-- end: x --> b'
    """
    pattern = rf"(<!-- figures: {name} -->).*?(<!-- end: {name} -->)"
    between = f"\n\n{figures}\n\n" if figures else "\n"
    filled, count = re.subn(
        pattern, lambda found: found[1] + between + found[2], text, count=1, flags=re.DOTALL
    )
    if not count:
        raise SystemExit(f"the page has no markers for {name}")
    return filled


def main() -> None:
    """Print the sections, or write them into a page."""
    parser = argparse.ArgumentParser(prog="python -m benches.peers.report", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", type=Path, help="the page")
    parser.add_argument(
        "--pictures", type=Path, default=Path("docs/benchmarks"), help="default: docs/benchmarks"
    )
    args = parser.parse_args()

    kernels = args.folder / "kernels.txt"
    page = Page(
        results(args.folder), kernels.read_text(encoding="utf-8") if kernels.exists() else "", args.pictures
    )
    sections = {name: make() for name, make in page.sections().items()}
    if args.write:
        text = args.write.read_text(encoding="utf-8")
        for name, figures in sections.items():
            text = fill(text, name, figures)
        args.write.write_text(text, encoding="utf-8")
    else:
        print("\n\n".join(figures for figures in sections.values() if figures))


if __name__ == "__main__":
    main()
