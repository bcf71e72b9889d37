"""Small inline SVG for reports and files: no script, no font, no file; colours follow the page through currentColor.

All texts are escaped here. Coordinates are in pixels of the picture's own view box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

ROW, LEFT, RIGHT, TOP, WIDTH = 36, 10, 10, 4, 400
"""Names and numbers stand over their lines, so that a picture is as narrow as a phone and still read."""
LOOKS = (("#0072B2", ""), ("#D55E00", ' stroke-dasharray="6 4"'), ("#009E73", ' stroke-dasharray="2 3"'))
"""Colour and dash of the lines of `curves`: three at most."""


@dataclass(frozen=True)
class Bar:
    """One line of `intervals`: a mean, each seed's value, and two intervals where they are known."""

    label: str
    colour: str
    symbol: str
    mean: float
    points: Sequence[float] = ()
    seeds: tuple[float, float] | None = None
    """Interval over seeds: the thick line."""
    examples: tuple[float, float] | None = None
    """Interval over examples: the thin line with ends."""


def intervals(bars: Sequence[Bar], title: str) -> str:
    """Means as dots with both intervals on one scale; an empty text for no bars."""
    if not bars:
        return ""
    core = [v for bar in bars for v in (bar.mean, *bar.points, *(bar.examples or ()))]
    spread = (max(core) - min(core)) or 0.02
    # An interval over two seeds can be wider than all scores together: it is cut, with an arrow's head at the cut.
    low, high = min(core) - 0.35 * spread, max(core) + 0.35 * spread
    height = TOP + ROW * len(bars) + 26
    span = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        return LEFT + span * (min(max(value, low), high) - low) / (high - low)

    parts = [_open(WIDTH, height, title)]
    for tick in ticks(low, high):
        parts.append(_line(x(tick), TOP, x(tick), height - 22, "grid"))
        parts.append(_text(x(tick), height - 6, f"{tick:.3g}", "middle", "tick"))
    for i, bar in enumerate(bars):
        y = TOP + ROW * i + 26
        parts.append(_text(LEFT, y - 11, bar.symbol, "middle", colour=bar.colour))
        parts.append(_text(LEFT + 12, y - 11, bar.label, "start"))
        if bar.seeds:
            parts.append(_line(x(bar.seeds[0]), y, x(bar.seeds[1]), y, "seeds", bar.colour))
            for end, sign in ((bar.seeds[0], -1), (bar.seeds[1], 1)):
                if not low <= end <= high:
                    parts.append(_head(x(end), y, sign, bar.colour))
        if bar.examples:
            a, b = map(x, bar.examples)
            parts += [_line(a, y, b, y, "examples"), _line(a, y - 4, a, y + 4, "examples")]
            parts.append(_line(b, y - 4, b, y + 4, "examples"))
        for value in bar.points:
            parts.append(f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="2.5" class="seed"/>')
        parts.append(f'<circle cx="{x(bar.mean):.1f}" cy="{y:.1f}" r="5" class="mean" fill="{escape(bar.colour)}"/>')
        parts.append(_text(WIDTH - RIGHT, y - 11, f"{bar.mean:.4f}", "end", "number"))
    return "".join([*parts, "</svg>"])


def columns(values: Sequence[float], points: Sequence[Sequence[float]], uniform: float, title: str, colour: str) -> str:
    """Bars for layers 1..L with a dot for each seed and a dashed line at the uniform share."""
    count = len(values)
    height, left, bottom, gap = 190, 44, 34, 4
    width = left + 16 + max(340, min(600, 34 * count))
    step = (width - left - 16) / max(1, count)
    most = max([uniform, *values, *(v for row in points for v in row)]) * 1.15 or 1.0

    def y(value: float) -> float:
        return 10 + (height - bottom - 10) * (1 - value / most)

    parts = [_open(width, height, title)]
    for tick in ticks(0, most, 3):
        parts.append(_line(left, y(tick), width - 16, y(tick), "grid"))
        parts.append(_text(left - 6, y(tick) + 4, f"{tick:.2g}", "end", "tick"))
    every = max(1, -(-count // 16))
    for i, value in enumerate(values):
        at = left + i * step
        parts.append(
            f'<rect x="{at + gap / 2:.1f}" y="{y(value):.1f}" width="{max(1.0, step - gap):.1f}" '
            f'height="{y(0) - y(value):.1f}" class="share" fill="{escape(colour)}">'
            f"<title>layer {i + 1}: {value:.4f}</title></rect>"
        )
        for row in points:
            parts.append(f'<circle cx="{at + step / 2:.1f}" cy="{y(row[i]):.1f}" r="2.5" class="seed"/>')
        if i % every == 0 or i == count - 1:
            parts.append(_text(at + step / 2, height - bottom + 16, str(i + 1), "middle", "tick"))
    parts.append(_line(left, y(uniform), width - 16, y(uniform), "uniform"))
    parts.append(_text(width - 16, height - 4, "layer (dashed: equal shares, 1/L)", "end", "tick"))
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True)
class Curve:
    """One line of `curves`: a score for each of the layers 1..L."""

    label: str
    values: Sequence[float]


def curves(lines: Sequence[Curve], title: str) -> str:
    """Scores over layers 1..L, 1 at most, on a common scale from 0; the best of each line has its number."""
    count = max(len(line.values) for line in lines)
    width, height, left, right = 640, 260, 44, 16
    bottom = 36 + 20 * -(-len(lines) // 2)  # two names in a row
    found = [v for line in lines for v in line.values]
    low, high = min(0.0, *found), min(1.0, ceil(10 * max(found) + 0.5) / 10)
    step = (width - left - right) / max(1, count - 1)

    def y(value: float) -> float:
        return 26 + (height - bottom - 26) * (high - value) / (high - low)

    parts = [_open(width, height, title), _text(left, 14, title, "start")]
    for tick in ticks(low, high):
        parts.append(_line(left, y(tick), width - right, y(tick), "grid"))
        parts.append(_text(left - 6, y(tick) + 4, f"{tick:.2g}", "end", "tick"))
    for i in range(count):
        parts.append(_text(left + i * step, height - bottom + 18, str(i + 1), "middle", "tick"))
    for place, (line, (colour, dash)) in enumerate(zip(lines, LOOKS, strict=False)):
        points = [(left + i * step, y(value)) for i, value in enumerate(line.values)]
        path = " ".join(f"{x:.1f},{up:.1f}" for x, up in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        for (x, up), value in zip(points, line.values, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{up:.1f}" r="3.5" fill="{colour}">')
            parts.append(f"<title>{escape(line.label)}: {value:.4f}</title></circle>")
        best = max(points, key=lambda point: -point[1])
        parts.append(_text(best[0], best[1] - 8, f"{max(line.values):.2f}", "middle", "tick"))
        at, up = left + 290 * (place % 2), height - bottom + 42 + 20 * (place // 2)
        parts.append(f'<path d="M{at} {up - 4} h26" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(_text(at + 32, up, line.label, "start"))
    return "".join([*parts, "</svg>"])


def alone(svg: str, title: str) -> str:
    """The same as a file of its own, on white: whoever shows it has no theme of the page."""
    style = "text{font:13px sans-serif;fill:#222}.tick{font-size:11px;fill:#555}.grid{stroke:#ddd}"
    head = f'<title>{escape(title)}</title><style>{style}</style><rect width="100%" height="100%" fill="#fff"/>'
    opened, rest = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).split(">", 1)
    return f"{opened}>{head}{rest}\n"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About so many round numbers from low to high."""
    raw = (high - low) / count
    power = 10 ** floor(log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = -(-low // step) * step + 0.0  # not -0
    found = []
    while first <= high + 1e-12:
        found.append(round(first, 10))
        first += step
    return found


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}" '
        f'style="max-width:{width:.0f}px">'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, colour: str = "") -> str:
    stroke = f' stroke="{escape(colour)}"' if colour else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"{stroke}/>'


def _head(x: float, y: float, sign: int, colour: str) -> str:
    """The interval goes on beyond the picture."""
    return f'<path d="M{x + sign * 7:.1f} {y:.1f} l{-sign * 7} -5 v10 z" fill="{escape(colour)}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "", colour: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    named += f' style="fill:{escape(colour)}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'
