"""A table of counts: a column for each class beside the picture's, or a row for each picture and class with its number.

    image,cat,dog            image,label,count
    1.jpg,2,0                1.jpg,cat,2

A picture that shows nothing has a row all the same: zeros, or an empty label with the count 0. In the first form every other column whose
cells are whole numbers is a class; ``--count`` names those that are meant where a table has numbers of other kinds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldguide.data.sources.common import Found, SourceFile, clean_label, readable
from fieldguide.data.sources.table import choose_columns, opened, split_of, text_of
from fieldguide.errors import DataProblem, UsageProblem, allowed_names, plain
from fieldguide.tasks.count import MOST

#: Columns that hold the number of a row that is for one picture and one class.
COUNT_COLUMNS = ("count", "counts", "number")
_ZEROS = re.compile(r"(?<=[0-9])\.0+$")


@dataclass
class _Picture:
    file: SourceFile
    row: int
    counts: dict[str, int]


def read_count_table(table: Path, origin: str, wanted: Sequence[str] = ()) -> Found:
    """List the pictures a table names, with their counts; `wanted` names the classes where not every column of numbers is one.

    Paths are relative to the table's folder. A file that is not there stays listed, and is found missing when it is read. Raises
    `UsageProblem` for columns that are not there and `DataProblem` for what is no count.
    """
    found = Found()
    header, records = opened(table)
    columns = choose_columns(header, origin, found.notes, ("path",))
    rows = list(enumerate(records, start=1))
    number = next((name for name in header if name.strip().casefold() in COUNT_COLUMNS and name not in wanted), None)
    if number is not None and "label" in columns:
        pictures = _long(table.parent, rows, columns, number, found)
    else:
        classes = _class_columns(rows, header, columns, origin, wanted)
        found.notes.append(f"The classes are read from the columns {', '.join(plain(name) for name in classes)}.")
        found.counted = [clean_label(name) for name in classes]
        if len(set(found.counted)) < len(found.counted) or "" in found.counted:
            raise DataProblem(f"{plain(origin)} has columns of one name.", "Each class has a column of its own.", "Rename one.")
        pictures = _wide(table.parent, rows, columns, classes, found)
    for picture in pictures.values():
        counts = tuple((label, picture.counts[label]) for label in found.counted if picture.counts.get(label))
        found.files.append(SourceFile(picture.file.path, picture.file.name, "", picture.file.split, picture.file.group, counts))
    if not found.counted or not found.files:
        raise DataProblem(
            f"{plain(origin)} counts nothing: it has {len(found.counted)} classes and {len(found.files)} pictures.",
            "A column for each class beside the picture's, or the columns image,label,count.",
            "Add rows, or correct the header.",
        )
    return found


Rows = Sequence[tuple[int, Mapping[str, Any]]]


def _long(folder: Path, rows: Rows, columns: Mapping[str, str], number: str, found: Found) -> dict[Path, _Picture]:
    """Read a row for each picture and class; classes come in the order in which they are first named."""
    pictures: dict[Path, _Picture] = {}
    for at, record in rows:
        file = _file(folder, at, record, columns, found)
        if file is None:
            continue
        picture = _same(pictures.setdefault(file.path, _Picture(file, at, {})), file, at)
        label = clean_label(text_of(record.get(columns["label"]), "label", at) or "")
        count = _count(record.get(number), number, at)
        if not label and not count:
            continue
        if not label or count is None:
            raise _row(at, f"names {plain(label)!r} and no count" if label else f"counts {count} of nothing")
        if label in picture.counts:
            raise _row(at, f"counts {plain(label)!r} of {plain(file.name)} a second time")
        picture.counts[label] = count
    found.counted = list(dict.fromkeys(label for picture in pictures.values() for label in picture.counts))
    return pictures


def _wide(folder: Path, rows: Rows, columns: Mapping[str, str], classes: Sequence[str], found: Found) -> dict[Path, _Picture]:
    """Read a row for each picture; one with an empty cell has no counts, and is told."""
    pictures: dict[Path, _Picture] = {}
    for at, record in rows:
        file = _file(folder, at, record, columns, found)
        if file is None:
            continue
        given = {name: _count(record.get(name), name, at) for name in classes}
        empty = next((name for name, count in given.items() if count is None), None)
        if empty is not None:
            found.ignored.append((file.name, f"no count of {plain(empty, 60)} in row {at}: its counts are not known"))
            continue
        counts = {clean_label(name): count for name, count in given.items() if count is not None}
        first = pictures.setdefault(file.path, _Picture(file, at, counts))
        if first.row != at:
            if first.counts != counts:
                raise _row(at, f"counts otherwise than row {first.row} what {plain(file.name)} shows")
            _same(first, file, at)
            found.ignored.append((f"row {at}", f"names the same picture as row {first.row}"))
    return pictures


def _class_columns(
    rows: Rows, header: Sequence[str], columns: Mapping[str, str], origin: str, wanted: Sequence[str]
) -> list[str]:
    """Return the columns that are classes: those that are wanted, else all whose cells are whole numbers or empty."""
    if wanted:
        for name in wanted:
            if name not in header:
                raise UsageProblem(
                    f"{plain(origin)} has no column {plain(name)!r}.", allowed_names(name, header, most=20), "Correct --count."
                )
        return list(wanted)
    classes = []
    for name in header:
        if name in columns.values() and name != columns.get("label"):
            continue
        cells = [_cell(record.get(name), at) for at, record in rows]
        known = [cell for cell in cells if cell is not None]
        whole = sum(_is_whole(cell) for cell in known)
        if known and whole == len(known):
            classes.append(name)
        elif 2 * whole > len(known):  # mostly numbers: a slip in a column of counts is no reason to drop the class
            at, cell = next((at, cell) for (at, _), cell in zip(rows, cells, strict=True) if cell and not _is_whole(cell))
            raise _row(at, f"has {plain(cell, 60)!r} in the column {plain(name, 60)!r}, whose other cells are numbers")
    return classes


def _cell(value: Any, at: int) -> str | None:
    """Return a cell as text. 2.0 is 2: so a column of whole numbers is written that has had an empty cell."""
    text = text_of(value, "count", at)
    return None if text is None else _ZEROS.sub("", text)


def _is_whole(cell: str) -> bool:
    return cell.removeprefix("-").isdecimal() and cell.isascii()


def _count(value: Any, column: str, at: int) -> int | None:
    text = _cell(value, at)
    if text is None:
        return None
    if not _is_whole(text) or len(text) > 9 or not 0 <= int(text) <= MOST:
        raise _row(at, f"has {plain(text, 60)!r} in the column {plain(column, 60)!r}")
    return int(text)


def _file(folder: Path, at: int, record: Mapping[str, Any], columns: Mapping[str, str], found: Found) -> SourceFile | None:
    said = {name: text_of(record.get(columns[name]), name, at) for name in ("path", "split", "group") if name in columns}
    path = said.get("path")
    if not path:
        found.ignored.append((f"row {at}", "names no picture"))
        return None
    name = path.replace("\\", "/") if "\\" in path and not os.path.exists(folder / path) else path
    split = split_of(str(said["split"]), f"Row {at}") if said.get("split") else None
    group = readable(str(said["group"])) if said.get("group") else None
    return SourceFile(Path(folder / name), readable(Path(name).as_posix()), "", split, group)


def _same(picture: _Picture, file: SourceFile, at: int) -> _Picture:
    """Return `picture`; raises where a later row puts it into another split."""
    if picture.file.split != file.split:
        raise _row(at, f"puts {plain(file.name)} into another split than row {picture.row}")
    return picture


def _row(at: int, what: str) -> DataProblem:
    return DataProblem(
        f"Row {at} {what}.",
        f"Each class of a picture is counted once, as a whole number from 0 to {MOST:,}; each picture is in one split.",
        "Correct that row, or name the columns that are classes with --count NAME.",
    )


def only(found: Found, wanted: Iterable[str], origin: str) -> Found:
    """Return `found` with the classes of `wanted` alone, in that order; raises `UsageProblem` for one that is not there."""
    names = list(dict.fromkeys(wanted))
    for name in names:
        if name not in found.counted:
            raise UsageProblem(
                f"{plain(origin)} has no class {plain(name)!r} that is counted.",
                allowed_names(name, found.counted, most=20),
                "Correct --count.",
            )
    if not names:
        return found
    files = []
    for file in found.files:
        counts = dict(file.counts or ())
        kept = tuple((name, counts[name]) for name in names if counts.get(name))
        boxes = tuple(box for box in file.boxes if box.label in names)
        files.append(SourceFile(file.path, file.name, "", file.split, file.group, kept, boxes))
    return Found(files, found.ignored, found.notes, names)
