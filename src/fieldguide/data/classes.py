"""``classes.toml``: the one home of class names, for every family and the report."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from fieldguide.errors import DataProblem, UsageProblem, plain
from fieldguide.files import read_toml, write_toml
from fieldguide.records import ClassInfo

#: Codes that data sets put before the name: WordNet ids (``n02085620-``) and running numbers (``001.``, ``12_``).
_PREFIX = re.compile(r"^(?:n\d{8}[-_ ]+|\d{1,4}[._ -]+(?=\D))")


def propose(ids: Iterable[str]) -> tuple[ClassInfo, ...]:
    """Return classes with display names read from folder names; where two would get one name, both keep their id."""
    ordered = sorted(set(ids))
    names = {id: display_name(id) for id in ordered}
    counts: dict[str, int] = {}
    for name in names.values():
        counts[name.casefold()] = counts.get(name.casefold(), 0) + 1
    return tuple(ClassInfo(id, names[id] if counts[names[id].casefold()] == 1 else id) for id in ordered)


def display_name(id: str) -> str:
    """Return a readable name: ``n02085620-Chihuahua`` -> ``Chihuahua``, ``german_shepherd`` -> ``german shepherd``."""
    name = _PREFIX.sub("", id, count=1)
    name = " ".join(unicodedata.normalize("NFC", name).replace("_", " ").split())
    return name or id


def write_classes(target: Path, classes: Iterable[ClassInfo]) -> None:
    """Write ``classes.toml``."""
    table = {info.id: {"name": info.name, "synonyms": list(info.synonyms), "description": info.description} for info in classes}
    write_toml(target, {"classes": table})


def read_classes(path: Path, expected: Iterable[str]) -> tuple[ClassInfo, ...]:
    """Read ``classes.toml`` in the order of `expected` ids; people edit this file, so every slip is named."""
    try:
        table = read_toml(path).get("classes", {})
    except FileNotFoundError as error:
        raise DataProblem(
            f"There is no {path}.", "The names of all classes are kept there.", "Restore it, or make a new study."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        what = "UTF-8" if isinstance(error, UnicodeDecodeError) else "valid TOML"
        raise UsageProblem(
            f"{path} is not {what}: {error}.", 'One table [classes."id"] for each class.', "Correct that line."
        ) from error
    classes = []
    for id in expected:
        entry = table.get(id) if isinstance(table, dict) else None
        if not isinstance(entry, dict):
            raise DataProblem(
                f"{path} has no table for the class {plain(id)!r}.",
                "Every class of the manifest needs one; names and synonyms may be changed, ids may not.",
                f'Add [classes."{plain(id)}"] with name = "...".',
            )
        unknown = sorted(set(entry) - {"name", "synonyms", "description"})
        name, synonyms, description = entry.get("name", id), entry.get("synonyms", []), entry.get("description", "")
        texts = isinstance(synonyms, list) and all(isinstance(text, str) for text in [name, description, *synonyms])
        if unknown or not texts or not str(name).strip():
            raise UsageProblem(
                f"{path}: the class {plain(id)!r} has {'an unknown key ' + plain(unknown[0]) if unknown else 'a value of the wrong type'}.",
                "Allowed: name (text), synonyms (list of texts), description (text).",
                "Correct that table and run the same command again.",
            )
        classes.append(ClassInfo(id, name, tuple(synonyms), description))
    return tuple(classes)
