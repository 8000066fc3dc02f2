"""Inline SVG of one row of models on a common axis, a dot each, and of gaps between two kinds slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.charts import Axis
from fieldguide.report.say import clean, percent, points

WIDTH, _PAD = 460, 16
_APART, _UP = 13.0, 13.0
_GAP_WIDTH, _LABEL, _LINE = 480, 210, 22


@dataclass(frozen=True, slots=True)
class Dot:
    """A model: name, number in the leaderboard, its family's mark, accuracy."""

    name: str
    number: int
    slot: int
    accuracy: float


def place(axis: Axis, share: float) -> float:
    """Return the horizontal position of `share` on a row, in SVG units."""
    inside = min(max(share, axis.low), axis.high)
    return round(_PAD + (inside - axis.low) / (axis.high - axis.low) * (WIDTH - 2 * _PAD), 1)


def row(axis: Axis, dots: Sequence[Dot], mean: float) -> Markup:
    """Return the dots of one kind with their numbers, those that would lie on each other one above the other, and a tick at the mean."""
    levels: list[float] = []  # how far right each level is filled
    seats = []
    for dot in sorted(dots, key=lambda dot: (dot.accuracy, -dot.number)):
        x = place(axis, dot.accuracy)
        level = next((at for at, end in enumerate(levels) if x - end >= _APART), len(levels))
        levels[level:] = [x, *levels[level + 1 :]]
        seats.append((dot, x, level))
    height = 34 + _UP * 1.6 * (len(levels) - 1)
    ground = height - 12
    parts = [_grid(axis, height)]
    if mean >= axis.low and len(dots) > 1:
        parts.append(Markup('<path class="mean" d="M{} 2V{}"/>').format(place(axis, mean), height))
    for dot, x, level in seats:
        y = round(ground - 1.6 * _UP * level, 1)
        mark = Markup('<use class="dot f{0}" href="#m{0}" x="{1}" y="{2}" width="13" height="13"/>')
        parts.append(mark.format(dot.slot, round(x - 6.5, 1), round(y - 6.5, 1)))
        number = f"◂ {dot.number}" if dot.accuracy < axis.low else str(dot.number)
        parts.append(Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(x, y - 8.5, number))
    told = ", ".join(f"{dot.name} {percent(dot.accuracy)}" for dot, _, _ in seats)
    return _svg("dots", WIDTH, height, f"{told}; mean {percent(mean)}", parts)


def ruler(axis: Axis) -> Markup:
    """Return the ruler above the rows."""
    ticks = [
        Markup('<text class="tick" x="{}" y="18" text-anchor="middle">{}</text>').format(place(axis, tick), round(100 * tick))
        for tick in axis.ticks
    ]
    return _svg("dots", WIDTH, 22, f"axis from {percent(axis.low)} to {percent(axis.high)}", ticks)


@dataclass(frozen=True, slots=True)
class Gap:
    """The gap of two kinds on one slice, as shares; `few` where the slice takes no part in the test."""

    slice: str
    n: int
    difference: float
    low: float
    high: float
    few: bool


def gaps(each: Sequence[Gap], reach: float) -> Markup:
    """Return a line for each slice: its gap and interval on an axis from -`reach` to `reach`, zero in the middle."""
    height = _LINE * len(each) + 20

    def x(share: float) -> float:
        inside = min(max(share, -reach), reach)
        return round(_LABEL + (inside + reach) / (2 * reach) * (_GAP_WIDTH - _LABEL - _PAD), 1)

    parts = [Markup('<path class="zero" d="M{} 0V{}"/>').format(x(0), height - 16)]
    for share in (-reach, 0.0, reach):
        text = Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>')
        parts.append(text.format(x(share), height - 3, "end" if share > 0 else "middle", points(share)))
    for at, gap in enumerate(each):
        y = _LINE * at + _LINE / 2
        kind = "gap few" if gap.few else "gap"
        name = clean(gap.slice)
        parts.append(
            Markup('<text class="slice" x="0" y="{}">{}</text>').format(y + 4, name if len(name) <= 34 else f"{name[:33]}…")
        )
        parts.append(Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, x(gap.low), x(gap.high), y, y))
        parts.append(Markup('<circle class="{}" cx="{}" cy="{}" r="4.5"/>').format(kind, x(gap.difference), y))
    told = "; ".join(f"{gap.slice} {points(gap.difference)}, {points(gap.low)} to {points(gap.high)}" for gap in each)
    return _svg("gaps", _GAP_WIDTH, height, f"Gaps in percentage points with 95 % intervals: {told}", parts)


def _grid(axis: Axis, height: float) -> Markup:
    return Markup('<path class="grid" d="{}"/>').format("".join(f"M{place(axis, tick)} 0V{height:g}" for tick in axis.ticks))


def _svg(kind: str, width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="{0}" role="img" viewBox="0 0 {1} {2:g}" width="{1}" height="{2:g}"><title>{3}</title>')
    return head.format(kind, width, height, clean(title)) + Markup("").join(parts) + Markup("</svg>")
