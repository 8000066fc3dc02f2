"""Room again: what a study can make once more is removed; what it found is not.

Removed are decoded pixels, unpacked archives, what a kill left unfinished, and checkpoints of contestants that are done. The list,
the settings, models, answers, scores, logs and the report stay, so the same compare ends in the same numbers. Pixels and unpacked
files go only where the source is there to make them from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fieldguide import runs
from fieldguide.errors import EnvironmentProblem, UsageProblem, plain
from fieldguide.files import UNFINISHED, read_toml
from fieldguide.locked import Locked

STORE, UNPACKED, LEFT, CHECKPOINTS, OLD_RUNS = (
    "decoded pictures",
    "unpacked archives",
    "unfinished files",
    "checkpoints of finished contestants",
    "runs before an extension",
)


@dataclass(frozen=True)
class Cleaned:
    """What was (or would be) freed: bytes by kind, and kind by kind why something was kept."""

    folder: Path
    freed: dict[str, int]
    kept: dict[str, str]

    @property
    def total(self) -> int:
        """Bytes of all kinds."""
        return sum(self.freed.values())


def clean(folder: Path, *, dry_run: bool = False, old_runs: bool = False) -> Cleaned:
    """Remove from a study what can be made again, and say what that freed; with `dry_run` only say it.

    `old_runs` also removes the runs that an extension of the list has put aside, which cannot be made again. Raises
    `UsageProblem` where `folder` is no study, `EnvironmentProblem` where another fieldguide is working in it or something
    cannot be removed.
    """
    # Both: a table of that name may lie in anybody's folder, and what is removed here is removed by name.
    if not all((folder / name).exists() for name in ("study.toml", "manifest.parquet")):
        raise UsageProblem(
            f"{plain(folder)} is no study folder.",
            "A folder that `fieldguide compare` made; it holds study.toml and manifest.parquet.",
            "fieldguide clean STUDY/",
        )
    with Locked(folder):
        kept: dict[str, str] = {}
        freed: dict[str, int] = {}
        for kind, path in _outermost(list(_spare(folder, kept, old_runs))):
            freed[kind] = freed.get(kind, 0) + _bytes(path)
            if not dry_run:
                _remove(path)
    return Cleaned(folder, freed, kept)


def _spare(folder: Path, kept: dict[str, str], old_runs: bool) -> Iterator[tuple[str, Path]]:
    """Yield what may go, by kind; what has to stay is told in `kept`. Only names that fieldguide gives are looked at."""
    source = _source(folder)
    there, unpacked = bool(source) and Path(source).exists(), (folder / "unpacked").exists()
    if (folder / "store").exists():
        if there or unpacked:
            yield STORE, folder / "store"
        else:
            kept[STORE] = f"{plain(source) or 'their source'} is not there to make them from"
    if unpacked:
        if there:
            yield UNPACKED, folder / "unpacked"
        else:
            kept[UNPACKED] = f"{plain(source) or 'their source'} is not there to unpack or fetch them from"
    here = [folder, *(path for path in (folder / "runs").rglob("*") if path.is_dir() and not path.is_symlink())]
    for place in here:
        yield from ((LEFT, path) for path in place.glob(f"{UNFINISHED}*"))
    for run in sorted(path for path in folder.glob("runs/*") if runs.whole(path)):
        yield from ((CHECKPOINTS, path) for path in [run / "scratch", *run.glob("folds/*/scratch")] if path.exists())
    aside = sorted(folder.glob("runs-before-extension-*"))
    if old_runs:
        yield from ((OLD_RUNS, path) for path in aside)
    elif aside:
        kept[OLD_RUNS] = "they cannot be made again; --old-runs removes them"


def _source(folder: Path) -> str:
    try:
        return str(read_toml(folder / "study.toml").get("source", ""))
    except (OSError, ValueError):  # without it nothing is known to be there, and nothing of it goes
        return ""


def _outermost(found: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    paths = {path for _, path in found}
    return [(kind, path) for kind, path in found if not paths & set(path.parents)]


def _bytes(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(entry.lstat().st_size for entry in path.rglob("*") if entry.is_symlink() or not entry.is_dir())


def _remove(path: Path) -> None:
    try:
        # What a link points to is somebody else's.
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise EnvironmentProblem(
            f"{plain(path)} could not be removed: {error.strerror or error}.",
            "Files of a study that you may write to.",
            "Correct the permissions, then run the same command again; what is gone is gone.",
        ) from error
