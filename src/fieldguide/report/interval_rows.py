"""Inline SVG of named values with intervals, one under the other on one axis of shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.charts import Axis, axis_for
from fieldguide.report.say import clean, percent

WIDTH, _LEFT, _RIGHT, _LINE, _LETTERS = 640, 270, 70, 26, 42


@dataclass(frozen=True, slots=True)
class Named:
    """A share with its interval, where it has one; `apart` ones are references and drawn as open rings."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    apart: bool = False


def interval_rows(rows: Sequence[Named], title: str, chance: float | None = None, scale: Axis | None = None) -> Markup:
    """Return the chart; empty without rows. A dashed line stands at `chance`; several charts may share one `scale`."""
    if not rows:
        return Markup("")
    shares = [share for row in rows for share in (row.value, row.low, row.high) if share is not None]
    scale = scale or axis_for([*shares, *([chance] if chance is not None else [])])
    height = _LINE * len(rows) + 30
    ground = height - 24
    parts = [Markup('<path class="grid" d="M{} 0V{}"/>').format(_x(scale, tick), ground) for tick in scale.ticks]
    parts += [_text("tick", _x(scale, tick), height - 8, percent(tick).replace(".0", "")) for tick in scale.ticks]
    if chance is not None:
        parts.append(Markup('<path class="chance" d="M{} 0V{}"/>').format(_x(scale, chance), ground))
    for at, row in enumerate(rows):
        y = _LINE * at + _LINE / 2
        name = clean(row.name)
        parts.append(_text("slice", _LEFT - 14, y + 4, name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…", "end"))
        kind = "apart" if row.apart else "own"
        if row.low is not None and row.high is not None:
            low, high = _x(scale, row.low), _x(scale, row.high)
            parts.append(
                Markup('<path class="span {}" d="M{} {}H{}M{} {}v8M{} {}v8"/>').format(
                    kind, low, y, high, low, y - 4, high, y - 4
                )
            )
        parts.append(Markup('<circle class="{}" cx="{}" cy="{}" r="5"/>').format(kind, _x(scale, row.value), y))
        parts.append(_text("tick", WIDTH - _RIGHT + 14, y + 4, percent(row.value), "start"))
    told = "; ".join(_said(row) for row in rows)
    head = Markup('<svg class="intervals" role="img" viewBox="0 0 {0} {1:g}" width="{0}" height="{1:g}"><title>{2}</title>')
    return head.format(WIDTH, height, clean(f"{title}: {told}")) + Markup("").join(parts) + Markup("</svg>")


def _said(row: Named) -> str:
    bounds = "" if row.low is None or row.high is None else f", {percent(row.low)} to {percent(row.high)}"
    return f"{row.name} {percent(row.value)}{bounds}"


def _x(scale: Axis, share: float) -> float:
    inside = (min(max(share, scale.low), scale.high) - scale.low) / (scale.high - scale.low)
    return round(_LEFT + inside * (WIDTH - _LEFT - _RIGHT), 1)


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)
