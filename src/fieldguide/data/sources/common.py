"""What all kinds of source share: the nouns, names of splits, labels, and what is no picture."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from fieldguide.errors import DataProblem, plain
from fieldguide.files import twice
from fieldguide.records import Box, SplitName

SourceKind = Literal["folder", "table", "archive", "hub", "coco", "pictures"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One candidate picture of a source: it is read later, and where it is none the reason stands in its row.

    `name` is what the user knows it by: its posix path inside the source. `label` is empty where pictures carry no class. Where a
    source is read for its counts, `counts` are (class, number) pairs for the classes it shows, in the source's order.
    """

    path: Path
    name: str
    label: str
    split: SplitName | None = None
    group: str | None = None
    counts: tuple[tuple[str, int], ...] | None = None
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Where pictures and labels come from.

    `files` are sorted by name. `ignored` are (name, reason) of what lies there and is no candidate. `notes` are sentences on
    how the source was read. `counted` are the classes of a source that was read for its counts, in its own order.
    """

    kind: SourceKind
    origin: str
    files: tuple[SourceFile, ...]
    ignored: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels of all candidates, sorted; none where pictures carry no class."""
        return tuple(sorted({file.label for file in self.files if file.label}))


@dataclass
class Found:
    """What a reader of one kind gathers while it reads."""

    files: list[SourceFile] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)


#: Names of splits that folders, columns and data sets use.
SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

#: Files that systems and tools leave behind.
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "ehthumbs.db", "$recycle.bin", "system volume information"})
#: Extensions that say plainly that a file is no picture. Every other file is a candidate and must prove itself.
_OTHER_KINDS = frozenset(
    (
        *(
            ".txt",
            ".csv",
            ".tsv",
            ".json",
            ".jsonl",
            ".ndjson",
            ".xml",
            ".md",
            ".rst",
            ".toml",
            ".yaml",
            ".yml",
            ".ini",
            ".cfg",
        ),
        *(".py", ".ipynb", ".js", ".css", ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".log", ".sh", ".bat"),
        *(".parquet", ".arrow", ".npy", ".npz", ".mat", ".pt", ".pth", ".safetensors", ".sqlite", ".db", ".url", ".lnk"),
        *(".mp4", ".mov", ".avi", ".mkv", ".mp3", ".wav", ".xmp", ".aae"),
    )
)
#: Why an archive inside a source is passed over.
CLOSED = "an archive inside the source, which is not opened"
_ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".7z", ".rar"})
_DELIMITERS = re.compile(r"\s*[|;,]\s*")
#: So many rows must read like a list of labels before a data set is called multi-label.
_SEVERAL = 2


def litter(name: str) -> str | None:
    """Return why a file or folder of this name is ignored, or `None`."""
    if name.startswith("._"):
        return "resource fork of another system"
    if name.startswith("."):
        return "hidden"
    if name.casefold() in _LITTER:
        return "left by the system"
    return None


def no_picture(name: str) -> str | None:
    """Return why a file of this name is no candidate, or `None`."""
    kind = os.path.splitext(name)[1].lower()
    if kind in _OTHER_KINDS and litter(name) is None:
        return "not a picture by its extension"
    return CLOSED if kind in _ARCHIVES and litter(name) is None else litter(name)


def scan(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name; raises `OSError` where it cannot be opened.

    What may pass by itself is tried a second time, then it is an `EnvironmentProblem`: a folder must not vanish from a list for it.
    """

    def entries() -> list[os.DirEntry[str]]:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)

    return twice(entries, os.fspath(folder))


def readable(name: str) -> str:
    """Return a file name as text every table can hold: bytes that are no UTF-8, and halves of characters, are shown by their code."""
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def clean_label(text: str) -> str:
    """Return a label in its one form: Unicode NFC, every run of white space (also line breaks) one space, none outside."""
    return " ".join(unicodedata.normalize("NFC", readable(text)).split())


def refuse_multi_label(detail: str) -> DataProblem:
    """Return the one error for pictures that carry more than one label."""
    return DataProblem(
        f"This is multi-label data: {detail}.",
        "fieldguide compares classifiers that give each picture exactly one class.",
        "Keep one label for each picture, or make one data set for each question.",
    )


def refuse_joined_labels(files: Iterable[SourceFile]) -> None:
    """Raise where several rows hold lists such as ``cat|dog`` whose parts are labels themselves."""
    listed = list(files)
    labels = {file.label for file in listed}
    joined = {}
    for label in labels:
        parts = _DELIMITERS.split(label)
        if len(parts) > 1 and all(part in labels for part in parts):
            joined[label] = parts
    rows = [file for file in listed if file.label in joined]
    if len(rows) >= _SEVERAL:
        first = rows[0]
        raise refuse_multi_label(
            f"{len(rows)} rows list several labels, for example {plain(first.label)!r} of {plain(first.name)}"
        )


def require_classes(found: Found, origin: str, hint: str) -> None:
    """Raise `DataProblem` where there are fewer than two classes."""
    labels = sorted({file.label for file in found.files})
    if len(labels) >= 2:
        return
    what = f"one class only, {plain(labels[0])!r}" if labels else "no labelled pictures"
    raise DataProblem(
        f"{plain(origin)} holds {what}.",
        "A comparison needs at least two classes, each with some pictures.",
        hint,
    )


def finish(kind: SourceKind, origin: str, found: Found) -> Source:
    """Return a `Source` in its one order; a source that calls everything train names no split at all."""
    files, notes = found.files, list(found.notes)
    if (kind not in ("coco", "pictures") or found.counted) and files and all(file.split == "train" for file in files):
        files = [replace(file, split=None) for file in files]
        notes.append("The source calls every picture train; validation and test are cut from them.")
    return Source(
        kind,
        origin,
        tuple(sorted(files, key=lambda file: (file.name, file.label))),
        tuple(sorted(set(found.ignored))),
        tuple(notes),
        tuple(found.counted),
    )
