"""Files of answers: a table that names pictures and says what somebody answered, turned into predictions by content hash."""

from __future__ import annotations

import csv
import json
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fieldguide.errors import DataProblem, UsageProblem, allowed_names, plain
from fieldguide.records import Manifest, Prediction

PICTURE_COLUMNS = ("path", "image", "file", "filename", "file_name", "key")
#: Characters one CSV cell may have: answers in words can be long. The library keeps one limit for the whole process.
_MOST_CELL = 1 << 20
ANSWER_COLUMNS = ("predicted", "prediction", "answer", "raw", "label")


def read_answers(path: Path, manifest: Manifest) -> dict[str, Prediction]:
    """Return recorded answers by content hash, with `raw` text and, where every class has a column, `probabilities`.

    Pictures are found by their path in the manifest, by the end of it, or by content hash. Rows for pictures outside the
    study are left out; a table in which no row, or not one row alone, names a picture is refused.
    """
    rows = read_table(path)
    if not rows:
        raise UsageProblem(f"{plain(path)} has no rows.", "One row for each picture.", "Give a file with answers.")
    picture = column_of(path, rows[0], PICTURE_COLUMNS, "names the picture")
    by_class = {id: id for id in manifest.classes} if all(id in rows[0] for id in manifest.classes) else {}
    by_class = by_class or (
        {id: f"p_{id}" for id in manifest.classes} if all(f"p_{id}" in rows[0] for id in manifest.classes) else {}
    )
    answer = (
        None
        if by_class and not set(ANSWER_COLUMNS) & set(rows[0])
        else column_of(path, rows[0], ANSWER_COLUMNS, "holds the answer")
    )

    def said(key: str, row: Mapping[str, Any]) -> Prediction:
        text = None if answer is None or row.get(answer) is None else str(row[answer])
        return Prediction(key, raw=text, probabilities=_probabilities(path, row, by_class, manifest.classes))

    return by_picture(path, rows, picture, manifest, said)


def by_picture(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    picture: str,
    manifest: Manifest,
    said: Callable[[str, Mapping[str, Any]], Prediction],
) -> dict[str, Prediction]:
    """Return what `said` makes of the hash and the row of each picture of the study that a row of `path` names in the column `picture`.

    Raises `DataProblem` for two different answers about one picture, `UsageProblem` where no row names one.
    """
    keys = lookup(manifest)
    found: dict[str, Prediction] = {}
    for row in rows:
        key = keys.get(as_path(str(row.get(picture)))) or keys.get(composed(str(row.get(picture))))
        if key is None:
            continue
        prediction = said(key, row)
        if found.get(key, prediction) != prediction:
            raise DataProblem(
                f"{plain(path)} answers twice, and differently, for {plain(row[picture])}.",
                "One row for each picture.",
                "Keep one of the two rows.",
            )
        found[key] = prediction
    if not found:
        known = [row.path for row in manifest.part()]
        raise UsageProblem(
            f"No row of {plain(path)} names a picture of this study (its first is {plain(rows[0][picture])!r}).",
            allowed_names(str(rows[0][picture]), known[:2000], most=3),
            f"Write the paths as in the manifest into the column {picture!r}.",
        )
    return found


def read_table(path: Path) -> list[dict[str, Any]]:
    """Read a CSV, TSV, JSONL or Parquet file as a list of rows."""
    if not path.is_file():
        raise UsageProblem(f"There is no file {plain(path)}.", "A CSV, TSV, JSONL or Parquet file.", "Correct the path.")
    kind = path.suffix.casefold()
    try:
        if kind in (".csv", ".tsv"):
            csv.field_size_limit(_MOST_CELL)
            with open(path, encoding="utf-8-sig", newline="") as stream:
                return [_whole(row) for row in csv.DictReader(stream, delimiter="\t" if kind == ".tsv" else ",")]
        if kind in (".jsonl", ".ndjson"):
            with open(path, encoding="utf-8-sig") as stream:
                lines = [json.loads(line) for line in stream if line.strip()]
            if not all(isinstance(line, dict) for line in lines):
                raise ValueError("a line is no JSON object")
            return lines
        if kind == ".parquet":
            import pyarrow.parquet as pq

            rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            return rows
    except (ValueError, OSError, csv.Error, RecursionError) as error:
        raise UsageProblem(
            f"{plain(path)} cannot be read: {plain(error)}.", "A CSV, TSV, JSONL (UTF-8) or Parquet file.", "Correct the file."
        ) from error
    raise UsageProblem(f"{plain(path)} is no table.", "Allowed: .csv, .tsv, .jsonl or .parquet.", "Convert it to one of these.")


def _whole(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row as it is; a cell beyond the header would silently move the values of its row."""
    if None in row:
        raise ValueError(f"the row of {row[next(iter(row))]!r} has more cells than the header")
    return dict(row)


def column_of(path: Path, row: Mapping[str, Any], allowed: Sequence[str], purpose: str) -> str:
    """Return the first of the columns `allowed` that a table has; raises `UsageProblem` where it has none."""
    for name in allowed:
        if name in row:
            return name
    raise UsageProblem(
        f"{plain(path)} has no column that {purpose}; it has {plain(', '.join(map(str, row)))}.",
        f"Allowed: {', '.join(allowed)}.",
        "Rename the column.",
    )


def as_path(text: str) -> str:
    """Return a path as it is looked up: forward slashes, no leading ``./``."""
    return str(PurePosixPath(text.replace("\\", "/"))).lstrip("./")


def composed(text: str) -> str:
    """Return a path with its letters composed: some systems take accents apart."""
    return unicodedata.normalize("NFC", as_path(text))


def lookup(manifest: Manifest) -> dict[str, str]:
    """Return content hashes by every unambiguous way to name a picture: hash, path, each end of the path, letters composed.

    A whole path, letter by letter, comes first; two paths that differ only in how accents are coded are told apart by it.
    """
    table: dict[str, str | None] = {}
    for row in manifest.rows:
        names = {row.key}
        for whole in (as_path(row.path), composed(row.path)):
            parts = PurePosixPath(whole).parts
            names |= {"/".join(parts[start:]) for start in range(len(parts))}
        for name in names:
            table[name] = row.key if table.get(name, row.key) == row.key else None
    whole_paths: dict[str, str | None] = {}
    for row in manifest.rows:
        for name in {composed(row.path), as_path(row.path)}:
            whole_paths[name] = row.key if whole_paths.get(name, row.key) == row.key else None
    table |= whole_paths | {as_path(row.path): row.key for row in manifest.rows}
    return {name: key for name, key in table.items() if key}  # a file that could not be read has no hash, and takes no answer


def _probabilities(
    path: Path, row: Mapping[str, Any], by_class: Mapping[str, str], classes: Sequence[str]
) -> tuple[float, ...] | None:
    if not by_class:
        return None
    try:
        values = [float(row[by_class[id]]) for id in classes]
    except (KeyError, TypeError, ValueError):
        return None
    if any(math.isnan(value) for value in values):  # how tables of numbers say that a cell is empty
        return None
    total = sum(values)
    if min(values) < 0 or abs(total - 1) > 0.02:
        raise DataProblem(
            f"{plain(path)}: the probabilities of one row sum to {total:.3f}.",
            "The class columns of a row are at least 0 and sum to 1.",
            "Correct the columns, or leave them out and give the answer alone.",
        )
    return tuple(value / total for value in values)
