"""A table that names pictures and their labels: CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldguide.data.sources.common import (
    SPLIT_NAMES,
    Found,
    SourceFile,
    clean_label,
    readable,
    refuse_joined_labels,
    refuse_multi_label,
    require_classes,
)
from fieldguide.errors import DataProblem, UsageProblem, nearest, plain
from fieldguide.records import SplitName

#: Accepted names of each column, best first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "path": ("path", "image", "file", "filename", "file_name", "filepath", "file_path", "img"),
    "label": ("label", "class", "category", "target"),
    "split": ("split", "set", "subset"),
    "group": ("group",),
}
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
#: Characters one CSV cell may have.
_MOST_CELL = 1 << 20


@dataclass(frozen=True)
class _Row:
    number: int
    path: str | None
    label: str | None
    split: str | None
    group: str | None


def read_table(table: Path, origin: str) -> Found:
    """List the pictures a table names.

    Paths are relative to the table's folder. A file that is not there stays listed, and is found missing when it is read.
    """
    found = Found()
    header, rows = opened(table)
    columns = choose_columns(header, origin, found.notes)
    seen: dict[Path, tuple[_Row, SourceFile]] = {}
    for number, record in enumerate(rows, start=1):
        row = _Row(number, *(text_of(record.get(columns[name]), name, number) if name in columns else None for name in COLUMNS))
        file = _file(table.parent, row, found)
        if file is None:
            continue
        earlier = seen.setdefault(file.path, (row, file))
        if earlier[0] is row:
            found.files.append(file)
        else:
            _same_path(earlier, row, file, found)
    refuse_joined_labels(found.files)
    require_classes(found, origin, f"Give the table more rows; its labels are read from the column {columns['label']!r}.")
    return found


def choose_columns(
    header: Sequence[str], origin: str, notes: list[str], required: Sequence[str] = ("path", "label")
) -> dict[str, str]:
    """Return the name of the column for each of path, label, split and group that the table has.

    Raises `UsageProblem` without one that is `required`: a path or a label column.
    """
    folded = {name.strip().casefold(): name for name in header}
    chosen: dict[str, str] = {}
    for role, names in COLUMNS.items():
        present = [folded[name] for name in names if name in folded]
        if present:
            chosen[role] = present[0]
        if len(present) > 1:
            notes.append(
                f"The {role} is read from the column {present[0]!r}; {', '.join(map(repr, present[1:]))} was not used."
            )
    for role in required:
        if role not in chosen:
            near = next((near[0] for name in COLUMNS[role] if (near := nearest(name, header))), None)
            hint = f"Rename {plain(near)!r} to {role!r}?" if near else f"Add a column named {role!r}."
            raise UsageProblem(
                f"{plain(origin)} has no column for the {role}; its columns are "
                f"{', '.join(plain(name) for name in list(header)[:20]) or 'none'}.",
                f"Allowed for the {role}: {', '.join(COLUMNS[role])}. Optional: split, group.",
                hint,
            )
    return chosen


def split_of(text: str, where: str) -> SplitName:
    """Return the split a source calls `text`; raises `DataProblem` for other words."""
    split = SPLIT_NAMES.get(text.strip().casefold())
    if split is None:
        raise DataProblem(
            f"{where} names the split {plain(text)!r}.",
            f"Allowed: {', '.join(SPLIT_NAMES)}; or nothing, and fieldguide makes the split.",
            "Correct the column, or leave it out.",
        )
    return split


def _file(folder: Path, row: _Row, found: Found) -> SourceFile | None:
    if not row.path:
        found.ignored.append((f"row {row.number}", "names no picture"))
        return None
    label = clean_label(row.label or "")
    name = row.path.replace("\\", "/") if "\\" in row.path and not os.path.exists(folder / row.path) else row.path
    if not label:
        found.ignored.append((readable(name), f"no label in row {row.number}"))
        return None
    split = split_of(row.split, f"Row {row.number}") if row.split else None
    group = readable(row.group) if row.group else None
    return SourceFile(Path(folder / name), readable(Path(name).as_posix()), label, split, group)


def _same_path(earlier: tuple[_Row, SourceFile], row: _Row, file: SourceFile, found: Found) -> None:
    before, first = earlier
    if first.label != file.label:
        raise refuse_multi_label(
            f"{plain(file.name)} is labelled {plain(first.label)!r} in row {before.number} "
            f"and {plain(file.label)!r} in row {row.number}"
        )
    if first.split != file.split:
        raise DataProblem(
            f"{plain(file.name)} is in split {first.split or 'none'} in row {before.number} "
            f"and in {file.split or 'none'} in row {row.number}.",
            "A picture belongs to one split.",
            "Delete one of the two rows.",
        )
    found.ignored.append((f"row {row.number}", f"names the same picture as row {before.number}"))


def text_of(value: Any, role: str, number: int) -> str | None:
    """Return a cell as text; whole numbers lose their ``.0``, empty cells and NaN are absent."""
    if role == "label" and isinstance(value, list):
        if len(value) > 1:
            raise refuse_multi_label(f"row {number} has {len(value)} labels, {plain(value[:4])}")
        value = value[0] if value else None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, dict | list | bytes):
        raise DataProblem(
            f"Row {number} has a {type(value).__name__} where the {role} should be.",
            "Paths, labels, splits and groups are text or numbers.",
            "Correct that column.",
        )
    return str(value).strip() or None


def opened(table: Path) -> tuple[list[str], Iterable[Mapping[str, Any]]]:
    """Return column names and rows."""
    suffix = table.suffix.lower()
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            read = pq.read_table(table)
            return read.column_names, read.to_pylist()
        text = table.read_text(encoding="utf-8-sig")
        if suffix in (".jsonl", ".ndjson"):
            lines = list(_json_lines(text))
            return list(dict.fromkeys(name for line in lines for name in line)), lines
        return _read_csv(text, "\t" if suffix == ".tsv" else None)
    except UnicodeDecodeError as error:
        raise _damaged(table, f"it is not UTF-8 text (byte {error.start})") from error
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise _damaged(table, str(error)) from error


def _read_csv(text: str, delimiter: str | None) -> tuple[list[str], list[dict[str, Any]]]:
    first = text.split("\n", 1)[0]
    if delimiter is None:
        delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(_MOST_CELL)
    lines = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    header = next(lines, [])
    # A cell beyond the header would silently move every later value of its row.
    rows = []
    for cells in lines:
        if len(cells) > len(header):
            raise ValueError(f"line {lines.line_num} has {len(cells)} cells, the header has {len(header)}")
        if any(cells):
            rows.append(dict(zip(header, cells, strict=False)))
    return header, rows


def _json_lines(text: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            value = json.loads(line)
            if not isinstance(value, dict):
                raise ValueError(f"line {number} is not a JSON object")
            yield value


def _damaged(table: Path, why: str) -> DataProblem:
    return DataProblem(
        f"The table {plain(table)} cannot be read: {plain(why)}.",
        "CSV and TSV with a header line, JSON Lines or Parquet, as UTF-8.",
        "Correct the file and run the same command again.",
    )
