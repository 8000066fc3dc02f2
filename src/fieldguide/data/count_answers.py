"""Files of counts: a table that names pictures and says how many of each class somebody, or something, counted on each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldguide.data.answer_files import ANSWER_COLUMNS, PICTURE_COLUMNS, by_picture, column_of, read_table
from fieldguide.errors import UsageProblem, plain
from fieldguide.records import ClassInfo, Manifest, Prediction
from fieldguide.tasks.count import Count
from fieldguide.tasks.count_reading import counts_of


def read_count_answers(path: Path, manifest: Manifest) -> dict[str, Prediction]:
    """Return recorded counts by content hash: from a column for each class, or as `raw` text that is still to be read.

    Class columns are called as the class, or ``n_`` before it. A cell that is no whole number is an answer that gives no counts, with its
    kind as the error. Pictures are found as `fieldguide.data.answer_files.read_answers` finds them. Raises `UsageProblem` for a table that
    names no picture of the study or holds no answers, `DataProblem` for two different answers.
    """
    rows = read_table(path)
    if not rows:
        raise UsageProblem(f"{plain(path)} has no rows.", "One row for each picture.", "Give a file with answers.")
    picture = column_of(path, rows[0], PICTURE_COLUMNS, "names the picture")
    columns = _class_columns(rows[0], manifest)
    words = next((name for name in ANSWER_COLUMNS if name in rows[0] and name not in columns.values()), None)
    if not columns and words is None:
        raise UsageProblem(
            f"{plain(path)} holds no counts; its columns are {plain(', '.join(map(str, rows[0])))}.",
            f"A column for each class ({plain(', '.join(manifest.classes), 200)}), or one with the answer in JSON "
            f"({', '.join(ANSWER_COLUMNS)}).",
            "Rename the columns.",
        )
    task = Count(tuple(ClassInfo(id, id) for id in manifest.classes))

    def said(key: str, row: Mapping[str, Any]) -> Prediction:
        text = None if words is None or row.get(words) is None else str(row[words])
        return _counted(key, row, columns, task, text) if columns else Prediction(key, raw=text)

    return by_picture(path, rows, picture, manifest, said)


def _class_columns(row: Mapping[str, Any], manifest: Manifest) -> dict[str, str]:
    for before in ("", "n_"):
        if all(f"{before}{id}" in row for id in manifest.classes):
            return {id: f"{before}{id}" for id in manifest.classes}
    return {}


def _counted(key: str, row: Mapping[str, Any], columns: Mapping[str, str], task: Count, text: str | None) -> Prediction:
    cells = {id: _number(row.get(column)) for id, column in columns.items()}
    if all(cell in (None, "") for cell in cells.values()):
        return Prediction(key, raw=text, error="empty answer")
    read = counts_of(cells, task)
    return Prediction(key, counts=read.counts, raw=text, error=read.error)


def _number(cell: Any) -> Any:
    """Return a cell of text as the number it is written as, where it is one; anything else as it is."""
    if isinstance(cell, float) and cell.is_integer():  # how tables of numbers write a column with empty cells
        return int(cell)
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 20:
        return int(text)
    try:
        return _number(float(text))
    except ValueError:
        return text
