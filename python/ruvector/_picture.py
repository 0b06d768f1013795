"""A small picture of a curve, as SVG."""

from __future__ import annotations

from math import ceil, floor, log10

FONT = 'font-family="sans-serif" font-size="11"'
WIDTH, HEIGHT, LEFT, BOTTOM, PAD = 480, 300, 70, 45, 15


def curve(points: list[tuple[float, float]], x_name: str, y_name: str) -> str:
    """
    Draw ``points`` as a line, y on a logarithmic scale.

    >>> curve([(0.9, 1000.0), (0.99, 100.0)], "recall", "queries per second").startswith("<svg")
    True
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low_x, high_x = min(xs), max(xs)
    low_y, high_y = floor(log10(min(ys))), ceil(log10(max(ys)))
    span_x, span_y = (high_x - low_x) or 1.0, (high_y - low_y) or 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - low_x) / span_x * (WIDTH - LEFT - PAD)
        up = HEIGHT - BOTTOM - (log10(y) - low_y) / span_y * (HEIGHT - BOTTOM - PAD)
        return across, up

    def text(x: float, y: float, what: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{what}</text>'

    marks = [place(x, y) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in marks)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {FONT}>',
        f'<path d="M{LEFT},{PAD}V{HEIGHT - BOTTOM}H{WIDTH - PAD}" fill="none" stroke="#888"/>',
        f'<polyline points="{line}" fill="none" stroke="#1f6fb2" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#1f6fb2"/>' for x, y in marks),
        text((LEFT + WIDTH - PAD) / 2, HEIGHT - 8, x_name),
        text(LEFT, PAD - 4, y_name, "start"),
    ]
    powers = [10.0**power for power in range(low_y, low_y + span_y + 1)]
    parts.extend(text(LEFT - 6, place(low_x, y)[1] + 4, f"{y:,.0f}", "end") for y in powers)
    below = HEIGHT - BOTTOM + 16
    parts.extend(
        text(place(x, powers[0])[0], below, f"{x:.3f}") for x in (low_x, (low_x + high_x) / 2, high_x)
    )
    return "".join([*parts, "</svg>"])
