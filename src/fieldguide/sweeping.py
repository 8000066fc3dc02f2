"""Sweeps: the same contestants under one condition that is turned step by step, in one study that resumes as every study does.

So far there is one, over the number of training pictures. It answers whether more of them would help before anybody has taken them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fieldguide import families, plan, study
from fieldguide.asked import Asked, Entry, Terms
from fieldguide.bench import Progress
from fieldguide.errors import UsageProblem, plain
from fieldguide.families import Contestant
from fieldguide.files import damaged, read_toml
from fieldguide.settings import build


def read_fractions(text: str) -> tuple[float, ...]:
    """Read ``10,25,50,100`` (per cent) as fractions below 1, largest first; everything is always run. Raises `UsageProblem`."""
    found = set()
    for word in text.split(","):
        try:
            percent = float(word)
        except ValueError:
            percent = 0.0
        if not 0 < percent <= 100:
            raise UsageProblem(
                f"--fractions {plain(text)}: {plain(word)!r} is no part of the training pictures.",
                "Numbers above 0 and up to 100, in per cent, separated by commas; 100 is always run.",
                "--fractions 10,25,50,100",
            )
        found.add(percent / 100)
    below = tuple(sorted(found - {1.0}, reverse=True))
    if not below:
        raise UsageProblem(
            f"--fractions {plain(text)} asks for all training pictures and nothing less.",
            "At least one number below 100, to compare all pictures with.",
            "--fractions 10,25,50,100",
        )
    return below


def expanded(contestants: Iterable[Contestant], fractions: Iterable[float]) -> tuple[Entry, ...]:
    """Return every contestant as it is, and each that learns also on `fractions` (below 1) of the training pictures."""
    found: dict[str, Contestant] = {}
    for contestant in contestants:
        found[contestant.name] = contestant
        if contestant.fraction == 1 and _learns(contestant):
            found |= {less.name: less for less in (plan.cut(contestant, fraction) for fraction in fractions)}
    if all(contestant.fraction == 1 for contestant in found.values()):
        raise UsageProblem(
            f"No contestant learns from pictures: {plain(', '.join(found)) or 'there is none'}.",
            "A sweep over training pictures needs at least one that does, such as linear or a network.",
            "fieldguide families   lists them.",
        )
    return plan.entries(found.values())


def _learns(contestant: Contestant) -> bool:
    try:
        return families.learns(contestant)
    except ModuleNotFoundError:  # it will be a row that says which package is missing
        return False


def data_fraction(
    asked: Asked,
    folder: Path,
    fractions: tuple[float, ...],
    *,
    online: bool = False,
    terms: Terms | None = None,
    progress: Progress | None = None,
) -> study.Study:
    """Fit contestants on `fractions` (below 1) and on all of the training pictures, and return the finished study.

    Split, validation and test pictures are the same for all. Without contestants it takes those of the study in `folder`, or a
    preset's. The same call again goes on where it was stopped.
    """
    if not asked.contestants:
        study.compare(asked, folder, online=online, terms=terms, progress=progress)
        asked = asked.model_copy(update={"contestants": _known(folder)})
    wanted = asked.model_copy(update={"contestants": expanded(plan.read_contestants(asked.contestants), fractions)})
    return study.compare(wanted, folder, online=online, terms=terms, progress=progress)


def dry_run(
    asked: Asked, folder: Path, fractions: tuple[float, ...], *, online: bool = False, progress: Progress | None = None
) -> study.DryRun:
    """Return what `data_fraction` would run, and what that is expected to cost; nothing is kept."""
    contestants = plan.read_contestants(asked.contestants or _known(folder))
    if not contestants:
        contestants = tuple(one.contestant for one in study.dry_run(asked, folder, online=online, progress=progress).planned)
    wanted = asked.model_copy(update={"contestants": expanded(contestants, fractions)})
    return study.dry_run(wanted, folder, online=online, progress=progress)


def _known(folder: Path) -> tuple[Entry | str, ...]:
    path = folder / "study.toml"
    try:
        return build(Asked, read_toml(path), str(path)).contestants if path.exists() else ()
    except ValueError as error:  # TOML that is cut, or no UTF-8
        raise damaged(path, error) from error
