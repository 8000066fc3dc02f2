"""What can be drawn of a study, and what was: values that load no library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Names at the top of a study folder that a drawing writes.
DRAWN = frozenset({"report.html", "report.md", "leaderboard.csv", "leaderboard.tex", "scores.json", "figures", "report"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is drawn beside the page and the exports: figures for a paper or slides, and the folder edition with all pictures."""

    figures: bool = False
    folder: bool = False


#: The report and its exports, no more.
REPORT = Wanted()


@dataclass(frozen=True, slots=True)
class Drawn:
    """The folders that were drawn, and what a user should know about them."""

    figures: Path | None = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()
