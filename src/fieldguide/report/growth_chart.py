"""Inline SVG of accuracy, or of another measure, against number of training pictures, on a logarithmic axis, with intervals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.charts import Axis
from fieldguide.report.measured import ACCURACY, Measure
from fieldguide.report.say import clean, count

WIDTH, HEIGHT = 780, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 190, 16, 44
_APART = 15


@dataclass(frozen=True, slots=True)
class Line:
    """One contestant: its family's mark, and (pictures, accuracy, low, high) by number of pictures; bounds may be missing."""

    name: str
    slot: int
    points: tuple[tuple[int, float, float | None, float | None], ...]


@dataclass(frozen=True, slots=True)
class _Plot:
    axis: Axis
    least: float
    most: float

    def x(self, pictures: float) -> float:
        share = (math.log2(pictures) - self.least) / ((self.most - self.least) or 1)
        return round(_LEFT + 14 + share * (WIDTH - _LEFT - _RIGHT - 28), 1)

    def y(self, accuracy: float) -> float:
        inside = min(max(accuracy, self.axis.low), self.axis.high)
        share = (inside - self.axis.low) / (self.axis.high - self.axis.low)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 1)


def growth_chart(lines: Sequence[Line], measure: Measure = ACCURACY) -> Markup:
    """Return the chart, each line named at its end; empty where no line has a point. Its numbers stand in the table beside it."""
    drawn = [line for line in lines if line.points]
    if not drawn:
        return Markup("")
    shares = [share for line in drawn for point in line.points for share in point[1:] if share is not None]
    sizes = sorted({point[0] for line in drawn for point in line.points})
    plot = _Plot(measure.axis(shares), math.log2(sizes[0]), math.log2(sizes[-1]))
    parts = _frame(plot, sizes, measure)
    heights = _spread([plot.y(line.points[-1][1]) for line in drawn])
    seen: Counter[int] = Counter()
    for at, (line, height) in enumerate(zip(drawn, heights, strict=True)):
        # Intervals of several contestants at one number of pictures would lie on each other.
        aside = 7 * (at - (len(drawn) - 1) / 2) if len(drawn) <= 6 else 0.0
        parts += _drawn(plot, line, aside, f"w{seen[line.slot] % 4}")
        parts.append(_name(line, height))
        seen[line.slot] += 1
    head = Markup('<svg class="growth" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>')
    title = f"{measure.title} against number of training pictures, {sizes[0]:,} to {sizes[-1]:,}, on a logarithmic axis"
    return head.format(WIDTH, HEIGHT, title) + Markup("").join(parts) + Markup("</svg>")


def _frame(plot: _Plot, sizes: Sequence[int], measure: Measure) -> list[Markup]:
    parts, last = [], -math.inf
    for tick in plot.axis.ticks:
        parts.append(_line("grid", _LEFT, WIDTH - _RIGHT, plot.y(tick), plot.y(tick)))
        parts.append(_text("tick", _LEFT - 8, plot.y(tick) + 4, measure.words(tick).replace(".0\u00a0", "\u00a0"), "end"))
    for size in reversed(sizes):  # the largest number always stands there
        x = plot.x(size)
        if last == -math.inf or last - x > 44:
            parts.append(_line("grid", x, x, HEIGHT - _BOTTOM, HEIGHT - _BOTTOM + 5))
            parts.append(_text("tick", x, HEIGHT - _BOTTOM + 19, count(size)))
            last = x
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    return [
        *parts,
        _text("tick", middle, HEIGHT - 6, "training pictures, on a logarithmic axis"),
    ]


def _drawn(plot: _Plot, line: Line, aside: float, kind: str) -> list[Markup]:
    places = [(round(plot.x(size) + aside, 1), accuracy, low, high) for size, accuracy, low, high in line.points]
    parts = []
    for x, _, low, high in places:
        if low is not None and high is not None:
            parts.append(_line(f"reach f{line.slot}", x, x, plot.y(low), plot.y(high)))
            parts += [_line(f"reach f{line.slot}", x - 3, x + 3, plot.y(end), plot.y(end)) for end in (low, high)]
    route = " ".join(f"{x},{plot.y(accuracy)}" for x, accuracy, _, _ in places)
    parts.append(Markup('<polyline class="track f{} {}" points="{}"/>').format(line.slot, kind, route))
    dot = Markup('<use class="dot f{0}" href="#m{0}" x="{1}" y="{2}" width="13" height="13"/>')
    return parts + [dot.format(line.slot, round(x - 6.5, 1), round(plot.y(y) - 6.5, 1)) for x, y, _, _ in places]


def _name(line: Line, height: float) -> Markup:
    name = clean(line.name)
    shown = name if len(name) <= 24 else f"{name[:23]}…"
    return _text(f"name f{line.slot}", WIDTH - _RIGHT + 12, height + 4, shown, "start")


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, x1, x2, y1, y2)


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def _spread(heights: Sequence[float]) -> list[float]:
    """Move names apart where they would lie on each other, keeping their order and keeping them on the picture."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed, above = dict.fromkeys(order, 0.0), -math.inf
    for at in order:
        above = placed[at] = max(heights[at], above + _APART)
    over = max(0.0, above - (HEIGHT - 8))
    return [round(placed[at] - over, 1) for at in range(len(heights))]
