"""Pictures straight from files, for using a fitted contestant on new ones: the same pixels as the store gives, without a store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fieldguide.data.images import MISSING, content_hash, load, read_file
from fieldguide.data.sources.common import litter, scan
from fieldguide.data.store import size_class
from fieldguide.data.veil import window
from fieldguide.errors import PictureError, UsageProblem, plain
from fieldguide.records import Image, Pixels

#: Code of a `PictureError`: the file is there, and its content is not what was hashed.
CHANGED = "changed file"


def read_original(key: str, places: Iterable[Path]) -> bytes:
    """Return the bytes whose content hash is `key`, from the first of `places` that still holds them.

    What is read after it was hashed may have vanished or changed since; a picture that is silently another one would be scored
    as the first. Raises `PictureError` then; it tells the hash and no path, because families see it.
    """
    problem = PictureError(MISSING, f"the picture {key[:12]} is no longer where it was")
    for place in places:
        try:
            data = read_file(place)
        except PictureError as error:
            problem = error
            continue
        if content_hash(data) == key:
            return data
        problem = PictureError(CHANGED, f"the file of picture {key[:12]} no longer holds what it held when the list was made")
    raise problem


@dataclass
class Files:
    """A `PixelReader` over files; one picture is in memory at a time."""

    paths: dict[str, list[Path]] = field(default_factory=dict)
    failed: dict[str, PictureError] = field(default_factory=dict)

    def read(self, key: str, at_least: int) -> Pixels:
        """Decode the file as the store would, if it still is what was hashed."""
        if key in self.failed:
            raise self.failed[key]
        return load(read_original(key, self.paths[key]), size_class(at_least)).pixels

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """Nothing to do: each file is read when its turn comes."""

    def images(self, paths: Iterable[Path]) -> Iterator[Image]:
        """Yield the image of each path; a file that cannot be hashed still gets an image, which fails when it is read."""
        veiled = window(self)
        for path in paths:
            try:
                key = content_hash(read_file(path))
                self.paths.setdefault(key, []).append(path)
            except PictureError as error:
                key = f"unreadable {len(self.failed)}"
                self.failed[key] = error
            yield Image(key, veiled)


def picture_files(given: Iterable[str | Path]) -> list[Path]:
    """Return files as given and all visible files below given folders, sorted; raises `UsageProblem` where there is nothing.

    A folder that cannot be opened stands in the list itself, so that it fails by name when it is read.
    """
    found: list[Path] = []
    for entry in map(Path, given):
        if os.path.isdir(entry):
            found += sorted(_below(entry))
        elif os.path.lexists(entry):
            found.append(entry)
        else:
            raise UsageProblem(
                f"There is no file or folder {plain(entry)}.", "Pictures, or folders of pictures.", "Correct the path."
            )
    if not found:
        raise UsageProblem("No pictures were given.", "Pictures, or folders of pictures.", "Name at least one picture.")
    return found


def _below(folder: Path) -> Iterator[Path]:
    """Yield visible files at any depth; folders that are links are not entered, so that no walk is endless."""
    pending = [folder]
    while pending:
        here = pending.pop()
        try:
            entries = [entry for entry in scan(here) if litter(entry.name) is None]
        except OSError:
            yield here
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            elif not os.path.isdir(entry.path) and (entry.is_symlink() or entry.is_file(follow_symlinks=False)):
                yield Path(entry.path)
