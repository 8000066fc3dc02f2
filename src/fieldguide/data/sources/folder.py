"""A folder of class folders, or of split folders that hold class folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fieldguide.data.sources.common import (
    CLOSED,
    SPLIT_NAMES,
    Found,
    SourceFile,
    clean_label,
    litter,
    no_picture,
    readable,
    require_classes,
    scan,
)
from fieldguide.errors import DataProblem, plain
from fieldguide.files import PASSING, unreachable
from fieldguide.records import SplitName

CANNOT = "cannot be opened"
_ARRANGE = "Arrange them as FOLDER/class/picture.jpg, one folder for each class, or give a table (CSV with path,label)."


def read_folder(root: Path, origin: str) -> Found:
    """List the candidates below `root`; raises `DataProblem` where there is no labelled structure."""
    found = Found()
    walk = Walk(root.resolve(), found)
    folders, loose = walk.top()
    splits = {name: SPLIT_NAMES[name.casefold()] for name in folders if name.casefold() in SPLIT_NAMES}
    found.ignored += [(readable(name), "outside class folders") for name in loose]
    if len(set(splits.values())) >= 2:
        _read_splits(walk, folders, splits, origin)
    else:
        for name in folders:
            _read_class(walk, (name,), None)
    if not found.files:
        raise _nothing(found, folders, loose, origin)
    require_classes(found, origin, _one_class_hint(root, folders))
    return found


def _read_splits(walk: Walk, folders: list[str], splits: dict[str, SplitName], origin: str) -> None:
    strangers = [name for name in folders if name not in splits and any(True for _ in walk.below((name,)))]
    if strangers:
        raise DataProblem(
            f"{plain(origin)} mixes split folders ({', '.join(sorted(splits))}) with other folders "
            f"({', '.join(plain(name) for name in strangers[:5])}).",
            "Either all folders are splits (train, val, test) that hold class folders, or all are classes.",
            "Move the others away, or into the splits they belong to.",
        )
    for name, split in splits.items():
        inner, loose = walk.entries((name,))
        for label in inner:
            _read_class(walk, (name, label), split)
        walk.found.ignored += [(f"{readable(name)}/{readable(file)}", "outside class folders") for file in loose]
        if loose and not inner:
            raise DataProblem(
                f"The split folder {plain(name)!r} holds loose pictures and no class folders.",
                f"Each of {', '.join(sorted(splits))} must hold one folder for each class.",
                "Arrange them as FOLDER/train/class/picture.jpg and the like.",
            )


def _read_class(walk: Walk, parts: tuple[str, ...], split: SplitName | None) -> None:
    label = clean_label(parts[-1])
    files = [SourceFile(path, name, label, split) for path, name in walk.below(parts)]
    if not files:
        walk.found.ignored.append((readable("/".join(parts)), "class folder without pictures"))
    elif label != readable(parts[-1]):
        walk.found.notes.append(
            f"The folder {plain(parts[-1])!r} is read as the class {plain(label)!r} (Unicode form or white space)."
        )
    walk.found.files += files


def read_pictures(root: Path) -> Found | None:
    """List pictures that carry no class: loose at the top or in split folders. `None` where there are none, or also labelled ones.

    For looking only; it is asked where `read_folder` found no labelled structure.
    """
    found = Found(notes=["The pictures lie loose, not in class folders: they have no class."])
    walk = Walk(root.resolve(), found)
    folders, loose = walk.top()
    found.files += [SourceFile(walk.root / file, readable(file), "") for file in loose]
    for name in folders:
        split = SPLIT_NAMES.get(name.casefold())
        inner, files = walk.entries((name,)) if split is not None else ([], [])
        found.files += [SourceFile(walk.root / name / file, readable(f"{name}/{file}"), "", split) for file in files]
        for parts in [(name, label) for label in inner] if split is not None else [(name,)]:
            if any(True for _ in walk.below(parts)):
                return None
            found.ignored.append((readable("/".join(parts)), "folder without pictures"))
    return found if found.files else None


@dataclass
class Walk:
    """Reads below `root` and never leaves it; what it passes over goes to `found.ignored`."""

    root: Path
    found: Found

    def top(self) -> tuple[list[str], list[str]]:
        """Return names of folders and candidate files of the root."""
        return self.entries(())

    def below(self, parts: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
        """Yield (path, name) of every candidate file below a folder, at any depth."""
        pending, seen = [parts], set()
        while pending:
            here = pending.pop()
            place = os.path.realpath(self.root.joinpath(*here))
            if place in seen:
                self.found.ignored.append((readable("/".join(here)), "a link that leads back"))
                continue
            seen.add(place)
            folders, files = self.entries(here)
            for file in files:
                yield self.root.joinpath(*here, file), readable("/".join((*here, file)))
            pending += [(*here, folder) for folder in folders]

    def entries(self, parts: tuple[str, ...]) -> tuple[list[str], list[str]]:
        """Return sorted names of folders and candidate files in one folder."""
        folder = self.root.joinpath(*parts)
        folders: list[str] = []
        files: list[str] = []
        try:
            entries = scan(folder)
        except OSError as error:
            self.found.ignored.append((readable("/".join(parts)), f"{CANNOT}: {error.strerror}"))
            return [], []
        for entry in entries:
            reason = self._kind(entry, folders, files)
            if reason is not None:
                self.found.ignored.append((readable("/".join((*parts, entry.name))), reason))
        return folders, files

    def _kind(self, entry: os.DirEntry[str], folders: list[str], files: list[str]) -> str | None:
        """File `entry` under folders or files, or return why it is ignored."""
        reason = litter(entry.name)
        if reason is not None:
            return reason
        try:
            if entry.is_symlink():
                target = Path(os.path.realpath(entry.path))
                if not target.exists():
                    return "a link that leads nowhere"
                if not target.is_relative_to(self.root):
                    return "a link that leaves the source"
                if Path(entry.path).is_relative_to(target):
                    return "a link that leads back"
            if entry.is_dir():
                if _is_study(entry.path):
                    return "a fieldguide study"
                folders.append(entry.name)
                return None
            if not entry.is_file():
                return "not a regular file"
        except OSError as error:
            if error.errno in PASSING:
                raise unreachable(error, entry.path) from error
            return f"{CANNOT}: {error.strerror}"
        reason = no_picture(entry.name)
        if reason is None:
            files.append(entry.name)
        return reason


def _nothing(found: Found, folders: list[str], loose: list[str], origin: str) -> DataProblem:
    if loose:
        return DataProblem(
            f"{plain(origin)} is a folder of {len(loose)} loose pictures: nothing says which class they belong to.",
            "The name of a picture's folder is its class.",
            _ARRANGE,
        )
    locked = [(name, reason) for name, reason in found.ignored if reason.startswith(CANNOT)]
    if locked:
        name, reason = locked[0]
        return DataProblem(
            f"{plain(origin)} holds no pictures that can be listed: {plain(name or 'the folder itself')} {reason}.",
            "Folders that you may read and enter.",
            "Change their permissions (chmod -R u+rX), or run as somebody who may read them.",
        )
    closed = [name for name, reason in found.ignored if reason == CLOSED]
    if closed:
        return DataProblem(
            f"{plain(origin)} holds no pictures, but {'an archive' if len(closed) == 1 else 'archives'} ({plain(closed[0])}).",
            "Archives inside a source are not opened; one archive that holds class folders is a source by itself.",
            f"Unpack {plain(closed[0])}, or give it alone.",
        )
    tables = [name for name, _ in found.ignored if name.lower().endswith((".csv", ".tsv", ".jsonl", ".parquet"))]
    if tables:
        hint = f"It holds tables; to read labels from one, give the file: {plain(origin)}/{plain(tables[0])}"
        return DataProblem(f"{plain(origin)} holds no pictures in class folders.", _ARRANGE, hint)
    if folders or found.ignored:
        reasons = sorted({reason for _, reason in found.ignored})
        given = f"{plain(origin)} holds no pictures; {len(found.ignored)} entries were passed over ({', '.join(reasons[:4])})."
        return DataProblem(given, "Pictures are JPEG, PNG, WebP, GIF, BMP, TIFF, PPM or AVIF files in class folders.", _ARRANGE)
    return DataProblem(f"{plain(origin)} is empty.", "A source holds at least two class folders with pictures.", _ARRANGE)


def _one_class_hint(root: Path, folders: list[str]) -> str:
    """Say where the classes probably are: data sets often hold them one or two folders further down."""
    for name in folders:
        inner = _folders(root / name)
        below = [root / name, *(root / name / only for only in inner if len(inner) == 1)]
        for place in below:
            holds = len(_folders(place))
            if holds >= 2 and place != root / name and len(folders) > 1:
                moved = plain(place.relative_to(root))
                return f"{moved} holds {holds} folders: if they are the classes, move them up into {plain(name)}, and so for the others."
            if holds >= 2:
                return f"Did you mean {plain(place)}? It holds {holds} folders."
    return _ARRANGE


def _folders(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in scan(folder) if entry.is_dir() and litter(entry.name) is None]
    except OSError:
        return []


def _is_study(folder: str) -> bool:
    try:
        return Path(folder, "study.toml").exists()
    except PermissionError:  # it may be listed and nothing in it opened; then its files are named one by one
        return False
