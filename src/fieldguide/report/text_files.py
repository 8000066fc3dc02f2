"""What a study holds about its texts: how far each source reaches, what the doctor found, and what texts were worth beside pictures.

texts/<name>.jsonl, texts/<name>.doctor.json       lines, and what is wrong with them
text_ratio.json, translation.json, text_ways.json  pictures against texts, the score card, name against descriptions
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldguide.data.texts import folder_of, names, read_texts
from fieldguide.records import Manifest

Json = Mapping[str, Any]
_DOCTOR = ".doctor.json"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one source reaches: classes with lines of all, lines, the median of a class that has any, and the same of pictures."""

    name: str
    made: Mapping[str, str]
    classes: int
    all_classes: int
    lines: int
    a_class: float
    pictures: int
    all_pictures: int
    captions: int


@dataclass(frozen=True)
class TextFiles:
    """The files, each `None` where the study has none; `doctors` by name of their source."""

    reach: tuple[Reach, ...] = ()
    doctors: Mapping[str, Json] = field(default_factory=dict)
    ratio: Json | None = None
    card: Json | None = None
    ways: Json | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to show: texts that nothing was done with are told where they were brought in."""
        return bool(self.doctors or self.ratio or self.card or self.ways)


def read_text_files(folder: Path, manifest: Manifest, read: Callable[[Path], Json | None]) -> TextFiles:
    """Return what lies in the study `folder`; `read` returns the JSON object of a path, or `None` where there is none."""
    place = folder_of(folder)
    examined = {path.name.removesuffix(_DOCTOR): read(path) for path in sorted(place.glob(f"*{_DOCTOR}"))}
    doctors = {name: told for name, told in examined.items() if told is not None}
    found = TextFiles(
        doctors=doctors,
        ratio=read(folder / "text_ratio.json"),
        card=read(folder / "translation.json"),
        ways=read(folder / "text_ways.json"),
    )
    if not found:
        return found
    reach = tuple(_reach(folder, name, manifest) for name in names(folder))
    return TextFiles(reach, found.doctors, found.ratio, found.card, found.ways)


def _reach(folder: Path, name: str, manifest: Manifest) -> Reach:
    texts = read_texts(folder, name)
    keys = {row.key for row in manifest.part()}
    spoken = [len(said) for id, said in texts.classes.items() if id in manifest.classes and said]
    captioned = [len(said) for key, said in texts.captions.items() if key in keys and said]
    return Reach(
        name=name,
        made=texts.made,
        classes=len(spoken),
        all_classes=len(manifest.classes),
        lines=sum(spoken),
        a_class=statistics.median(spoken) if spoken else 0,
        pictures=len(captioned),
        all_pictures=len(keys),
        captions=sum(captioned),
    )
