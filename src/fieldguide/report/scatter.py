"""Inline SVG of test accuracy against a cost on a logarithmic axis: a mark and a whisker a contestant, the front as a stepped line."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.charts import Axis, axis_for
from fieldguide.report.labels import Box, placed
from fieldguide.report.say import clean, percent

#: How far below the best the axis may end: the first that leaves out at most `OUT` of the contestants. Those are drawn at its lower edge:
#: they would press all others together.
REACHES, OUT = (0.1, 0.2, 0.35, 1.0), 0.25
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 18, 18, 48
_LONGEST = 26


@dataclass(frozen=True, slots=True)
class Point:
    """One contestant: its number in the key, its family's mark, cost, accuracy and bounds."""

    name: str
    number: int
    slot: int
    cost: float
    accuracy: float
    bounds: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Frame:
    """Size of the chart in SVG units, whether names stand in it or numbers alone, and what its horizontal axis says.

    `ticks` are where the axis may be marked, ascending; `words` says a tick.
    """

    width: int
    height: int
    named: bool
    title: str
    ticks: Sequence[float]
    words: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class _Plot:
    frame: Frame
    axis: Axis
    least: float
    most: float

    def x(self, cost: float) -> float:
        share = (math.log10(cost) - self.least) / (self.most - self.least)
        return round(_LEFT + share * (self.frame.width - _LEFT - _RIGHT), 1)

    def y(self, accuracy: float) -> float:
        inside = min(max(accuracy, self.axis.low), self.axis.high)
        share = (inside - self.axis.low) / (self.axis.high - self.axis.low)
        return round(self.frame.height - _BOTTOM - share * (self.frame.height - _TOP - _BOTTOM), 1)

    def place(self, point: Point) -> tuple[float, float]:
        """Return where the mark of `point` stands: one below the axis stands on its lower edge."""
        return self.x(point.cost), self.frame.height - _BOTTOM - 14 if self.below(point) else self.y(point.accuracy)

    def below(self, point: Point) -> bool:
        return point.accuracy < self.axis.low


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other one beats in both: cheapest first, each more accurate than all that cost less."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy, point.number)):
        if not found or point.accuracy > found[-1].accuracy:
            found.append(point)
    return tuple(found)


def lowest(accuracies: Sequence[float]) -> float:
    """Return the accuracy below which contestants stand at the edge of an axis rather than on it."""
    ends = (max(accuracies) - reach for reach in REACHES)
    return next(end for end in ends if sum(accuracy < end for accuracy in accuracies) <= OUT * len(accuracies))


def scatter(points: Sequence[Point], frame: Frame) -> Markup:
    """Return the chart; empty where there is no point. All costs are above 0."""
    if not points:
        return Markup("")
    plot = _plot(points, frame)
    best = front(points)
    parts = [*_grid(plot), _steps(plot, best)]
    for point in points:
        parts += _mark(plot, point)
    parts += _names(plot, points, best)
    head = Markup('<svg class="cost" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>')
    told = ", ".join(f"{point.name} {percent(point.accuracy)} at {frame.words(point.cost)}" for point in best)
    title = clean(f"Test accuracy against {frame.title}. On the front: {told}")
    return head.format(frame.width, frame.height, title) + Markup("").join(parts) + Markup("</svg>")


def _plot(points: Sequence[Point], frame: Frame) -> _Plot:
    end = lowest([point.accuracy for point in points])
    shares = [s for p in points if p.accuracy >= end for s in (p.accuracy, *(p.bounds or ()))]
    logs = [math.log10(point.cost) for point in points]
    least, most = min(logs), max(logs)
    margin = max(0.12 * (most - least), 0.15)
    return _Plot(frame, axis_for([share for share in shares if share >= end]), least - margin, most + margin)


