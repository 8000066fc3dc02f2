"""Inline SVG of which share of all answers goes to each place of a prompt's list."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fieldguide.report.charts import axis_for
from fieldguide.report.say import clean, percent

WIDTH, HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 620, 190, 52, 14, 12, 34
#: Places that are drawn.
MOST_PLACES = 200


def places(shares: Sequence[tuple[int, float, float | None]]) -> Markup:
    """Return a column for each place, ``(place, share of the answers, expected share)``, and a line where its labels alone would end.

    Where no share is expected the line is an even share of all columns; without places the chart is empty.
    """
    drawn = list(shares)[:MOST_PLACES]
    if not drawn:
        return Markup("")
    even = sum(taken for _, taken, _ in shares) / len(shares)
    lines_at = [even if expected is None else expected for _, _, expected in drawn]
    axis = axis_for([0.0, *lines_at, *(taken for _, taken, _ in drawn)])
    ground, step = HEIGHT - _BOTTOM, (WIDTH - _LEFT - _RIGHT) / len(drawn)

    def y(taken: float) -> float:
        inside = (min(max(taken, axis.low), axis.high) - axis.low) / (axis.high - axis.low)
        return round(ground - inside * (ground - _TOP), 1)

    lines = "".join(f"M{_LEFT} {y(tick)}H{WIDTH - _RIGHT}" for tick in axis.ticks)
    parts = [Markup('<path class="grid" d="{}"/>').format(lines)]
    parts += [_text("tick", _LEFT - 8, y(tick) + 3.5, percent(tick).replace(".0", ""), "end") for tick in axis.ticks]
    columns = "".join(
        f"M{_LEFT + at * step + step * 0.14:.1f} {ground}V{y(taken):.1f}h{step * 0.72:.1f}V{ground}z"
        for at, (_, taken, _) in enumerate(drawn)
    )
    parts.append(Markup('<path class="columns" d="{}"/>').format(columns))
    expected = "".join(f"M{_LEFT + at * step:.1f} {y(line)}h{step:.1f}" for at, line in enumerate(lines_at))
    parts.append(Markup('<path class="expected" d="{}"/>').format(expected))
    every = max(1, round(len(drawn) / 12))
    parts += [
        _text("tick", round(_LEFT + (at + 0.5) * step, 1), HEIGHT - 18, place)
        for at, (place, _, _) in enumerate(drawn)
        if at % every == 0
    ]
    parts.append(_text("tick", (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 3, "place in the list"))
    most = max(drawn, key=lambda one: one[1])
    told = f"share of the answers for {len(shares)} places of the list: most for place {most[0]}, {percent(most[1])}"
    head = Markup('<svg class="places" role="img" viewBox="0 0 {0} {1}" width="{0}" height="{1}"><title>{2}</title>')
    return head.format(WIDTH, HEIGHT, clean(told)) + Markup("").join(parts) + Markup("</svg>")


def _text(kind: str, x: float, y: float, words: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)
