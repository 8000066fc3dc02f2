"""Texts from files of other people: the format is seen from the file, every text goes to its class or picture or is told as unmatched."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fieldguide.data.texts import beside, captions, described, tables
from fieldguide.data.texts.common import (
    MOST_FIELD,
    MOST_TEXTS,
    Said,
    bounded,
    clean,
    damaged,
    none_there,
    read_json,
)
from fieldguide.data.texts.matching import Matched, Unmatched, Whom
from fieldguide.data.texts.matching import described as told
from fieldguide.errors import UsageProblem, nearest, plain
from fieldguide.files import told_plainly, twice
from fieldguide.records import ClassInfo, Line, Manifest, Texts

FORMATS = (
    "A folder of .txt files beside pictures, or one for each class; a table (.csv, .tsv, .jsonl, .parquet); "
    "captions of COCO or descriptions {class: [sentence, ...]} as .json; or a folder of such files."
)


@told_plainly()
def import_texts(path: Path, manifest: Manifest, classes: Sequence[ClassInfo], name: str) -> tuple[Texts, Matched]:
    """Return what `path` says of these classes and pictures as a source called `name`, and what came of every text.

    Raises `UsageProblem` for a format that is none and where nothing at all can be matched, `DataProblem` for a damaged file.
    """
    whom = Whom(manifest, classes)
    format, said = _open(path, whom)
    texts, matched = _gather(said, whom, name, path, format)
    if not texts.classes and not texts.captions:
        raise _nobody(path, whom, matched)
    return texts, matched


def _open(path: Path, whom: Whom) -> tuple[str, Iterable[Said]]:
    """Return what kind of file it is, in words, and its texts."""
    try:
        twice(lambda: os.stat(path), str(path))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise _missing(path) from None
    if path.is_dir():
        return _folder(path, whom)
    kind = path.suffix.casefold()
    if kind == ".t7":
        raise beside.refuse_torch(path)
    if kind == ".txt":
        return "text file", beside.read([path], path.parent, whom)
    if kind in tables.SUFFIXES:
        return f"table ({kind[1:]})", tables.read(path)
    if kind == ".json":
        return _json(read_json(path), path, whom)
    raise UsageProblem(f"{plain(path)} is a file of a kind that holds no texts.", FORMATS, "Convert it to one of these.")


def _folder(folder: Path, whom: Whom) -> tuple[str, Iterable[Said]]:
    files = beside.files_below(folder)
    kinds: dict[str, list[Path]] = {}
    for path in files:
        kinds.setdefault(path.suffix.casefold(), []).append(path)
    if kinds.get(".txt"):
        return "text files", beside.read(kinds[".txt"], folder, whom)
    if kinds.get(".t7"):
        raise beside.refuse_torch(kinds[".t7"][0])
    if kinds.get(".json"):
        return "JSON files", _several(kinds[".json"], whom)
    listed = [path for suffix in tables.SUFFIXES for path in kinds.get(suffix, ())]
    if listed:
        raise UsageProblem(
            f"{plain(folder)} is a folder of tables.", "A table is added by itself.", f"Add {plain(listed[0])}, for example."
        )
    raise none_there(folder, FORMATS, f"none of its {len(files)} files is one of texts")


def _several(paths: Iterable[Path], whom: Whom) -> Iterator[Said]:
    for path in paths:
        yield from _json(read_json(path), path, whom)[1]


def _json(value: Any, path: Path, whom: Whom) -> tuple[str, Iterable[Said]]:
    if captions.is_one(value):
        return "COCO captions", captions.read(value, path)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        header = list(dict.fromkeys(name for row in value for name in row))
        return "list of JSON objects", tables.read_rows(header, ((f"entry {at}", row) for at, row in enumerate(value, 1)), path)
    if described.is_one(value):
        return "descriptions", described.read(value, path, whom)
    raise none_there(path, FORMATS, f"it is JSON, but {_shape(value)}")


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        odd = next((name for name, said in value.items() if not isinstance(said, str | list | dict)), None)
        return "an empty object" if odd is None else f"{plain(odd, 60)!r} is neither a text nor a list of texts"
    return f"a {type(value).__name__}" if not isinstance(value, list) else "a list of other things than objects"


def _gather(said: Iterable[Said], whom: Whom, name: str, path: Path, format: str) -> tuple[Texts, Matched]:
    """Give every text to its class or picture; sentences of a class stay as they are, a caption that a picture has is not taken again."""
    classes: dict[str, list[Line]] = {}
    spoken: dict[str, dict[str, None]] = {}
    nobody: Counter[tuple[str, str]] = Counter()
    count: Counter[str] = Counter()
    ids: dict[str, str | None] = {}
    keys: dict[str, str | None] = {}
    for number, one in enumerate(said, 1):
        if number > MOST_TEXTS:
            raise none_there(path, f"At most {MOST_TEXTS:,} texts.", "there are more of them than a source may have")
        text = clean(bounded(one.text, path))
        if not text:
            count["blank"] += 1
        elif one.kind == "class":
            if one.about not in ids:
                ids[one.about] = whom.id(one.about)
            id = ids[one.about]
            if id is None:
                nobody[one.about, "class"] += 1
            else:
                classes.setdefault(id, []).append(Line(text, _field(one.field, path)))
        else:
            if one.about not in keys:
                keys[one.about] = whom.picture(one.about)
            key = keys[one.about]
            if key is None:
                nobody[one.about, "picture"] += 1
            elif key not in whom.taking_part:
                count["apart"] += 1
            elif text in spoken.setdefault(key, {}):
                count["repeated"] += 1
            else:
                spoken[key][text] = None
    unmatched = tuple(
        Unmatched(clean(about), texts, "no class of the study" if kind == "class" else whom.why_not(about))
        for (about, kind), texts in nobody.items()
    )
    ordered = {info.id: tuple(classes[info.id]) for info in whom.classes if info.id in classes}
    captions_of = {row.key: tuple(spoken[row.key]) for row in whom.manifest.part() if row.key in spoken}
    matched = Matched(
        format,
        len(ordered),
        sum(map(len, ordered.values())),
        len(captions_of),
        sum(map(len, captions_of.values())),
        tuple(info.id for info in whom.classes if info.id not in ordered) if ordered else (),
        unmatched,
        count["repeated"],
        count["blank"],
        count["apart"],
    )
    return Texts(name, ordered, captions_of, _made(path, matched)), matched


def _field(name: str | None, path: Path) -> str | None:
    field = clean(name or "")
    if len(field) > MOST_FIELD:
        raise damaged(path, f"the name of a field has {len(field):,} characters; it begins {plain(field, 40)!r}")
    return field or None


def _made(path: Path, matched: Matched) -> dict[str, str]:
    made = {"from": clean(path.name), "format": matched.format}
    for what, number in (
        ("repeated", matched.repeated),
        ("blank", matched.blank),
        ("of pictures that take no part", matched.apart),
        ("unmatched texts", matched.lost),
    ):
        if number:
            made[what] = str(number)
    if matched.unmatched:
        made["unmatched names"] = str(len(matched.unmatched))
        made["unmatched"] = told(matched.unmatched, 20)
    return made


def _nobody(path: Path, whom: Whom, matched: Matched) -> UsageProblem:
    """Return the problem of a file in which nothing could be matched."""
    if not matched.unmatched:
        what = "its pictures take no part in this study" if matched.apart else f"{matched.blank} blank ones"
        return none_there(path, FORMATS, what)
    first, names = matched.unmatched[0], len(matched.unmatched)
    of = f", the first of its {names} names" if names > 1 else ""
    said = (
        f"{first.why} is called {plain(first.name, 100)!r}{of}"
        if first.why.startswith("no ")
        else f"{first.why}: {plain(first.name, 100)!r}{of}"
    )
    if first.why == "no class of the study":
        near, how = (
            whom.near_class(first.name),
            "Write the file's spelling into the synonyms of classes.toml, or correct the file.",
        )
    else:
        near, how = (
            whom.near_picture(first.name),
            "Name pictures by their paths in the study, with the folder where names repeat.",
        )
    return UsageProblem(f"Nothing in {plain(path)} could be matched: {said}.", near, how)


def _missing(path: Path) -> UsageProblem:
    try:
        beside_it = sorted(entry.name for entry in path.parent.iterdir())
    except (OSError, ValueError):
        beside_it = []
    near = nearest(path.name, beside_it)
    return UsageProblem(
        f"{plain(path)} does not exist.",
        f"In {plain(path.parent)} there is: {', '.join(plain(name, 80) for name in (near or beside_it)[:8]) or 'nothing'}.",
        f"Did you mean {plain(path.parent / near[0])}?" if near else "Check the path; it is taken from the folder you are in.",
    )
