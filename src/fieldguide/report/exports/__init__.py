"""The report to take away: Markdown, LaTeX, CSV and one JSON file, and figures for a paper or slides. All read the same values as the page."""

from __future__ import annotations

import json
from pathlib import Path

from fieldguide.files import write_csv, write_text
from fieldguide.report.exports import counts, latex, markdown, scores, table
from fieldguide.report.read import Study

#: Everything that is written beside ``report.html``.
NAMES = ("report.md", "leaderboard.tex", "leaderboard.csv", "scores.json")


def write(folder: Path, study: Study) -> bool:
    """Write the exports of `study` into its `folder`; return whether the scores are others than those that lay there before.

    ``scores.json`` comes last: as long as it is the old one, what is drawn from scores counts as old, too.
    """
    if study.manifest.task == "count":
        counts.write(folder, study)
        return scores_text(study) != _old(folder / "scores.json")
    write_text(folder / "report.md", markdown.report(study))
    write_text(folder / "leaderboard.tex", latex.leaderboard(study))
    write_csv(folder / "leaderboard.csv", table.HEADINGS, table.rows(study))
    return scores_text(study) != _old(folder / "scores.json")


def finish(folder: Path, study: Study) -> None:
    """Write ``scores.json``: every export is now that of these scores."""
    write_text(folder / "scores.json", scores_text(study))


def scores_text(study: Study) -> str:
    """Return ``scores.json``; keys are sorted, NaN is refused. In one line: programs read it, and with line breaks it takes ten times as long."""
    told = counts.scores(study) if study.manifest.task == "count" else scores.scores(study)
    return json.dumps(told, separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def _old(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # absent, or not what this program writes: new in any case
        return None
