"""Whom a text is about: names of classes and pictures as other people write them, found in a study or told as not found."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from fieldguide.data.classes import display_name
from fieldguide.errors import allowed_names, plain
from fieldguide.records import ClassInfo, Manifest
from fieldguide.tasks.classify import Classify, fold

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A name of the file that is nobody's here, how many texts it has, and why it could not be matched."""

    name: str
    texts: int
    why: str


@dataclass(frozen=True)
class Matched:
    """What came of a file: counts of what was taken, and every name and text that was not.

    `lines` of `classes` classes, of which `silent` have none; `captions` of `pictures` pictures. `repeated` captions stood twice for a
    picture and are kept once, `blank` texts were empty, `apart` belong to pictures that take no part in the study.
    """

    format: str
    classes: int
    lines: int
    pictures: int
    captions: int
    silent: tuple[str, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    repeated: int = 0
    blank: int = 0
    apart: int = 0

    @property
    def lost(self) -> int:
        """Number of texts whose class or picture is not in the study."""
        return sum(name.texts for name in self.unmatched)


class Whom:
    """The classes and pictures of a study, found by names as they stand in files of texts."""

    def __init__(self, manifest: Manifest, classes: Sequence[ClassInfo]) -> None:
        self.manifest, self.classes = manifest, tuple(classes)
        self.taking_part = {row.key for row in manifest.part()}

    @cached_property
    def _task(self) -> Classify:
        return Classify(self.classes)

    @cached_property
    def _bare(self) -> dict[str, str | None]:
        """Ids by names without the numbers that data sets put before them; `None` where two classes would share one."""
        table: dict[str, str | None] = {}
        for info in self.classes:
            for name in {fold(display_name(name)) for name in (info.id, info.name, *info.synonyms)} - {""}:
                table[name] = info.id if table.get(name, info.id) == info.id else None
        return table

    def id(self, name: str) -> str | None:
        """Return the class that `name` is: its id, name or a synonym as `fold` compares them, with or without a number before it."""
        return self._task.read(name) or self._bare.get(fold(name)) or self._bare.get(fold(display_name(name)))

    def picture(self, name: str) -> str | None:
        """Return the content hash of the picture that `name` is, or `None`: its hash, its path, or an end of it that is its alone.

        The extension may be another or none. Folders that are named have to agree; a class folder may be called by any name of
        the class. A bare file name will do where only one picture has it.
        """
        found = self._place(name)
        return found or None

    def why_not(self, name: str) -> str:
        """Return why `name` is no picture of the study."""
        return "several pictures are called so" if self._place(name) == "" else "no picture of the study"

    def _place(self, name: str) -> str | None:
        """Return a content hash, ``""`` where several pictures go by this name, `None` where none does."""
        parts = _parts(name)
        shared = None
        for start in range(len(parts)):
            tail = parts[start:]
            for key in _forms("/".join(tail)):
                whole = self._pictures[1].get(key)
                # A file name whose folder is another one's must not do: 0001.jpg is in every class.
                found = whole or (self._pictures[0].get(key) if len(tail) > 1 or len(parts) == 1 else None)
                shared = "" if "" in (whole, found) else shared
                if found:
                    return found
            if len(tail) > 1 and (id := self.id(tail[-2])) is not None:
                for stem in _forms(tail[-1]):
                    found = self._pictures[0].get(f"{id}\0{stem}")
                    shared = "" if found == "" else shared
                    if found:
                        return found
        return shared

    @cached_property
    def _pictures(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return content hashes by every end of a path, and by whole paths; ``""`` where several pictures share a name."""
        ends: dict[str, str] = {}
        whole: dict[str, str] = {}

        def put(table: dict[str, str], name: str, key: str) -> None:
            table[name] = key if table.get(name, key) == key else ""

        for row in self.manifest.rows:
            if not row.key:  # a file that could not be read
                continue
            whole[row.key] = row.key
            parts = _parts(row.path)
            for name in dict.fromkeys(_bases("/".join(parts))):
                put(whole, name, row.key)
            for start in range(len(parts)):
                for name in dict.fromkeys(_bases("/".join(parts[start:]))):
                    put(ends, name, row.key)
            for name in dict.fromkeys(_bases(parts[-1])):
                put(ends, f"{row.label}\0{name}", row.key)
        return ends, whole

    def near_class(self, name: str) -> str:
        """Return a sentence with the classes nearest to `name`."""
        return allowed_names(display_name(name), [info.name for info in self.classes])

    def near_picture(self, name: str) -> str:
        """Return a sentence with the pictures nearest to `name`."""
        end = _parts(name)[-2:]
        known = ["/".join(_parts(row.path)[-len(end) :]) for row in self.manifest.part()[:2000]]
        return allowed_names("/".join(end), known, most=3)


def _parts(name: str) -> tuple[str, ...]:
    """Return the parts of a path, letters composed, without ``.`` and roots."""
    path = PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")))
    return tuple(part for part in path.parts if part not in ("/", ".", "..", "//")) or ("",)


def _bases(path: str) -> tuple[str, ...]:
    """Return the names a picture's path goes by: with and without its extension."""
    return path, _SUFFIX.sub("", path)


def _forms(name: str) -> tuple[str, ...]:
    """Return the spellings in which a name is looked up: as it is, then without an extension."""
    bare = _SUFFIX.sub("", name)
    return (name,) if bare == name else (name, bare)


def described(unmatched: Iterable[Unmatched], most: int = 5) -> str:
    """Return the first of the names that could not be matched as one phrase."""
    names = list(unmatched)
    shown = ", ".join(f"{plain(one.name, 80)} ({one.texts} {'text' if one.texts == 1 else 'texts'})" for one in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
