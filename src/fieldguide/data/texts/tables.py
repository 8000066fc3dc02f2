"""Tables of texts, CSV, TSV, JSON Lines or Parquet: a picture and its caption, or a class and its sentence, in each row.

A file of texts that a study keeps (``texts/NAME.jsonl``) is such a table, too: what one study has, another can take.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldguide.data.texts.common import (
    MOST_TEXTS,
    Said,
    damaged,
    none_there,
    once_each,
    read_bytes,
    read_utf8,
    texts_in,
)
from fieldguide.errors import UsageProblem, nearest, plain

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
#: Accepted names of each column, best first.
COLUMNS: dict[str, tuple[str, ...]] = {
    "picture": ("image", "path", "picture", "file", "file_name", "filename", "filepath", "file_path", "img", "key"),
    "class": ("class", "class_name", "classname", "label", "category"),
    "text": ("text", "caption", "description", "sentence", "raw", "texts", "captions", "descriptions", "sentences"),
    "field": ("field", "attribute"),
}
_TEXTS = "A column text (or caption, description), and a column image (or path), or class; perhaps field."
#: Letters one CSV cell may have. The library keeps one limit for the whole process.
_MOST_CELL = 1 << 20


def read(path: Path) -> Iterator[Said]:
    """Yield one text for each row, or several where a cell holds a list; raises `UsageProblem` without the columns."""
    header, rows = _open(path)
    yield from read_rows(header, rows, path)


def read_rows(header: Sequence[str], rows: Iterable[tuple[str, Mapping[str, Any]]], path: Path) -> Iterator[Said]:
    """Yield the texts of `rows`, each with the words for its place; the picture is asked before the class."""
    columns = _columns(header, path)
    for where, row in rows:
        if "made" in row and "schema" in row:  # the first line of a file that a study keeps
            continue
        picture, name, field = (_name(row, columns[role], path, where) for role in ("picture", "class", "field"))
        said = [text for column in columns["text"] for text in texts_in(row.get(column) or None, path, where)]
        if picture is None and name is None:
            raise damaged(path, f"{where} names neither a picture nor a class")
        about = picture if picture is not None else str(name)
        for text in said or [""]:
            yield Said(about, text, "class" if picture is None else "picture", field)


def _columns(header: Sequence[str], path: Path) -> dict[str, list[str]]:
    """Return the columns of each role that are there, best first; of texts the best one alone."""
    folded: dict[str, str] = {}
    for name in header:
        folded.setdefault(name.strip().casefold(), name)
    found = {role: [folded[name] for name in names if name in folded] for role, names in COLUMNS.items()}
    found["text"] = found["text"][:1]
    if not found["text"] or not (found["picture"] or found["class"]):
        role = "text" if not found["text"] else "picture or the class"
        wanted = COLUMNS["text"] if not found["text"] else (*COLUMNS["picture"], *COLUMNS["class"])
        near = next((near[0] for name in wanted if (near := nearest(name, header))), None)
        raise UsageProblem(
            f"{plain(path)} has no column for the {role}; its columns are "
            f"{', '.join(plain(name, 60) for name in list(header)[:20]) or 'none'}.",
            _TEXTS,
            f"Rename {plain(near, 60)!r} to {wanted[0]!r}?" if near else f"Name a column {wanted[0]!r}.",
        )
    return found


def _name(row: Mapping[str, Any], columns: Sequence[str], path: Path, where: str) -> str | None:
    for column in columns:
        value = row.get(column)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, str | int):
            raise damaged(path, f"{where} has {type(value).__name__} in the column {plain(column, 60)!r}")
        return str(value).strip() or None
    return None


def _open(path: Path) -> tuple[list[str], Iterable[tuple[str, Mapping[str, Any]]]]:
    kind = path.suffix.casefold()
    try:
        if kind == ".parquet":
            return _parquet(path)
        text = read_utf8(path)
        if kind in (".jsonl", ".ndjson"):
            rows = list(_json_lines(text))
            return list(dict.fromkeys(name for _, row in rows for name in row)), rows
        return _csv(text, "\t" if kind == ".tsv" else None)
    except (ValueError, csv.Error, RecursionError) as error:
        raise damaged(path, error) from error


def _json_lines(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=once_each)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(value, dict):
            raise ValueError(f"line {number} is no JSON object")
        yield f"line {number}", value


def _csv(text: str, delimiter: str | None) -> tuple[list[str], list[tuple[str, Mapping[str, Any]]]]:
    if delimiter is None:
        first = text.split("\n", 1)[0]
        delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(_MOST_CELL)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[tuple[str, Mapping[str, Any]]] = []
    try:
        header = next(lines, [])
        if len(set(header)) < len(header):
            raise ValueError("two columns have one name")
        for cells in lines:
            if len(cells) > len(header):
                raise ValueError(f"it has {len(cells)} cells, the header {len(header)}; a text with {delimiter!r} needs quotes")
            if any(cells):
                rows.append((f"line {lines.line_num}", dict(zip(header, cells, strict=False))))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {lines.line_num}: {error}") from error
    return header, rows


def _parquet(path: Path) -> tuple[list[str], Iterable[tuple[str, Mapping[str, Any]]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = read_bytes(path)
    try:
        source = pq.ParquetFile(io.BytesIO(data))
        names = list(source.schema_arrow.names)
        wanted = [name for name in names if name.strip().casefold() in {known for row in COLUMNS.values() for known in row}]
        if source.metadata.num_rows > MOST_TEXTS:
            raise none_there(path, f"At most {MOST_TEXTS:,} rows.", f"it has {source.metadata.num_rows:,} rows")
        rows = source.read(columns=wanted).to_pylist() if wanted else []
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, error) from error
    return names, [(f"row {number}", row) for number, row in enumerate(rows, 1)]
