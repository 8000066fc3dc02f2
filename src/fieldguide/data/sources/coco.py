"""Sets for detection or counting: ``*.coco.json`` lists beside their pictures, or one inside each split folder.

A picture of such a set has boxes and no class of its own, so its label is empty. File names in a list are a stranger's
words: none leads out of the source. The layout is that of the COCO data set (Lin et al., 2014, arXiv:1405.0312).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldguide.data.sources.common import SPLIT_NAMES, Found, SourceFile, litter, readable, scan
from fieldguide.data.sources.folder import Walk
from fieldguide.errors import DataProblem, plain
from fieldguide.records import SplitName

LIST_END = ".coco.json"
#: Bytes one list may have: it is held in memory, where it takes several times as much.
MOST_JSON = 128 << 20
_PLACE = re.compile(
    rf"({'|'.join(SPLIT_NAMES)}|images?|imgs?|pictures?|photos?|frames?|data|masks?|labels?|annotations?)[\d_-]*"
)


@dataclass(frozen=True)
class PictureList:
    """One ``*.coco.json``: where it lies, its posix path inside the source, and the split it stands for."""

    path: Path
    name: str
    split: SplitName | None


def find_lists(root: Path) -> list[PictureList]:
    """Return the lists at the top of a folder and in its split folders, sorted by name; links out of it are left alone."""
    root = root.resolve()
    found = []
    for entry in _entries(root):
        if entry.is_dir():
            split = SPLIT_NAMES.get(entry.name.casefold())
            if split is not None and _inside(entry.path, root):
                inner = [inside for inside in _entries(entry.path) if _is_list(inside, root)]
                found += [PictureList(Path(inside.path), readable(f"{entry.name}/{inside.name}"), split) for inside in inner]
        elif _is_list(entry, root):
            found.append(PictureList(Path(entry.path), readable(entry.name), _split_in(entry.name)))
    return found


@dataclass
class Placed:
    """The pictures of all lists as they lie: `files` are (name of the list, number in it from 1, file).

    `again` are (list, number, number) of pictures that a list names twice, `contents` the lists as they were read, by name.
    """

    contents: dict[str, Any]
    files: list[tuple[str, int, SourceFile]] = field(default_factory=list)
    again: list[tuple[str, int, int]] = field(default_factory=list)


def read_lists(root: Path, lists: list[PictureList]) -> Found:
    """List the pictures that `lists` name, without a label, and tell what lies beside them.

    A picture that is not there stays listed, and is found missing when it is read. Raises `DataProblem` where a list is
    damaged or too large, or where none names a picture.
    """
    found = Found()
    placed = placed_by(root, lists, found)
    found.files = [file for _, _, file in placed.files]
    for listed in lists:
        own = sum(name == listed.name for name, _, _ in placed.files)
        found.notes.append(f"{plain(listed.name)} lists {own:,} pictures for detection or counting; they have no class.")
    return found


def placed_by(root: Path, lists: list[PictureList], found: Found) -> Placed:
    """Return where the pictures of `lists` lie, and note in `found` what is passed over; raises as `read_lists` does."""
    root = root.resolve()
    placed = Placed({listed.name: _read(listed) for listed in lists})
    known: set[str] = set()
    for listed in lists:
        seen: dict[str, int] = {}
        for number, name in _names(listed, placed.contents[listed.name], found):
            file = _file(root, listed, name, found)
            if file is None:
                continue
            first = seen.setdefault(os.path.normpath(file.path), number)
            if first != number:
                found.ignored.append((f"{listed.name}, picture {number}", f"names the same picture as picture {first}"))
                placed.again.append((listed.name, first, number))
                continue
            placed.files.append((listed.name, number, file))
            known.add(os.path.realpath(file.path))
    if not placed.files:
        raise damaged(lists[0], "it names no picture" + (f" ({found.ignored[0][1]})" if found.ignored else ""))
    own = {listed.name for listed in lists}
    beside = Found()
    for path, name in Walk(root, beside).below(()):
        if os.path.realpath(path) not in known:
            found.ignored.append((name, "in no list"))
    found.ignored += [(name, "the list of pictures" if name in own else reason) for name, reason in beside.ignored]
    return placed


def no_classes(origin: str, lists: list[PictureList]) -> DataProblem:
    """Return the error for a comparison of such a set."""
    return DataProblem(
        f"{plain(origin)} is a set for detection or counting ({plain(lists[0].name)}): its pictures have no class.",
        "Class folders (FOLDER/class/picture.jpg), or a table with the columns path,label; or a study of counts.",
        f"fieldguide compare {plain(origin)} --task count   counts them; fieldguide look {plain(origin)}   examines the pictures.",
    )


def not_used(listed: PictureList) -> str:
    """Return the note on a list beside pictures that lie in class folders."""
    return f"{plain(listed.name)} is a list for detection; the pictures lie in class folders, and the list was not used."


def is_list(path: str | Path) -> bool:
    """Tell by its name whether a file is such a list."""
    return os.fspath(path).lower().endswith(LIST_END)


def are_places(labels: Iterable[str]) -> bool:
    """Tell whether all folder names say where pictures lie (``images``, ``train2017``, ``masks``) and none what is on them."""
    return all(_PLACE.fullmatch(label.casefold()) for label in set(labels))


def _file(root: Path, listed: PictureList, name: str, found: Found) -> SourceFile | None:
    """Return the picture a list calls `name`, or `None` where the name does not stay inside `root`."""
    parts, why = _parts(listed.path.parent, name)
    path = _place(root, listed, parts) if why is None else root
    if why is None and not _inside(path, root):
        why = "a link that leaves the source"
    if why is not None:
        found.ignored.append((f"{listed.name}: {readable(name)}", why))
        return None
    shown = path.relative_to(root)
    split = listed.split or (SPLIT_NAMES.get(shown.parts[0].casefold()) if len(shown.parts) > 1 else None)
    return SourceFile(path, readable(shown.as_posix()), "", split)


def _parts(beside: Path, name: str) -> tuple[list[str], str | None]:
    """Return the parts of a path that a list names, and why it is not followed; backslashes divide where no such file exists."""
    try:
        possible = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        return [], "a name that no file can have"
    parts = re.split("/" if os.path.exists(beside / name) else r"[/\\]", name)
    if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name):
        return [], "a name that leads out of the source"
    parts = [part for part in parts if part not in ("", ".")]
    return parts, None if parts else "a name that no file can have"


def _place(root: Path, listed: PictureList, parts: list[str]) -> Path:
    """Return where the picture lies: beside the list, below the root, or in a folder named like the list's split."""
    beside = listed.path.parent
    folders = [beside, root]
    if beside == root and listed.split is not None:
        folders += [root / name for name, split in SPLIT_NAMES.items() if split == listed.split]
    return next((place for folder in folders if os.path.exists(place := folder.joinpath(*parts))), beside.joinpath(*parts))


