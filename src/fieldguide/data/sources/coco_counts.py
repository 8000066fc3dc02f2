"""How many of each class a ``*.coco.json`` list says a picture shows: one for each of its annotations, whatever their boxes look like.

A list is a stranger's words. What cannot be attributed is never guessed: a picture with an annotation of no known class, or with a crowd,
has no counts and takes no part, with the reason. A category that only holds others together, as exports of labelling tools have it, is no
class.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fieldguide.data.sources import coco
from fieldguide.data.sources.common import Found, clean_label
from fieldguide.errors import plain
from fieldguide.records import Box

Id = int | str
#: No picture has a side of more pixels.
_FARTHEST = 1e7
_VARIANT = re.compile(r"(.+)\.rf\.[0-9a-fA-F]{20,40}\.\w+")


class Unusable(ValueError):
    """Why the counts of a whole list cannot be known."""


@dataclass
class Counted:
    """What one list says of one picture: counts and boxes (in order), or `why` its counts are not known."""

    counts: Counter[str] = field(default_factory=Counter)
    boxes: dict[Box, None] = field(default_factory=dict)
    why: str | None = None


@dataclass
class CountList:
    """One list: its categories by id (in order), what it says of each picture by its number from 1, and `notes` on what was odd."""

    names: dict[Id | None, str]
    parents: frozenset[str]
    pictures: dict[int, Counted]
    notes: list[str]


def read_counted(root: Path, lists: list[coco.PictureList]) -> Found:
    """List the pictures that `lists` name with their counts and boxes, and tell what lies beside them and what has no counts.

    Raises `DataProblem` where a list is damaged, or where nothing is counted.
    """
    found = Found()
    placed = coco.placed_by(root, lists, found)
    told: dict[str, CountList] = {}
    for listed in sorted(lists, key=lambda one: (one.split != "train", one.name)):
        try:
            told[listed.name] = count_list(placed.contents[listed.name])
        except Unusable as why:
            raise coco.damaged(listed, str(why)) from why
    for name, first, second in placed.again:
        one, other = (told[name].pictures[number] for number in (first, second))
        if one.counts != other.counts:
            one.why = one.why or "it is listed twice, with different counts"
    classes, parents = classes_of(told.values())
    if not classes:
        raise coco.damaged(lists[0], "no list has a category that could be counted")
    found.counted = list(classes)
    copies = Counter(_photo(file.name) for _, _, file in placed.files)
    for name, number, file in placed.files:
        picture = told[name].pictures[number]
        if picture.why is not None:
            found.ignored.append((file.name, f"{picture.why}: its counts are not known"))
            continue
        counts = tuple((label, picture.counts[label]) for label in classes if picture.counts[label])
        photo = _photo(file.name)
        group = f"photo {photo}" if photo and copies[photo] > 1 else None
        found.files.append(replace(file, counts=counts, boxes=tuple(picture.boxes), group=group))
    _notes(found, told, parents)
    return found


def _notes(found: Found, told: Mapping[str, CountList], parents: Sequence[str]) -> None:
    for name, listed in told.items():
        things = sum(picture.counts.total() for picture in listed.pictures.values())
        found.notes.append(f"{plain(name)} lists {len(listed.pictures):,} pictures and {things:,} things on them.")
        found.notes += [f"{plain(name)}: {note}." for note in listed.notes]
    if parents:
        found.notes.append(
            f"Only held others together, and {'are' if len(parents) > 1 else 'is'} no class: {plain(', '.join(parents))}."
        )
    grouped = sum(file.group is not None for file in found.files)
    if grouped:
        found.notes.append(
            f"{grouped:,} pictures are variants of a photo that others are made of, too; those stay together in a split."
        )


def _photo(name: str) -> str | None:
    """Return what the variants of one photo are called alike: labelling tools write NAME.rf.HASH.jpg for each that they make of it."""
    match = _VARIANT.fullmatch(name.rpartition("/")[2])
    return match[1] if match else None


def count_list(content: Mapping[str, Any]) -> CountList:
    """Return the counts of a list that was read; raises `Unusable` where its categories cannot be told apart."""
    names, parents, notes = _categories(content.get("categories"))
    pictures, by_id = _pictures(content.get("images"))
    things, strays, doubles, boxless = content.get("annotations"), 0, 0, 0
    if not isinstance(things, list):
        raise Unusable("it has no list called annotations")
    for number, thing in _once(things):
        found = by_id.get(_id(thing.get("image_id")) if isinstance(thing, dict) else None)
        if found is None:
            strays += 1
            continue
        name = names.get(_id(thing.get("category_id")))
        if name is None:
            found.why = found.why or f"annotation {number} of it is of no category of the list"
        elif thing.get("iscrowd") not in (None, 0, False):
            found.why = found.why or f"annotation {number} of it is a crowd of {plain(name, 60)}, in which nobody counted"
        else:
            box = _box(name, thing.get("bbox"))
            boxless += box is None
            doubles += box is not None and box in found.boxes
            found.counts[name] += 1
            found.boxes |= {} if box is None else {box: None}
    for count, told in (
        (strays, "annotations are of no picture that it lists; they are not counted"),
        (doubles, "annotations repeat the box and the class of another; all are counted"),
        (boxless, "annotations have no box that can be drawn; they are counted all the same"),
    ):
        notes += [f"{count:,} {told}"] if count else []
    return CountList(names, parents, pictures, notes)


def classes_of(lists: Iterable[CountList]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes of all lists, in the order in which they are listed, and the categories that only hold others together."""
    known = list(lists)
    used = {name for one in known for picture in one.pictures.values() for name in picture.counts}
    named = list(dict.fromkeys(name for one in known for name in one.names.values()))
    parents = frozenset().union(*(one.parents for one in known)) - used
    return tuple(name for name in named if name not in parents), tuple(name for name in named if name in parents)


