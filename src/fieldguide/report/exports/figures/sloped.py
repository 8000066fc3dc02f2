"""Before and after, as in the page: the recall of each class from one run of a network to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fieldguide.report import slopes as found
from fieldguide.report.exports.figures.style import BETTER, FAINT, INK, RULE, WORSE, Figure, canvas, percents, short, slug
from fieldguide.report.read import Study
from fieldguide.report.slope_chart import Bundle, Trace, bundles, spread

#: Most pairs that become figures.
MOST_FIGURES = 12
_MOST_NAMES = 24
_LOOKS: dict[str, dict[str, Any]] = {
    "better": {"color": BETTER, "linestyle": "-"},
    "worse": {"color": WORSE, "linestyle": (0, (4, 2.5))},
    "same": {"color": FAINT, "linestyle": (0, (0.6, 2.4))},
}


def slopes(study: Study) -> list[Figure]:
    """Return a figure for each pair of the page's section, at most `MOST_FIGURES`; of language models one more, filtered."""
    pairs = found.slopes(study).pairs[:MOST_FIGURES]
    return [
        figure for pair in pairs for figure in (_figure(pair), *([_filtered(pair, pair.filtered)] if pair.filtered else []))
    ]


def _drawn(pair: found.Slope, drawn: Sequence[Bundle], ends: tuple[float | None, ...], label: str) -> Any:
    figure = canvas(6.6, 4.6, layout="none")
    axes = figure.add_axes((0.095, 0.155, 0.555, 0.825))
    for bundle in drawn:
        axes.plot(
            (0, 1), (bundle.before, bundle.after), linewidth=0.9 * bundle.width, solid_capstyle="round", **_LOOKS[bundle.kind]
        )
    if None not in ends:
        axes.plot((0, 1), ends, color=INK, linewidth=2.6, marker="o", markersize=5, zorder=5, clip_on=False)
    _names(axes, drawn)
    axes.set_xlim(-0.02, 1.0)
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks((0, 0.25, 0.5, 0.75, 1))
    percents(axes.yaxis)
    axes.set_xticks((0, 1), (short(pair.before.name, 30), short(pair.after.name, 30)))
    axes.tick_params(axis="x", colors=INK)
    axes.grid(axis="y")
    axes.set_ylabel(f"{label} of each class, %")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    for x in (0, 1):
        axes.axvline(x, color=RULE, linewidth=1.2, zorder=1)
    _key(figure, {kind: sum(len(one.names) for one in drawn if one.kind == kind) for kind in _LOOKS})
    return figure


def _filtered(pair: found.Slope, filtered: found.Filtered) -> Figure:
    """Return the figure without answers that are no name of the list."""
    ends = tuple(value.number for value in filtered.accuracies)
    figure = _drawn(pair, bundles(filtered.traces), ends, "filtered recall")
    rows = [(one.name, one.before, one.after) for one in filtered.traces]
    name = f"slopes_{slug(pair.before.name)}_{slug(pair.after.name)}_filtered"
    title = f"Filtered recall of each class, from {pair.before.name} to {pair.after.name}"
    return Figure(name, title, figure, ("name", "recall_before", "recall_after"), rows)


def _figure(pair: found.Slope) -> Figure:
    traces = [Trace(line.name, line.before, line.after) for line in pair.lines]
    figure = _drawn(pair, bundles(traces), tuple(value.number for value in pair.accuracies), "recall")
    header = ("class", "name", "pictures", "recall_before", "recall_after", "gained", "lost", "more_than_chance")
    rows = [
        (
            line.id,
            line.name,
            line.n,
            line.before,
            line.after,
            line.gained,
            line.lost,
            None if line.gained is None else line.real,
        )
        for line in pair.lines
    ]
    name = f"slopes_{slug(pair.before.name)}_{slug(pair.after.name)}"
    return Figure(name, f"Recall of each class, from {pair.before.name} to {pair.after.name}", figure, header, rows)


def _names(axes: Any, drawn: Any) -> None:
    moved = [bundle for bundle in drawn if bundle.kind != "same"]
    moved.sort(key=lambda b: (b.kind != "worse", -abs(b.after - b.before)))
    chosen = sorted(moved[:_MOST_NAMES], key=lambda b: (-b.after, b.before))
    heights = spread([1000 * (1 - bundle.after) for bundle in chosen], apart=42, low=-20, high=1000)
    for bundle, down in zip(chosen, heights, strict=True):
        look = BETTER if bundle.kind == "better" else WORSE
        words = f"{'▲' if bundle.kind == 'better' else '▼'} {bundle.label}"
        y = 1 - down / 1000
        axes.plot((1.012, 1.045), (bundle.after, y), color=FAINT, linewidth=0.6, clip_on=False)
        axes.text(1.055, y, words, va="center", color=look, fontsize=7.5)


def _key(figure: Any, counts: Mapping[str, int]) -> None:
    from matplotlib.lines import Line2D

    words = {"better": "better", "worse": "worse", "same": "unchanged"}
    lines = [Line2D([], [], linewidth=1.6, label=f"{words[kind]}, {counts[kind]}", **look) for kind, look in _LOOKS.items()]
    lines.append(Line2D([], [], color=INK, linewidth=2.6, label="all test pictures"))
    figure.legend(handles=lines, loc="lower center", ncols=4, fontsize=8, handlelength=2.6, columnspacing=1.6)
