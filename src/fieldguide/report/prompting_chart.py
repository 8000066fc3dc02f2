"""Inline SVG of what became of all answers, as one bar: right, right in other words, no label, no answer, another label."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fieldguide.report.charts import Axis
from fieldguide.report.say import clean, percent

WIDTH, HEIGHT, _PAD, _TOP, _BAR = 300, 30, 12, 5, 20
#: A part that is wider than this carries its letter.
_LETTER = 14.0
WHOLE = Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
#: The parts in their order: class of the style, letter, and what each is.
PARTS = (
    ("right", "R", "right"),
    ("other", "W", "right in other words"),
    ("none", "N", "no label"),
    ("absent", "–", "no answer at all"),
    ("wrong", "L", "another label of the list"),
)


def outcomes(shares: Sequence[float]) -> Markup:
    """Return the bar of `shares` of all answers, one for each of `PARTS`, that sum to one."""
    parts = [_grid()]
    start = 0.0
    for (kind, letter, _), share in zip(PARTS, shares, strict=True):
        if share <= 0:
            continue
        left, right = _x(start), _x(start + share)
        start += share
        bar = Markup('<rect class="oc oc-{}" x="{}" y="{}" width="{}" height="{}"/>')
        parts.append(bar.format(kind, left, _TOP, round(right - left, 1), _BAR))
        if right - left >= _LETTER:
            text = Markup('<text class="oc-letter on-{}" x="{}" y="{}" text-anchor="middle">{}</text>')
            parts.append(text.format(kind, round((left + right) / 2, 1), _TOP + 14.5, letter))
    told = ", ".join(f"{what} {percent(share)}" for (_, _, what), share in zip(PARTS, shares, strict=True) if share > 0)
    return _svg(HEIGHT, f"of all answers: {told}", parts)


def ruler() -> Markup:
    """Return the ruler above the bars."""
    text = Markup('<text class="tick" x="{}" y="18" text-anchor="middle">{}</text>')
    ticks = [text.format(_x(tick), round(100 * tick)) for tick in WHOLE.ticks]
    return _svg(22, "axis from 0 to 100 per cent of all answers", ticks)


def key(kind: str) -> Markup:
    """Return a small square as a part of that class is drawn."""
    square = Markup(
        '<svg class="mark" aria-hidden="true" width="14" height="14"><rect class="oc oc-{}" x="1" y="1" width="12" height="12"/></svg>'
    )
    return square.format(kind)


def _x(share: float) -> float:
    return round(_PAD + min(1.0, share) * (WIDTH - 2 * _PAD), 1)


def _grid() -> Markup:
    return Markup('<path class="grid" d="{}"/>').format("".join(f"M{_x(tick)} 0V{HEIGHT}" for tick in WHOLE.ticks))


def _svg(height: int, title: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="strip outcomes" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>')
    return head.format(WIDTH, height, clean(title)) + Markup("").join(parts) + Markup("</svg>")