def _categories(given: Any) -> tuple[dict[Id | None, str], frozenset[str], list[str]]:
    if not isinstance(given, list):
        raise Unusable("it has no list called categories")
    names: dict[Id | None, str] = {}
    above: set[str] = set()
    nameless = 0
    for category in given:
        id = _id(category.get("id")) if isinstance(category, dict) else None
        name = category.get("name") if isinstance(category, dict) else None
        name = clean_label(name) if isinstance(name, str) else ""
        if id is None or not name:
            nameless += 1
            continue
        if names.setdefault(id, name) != name:
            raise Unusable(f"its categories {plain(names[id], 60)!r} and {plain(name, 60)!r} have one id, {plain(id, 60)}")
        over = category.get("supercategory")
        if isinstance(over, str) and clean_label(over) != name:
            above.add(clean_label(over))
    notes = [f"{nameless:,} categories have no id or no name"] if nameless else []
    return names, frozenset(above & set(names.values())), notes


def _pictures(given: Any) -> tuple[dict[int, Counted], dict[Id | None, Counted]]:
    """Return what is said of pictures by number, still nothing, and the same by id."""
    pictures: dict[int, Counted] = {}
    by_id: dict[Id | None, Counted] = {}
    for number, image in enumerate(given if isinstance(given, list) else (), start=1):
        one = pictures[number] = Counted()
        id = _id(image.get("id")) if isinstance(image, dict) else None
        if id is None:
            one.why = "it has no id in the list, so nobody knows which boxes are its own"
        elif by_id.setdefault(id, one) is not one:
            by_id[id].why = one.why = "it shares its id with another picture of the list"
    return pictures, by_id


def _once(things: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Yield annotations with their number from 1; one that is listed again under its own id, to the letter, is the same one."""
    seen: dict[Id, Any] = {}
    for number, thing in enumerate(things, start=1):
        id = _id(thing.get("id")) if isinstance(thing, dict) else None
        if id is not None and id in seen and seen[id] == thing:
            continue
        if id is not None:
            seen.setdefault(id, thing)
        yield number, thing


def _id(value: Any) -> Id | None:
    """Return an id that can be one: a whole number or a text, and no truth value, which Python takes for a number."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _box(label: str, given: Any) -> Box | None:
    """Return the box of an annotation; `None` where it is none: no four finite numbers, no extent, or beyond any picture."""
    if not isinstance(given, list) or len(given) != 4:
        return None
    if not all(isinstance(side, int | float) and not isinstance(side, bool) and abs(side) < _FARTHEST for side in given):
        return None
    x, y, width, height = (float(side) for side in given)
    return Box(label, x, y, width, height) if width > 0 and height > 0 and math.isfinite(x + y) else None
