"""Lines in a picture, written as SVG by hand: nothing has to be installed, and a change shows in a diff."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMESPACE = "http://www.w3.org/2000/svg"
WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 44, 52
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6d31", "#7f7f7f", "#6a51a3", "#a6761d")
DASHES = ("", "6 3", "2 3")
FIRST = "#d40000"
NEARLY_ALL = 0.9995  # where the axis of recall ends; whoever finds more stands there


@dataclass(frozen=True)
class Line:
    """One line of a picture; the first is drawn to be seen first."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """What an axis says and how it bends."""

    title: str
    ticks: Sequence[tuple[float, str]]
    bend: Callable[[float], float]


def by_recall() -> Axis:
    """Return an axis on which a tenth of the errors is one step, from 0.8 on."""
    ticks = [(0.8, "0.8"), (0.9, "0.9"), (0.95, "0.95"), (0.99, "0.99"), (0.999, "0.999")]
    return Axis("recall", ticks, lambda recall: -math.log10(1 - min(recall, NEARLY_ALL)))


def by_powers(title: str, values: Sequence[float]) -> Axis:
    """Return a logarithmic axis that holds all values, with a tick at 1, 2 and 5 times each power of ten.

    >>> [label for _, label in by_powers("", [30, 400]).ticks]
    ['20', '50', '100', '200', '500']
    """
    low, high = min(values), max(values)
    steps = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
    ]
    first = max((place for place, step in enumerate(steps) if step <= low), default=0)
    last = min((place for place, step in enumerate(steps) if step >= high), default=len(steps) - 1)
    ticks = steps[first : max(last, first + 1) + 1]
    if len(ticks) > 12:  # noqa: PLR2004 - what fits
        ticks = [step for step in ticks if str(step)[0] == "1" or step in (ticks[0], ticks[-1])]
    return Axis(title, [(step, label(step)) for step in ticks], math.log10)


def label(value: float) -> str:
    """Write a number in a few letters.

    >>> label(50_000), label(2e6), label(0.5)
    ('50k', '2M', '0.5')
    """
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def draw(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Return the picture. Points left of the first tick of x are left out."""
    left, right = (
        x.bend(x.ticks[0][0]),
        max(x.bend(x.ticks[-1][0]), x.bend(1.0) if x.title == "recall" else 0),
    )
    low, high = y.bend(y.ticks[0][0]), y.bend(y.ticks[-1][0])

    def across(value: float) -> float:
        return LEFT + (x.bend(value) - left) / (right - left) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (y.bend(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    bottom, end = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value, text in x.ticks:
        at = f"{across(value):.1f}"
        parts.append(f'<path d="M{at} {TOP}V{bottom}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    for value, text in y.ticks:
        at = f"{up(value):.1f}"
        parts.append(f'<path d="M{LEFT} {at}H{end}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at}" dy="4" text-anchor="end">{text}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{end}" fill="none" stroke="#444"/>')
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text x="{(LEFT + end) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x.title)}</text>'
    )
    turned = f'text-anchor="middle" transform="rotate(-90 18 {middle})"'
    parts.append(f'<text x="18" y="{middle}" {turned}>{escape(y.title)}</text>')
    for place, line in enumerate(lines):
        parts += _line(place, line, [(across(a), up(b)) for a, b in line.points if a >= x.ticks[0][0]])
    return "\n".join([*parts, "</svg>", ""])


def _line(place: int, line: Line, points: Sequence[tuple[float, float]]) -> list[str]:
    """Return one line, its points and its place in the legend."""
    colour = FIRST if place == 0 else COLOURS[(place - 1) % len(COLOURS)]
    dash = DASHES[(place - 1) // len(COLOURS) % len(DASHES)] if place else ""
    stroke = (
        f'stroke="{colour}" stroke-width="{3 if place == 0 else 1.6}" stroke-dasharray="{dash or "none"}"'
    )
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    beside, at = WIDTH - RIGHT + 16, TOP + 10 + 19 * place
    weight = "bold" if place == 0 else "normal"
    return [
        f'<polyline points="{path}" fill="none" {stroke}/>',
        *(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{4 if place == 0 else 2.6}" fill="{colour}"/>'
            for a, b in points
        ),
        f'<path d="M{beside} {at}h24" {stroke}/>',
        f'<text x="{beside + 32}" y="{at}" dy="4" font-weight="{weight}">{escape(line.name)}</text>',
    ]
