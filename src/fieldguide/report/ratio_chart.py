"""Inline SVG of accuracy against the ratio of pictures to texts: pictures alone, texts in their place, texts beside them.

The axis is linear in pictures a class and runs from all pictures on the left to texts alone on the right, as in E2's table. Each curve
has a hue, strokes, marks and a name at its end, so that none of these is needed to tell it from the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.charts import Axis, axis_for
from fieldguide.report.say import clean, decimal, percent

WIDTH, HEIGHT = 620, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 118, 14, 58
_APART = 15
#: Curves in the order in which they are drawn: class, mark, and what it is called at its end.
CURVES: Mapping[str, tuple[str, str, str]] = {
    "pictures": ("rc-pictures", "m2", "pictures alone"),
    "mix": ("rc-mix", "m1", "texts instead"),
    "weighted": ("rc-weighted", "m5", "texts in addition"),
}


@dataclass(frozen=True, slots=True)
class Point:
    """Mean accuracy over seeds at so many per cent pictures, and its interval where there is one."""

    image: float
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Track:
    """One curve: a key of `CURVES` and its points."""

    curve: str
    points: tuple[Point, ...]


def axis(tracks: Iterable[Track]) -> Axis:
    """Return the axis of accuracy that holds all `tracks`, so that charts beside each other can be compared."""
    return axis_for(
        share
        for track in tracks
        for point in track.points
        for share in (point.mean, point.low, point.high)
        if share is not None
    )


def ratio_chart(tracks: Sequence[Track], scale: Axis, a_class: float | None, title: str) -> Markup:
    """Return the chart, empty where no track has a point; `a_class` are the pictures of a class at 100 %, where that is known."""
    drawn = [
        Track(curve, tuple(sorted(track.points, key=lambda point: -point.image)))
        for curve in CURVES
        for track in tracks
        if track.curve == curve and track.points
    ]
    if not drawn:
        return Markup("")
    parts = [*_frame(scale, sorted({point.image for track in drawn for point in track.points}, reverse=True), a_class)]
    parts += [_band(track, scale) for track in drawn]
    for track in drawn:
        parts += _line(track, scale)
    heights = _spread([_y(scale, track.points[-1].mean) for track in drawn])
    for track, height in zip(drawn, heights, strict=True):
        kind, _, words = CURVES[track.curve]
        x, y = _x(track.points[-1].image), _y(scale, track.points[-1].mean)
        start = WIDTH - _RIGHT + 14
        if start - x > 24 or abs(y - height) > 8:
            parts.append(Markup('<path class="leader {}" d="M{} {}L{} {}"/>').format(kind, x + 8, y, start - 4, height))
        parts.append(_text(f"name {kind}", start, height + 4, words, "start"))
    head = Markup('<svg class="ratio" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>')
    return head.format(WIDTH, HEIGHT, clean(title)) + Markup("").join(parts) + Markup("</svg>")


def spoken(tracks: Sequence[Track]) -> str:
    """Return what a chart shows for those who cannot see it: the ends of every curve."""
    told = []
    for track in tracks:
        if track.points:
            first, last = max(track.points, key=lambda p: p.image), min(track.points, key=lambda p: p.image)
            told.append(
                f"{CURVES[track.curve][2]}: {percent(first.mean)} at {first.image:g} : {100 - first.image:g}, "
                f"{percent(last.mean)} at {last.image:g} : {100 - last.image:g}"
            )
    return "; ".join(told)


def _x(image: float) -> float:
    return round(_LEFT + 12 + (100 - image) / 100 * (WIDTH - _LEFT - _RIGHT - 24), 1)


def _y(scale: Axis, share: float) -> float:
    inside = (min(max(share, scale.low), scale.high) - scale.low) / (scale.high - scale.low)
    return round(HEIGHT - _BOTTOM - inside * (HEIGHT - _TOP - _BOTTOM), 1)


def _frame(scale: Axis, images: Sequence[float], a_class: float | None) -> list[Markup]:
    parts, ground = [], HEIGHT - _BOTTOM
    for tick in scale.ticks:
        y = _y(scale, tick)
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(_LEFT, y, WIDTH - _RIGHT))
        parts.append(_text("tick", _LEFT - 7, y + 4, percent(tick).replace(".0", ""), "end"))
    last = -math.inf
    for image in images:
        x = _x(image)
        parts.append(Markup('<path class="grid" d="M{} {}v5"/>').format(x, ground))
        if x - last < 38:
            continue
        last = x
        parts.append(_text("tick", x, ground + 18, f"{image:g}:{100 - image:g}"))
        if a_class is not None:
            parts.append(_text("tick", x, ground + 32, decimal(a_class * image / 100, 0 if a_class * image % 100 == 0 else 1)))
    if a_class is not None:
        parts.append(_text("tick", WIDTH - _RIGHT + 14, ground + 32, "pictures a class", "start"))
    parts.append(_text("tick", WIDTH - _RIGHT + 14, ground + 18, "image : text, %", "start"))
    return parts


def _band(track: Track, scale: Axis) -> Markup:
    bounded = [(point, point.low, point.high) for point in track.points if point.low is not None and point.high is not None]
    if len(bounded) < 2:
        return Markup("")
    upper = [f"{_x(point.image)} {_y(scale, high)}" for point, _, high in bounded]
    lower = [f"{_x(point.image)} {_y(scale, low)}" for point, low, _ in reversed(bounded)]
    return Markup('<path class="band {}" d="M{}z"/>').format(CURVES[track.curve][0], "L".join([*upper, *lower]))


def _line(track: Track, scale: Axis) -> list[Markup]:
    kind, mark, _ = CURVES[track.curve]
    places = [(_x(point.image), _y(scale, point.mean)) for point in track.points]
    parts = [Markup('<polyline class="track {}" points="{}"/>').format(kind, " ".join(f"{x},{y}" for x, y in places))]
    dot = Markup('<use class="dot {}" href="#{}" x="{}" y="{}" width="11" height="11"/>')
    return parts + [dot.format(kind, mark, round(x - 5.5, 1), round(y - 5.5, 1)) for x, y in places]


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def _spread(heights: Sequence[float]) -> list[float]:
    """Move names apart where they would lie on each other, keeping their order and keeping them above the axis."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed, above = dict.fromkeys(order, 0.0), -math.inf
    for at in order:
        above = placed[at] = max(heights[at], above + _APART)
    over = max(0.0, above - (HEIGHT - _BOTTOM - 4))
    return [round(placed[at] - over, 1) for at in range(len(heights))]
