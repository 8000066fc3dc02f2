"""Pictures against texts, as in the page: a panel for each source and translator of the board that stands first."""

from __future__ import annotations

import math
from typing import Any

from fieldguide.report.exports.figures.style import HUES, RULE, Figure, canvas, percents, short
from fieldguide.report.read import Study
from fieldguide.report.text_ratio import Panel, ratio

_ACROSS, MOST_PANELS = 2, 12
#: Hue, dashes and mark of each curve, as in the page, and what it is called.
_LOOKS: dict[str, tuple[str, Any, str, str]] = {
    "pictures": (HUES[2], "-", "o", "pictures alone"),
    "mix": (HUES[5], (0, (5, 2.5)), "s", "texts instead"),
    "weighted": (HUES[4], (0, (1, 1.6)), "^", "texts in addition"),
}
_HEADER = ("curve", "selection", "source", "translator", "head", "image", "mean", "low", "high", "seeds")


def ratios(study: Study) -> list[Figure]:
    """Return one figure with a panel for each source and translator; its data are all means of the sweep."""
    told = study.texts.ratio
    boards = ratio(told).boards if told else ()
    if told is None or not boards or not boards[0].panels:
        return []
    panels = boards[0].panels[:MOST_PANELS]
    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    figure = canvas(4.4 * across, 2.7 * down)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
    for at, axes in enumerate(grid.flat):
        if at < len(panels):
            _panel(axes, panels[at])
        else:
            axes.set_visible(False)
    grid.flat[0].legend(fontsize=7, loc="lower left", handlelength=2.8)
    rows = [tuple(one.get(name) for name in _HEADER) for one in told.get("summary", [])]
    title = f"Test accuracy by image : text, head {boards[0].head}, selection {boards[0].selection}"
    return [Figure("text_ratio", title, figure, _HEADER, rows)]


def _panel(axes: Any, panel: Panel) -> None:
    for track in panel.tracks:
        if not track.points:
            continue
        hue, dashes, mark, words = _LOOKS[track.curve]
        images = [100 - point.image for point in track.points]
        axes.plot(
            images, [point.mean for point in track.points], color=hue, linestyle=dashes, marker=mark, markersize=4, label=words
        )
        bounded = [point for point in track.points if point.low is not None and point.high is not None]
        axes.fill_between(
            [100 - point.image for point in bounded],
            [point.low for point in bounded],
            [point.high for point in bounded],
            color=hue,
            alpha=0.15,
            linewidth=0,
        )
    axes.set_title(short(panel.title, 44))
    axes.set_xlabel("image : text, %", fontsize=8)
    axes.set_ylabel("accuracy, %", fontsize=8)
    percents(axes.yaxis)
    ticks = (0, 20, 40, 60, 80, 100)
    axes.set_xticks(ticks, [f"{100 - tick}:{tick}" for tick in ticks])
    axes.tick_params(labelsize=7)
    axes.grid(axis="y")
    axes.spines["bottom"].set_color(RULE)
