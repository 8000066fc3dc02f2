"""Inline SVG of how sure answers are against how right they are, and of how right the surest answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.charts import Axis, axis_for
from fieldguide.report.say import clean, percent

WIDTH, HEIGHT = 300, 296
_LEFT, _RIGHT, _TOP, _GROUND, _FLOOR = 46, 12, 24, 224, 264
_WHOLE = Axis(0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same confidence: its ends, how many, mean `confidence`, and the share that is right with its interval."""

    low: float
    high: float
    n: int
    right: int
    confidence: float
    accuracy: float
    bounds: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Point:
    """The surest answers: the share of all pictures that is answered, and the share of these answers that is right."""

    covered: float
    accuracy: float


def reliable(bins: Sequence[Bin], slot: int, told: str) -> Markup:
    """Return a dot with its interval for each bin, the line of perfect calibration, and beneath how many answers each bin has."""
    parts = _frame(_WHOLE, _WHOLE)
    parts.append(Markup('<path class="perfect" d="M{} {}L{} {}"/>').format(_x(0), _y(_WHOLE, 0), _x(1), _y(_WHOLE, 1)))
    whiskers = "".join(
        f"M{_x(one.confidence)} {_y(_WHOLE, one.bounds[0])}V{_y(_WHOLE, one.bounds[1])}" for one in bins if one.bounds
    )
    parts.append(Markup('<path class="reach f{}" d="{}"/>').format(slot, whiskers))
    dot = Markup('<circle class="sure f{}" cx="{}" cy="{}" r="3.6"/>')
    parts += [dot.format(slot, _x(one.confidence), _y(_WHOLE, one.accuracy)) for one in bins]
    most = max((one.n for one in bins), default=1)
    columns = "".join(
        f"M{_x(one.low) + 1} {_FLOOR}v{-max(1.0, 26 * one.n / most):.1f}H{_x(one.high) - 1}V{_FLOOR}z" for one in bins
    )
    parts.append(Markup('<path class="many" d="{}"/>').format(columns))
    parts.append(_text("tick", _LEFT - 6, _FLOOR - 10, f"{most:,}", "end"))
    return _svg(told, [*parts, *_titles("confidence of the answer", "right")])


def covering(points: Sequence[Point], marks: Sequence[Point], slot: int, told: str) -> Markup:
    """Return the line of accuracy over coverage, from the surest answers to all of them; `marks` are thresholds chosen on validation."""
    axis = axis_for([point.accuracy for point in (*points, *marks)])
    parts = _frame(_WHOLE, axis)
    if points:
        route = " ".join(f"{_x(point.covered)},{_y(axis, point.accuracy)}" for point in points)
        parts.append(Markup('<polyline class="track f{}" points="{}"/>').format(slot, route))
        last = points[-1]
        parts.append(
            Markup('<circle class="sure f{}" cx="{}" cy="{}" r="3.6"/>').format(slot, _x(last.covered), _y(axis, last.accuracy))
        )
    square = Markup('<path class="chosenmark f{}" d="M{} {}l5 5-5 5-5-5z"/>')
    parts += [square.format(slot, _x(point.covered), round(_y(axis, point.accuracy) - 5, 1)) for point in marks]
    return _svg(told, [*parts, *_titles("test pictures answered", "right among these")])


def _frame(across: Axis, up: Axis) -> list[Markup]:
    lines = "".join(f"M{_x(0)} {_y(up, tick)}H{_x(1)}" for tick in up.ticks)
    parts = [Markup('<path class="grid" d="{}"/>').format(lines)]
    parts += [_text("tick", _LEFT - 6, _y(up, tick) + 3.5, percent(tick).replace(".0", ""), "end") for tick in up.ticks]
    floor = _FLOOR + 13
    return parts + [_text("tick", _x(tick), floor, f"{100 * tick:.0f}") for tick in across.ticks]


def _titles(across: str, up: str) -> list[Markup]:
    below = _text("tick", _x(0.5), HEIGHT - 4, f"{across}, in per cent")
    return [below, _text("tick", _x(0), 11, up, "start")]


def _x(share: float) -> float:
    return round(_LEFT + min(max(share, 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT), 1)


def _y(axis: Axis, share: float) -> float:
    inside = (min(max(share, axis.low), axis.high) - axis.low) / (axis.high - axis.low)
    return round(_GROUND - inside * (_GROUND - _TOP), 1)


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def _svg(told: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="calibrated" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>')
    return head.format(WIDTH, HEIGHT, clean(told)) + Markup("").join(parts) + Markup("</svg>")
