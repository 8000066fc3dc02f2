"""The task of counting: how many of each class a picture shows, and how such an answer is written.

An answer is a JSON object with a class as the key and a whole number as the value, its keys in one fixed order. What is asked stands in
`fieldguide.tasks.count_asking`, how an answer in words is read in `fieldguide.tasks.count_reading`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from fieldguide.records import ClassInfo
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.names import Names

#: Whether a class that the picture does not show is left out of an answer, or written with a 0.
Zeros = Literal["omitted", "written"]
#: The largest number that is read as a count; tables hold nothing beyond 64 bits, and no picture shows more.
MOST = 1_000_000


@dataclass(frozen=True)
class Written:
    """How counts are written: `zeros`, the JSON `indent` in spaces (`None`: one line), and class ids that come first, in `order`."""

    zeros: Zeros = "omitted"
    indent: int | None = None
    order: tuple[str, ...] = ()


#: How counts are written where nothing else is asked for.
PLAIN = Written()


@dataclass(frozen=True)
class Count:
    """A whole number for each class. `classes` follow the manifest's order, which is the order of every row of counts."""

    classes: tuple[ClassInfo, ...]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Class ids in order."""
        return tuple(info.id for info in self.classes)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each class id."""
        return {id: position for position, id in enumerate(self.ids)}

    @cached_property
    def names(self) -> Names:
        """All names of the classes, and the ways in which a text can be one of them."""
        return Names(self.classes)

    def whole(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Return `counts` with a number for every class, in order; a class that is not named has none."""
        return {id: int(counts.get(id, 0)) for id in self.ids}

    def rows(self, counts: Iterable[Mapping[str, int] | None]) -> list[list[int]]:
        """Return a row for each of `counts`: a number for every class, in order."""
        return [list(self.whole(one or {}).values()) for one in counts]

    def ordered(self, first: Iterable[str] = ()) -> tuple[ClassInfo, ...]:
        """Return the classes, those whose ids `first` names before the others."""
        place = {id: at for at, id in enumerate(dict.fromkeys(id for id in first if id in self.index))}
        return tuple(sorted(self.classes, key=lambda info: place.get(info.id, len(place))))

    def say(self, counts: Mapping[str, int], written: Written = PLAIN) -> str:
        """Return `counts` as the JSON text that is the right answer: display names as keys."""
        known = self.whole(counts)
        shown = {
            info.name: known[info.id] for info in self.ordered(written.order) if known[info.id] or written.zeros == "written"
        }
        return json.dumps(shown, ensure_ascii=False, indent=written.indent)

    def schema(self, written: Written = PLAIN, most: int = 999) -> dict[str, Any]:
        """Return the JSON schema of an answer: the names in their order, each a whole number up to `most`.

        Where zeros are left out a name that is there has at least 1, so that every answer has one spelling; else all names are required.
        """
        names = [info.name for info in self.ordered(written.order)]
        least = 0 if written.zeros == "written" else 1
        lines = {} if written.indent is None else {"description": f"JSON, indented by {written.indent} spaces"}
        return {
            "type": "object",
            **lines,
            "properties": {name: {"type": "integer", "minimum": least, "maximum": most} for name in names},
            "required": names if written.zeros == "written" else [],
            "additionalProperties": False,
        }


#: What a study is about: one label for each picture, or how many of each class it shows.
Task = Classify | Count
TaskName = Literal["classify", "count"]


def name_of(task: Task) -> TaskName:
    """Return the word that ``study.toml`` has for `task`."""
    return "count" if isinstance(task, Count) else "classify"
