"""All that is drawn of a study: the page, the exports beside it, and, where they were asked for once, figures and the folder edition."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from fieldguide.errors import Problem, UsageProblem, plain
from fieldguide.files import write_text
from fieldguide.report import build, exports, pages
from fieldguide.report.exports import figures
from fieldguide.report.read import read_study
from fieldguide.report.thumbnails import Pictures
from fieldguide.report.wanted import REPORT, Drawn, Wanted

#: A page above this many bytes makes browsers slow; it is drawn, and said.
HEAVY = 25_000_000


def require(folder: Path, wanted: Wanted) -> None:
    """Raise now what would stop the drawing later: matplotlib is not installed, or a folder holds somebody else's files."""
    if wanted.figures:
        figures.require()
        _require_own(folder / figures.FOLDER, figures.OWN)
    if wanted.folder:
        _require_own(folder / pages.FOLDER, pages.OWN)


def draw(folder: Path, reader: Pictures, wanted: Wanted = REPORT) -> Drawn:
    """Draw the report of the study `folder` and write its exports.

    What was drawn once is drawn again (figures where the scores have changed), so that nothing old lies beside something new.
    """
    require(folder, wanted)
    study = read_study(folder)
    place, pictures = folder / pages.FOLDER, folder / figures.FOLDER
    with_pages = wanted.folder or (place / "index.html").exists()
    page = folder / "report.html"
    write_text(page, build.render(study, reader, edition=build.Edition(beside=with_pages)))
    changed = exports.write(folder, study)
    notes: list[str] = []
    if wanted.figures or (changed and pictures.exists()):
        notes += _kept_up(lambda: figures.draw(pictures, study), pictures, wanted.figures, figures.OWN)
    if with_pages:
        notes += _kept_up(lambda: pages.write(place, study, reader), place, wanted.folder, pages.OWN)
    for path in (page, place / "index.html"):
        if path.exists() and (size := path.stat().st_size) > HEAVY:
            notes.append(f"{path.relative_to(folder)} has {size / 1e6:.0f} MB: browsers may take long to open it.")
    exports.finish(folder, study)
    return Drawn(pictures if wanted.figures and pictures.exists() else None, place if with_pages else None, tuple(notes))


def _kept_up(draw: Callable[[], tuple[str, ...] | None], target: Path, asked: bool, own: re.Pattern[str]) -> tuple[str, ...]:
    """Draw `target`; where nobody asked for it now, what stands in the way is a note and not a stop."""
    try:
        _require_own(target, own)
        return draw() or ()
    except Problem as problem:
        if asked:
            raise
        return (f"{target.name}/ shows an earlier state: {problem.given} {problem.next}",)


def _require_own(target: Path, own: re.Pattern[str]) -> None:
    """Raise where `target` holds what fieldguide did not write: it is replaced as a whole."""
    if not target.exists():
        return
    names = sorted(entry.name for entry in target.iterdir()) if target.is_dir() else [target.name]
    foreign = [name for name in names if not own.fullmatch(name) and not name.startswith(".")]
    if foreign or not target.is_dir():
        raise UsageProblem(
            f"{plain(target)} holds {plain(foreign[0] if foreign else 'a file')}, which fieldguide did not write.",
            "That folder is written anew as a whole; allowed in it is only what fieldguide draws.",
            f"Move {plain(foreign[0] if foreign else target.name)} elsewhere, then run the same command again.",
        )
