"""What all formats of texts share: the noun, the limits, files read as UTF-8 or refused with the line, and texts made safe to keep."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fieldguide.errors import DataProblem, UsageProblem, plain
from fieldguide.files import twice

#: Most bytes of one file (all captions of COCO are 144 MB), most texts of one source, and most letters of one text.
MOST_BYTES, MOST_TEXTS, MOST_LETTERS = 512_000_000, 3_000_000, 20_000
#: Most letters of the name of a field.
MOST_FIELD = 80
#: Characters that turn the direction of the text around them, and the mark that some editors put first.
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\ufeff")

Kind = Literal["class", "picture"]


@dataclass(frozen=True, slots=True)
class Said:
    """One text as a file has it: `about` is the name of a class or of a picture, spelt as there."""

    about: str
    text: str
    kind: Kind = "class"
    field: str | None = None


def clean(text: str) -> str:
    """Return a text in its one form: NFC, one line, no control or direction characters, every run of white space one space."""
    if not text.isprintable():
        text = "".join(
            " " if char in _TURNS or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char for char in text
        )
    return " ".join(unicodedata.normalize("NFC", text).split())


def bounded(text: str, path: Path) -> str:
    """Return `text`; raises `DataProblem` for one that is a book rather than a sentence."""
    if len(text) > MOST_LETTERS:
        raise DataProblem(
            f"{plain(path)} holds a text of {len(text):,} characters, which begins {plain(text, 60)!r}.",
            f"One sentence a line, at most {MOST_LETTERS:,} characters; an image-text encoder reads some 60 words of it.",
            "Cut it into sentences, one a line.",
        )
    return text


def read_bytes(path: Path) -> bytes:
    """Return what a file holds; raises `DataProblem` where that is more than `MOST_BYTES`."""
    size = twice(lambda: path.stat().st_size, str(path))
    if size > MOST_BYTES:
        raise DataProblem(
            f"{plain(path)} has {size / 1e6:,.0f} MB.",
            f"At most {MOST_BYTES / 1e6:,.0f} MB of texts in one file.",
            "Keep the texts of this study's classes and pictures, or cut the file into several.",
        )
    return twice(path.read_bytes, str(path))


def read_utf8(path: Path) -> str:
    """Return the text of a file; raises `DataProblem` that names the line where it is no UTF-8."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise DataProblem(
            f"{plain(path)}, line {line}, is not UTF-8 (byte {data[error.start]:#04x})"
            + ("; the file begins as UTF-16 does." if wide else "."),
            "Texts are UTF-8.",
            f"Save it as UTF-8, such as: iconv -f {'UTF-16' if wide else 'LATIN1'} -t UTF-8 {plain(path.name)} > utf8-{plain(path.name)}",
        ) from error


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; raises `DataProblem` with the place of a slip, and for a name that stands twice in an object."""
    text = read_utf8(path)
    try:
        return json.loads(text, object_pairs_hook=once_each)
    except (ValueError, RecursionError) as error:
        raise damaged(path, error) from error


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises `ValueError` for a name that stands twice, whose first value would be lost."""
    whole = dict(pairs)
    if len(whole) != len(pairs):
        ((twice_there, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {plain(twice_there, 80)!r} stands twice in one object")
    return whole


def damaged(path: Path, why: object) -> DataProblem:
    """Return the problem of a file of texts that cannot be read."""
    return DataProblem(
        f"{plain(path)} cannot be read: {plain(why)}.",
        "A file of texts as docs/texts.md lists them.",
        "Correct that place, and add the file again.",
    )


def none_there(path: Path, wanted: str, found: str) -> UsageProblem:
    """Return the problem of a file that is whole and holds no texts."""
    return UsageProblem(f"{plain(path)} holds no texts: {found}.", wanted, "docs/texts.md shows every format with an example.")


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a text file; blank ones, too."""
    yield from read_utf8(path).splitlines()


def texts_in(value: Any, path: Path, where: str) -> Iterable[str]:
    """Return the texts of one cell: a text, or a list of texts; raises `DataProblem` for anything else."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    raise damaged(path, f"{where} has {type(value).__name__} {plain(value, 40)} where a text should be")
