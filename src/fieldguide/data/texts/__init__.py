"""Texts of a study: what is said of its classes and of its pictures, one source a file, kept as lines that a person can edit.

texts/<name>.jsonl     a first line that says where they came from, then {"class": id, "field": ..., "text": ...}
                       or {"image": content hash, "text": ...}

What people have written as ``description`` into ``classes.toml`` is a source, too. It is called ``classes`` and has no file of its own.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from fieldguide.errors import DataProblem, Problem, UsageProblem, allowed_names, plain
from fieldguide.files import digest, read_toml, write_text
from fieldguide.records import SCHEMA_VERSION, Line, Texts

#: Name of the source that is made of the descriptions in ``classes.toml``.
OWN = "classes"
#: Where one sentence ends and the next one begins; not behind an initial or a title.
_BETWEEN = re.compile(r"(?<=[.!?。！？])(?<!\b[A-Z]\.)(?<!\b(?:St|Dr|Mr|vs|cf)\.)(?<!\bMrs\.)\s+(?=[^\s.,;a-z\d])|\s*\n+\s*")
#: End of the name of a file that holds what a model replied; it stands beside the source that was made of it, and is none itself.
REPLIES = ".replies.jsonl"


def folder_of(study: Path) -> Path:
    """Return the folder in which a study keeps its texts."""
    return study / "texts"


def names(study: Path) -> tuple[str, ...]:
    """Return the names of the sources a study has, in alphabetical order."""
    files = [
        path for path in folder_of(study).glob("*.jsonl") if not path.name.startswith(".") and not path.name.endswith(REPLIES)
    ]
    kept = {path.stem for path in files} - {OWN}
    return tuple(sorted(kept | ({OWN} if _own(study).classes else set())))


def sentences(paragraph: str) -> tuple[str, ...]:
    """Return the sentences of a paragraph: it is cut where one ends and a capital follows, and at line breaks."""
    return tuple(part.strip() for part in _BETWEEN.split(paragraph) if part.strip())


def _own(study: Path) -> Texts:
    """Return what ``classes.toml`` says of classes; a file that cannot be read says nothing here, and is told elsewhere."""
    try:
        table = read_toml(study / "classes.toml").get("classes", {})
    except (OSError, ValueError):
        table = {}
    if not isinstance(table, dict):
        return Texts(OWN)
    said = {id: entry.get("description") for id, entry in table.items() if isinstance(entry, dict)}
    classes = {id: tuple(map(Line, sentences(text))) for id, text in said.items() if isinstance(text, str)}
    return Texts(OWN, {id: lines for id, lines in classes.items() if lines}, {}, {"from": "classes.toml"})


def fingerprint(texts: Texts) -> str:
    """Return a hash of all that a source says, 64 hex characters; neither its name nor where it came from enters."""
    classes = {id: [(line.text, line.field) for line in said] for id, said in texts.classes.items()}
    return digest(classes, {key: list(said) for key, said in texts.captions.items()})


def lacking(study: Path, name: str | None) -> Problem | None:
    """Return the problem of a source that a study does not have; `None` where it has it, or where none is named."""
    if name is None or name in names(study):
        return None
    fresh = not (study / "manifest.parquet").exists()
    if name == OWN:
        next = f"Write a description into the tables of {plain(study / 'classes.toml')}."
    else:
        next = f"fieldguide texts {plain(study)} --add FILE --as {plain(name)}   brings them in."
    return UsageProblem(
        f"The study has no texts called {plain(name)!r}.",
        allowed_names(name, names(study)) if names(study) else "It has none yet.",
        f"Make the study with other contestants first; then {next[:1].lower()}{next[1:]}" if fresh else next,
    )


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
    problem = lacking(study, name)
    if problem is not None:
        raise problem
    if name == OWN:
        return _own(study)
    path = folder_of(study) / f"{name}.jsonl"
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
                classes[str(line["class"])].append(
                    Line(str(line["text"]), None if line.get("field") is None else str(line["field"]))
                )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataProblem(
                f"{plain(path)}, line {number} is no text: {plain(error)}.",
                'A line is {"class": ID, "text": ...}, perhaps with a "field", or {"image": HASH, "text": ...}.',
                "Correct that line, or bring the texts in again.",
            ) from error
    whole = {id: tuple(said) for id, said in classes.items()}
    return Texts(name, whole, {key: tuple(said) for key, said in captions.items()}, made)
