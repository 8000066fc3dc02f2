"""Pictures straight from files, for using a fitted contestant on new ones: the same pixels as the store gives, without a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fieldguide.data.images import content_hash, load, read_file
from fieldguide.data.store import size_class
from fieldguide.data.veil import window
from fieldguide.errors import PictureError, UsageProblem, plain
from fieldguide.records import Image, Pixels

_JUNK = frozenset({"thumbs.db", "desktop.ini"})


@dataclass
class Files:
    """A `PixelReader` over files; one picture is in memory at a time."""

    paths: dict[str, Path] = field(default_factory=dict)

    def read(self, key: str, at_least: int) -> Pixels:
        """Decode the file as the store would."""
        return load(read_file(self.paths[key]), size_class(at_least)).pixels

    def prepare(self, keys: Sequence[str], at_least: int) -> None:
        """Nothing to do: each file is read when its turn comes."""

    def images(self, paths: Iterable[Path]) -> Iterator[Image]:
        """Yield the image of each path; a file that cannot be hashed still gets an image, which fails when it is read."""
        veiled = window(self)
        for path in paths:
            try:
                key = content_hash(read_file(path))
            except PictureError:
                key = f"unreadable {len(self.paths)}"
            self.paths[key] = path
            yield Image(key, veiled)


def picture_files(given: Iterable[str | Path]) -> list[Path]:
    """Return files as given and all visible files below given folders, sorted; raises `UsageProblem` where there is nothing."""
    found: list[Path] = []
    for entry in map(Path, given):
        if entry.is_dir():
            found += sorted(path for path in entry.rglob("*") if path.is_file() and not _hidden(path.relative_to(entry)))
        elif entry.is_file():
            found.append(entry)
        else:
            raise UsageProblem(
                f"There is no file or folder {plain(entry)}.", "Pictures, or folders of pictures.", "Correct the path."
            )
    if not found:
        raise UsageProblem("No pictures were given.", "Pictures, or folders of pictures.", "Name at least one picture.")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.casefold() in _JUNK
