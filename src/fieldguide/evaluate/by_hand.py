"""``causes.toml``: what a person has to say about the causes of errors. It is written once, and never again by us.

People edit this file, so every slip is named, and nothing else of the study is touched then.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.files import read_toml, write_text
from fieldguide.records import SCHEMA_VERSION, Manifest, ManifestRow

NAME = "causes.toml"
#: Longest name and note, in characters.
MOST_NAME, MOST_NOTE = 40, 400
#: Pictures whose measured suggestions are listed where the file is first written.
LISTED = 40

_HEADER = """\
# Why might they be wrong? What stands here wins over what was measured, is marked "by hand" in the report, and is never
# overwritten: edit it, then run `fieldguide report` on this study.
#
# To call a cause something else, to leave one out, or to add one of your own:
#   [causes."blurred"]
#   name = "out of focus"
#   [causes."unusual style"]
#   use = false
#   [causes."at night"]
#
# To say what you see in a picture, named by its path or its content hash; an empty list says that none of the causes applies:
#   [pictures."cat/017.jpg"]
#   causes = ["several objects", "at night"]
#   note = "two cats, the small one is meant"
#
# A picture that is set here takes no part in the hit rates: whoever looks at it may have seen what was answered.
#
# Causes that are measured:
{names}

schema = {schema}
"""


@dataclass(frozen=True)
class Said:
    """What was said of one picture: names of causes, and a note."""

    causes: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class ByHand:
    """`titles` are other names for causes, `unused` those left out, `own` those that are not measured; `pictures` go by key."""

    titles: Mapping[str, str] = field(default_factory=dict)
    unused: frozenset[str] = frozenset()
    own: tuple[str, ...] = ()
    pictures: Mapping[str, Said] = field(default_factory=dict)


def read_by_hand(folder: Path, manifest: Manifest, names: Sequence[str]) -> ByHand:
    """Return what ``causes.toml`` of the study says; `names` are the measured causes. Raises `UsageProblem` for every slip."""
    path = folder / NAME
    if not path.exists():
        return ByHand()
    try:
        table = read_toml(path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _slip(
            path, f"is not valid TOML: {plain(error)}", 'Tables [causes."NAME"] and [pictures."PATH"], as explained at its top.'
        ) from error
    _only(path, table, "the file", ("schema", "causes", "pictures"))
    if table.get("schema", SCHEMA_VERSION) != SCHEMA_VERSION:
        raise _slip(path, f"has schema = {plain(table['schema'])}", f"schema = {SCHEMA_VERSION}, as this fieldguide writes it.")
    titles: dict[str, str] = {}
    unused, own = set(), []
    for name, entry in _tables(path, table, "causes").items():
        _only(path, entry, f"the cause {plain(name)!r}", ("name", "use"))
        if name not in names:
            own.append(_text(path, name, "the name of a cause", MOST_NAME))
        if "name" in entry:
            titles[name] = _text(path, entry["name"], f"the name of {plain(name)!r}", MOST_NAME)
        if not isinstance(entry.get("use", True), bool):
            raise _slip(path, f"has a 'use' for {plain(name)!r} that is neither true nor false", "use = true, or use = false.")
        if not entry.get("use", True):
            unused.add(name)
    every = (*names, *own)
    keys = _keys(manifest)
    pictures = {}
    for named, entry in _tables(path, table, "pictures").items():
        key = _picture(path, named, keys, manifest)
        if key in pictures:
            raise _slip(path, f"names the picture {plain(named)!r} twice, by its path and by its hash", "One table a picture.")
        pictures[key] = _said(path, named, entry, every)
    return ByHand(titles, frozenset(unused), tuple(own), pictures)


def write_by_hand(folder: Path, names: Sequence[str], suggested: Sequence[tuple[ManifestRow, Sequence[str]]]) -> None:
    """Write the file where there is none: how to edit it, and what was measured of the first `LISTED` of `suggested` pictures."""
    path = folder / NAME
    if path.exists():
        return
    lines = [_HEADER.replace("{names}", "\n".join(f"#   {name}" for name in names)).replace("{schema}", str(SCHEMA_VERSION))]
    if suggested:
        lines.append("# What was measured of the pictures that most contestants missed; take the # away to change it:")
    for row, causes in suggested[:LISTED]:
        shown = row.path if row.path.isprintable() else row.key
        text = tomli_w.dumps({"pictures": {shown: {"causes": list(causes)}}}, multiline_strings=False)
        flat = text.replace("[\n    ", "[").replace(",\n    ", ", ").replace(",\n]", "]")
        lines += ["#", *(f"# {line}" for line in flat.splitlines())]
    write_text(path, "\n".join(lines) + "\n")


def _keys(manifest: Manifest) -> dict[str, str]:
    """Return the key of each test picture by all that it may be called."""
    test = manifest.part("test")
    return {row.path.replace("\\", "/"): row.key for row in test} | {row.key: row.key for row in test}


def _picture(path: Path, named: str, keys: Mapping[str, str], manifest: Manifest) -> str:
    key = keys.get(named) or keys.get(named.replace("\\", "/"))
    if key is not None:
        return key
    elsewhere = any(named in (row.key, row.path) for row in manifest.rows)
    what = "which is not a test picture" if elsewhere else "which is not in this study"
    raise _slip(path, f"names the picture {plain(named)!r}, {what}", allowed_names(named, keys, most=3))


def _said(path: Path, named: str, entry: Mapping[str, Any], every: Sequence[str]) -> Said:
    where = f"the picture {plain(named)!r}"
    _only(path, entry, where, ("causes", "note"))
    causes = entry.get("causes", [])
    if not isinstance(causes, list) or not all(isinstance(name, str) for name in causes):
        raise _slip(path, f"has causes of {where} that are not a list of names", 'causes = ["several objects"]')
    for name in causes:
        if name not in every:
            own = f'{allowed_names(name, every, most=10)} A new one needs a line [causes."{plain(name)}"].'
            raise _slip(path, f"gives {where} the cause {plain(name)!r}, which is not known", own)
    note = _text(path, entry["note"], f"the note of {where}", MOST_NOTE) if "note" in entry else ""
    return Said(tuple(dict.fromkeys(causes)), note)


def _tables(path: Path, table: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    found = table.get(name, {})
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise _slip(path, f"has '{name}' that are not tables", f'[{name}."..."], one table for each.')
    return found


def _only(path: Path, table: Mapping[str, Any], where: str, allowed: Sequence[str]) -> None:
    for name in table:
        if name not in allowed:
            raise _slip(path, f"has an unknown key {plain(name)!r} in {where}", allowed_names(name, allowed))


def _text(path: Path, value: object, where: str, most: int) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise _slip(path, f"has no usable text as {where}", f"Text of 1 to {most} characters.")
    return value.strip()


def _slip(path: Path, what: str, allowed: str) -> UsageProblem:
    return UsageProblem(f"{path} {what}.", allowed, "Correct that line, then run the same command again; nothing is lost.")
