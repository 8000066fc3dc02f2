"""Figures for a paper or slides: SVG and PNG drawn by matplotlib (extra ``figures``), the numbers of each as CSV beside it.

The same study gives the same bytes with the same matplotlib: nothing in a file tells the date, and ids come from a fixed salt.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from fieldguide.errors import EnvironmentProblem
from fieldguide.files import building
from fieldguide.report.exports.figures import boards, learning, matrices, ratios, reliability, sloped
from fieldguide.report.exports.figures.style import Figure, drawing
from fieldguide.report.read import Study

FOLDER = "figures"
#: What may lie in the folder: everything else is somebody else's.
OWN = re.compile(
    r"(leaderboard|mean_error|accuracy_cost|validation_test|differences|learning_curves|text_ratio|(confusion|reliability|slopes)_.+)"
    r"\.(svg|png|csv)"
)
_DRAWERS: tuple[tuple[str, Callable[[Study], list[Figure]], str], ...] = (
    ("leaderboard", boards.leaderboard, "nobody has been scored"),
    ("mean_error", boards.mean_error, "no contestant has a usable answer"),
    ("accuracy_cost", boards.accuracy_cost, "no time for a picture is recorded"),
    ("validation_test", boards.validation_test, "no contestant has both scores"),
    ("differences", matrices.differences, "a difference needs two scored contestants"),
    ("confusion", matrices.confusions, "no confusions are recorded"),
    ("reliability", reliability.diagrams, "nobody gives probabilities"),
    ("learning_curves", learning.curves, "no contestant recorded epochs"),
    ("slopes", sloped.slopes, "no two contestants use one network in two ways"),
    ("text_ratio", ratios.ratios, "no sweep over pictures and texts was made"),
)
#: Figures that are about names alone, and about counts alone: where the study is of the other task, nothing is missing.
_OF_ONE_TASK = {"classify": ("confusion", "slopes", "text_ratio"), "count": ("mean_error",)}


def available() -> bool:
    """Tell whether matplotlib is installed, without importing it."""
    return importlib.util.find_spec("matplotlib") is not None


def require() -> None:
    """Raise `EnvironmentProblem` where matplotlib is not installed."""
    if not available():
        raise EnvironmentProblem(
            "Figures are drawn by matplotlib, which is not installed.",
            "The extra 'figures' brings it; report.html and the tables need nothing.",
            "pip install 'fieldguide[figures]'",
        )


def draw(target: Path, study: Study) -> tuple[str, ...]:
    """Write every figure of `study` into the folder `target`, which is replaced as a whole; return a note for each that does not apply."""
    require()
    notes = []
    with building(target) as place, drawing(_words(study)):
        other = "classify" if study.manifest.task == "count" else "count"
        for name, draws, why in (one for one in _DRAWERS if one[0] not in _OF_ONE_TASK[other]):
            figures = draws(study)
            for figure in figures:
                figure.save(place)
            if not figures:
                notes.append(f"figures/{name}: not applicable, {why}.")
    return tuple(notes)


def _words(study: Study) -> str:
    return " ".join([*(info.name for info in study.classes), *(f"{c.name} {c.family}" for c in study.contestants)])