def _grid(plot: _Plot) -> list[Markup]:
    width, height = plot.frame.width, plot.frame.height
    parts: list[Markup] = []
    for tick in plot.axis.ticks:
        parts.append(_line("grid", _LEFT, width - _RIGHT, plot.y(tick), plot.y(tick)))
        parts.append(_text("tick", _LEFT - 8, plot.y(tick) + 4, percent(tick).replace(".0", ""), "end"))
    last = -math.inf
    for cost in plot.frame.ticks:
        if not plot.least <= math.log10(cost) <= plot.most:
            continue
        x = plot.x(cost)
        parts.append(_line("grid", x, x, _TOP, height - _BOTTOM))
        if x - last >= 58 and _LEFT + 6 <= x <= width - _RIGHT - 16:
            parts.append(_text("tick", x, height - _BOTTOM + 18, plot.frame.words(cost)))
            last = x
    middle = (_LEFT + width - _RIGHT) / 2
    return [*parts, _text("tick axis", middle, height - 8, f"{plot.frame.title}, on a logarithmic axis")]


def _corners(plot: _Plot, best: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the corners of the front: along at an accuracy until the next one costs that much, then up to it, and on to the edge."""
    drawn = [plot.place(point) for point in best if not plot.below(point)]
    if not drawn:
        return []
    corners = [(drawn[0][0], plot.frame.height - float(_BOTTOM)), drawn[0]]
    for (_, before), (x, y) in itertools.pairwise(drawn):
        corners += [(x, before), (x, y)]
    return [*corners, (plot.frame.width - float(_RIGHT), drawn[-1][1])]


def _steps(plot: _Plot, best: Sequence[Point]) -> Markup:
    route = " ".join(f"{x:g},{y:g}" for x, y in _corners(plot, best))
    return Markup('<polyline class="front" points="{}"/>').format(route) if route else Markup("")


def _mark(plot: _Plot, point: Point) -> list[Markup]:
    x, y = plot.place(point)
    parts = []
    if plot.below(point):
        parts.append(Markup('<path class="sunk f{}" d="M{} {}l4 6 4-6z"/>').format(point.slot, round(x - 4, 1), y + 9))
    elif point.bounds:
        low, high = (plot.y(end) for end in point.bounds)
        parts.append(_line(f"reach f{point.slot}", x, x, low, high))
        # An end that the axis cuts off has no cap.
        ends = [end for end in point.bounds if end >= plot.axis.low]
        parts += [_line(f"reach f{point.slot}", x - 3.5, x + 3.5, plot.y(end), plot.y(end)) for end in ends]
    dot = Markup('<use class="dot f{0}" href="#m{0}" x="{1}" y="{2}" width="15" height="15"/>')
    return [*parts, dot.format(point.slot, round(x - 7.5, 1), round(y - 7.5, 1))]


def _names(plot: _Plot, points: Sequence[Point], best: Sequence[Point]) -> list[Markup]:
    order = sorted(points, key=lambda point: (-point.accuracy, point.number))
    marks = [plot.place(point) for point in order]
    texts = [_said(plot, point) for point in order]
    lines = [
        ((x, plot.y(point.bounds[1])), (x, plot.y(point.bounds[0])))
        for (x, _), point in zip(marks, order, strict=True)
        if point.bounds and not plot.below(point)
    ]
    lines += itertools.pairwise(_corners(plot, best))
    taken = [Box(min(a, c) - 2, min(b, d) - 2, max(a, c) + 2, max(b, d) + 2) for (a, b), (c, d) in lines]
    room = Box(_LEFT, 2, plot.frame.width - 2, plot.frame.height - _BOTTOM)
    parts = []
    for (x, y), point, seat in zip(marks, order, placed(marks, texts, taken, room), strict=True):
        if seat is None:
            continue
        text, place = seat
        if place.leader:
            parts.append(_line(f"leader f{point.slot}", x, place.leader[0], y, place.leader[1]))
        parts.append(_text(f"name f{point.slot}", place.x, place.y, text, place.anchor))
    return parts


def _said(plot: _Plot, point: Point) -> tuple[str, ...]:
    """Return what a mark may be called: number and name, or the number alone; below the axis the accuracy stands with it."""
    name = clean(point.name)
    named = f"{point.number} {name if len(name) <= _LONGEST else name[: _LONGEST - 1] + '…'}"
    told = (named, f"{point.number}") if plot.frame.named else (f"{point.number}",)
    return (f"{told[0]} {percent(point.accuracy)}", *told) if plot.below(point) else told


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(kind, x1, x2, y1, y2)


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)