def _names(listed: PictureList, content: Any, found: Found) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and file name of each picture of a list."""
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise damaged(listed, "it has no list called images")
    for number, image in enumerate(images, start=1):
        name = image.get("file_name") if isinstance(image, dict) else None
        if isinstance(name, str) and name.strip():
            yield number, name
        else:
            found.ignored.append((f"{listed.name}, picture {number}", "names no file"))


def _read(listed: PictureList) -> Any:
    try:
        with open(listed.path, "rb") as stream:
            data = stream.read(MOST_JSON + 1)
        if len(data) > MOST_JSON:
            raise damaged(listed, f"it has more than {MOST_JSON / 1e6:.0f} MB")
        return json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(listed, getattr(error, "strerror", None) or str(error)) from error


def damaged(listed: PictureList, why: str) -> DataProblem:
    """Return the error for a list that cannot be used."""
    return DataProblem(
        f"The list {plain(listed.name)} cannot be used: {plain(why)}.",
        "JSON as COCO has it, with images that have a file_name, of at most " + f"{MOST_JSON / 1e6:.0f} MB.",
        "Correct it, or move it away to look at the pictures alone.",
    )


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in scan(folder) if litter(entry.name) is None]
    except OSError:
        return []  # whoever walks the pictures names it


def _is_list(entry: os.DirEntry[str], root: Path) -> bool:
    return is_list(entry.name) and os.path.isfile(entry.path) and _inside(entry.path, root)


def _split_in(name: str) -> SplitName | None:
    """Return the split that a list's name speaks of, where it is one."""
    words = re.findall(r"[a-z]+", name.casefold().removesuffix(LIST_END))
    spoken = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return spoken.pop() if len(spoken) == 1 else None


def _inside(path: str | Path, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root)
