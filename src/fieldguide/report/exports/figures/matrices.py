"""Matrices: differences between contestants, and what each of them confused."""

from __future__ import annotations

from typing import Any

from fieldguide.report import board
from fieldguide.report.exports.figures.style import (
    BETTERS,
    FAINT,
    HUES,
    INK,
    RULE,
    SAME,
    SOFT,
    WORSES,
    Figure,
    canvas,
    short,
    slug,
)
from fieldguide.report.read import Contestant, Study

#: From little to much as in the page (``scales.css``), after cividis: even in lightness, the same for colour-blind eyes.
RAMP = ("#fbf6df", "#e1d293", "#a79d75", "#5b5f6d", "#00224e")
#: Above so many contestants or classes cells carry no numbers, above so many classes rows carry no names, and rows are pixels.
MOST_PRINTED, MOST_COUNTED, MOST_NAMED = 16, 20, 60


def differences(study: Study) -> list[Figure]:
    """Return the matrix row minus column in points; coloured only where the difference is real."""
    from matplotlib.patches import Rectangle

    found = board.differences(study)
    n = len(found.order)
    if n < 2:
        return []
    side = max(3.2, 0.62 * n + 1.6) if n <= MOST_PRINTED else 0.28 * n + 2.4
    figure = canvas(side + 0.9, side)
    axes = figure.add_subplot()
    for y, line in enumerate(found.matrix):
        for x, cell in enumerate(line):
            if cell.kind == "self":
                continue
            hollow = cell.kind in ("few", "none")
            shade = _shade(cell.kind)
            box = Rectangle(
                (x - 0.47, y - 0.47), 0.94, 0.94, facecolor="white" if hollow else shade, edgecolor=RULE if hollow else "none"
            )
            axes.add_patch(box)
            words = f"{cell.sign}\n{cell.points}" if n <= MOST_PRINTED and cell.points else cell.sign
            axes.text(
                x,
                y,
                words,
                ha="center",
                va="center",
                fontsize=8 if n <= 10 else 6.5,
                color=INK if shade != SAME and not hollow else SOFT,
            )
    _frame(axes, n, n)
    names = [short(c.name, 24) for c in found.order]
    axes.set_xticks(range(n), names, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(n), names)
    axes.xaxis.tick_top()
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, contestant in zip(labels, found.order, strict=True):
            label.set_color(HUES[contestant.slot])
    called = "exact match" if study.manifest.task == "count" else "accuracy"
    figure.supxlabel(  # below the names of rows, too: two contestants leave the matrix narrower than these words
        f"row \u2212 column, points of test {called}\n▲ row really better   ▼ really worse\n≈ not distinguishable   ? too few pictures to tell",
        x=0.01,
        ha="left",
        fontsize=8,
    )
    header = ("a", "b", "difference", "low", "high", "only_a", "only_b", "p", "p_holm", "outcome")
    rows = [[pair.get(key) for key in header] for pair in (study.comparison or {}).get("pairs") or []]
    return [Figure("differences", f"Differences in test {called}, row minus column", figure, header, rows)]


def _shade(kind: str) -> str:
    for word, shades in (("better", BETTERS), ("worse", WORSES)):
        if kind.startswith(word):
            return shades[int(kind.removeprefix(word)) - 1]
    return SAME


def _frame(axes: Any, columns: int, rows: int) -> None:
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(False)


def confusions(study: Study) -> list[Figure]:
    """Return a row-normalised confusion matrix for each scored contestant that has one."""
    return [_confusion(study, c) for c in study.scored if (c.test or {}).get("confusion")]


def _confusion(study: Study, contestant: Contestant) -> Figure:
    import numpy as np

    counts = np.array((contestant.test or {})["confusion"])
    k = len(study.classes)
    columns = [info.name for info in study.classes] + ["no answer"]
    if not counts[:, k].any():
        counts, columns = counts[:, :k], columns[:k]
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    size = 3.4 + (0.3 * k if k <= MOST_COUNTED else 0.13 * min(k, MOST_NAMED) + 2.2)
    figure = canvas(size + 0.8, size)
    axes = figure.add_subplot()
    _heat(figure, axes, shares, pixels=k > MOST_NAMED)
    if k <= MOST_COUNTED:
        for y, x in zip(*np.nonzero(counts), strict=True):
            axes.text(
                x,
                y,
                int(counts[y, x]),
                ha="center",
                va="center",
                fontsize=7.5,
                color="white" if shares[y, x] > 0.62 else "black",
            )
    _frame(axes, len(columns), k)
    if k <= MOST_NAMED:
        small = 8 if k <= MOST_COUNTED else 6
        axes.set_xticks(range(len(columns)), [short(name, 20) for name in columns], rotation=90, fontsize=small)
        axes.set_yticks(range(k), [short(info.name, 20) for info in study.classes], fontsize=small)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.set_xlabel("answered")
    axes.set_ylabel("true class")
    axes.set_title(short(contestant.name, 40), color=HUES[contestant.slot])
    rows = [
        (study.classes[y].name, columns[x], int(counts[y, x]), float(shares[y, x]))
        for y in range(k)
        for x in range(len(columns))
        if counts[y, x]
    ]
    title = f"Confusion matrix of {contestant.name}: rows are true classes, columns answers"
    return Figure(f"confusion_{slug(contestant.name)}", title, figure, ("true", "answered", "pictures", "share_of_true"), rows)


def _heat(figure: Any, axes: Any, shares: Any, pixels: bool) -> None:
    """Draw shares from light to dark: as vector squares, or as pixels where there would be thousands of them."""
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap

    ramp = LinearSegmentedColormap.from_list("page", RAMP).with_extremes(bad="white")

    seen = np.ma.masked_equal(shares, 0)
    if pixels:
        image = axes.imshow(seen, cmap=ramp, vmin=0, vmax=1, interpolation="nearest")
    else:
        edges = [np.arange(length + 1) - 0.5 for length in (shares.shape[1], shares.shape[0])]
        image = axes.pcolormesh(*edges, seen, cmap=ramp, vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, ticks=(0, 0.5, 1))
    bar.ax.set_yticklabels(("0", "50", "100"))
    bar.set_label("% of the true class", color=FAINT)
    bar.outline.set_visible(False)
