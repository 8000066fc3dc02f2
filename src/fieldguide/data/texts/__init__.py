"""Texts of a study: what is said of its classes and of its pictures, one source a file, kept as lines that a person can edit.

texts/<name>.jsonl     a first line that says where they came from, then {"class": id, "field": ..., "text": ...}
                       or {"image": content hash, "text": ...}
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from fieldguide.errors import DataProblem, UsageProblem, allowed_names, plain
from fieldguide.files import write_text
from fieldguide.records import SCHEMA_VERSION, Line, Texts

#: End of the name of a file that holds what a model replied; it stands beside the source that was made of it, and is none itself.
REPLIES = ".replies.jsonl"


def folder_of(study: Path) -> Path:
    """Return the folder in which a study keeps its texts."""
    return study / "texts"


def names(study: Path) -> tuple[str, ...]:
    """Return the names of the sources a study has, in alphabetical order."""
    return tuple(sorted(path.stem for path in folder_of(study).glob("*.jsonl") if not path.name.endswith(REPLIES)))


def write_texts(study: Path, texts: Texts) -> Path:
    """Write ``texts/<name>.jsonl`` and return its path."""
    lines: list[dict[str, Any]] = [{"schema": SCHEMA_VERSION, "made": dict(texts.made)}]
    for id, said in texts.classes.items():
        lines += [{"class": id, **({"field": line.field} if line.field else {}), "text": line.text} for line in said]
    lines += [{"image": key, "text": text} for key, said in texts.captions.items() for text in said]
    path = folder_of(study) / f"{texts.name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return path


def read_texts(study: Path, name: str) -> Texts:
    """Return the source called `name`; raises `UsageProblem` where the study has none, `DataProblem` for a line that is none."""
    path = folder_of(study) / f"{name}.jsonl"
    if not path.exists():
        raise UsageProblem(
            f"The study has no texts called {plain(name)!r}.",
            allowed_names(name, names(study)),
            f"fieldguide texts {plain(study)} --add FILE --as {plain(name)}   brings them in.",
        )
    made: dict[str, str] = {}
    classes: dict[str, list[Line]] = defaultdict(list)
    captions: dict[str, list[str]] = defaultdict(list)
    for number, text in enumerate(path.read_bytes().split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            if "made" in line:
                made = {str(key): str(value) for key, value in line["made"].items()}
            elif "image" in line:
                captions[str(line["image"])].append(str(line["text"]))
            else:
                classes[str(line["class"])].append(Line(str(line["text"]), line.get("field")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataProblem(
                f"{plain(path)}, line {number} is no text: {plain(error)}.",
                'A line is {"class": ID, "text": ...}, perhaps with a "field", or {"image": HASH, "text": ...}.',
                "Correct that line, or bring the texts in again.",
            ) from error
    whole = {id: tuple(said) for id, said in classes.items()}
    return Texts(name, whole, {key: tuple(said) for key, said in captions.items()}, made)
