"""Inline SVG of what teaching gains: the whole difference and its two parts as bars from zero, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report.say import clean, points

WIDTH, _LABEL, _LINE, _PAD = 480, 92, 30, 58


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of accuracies as a share, with its interval; `whole_one` is the sum of the others."""

    name: str
    value: float
    low: float
    high: float
    whole_one: bool = False


def gains(rows: Sequence[Gain], title: str) -> Markup:
    """Return the chart: one axis for all bars, zero on it."""
    low = min(0.0, *(row.low for row in rows))
    high = max(0.0, *(row.high for row in rows))
    room = max(high - low, 0.02)
    height = _LINE * len(rows) + 8

    def x(share: float) -> float:
        return round(_LABEL + (share - low) / room * (WIDTH - _LABEL - _PAD), 1)

    parts = [Markup('<path class="zero" d="M{} 0V{}"/>').format(x(0), height)]
    for at, row in enumerate(rows):
        y = _LINE * at + _LINE / 2 + 2
        kind = "whole" if row.whole_one else "part"
        left, right = sorted((x(0), x(row.value)))
        parts.append(Markup('<text class="slice" x="0" y="{}">{}</text>').format(y + 4, row.name))
        bar = Markup('<rect class="gained {}" x="{}" y="{}" width="{}" height="14"/>')
        parts.append(bar.format(kind, left, y - 7, max(0.5, round(right - left, 1))))
        span = Markup('<path class="span" d="M{0} {2}H{1}M{0} {3}v8M{1} {3}v8"/>')
        parts.append(span.format(x(row.low), x(row.high), y, y - 4))
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(WIDTH - 2, y + 4, points(row.value))
        )
    told = "; ".join(f"{row.name} {points(row.value)}, {points(row.low)} to {points(row.high)}" for row in rows)
    head = Markup('<svg class="gained" role="img" viewBox="0 0 {0} {1:g}" width="{0}" height="{1:g}"><title>{2}</title>')
    return head.format(WIDTH, height, clean(f"{title}: {told}")) + Markup("").join(parts) + Markup("</svg>")
