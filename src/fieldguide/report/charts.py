"""Inline SVG: interval strips on one axis, learning curves, and the compact confusion matrix.

Colours come from classes of ``report.css`` alone, so that a chart follows the theme and no style attribute is needed. Every
chart has a title for those who cannot see it; its numbers stand in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.say import clean, decimal, percent

STRIP_WIDTH, STRIP_HEIGHT, _PAD = 204, 30, 12
HEAT_STEPS = 20
_CURVE_WIDTH, _CURVE_HEIGHT = 340, 170
_MOST_POINTS = 400
_COMPACT_LEAST = 11


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis of shares with the positions of its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def x(self, share: float) -> float:
        """Return the horizontal position of `share` on a strip, in SVG units."""
        inside = min(max(share, self.low), self.high)
        return round(_PAD + (inside - self.low) / (self.high - self.low) * (STRIP_WIDTH - 2 * _PAD), 1)


def axis_for(shares: Iterable[float]) -> Axis:
    """Return the narrowest axis with round bounds, within 0 to 1, that holds all `shares`."""
    values = [share for share in shares if math.isfinite(share)] or [0.0, 1.0]
    low, high = min(values), max(values)
    step = next((step for step in (0.01, 0.02, 0.05, 0.1, 0.2) if high - low <= 5 * step), 0.25)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    first = max(0, min(first, round(1 / step) - 1))
    last = min(round(1 / step), max(last, first + 1))
    return Axis(first * step, last * step, tuple(round(tick * step, 4) for tick in range(first, last + 1)))


def heat(share: float) -> int:
    """Return the heat class of a share: 0 for nothing up to `HEAT_STEPS` for all."""
    return min(HEAT_STEPS, max(0, round(share * HEAT_STEPS)))


def strip(axis: Axis, value: float, bounds: tuple[float, float] | None, chance: float | None, slot: int) -> Markup:
    """Return one accuracy with its interval on the common axis, the chance line drawn in."""
    middle = STRIP_HEIGHT / 2
    low, high = bounds or (value, value)
    spoken = f"{percent(value)}, interval {percent(low)} to {percent(high)}" if bounds else percent(value)
    parts = [_grid(axis)]
    if chance is not None:
        parts.append(_line("chance", axis.x(chance), axis.x(chance), 0, STRIP_HEIGHT))
    parts.append(_line(f"span f{slot}", axis.x(low), axis.x(high), middle, middle))
    parts += [_line(f"cap f{slot}", axis.x(end), axis.x(end), middle - 4, middle + 4) for end in bounds or ()]
    dot = Markup('<use class="dot f{0}" href="#m{0}" x="{1}" y="{2}" width="14" height="14"/>')
    parts.append(dot.format(slot, round(axis.x(value) - 7, 1), middle - 7))
    return _svg("strip", STRIP_WIDTH, STRIP_HEIGHT, spoken, parts)


def strip_axis(axis: Axis, chance: float | None) -> Markup:
    """Return the ruler that stands above the strips."""
    parts = [_text("tick", axis.x(tick), 22, round(100 * tick)) for tick in axis.ticks]
    if chance is not None:
        x = axis.x(chance)
        side = "start" if x < 24 else "end" if x > STRIP_WIDTH - 24 else "middle"
        parts.append(_text("tick chance-word", x, 9, "chance", side))
    return _svg("strip", STRIP_WIDTH, 26, f"axis from {percent(axis.low)} to {percent(axis.high)}", parts)


def strip_frame(axis: Axis, height: float, spoken: str, parts: Sequence[Markup]) -> Markup:
    """Return `parts` on the grid of a common axis; `spoken` is what those are told who cannot see it."""
    return _svg("strip", STRIP_WIDTH, height, spoken, [_grid(axis, height), *parts])


def ruler(axis: Axis) -> Markup:
    """Return the ruler of a common axis, in per cent."""
    return strip_axis(axis, None)


def curve(
    title: str, series: Mapping[str, Sequence[tuple[int, float]]], chosen: int | None, as_percent: bool = False
) -> Markup:
    """Return lines over epochs, each named at its end, the chosen epoch marked; empty where there is nothing to draw.

    `series` maps a name to (epoch, value) pairs.
    """
    points = {name: _thin([(x, y) for x, y in pairs if math.isfinite(y)]) for name, pairs in series.items()}
    points = {name: pairs for name, pairs in points.items() if pairs}
    if not points:
        return Markup("")
    plot = _Plot.around([pair for pairs in points.values() for pair in pairs])
    parts = _frame(plot, chosen, as_percent)
    labels = _spread([plot.y(pairs[-1][1]) for pairs in points.values()])
    for number, ((name, pairs), label_y) in enumerate(zip(points.items(), labels, strict=True)):
        route = " ".join(f"{plot.x(x)},{plot.y(y)}" for x, y in pairs)
        parts.append(Markup('<polyline class="line s{}" points="{}"/>').format(number, route))
        # A single epoch has no line: its knot is all there is to see.
        at = next(((x, y) for x, y in pairs if x == chosen), pairs[-1] if len(pairs) == 1 else None)
        if at:
            knot = Markup('<circle class="knot s{}" cx="{}" cy="{}" r="3.5"/>')
            parts.append(knot.format(number, plot.x(at[0]), plot.y(at[1])))
        parts.append(_text(f"name s{number}", _CURVE_WIDTH - 46, label_y + 4, name, "start"))
    return _svg("curve", _CURVE_WIDTH, _CURVE_HEIGHT, title, parts)


def _frame(plot: _Plot, chosen: int | None, as_percent: bool) -> list[Markup]:
    """Return grid, ticks and the line of the chosen epoch."""
    parts: list[Markup] = []
    for tick in plot.ticks:
        y = plot.y(tick)
        words = (
            f"{decimal(100 * tick, 0)}\u00a0%"
            if as_percent and plot.whole_percents
            else percent(tick)
            if as_percent
            else decimal(tick, 2)
        )
        parts += [_line("grid", 40, _CURVE_WIDTH - 50, y, y), _text("tick", 34, y + 3.5, words, "end")]
    epochs = {plot.first, plot.last}
    if chosen is not None and plot.first <= chosen <= plot.last:
        parts.append(_line("chosen", plot.x(chosen), plot.x(chosen), 12, _CURVE_HEIGHT - 24))
        epochs = {chosen, *(epoch for epoch in epochs if abs(plot.x(epoch) - plot.x(chosen)) > 20)}
    return parts + [_text("tick", plot.x(epoch), _CURVE_HEIGHT - 8, epoch) for epoch in sorted(epochs)]


def dumbbell(start: float, end: float, spoken: str) -> Markup:
    """Return two shares on one line from 0 to 1: an open ring at `start`, a full dot at `end`, and what joins them."""
    left, right = round(5 + 78 * start, 1), round(5 + 78 * end, 1)
    parts = [
        _line("rail", 5, 83, 7, 7),
        _line("tie", left, right, 7, 7),
        Markup('<circle class="ring" cx="{}" cy="7" r="3.4"/>').format(left),
        Markup('<circle class="full" cx="{}" cy="7" r="3.9"/>').format(right),
    ]
    return _svg("dumbbell", 88, 14, spoken, parts)


def compact_matrix(rows: Sequence[Sequence[int]], title: str) -> Markup:
    """Return a row-normalised matrix without labels: one unit a cell, one path for each heat class, empty cells left out.

    Its cells are too small to carry a number, so even the faintest shade must stand out from the empty ground.
    """
    routes: dict[int, list[str]] = {}
    for y, row in enumerate(rows):
        total = sum(row) or 1
        for x, count in enumerate(row):
            if count:
                routes.setdefault(_COMPACT_LEAST + round((HEAT_STEPS - _COMPACT_LEAST) * count / total), []).append(
                    f"M{x} {y}h1v1h-1z"
                )
    parts = [Markup('<path class="c{}" d="{}"/>').format(level, "".join(routes[level])) for level in sorted(routes)]
    return _svg("compact", len(rows[0]) if rows else 1, len(rows) or 1, title, parts)


@dataclass(frozen=True, slots=True)
class _Plot:
    first: int
    last: int
    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, points: Sequence[tuple[int, float]]) -> _Plot:
        values = [y for _, y in points]
        low, high = min(values), max(values)
        spread = (high - low) or abs(high) or 1.0
        power = 10.0 ** math.floor(math.log10(spread / 3))
        step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= spread / 3.5)
        start, stop = math.floor(low / step), math.ceil(high / step)
        ticks = tuple(round(tick * step, 10) for tick in range(start, max(stop, start + 1) + 1))
        return cls(min(x for x, _ in points), max(x for x, _ in points), ticks[0], ticks[-1], ticks)

    @property
    def whole_percents(self) -> bool:
        return all(abs(100 * tick - round(100 * tick)) < 1e-6 for tick in self.ticks)

    def x(self, epoch: int) -> float:
        span = (self.last - self.first) or 1
        return round(44 + (epoch - self.first) / span * (_CURVE_WIDTH - 100), 1)

    def y(self, value: float) -> float:
        return round(_CURVE_HEIGHT - 26 - (value - self.low) / (self.high - self.low) * (_CURVE_HEIGHT - 42), 1)


def _svg(kind: str, width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="{}" role="img" viewBox="0 0 {} {}" width="{}" height="{}"><title>{}</title>')
    return head.format(kind, width, height, width, height, clean(title)) + Markup("").join(parts) + Markup("</svg>")


def _grid(axis: Axis, height: float = STRIP_HEIGHT) -> Markup:
    route = "".join(f"M{axis.x(tick)} 0V{height:g}" for tick in axis.ticks)
    return Markup('<path class="grid" d="{}"/>').format(route)


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, x1, x2, y1, y2)


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def _thin(pairs: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Keep at most `_MOST_POINTS` points, the last one always."""
    step = max(1, math.ceil(len(pairs) / _MOST_POINTS))
    return pairs[::step] + (pairs[-1:] if step > 1 and (len(pairs) - 1) % step else [])


def _spread(heights: list[float], apart: float = 14) -> list[float]:
    """Move labels apart where they would lie on each other, keeping their order."""
    placed: dict[int, float] = {}
    above = -math.inf
    for position in sorted(range(len(heights)), key=heights.__getitem__):
        above = max(heights[position], above + apart)
        placed[position] = above
    return [round(placed[position], 1) for position in range(len(heights))]
