"""The small chart of a map's check: the gap while the picture is covered and while it is shown, and the score among random orders.

All places are worked out here, in 64 steps each way, and written as letters (`overlay.letters`); the script only moves the lines of
the chart that is there to the places of another layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fieldguide.report.explained import Check
from fieldguide.report.overlay import LEVELS, letters
from fieldguide.report.say import MINUS, clean, decimal

#: Most points of a curve and most marks of random orders in the chart.
MOST_POINTS, MOST_MARKS = 21, 20
#: The plot's corner and the size of a step across; one step down is one unit.
LEFT, TOP, ACROSS, STRIP = 38, 8, 3, 106
WIDTH, HEIGHT = 286, 122
_LAST = LEVELS - 1


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies, in steps from 0 to 63 from the top left; `None` where there is nothing to draw."""

    top: str
    bottom: str
    deletion: tuple[int, ...]
    insertion: tuple[int, ...]
    zero: int
    random: tuple[int, ...]
    score: int
    words: tuple[str, str, str]

    @property
    def said(self) -> str:
        """The score and the range of the random orders, as the script says them too."""
        return "score {}; random orders {} to {}".format(*self.words)


def places(check: Check | None) -> Places | None:
    """Return the places of a chart of `check`; `None` where curves or random orders are missing."""
    if check is None or check.score is None or not check.random or len(check.deletion) < 2 or len(check.insertion) < 2:
        return None
    deletion, insertion = (_thin(curve, MOST_POINTS) for curve in (check.deletion, check.insertion))
    low, high = min(*deletion, *insertion, 0.0), max(*deletion, *insertion, 0.0)
    span = (high - low) or 1.0
    marks = _thin(sorted(check.random), MOST_MARKS)
    left, right = min(*marks, check.score), max(*marks, check.score)
    reach = (right - left) or 1.0

    def down(value: float) -> int:
        return round(_LAST * (high - value) / span)

    def over(value: float) -> int:
        return round(_LAST * (value - left) / reach)

    return Places(
        top=decimal(high, 1),
        bottom=decimal(low, 1),
        deletion=tuple(map(down, deletion)),
        insertion=tuple(map(down, insertion)),
        zero=down(0.0),
        random=tuple(map(over, marks)),
        score=over(check.score),
        words=(_signed(check.score), _signed(marks[0]), _signed(marks[-1])),
    )


def packed(found: Places | None) -> str:
    """Return `found` for the script: nothing, or ten parts set apart by commas."""
    if found is None:
        return ""
    lines = (found.deletion, found.insertion, (found.zero,), found.random, (found.score,))
    parts = [found.top, found.bottom, *(str(letters(np.array(steps))) for steps in lines), *found.words]
    return ",".join(parts).replace(MINUS, "-")


def chart(found: Places | None) -> Markup:
    """Return the chart as SVG; empty where there is nothing to draw."""
    if found is None:
        return Markup("")
    bottom, right = TOP + _LAST, LEFT + ACROSS * _LAST
    shown, hidden = (_points(steps) for steps in (found.insertion, found.deletion))
    back = " ".join(reversed(hidden.split(" ")))
    ends = _apart(TOP + found.insertion[-1], TOP + found.deletion[-1])
    low, high = found.random[0], found.random[-1]
    parts = [
        Markup('<use href="#checkframe"/>'),
        Markup('<line class="zero" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, right, *[TOP + found.zero] * 2),
        Markup('<polygon class="gain" points="{} {}"/>').format(shown, back),
        Markup('<polyline class="del" points="{}"/><polyline class="ins" points="{}"/>').format(hidden, shown),
        _text("tick top", LEFT - 5, TOP + 5, found.top, "end"),
        _text("tick low", LEFT - 5, bottom + 1, found.bottom, "end"),
        _text("word insword", right + 5, ends[0] + 3.5, "shown", "start"),
        _text("word delword", right + 5, ends[1] + 3.5, "covered", "start"),
        Markup('<rect class="band" x="{}" y="{}" width="{}" height="14" rx="3"/>').format(
            LEFT + ACROSS * low - 2, STRIP - 7, ACROSS * (high - low) + 4
        ),
        Markup('<path class="orders" d="{}"/>').format("".join(f"M{LEFT + ACROSS * x} {STRIP - 4}v8" for x in found.random)),
        Markup('<path class="score" d="{}"/>').format(f"M{LEFT + ACROSS * found.score} {STRIP - 8}l5 8-5 8-5-8z"),
    ]
    head = Markup('<svg class="checkchart" role="img" viewBox="0 0 {} {}" width="{}" height="{}"><title>{}</title>')
    told = f"Gap in nats while the most important parts are covered and while they are shown first; {found.said}"
    return head.format(WIDTH, HEIGHT, WIDTH, HEIGHT, clean(told)) + Markup("").join(parts) + Markup("</svg>")


def frame() -> Markup:
    """Return what all charts share, to stand in the page once: the axes and their words."""
    bottom, right = TOP + _LAST, LEFT + ACROSS * _LAST
    parts = [
        Markup('<path class="checkaxes" d="M{} {}V{}H{}"/>').format(LEFT, TOP, bottom, right),
        _text("tick checktick", LEFT, bottom + 13, "0", "start"),
        _text("tick checktick", (LEFT + right) / 2, bottom + 13, "share of the picture", "middle"),
        _text("tick checktick", right, bottom + 13, "100 %", "end"),
        _text("scoreword", LEFT - 5, STRIP + 3.5, "score", "end"),
    ]
    head = Markup('<svg class="symbols" aria-hidden="true" width="0" height="0" focusable="false"><g id="checkframe">')
    return head + Markup("").join(parts) + Markup("</g></svg>")


def _points(steps: Sequence[int]) -> str:
    scale = ACROSS * _LAST / (len(steps) - 1)
    return " ".join(f"{round(LEFT + scale * place, 1):g},{TOP + step}" for place, step in enumerate(steps))


def _apart(first: float, second: float, least: float = 12) -> tuple[float, float]:
    """Move two labels apart where they would lie on each other."""
    if abs(first - second) >= least:
        return first, second
    middle, half = (first + second) / 2, least / 2 if first >= second else -least / 2
    return middle + half, middle - half


def _text(kind: str, x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def _thin(values: Sequence[float], most: int) -> list[float]:
    """Return at most `most` of `values`, evenly, the first and the last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place)] for place in np.linspace(0, len(values) - 1, most)]


def _signed(value: float) -> str:
    return decimal(value, 2) if round(value, 2) == 0 else ("+" if value > 0 else MINUS) + decimal(abs(value), 2)
