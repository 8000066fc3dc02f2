"""How far probabilities can be believed, as in the page: how often answers of each confidence are right."""

from __future__ import annotations

from fieldguide.report import calibration as found
from fieldguide.report.exports.figures.style import FAINT, HAIR, RULE, SOFT, Figure, canvas, marker, percents, slug
from fieldguide.report.read import Study

#: Most contestants that become figures.
MOST_FIGURES = 12
_HEADER = ("from", "to", "answers", "right", "confidence", "accuracy", "low", "high")


def diagrams(study: Study) -> list[Figure]:
    """Return a reliability diagram for each contestant that gives probabilities, at most `MOST_FIGURES`."""
    rows = [row for row in found.calibration(study).rows if row.bins]
    return [_figure(row) for row in rows[:MOST_FIGURES]]


def _figure(row: found.Row) -> Figure:
    figure = canvas(4.2, 4.6)
    axes, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (5, 1)})
    look = marker(row.contestant.slot)
    axes.plot((0, 1), (0, 1), color=FAINT, linewidth=1.0, linestyle=(0, (4, 2.5)), zorder=1)
    for one in row.bins:
        if one.bounds:
            axes.plot((one.confidence, one.confidence), one.bounds, color=look["markeredgecolor"], linewidth=1.4, zorder=2)
    sure, right = [one.confidence for one in row.bins], [one.accuracy for one in row.bins]
    axes.plot(sure, right, linestyle="none", zorder=3, clip_on=False, **look)
    axes.set_ylabel("right, %", color=SOFT)
    axes.grid(axis="y", color=HAIR)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    widths = [one.high - one.low for one in row.bins]
    below.bar([one.low for one in row.bins], [one.n for one in row.bins], widths, align="edge", color=RULE, edgecolor="white")
    below.set_ylabel("answers")
    below.set_xlabel("confidence of the answer, %")
    for axis in (axes.yaxis, below.xaxis):
        percents(axis)
    name = row.contestant.name
    table = [
        (one.low, one.high, one.n, one.right, one.confidence, one.accuracy, *(one.bounds or (None, None))) for one in row.bins
    ]
    title = f"How often answers of {name} are right, by their confidence"
    return Figure(f"reliability_{slug(name)}", title, figure, _HEADER, table)
