"""Learning curves: loss and validation accuracy by epoch, the kept epoch marked."""

from __future__ import annotations

import math
from typing import Any

from fieldguide.report.exports.figures.style import CHANCE, FAINT, HUES, Figure, canvas, percents, short
from fieldguide.report.read import Contestant, Study

_ACROSS = 2
_KEYS = ("train_loss", "val_loss", "val_accuracy", "learning_rate", "seconds")


def curves(study: Study) -> list[Figure]:
    """Return one figure with two small charts for each contestant that learned in epochs."""
    learned = [c for c in study.contestants if c.epochs]
    if not learned:
        return []
    across = min(_ACROSS, len(learned))
    down = math.ceil(len(learned) / across)
    figure = canvas(4.6 * across, 1.75 * down)
    grid = figure.subplots(down, 2 * across, squeeze=False)
    for at, axes in enumerate(grid.reshape(-1, 2)):
        if at < len(learned):
            _panel(axes, learned[at], "exact" if study.manifest.task == "count" else "accuracy")
        else:
            for one in axes:
                one.set_visible(False)
    header = ("contestant", "epoch", "kept", *_KEYS)
    rows = [
        (c.name, event["epoch"], event["epoch"] == c.chosen_epoch, *(_number(event.get(key)) for key in _KEYS))
        for c in learned
        for event in c.epochs
    ]
    return [Figure("learning_curves", "Loss and validation accuracy of every contestant by epoch", figure, header, rows)]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _panel(axes: Any, contestant: Contestant, called: str) -> None:
    loss, accuracy = axes
    hue = HUES[contestant.slot]
    _line(loss, contestant, "train_loss", color=hue, linestyle=(0, (4, 2)), label="train")
    _line(loss, contestant, "val_loss", color=hue, linestyle="-", label="val")
    _line(accuracy, contestant, "val_accuracy", color=hue, linestyle="-", label="val")
    loss.set_title(short(contestant.name, 26), color=hue)
    loss.set_ylabel("loss", fontsize=8)
    accuracy.set_ylabel(f"{called}, %", fontsize=8)
    percents(accuracy.yaxis)
    if loss.lines:
        loss.legend(fontsize=7, loc="upper right", handlelength=2.2, labelcolor=FAINT)
    for one in axes:
        one.grid(axis="y")
        one.tick_params(labelsize=7)
        first, last = contestant.epochs[0]["epoch"], contestant.epochs[-1]["epoch"]
        chosen = contestant.chosen_epoch
        one.set_xlim(first - 0.5, max(last, first + 1) + 0.5)
        ends = (
            {first, last} if chosen is None else {chosen, *(e for e in (first, last) if abs(e - chosen) > (last - first) / 6)}
        )
        one.set_xticks(sorted(ends))
        if chosen is not None:
            one.axvline(chosen, color=CHANCE, linewidth=1, zorder=1)


def _line(axes: Any, contestant: Contestant, key: str, **look: Any) -> None:
    points = [(event["epoch"], value) for event in contestant.epochs if (value := _number(event.get(key))) is not None]
    if points:
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, linewidth=1.5, marker="o" if len(points) == 1 else None, markersize=3, **look)
