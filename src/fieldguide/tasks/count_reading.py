"""Reading counts out of an answer in words: how many of each class, or the one kind of failure why not. Nothing is guessed or mended.

    strict    one JSON object and nothing else (white space around it apart); its keys are ids or display names, letter for letter
    json      one JSON object, alone, in a fence or in prose; its keys may be spelled as `fieldguide.tasks.reading` normalises names

Under both a value is a whole number written as one. "3", 3.0, true and "three" are none, and no answer is taken in part: where one value
cannot be read, the picture has no counts. What a model thought before it answered is left aside, but not by strict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fieldguide.tasks import reading as of_names
from fieldguide.tasks.count import MOST, Count, Zeros
from fieldguide.tasks.json_text import Several, objects, only
from fieldguide.tasks.names import fold

CountReading = Literal["strict", "json"]
READINGS: tuple[CountReading, ...] = ("strict", "json")

#: Why an answer gives no counts: a kind, and what that is in plain words.
KINDS: Mapping[str, str] = {
    "no JSON": "words and no JSON",
    "invalid JSON": "JSON that is broken",
    "no object": "JSON, but no object",
    "extra words": "a JSON object among other words",
    "two objects": "several JSON objects",
    "wrong key": "a key that is no class",
    "missing key": "a class is missing",
    "two counts": "two counts of one class",
    "no number": "a value that is no number",
    "not whole": "a value that is no whole number",
    "negative": "a negative count",
    "too large": f"a count above {MOST:,}",
    **{kind: of_names.KINDS[kind] for kind in ("refusal", "empty", "cut", "server failed", "unreadable picture", "not asked")},
    "no answer": of_names.KINDS["no answer"],
}
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """How many of every class, by id in the task's order; or `None`, and then one of `KINDS`, why not, with the `detail` it is about."""

    counts: dict[str, int] | None
    kind: str | None = None
    detail: str = ""

    @property
    def error(self) -> str | None:
        """What stands in `Prediction.error`: the kind, a colon, and what happened; `None` where there are counts."""
        return None if self.kind is None else f"{self.kind}: {self.detail or KINDS[self.kind]}"


def read_counts(
    text: str, task: Count, reading: CountReading = "strict", finish: str = "", zeros: Zeros = "omitted"
) -> ReadCounts:
    """Return what `text` says under `reading`; `finish` is why the text ended (``length``: it was cut), where that is known.

    A class that is not named has none, unless `zeros` had to be written: then its absence is a failure.
    """
    if finish in of_names.ENDED:
        return ReadCounts(None, of_names.ENDED[finish])
    said, thinking = (text, False) if reading == "strict" else of_names.without_thinking(text)
    if thinking:
        return ReadCounts(None, "cut", "what it thought has no end")
    said = said.strip()
    try:
        value = only(said)
    except (ValueError, RecursionError):
        value = _NOTHING
    if isinstance(value, dict):
        return counts_of(value, task, reading, zeros)
    if value is not _NOTHING:
        return ReadCounts(None, "no object", f"it is a {_kind(value)}")
    return _among(said, task, reading, zeros)


def _among(said: str, task: Count, reading: CountReading, zeros: Zeros) -> ReadCounts:
    """Read a text that is no JSON as a whole."""
    if not fold(said):
        return ReadCounts(None, "empty")
    held = objects(said)
    if held.broken:
        return ReadCounts(None, "cut" if held.cut else "invalid JSON")
    if not held.found:
        return ReadCounts(None, "refusal" if of_names.refuses(said) else "no JSON")
    if len(held.found) > 1:
        return ReadCounts(None, "two objects", f"it holds {len(held.found)} JSON objects")
    return ReadCounts(None, "extra words") if reading == "strict" else counts_of(held.found[0], task, reading, zeros)


def counts_of(value: Mapping[str, Any], task: Count, reading: CountReading = "strict", zeros: Zeros = "omitted") -> ReadCounts:
    """Return what an object of keys and numbers counts, or why it gives no counts."""
    found: dict[str, int] = {}
    for key, number in value.items():
        id = task.names.strict(key) if reading == "strict" else task.names.normalised(key)
        if id is None:
            return ReadCounts(None, "wrong key", f"it counts {_short(key)!r}, which is none of the classes")
        if id in found or isinstance(number, Several):
            return ReadCounts(None, "two counts", f"it counts {_short(id)!r} twice")
        why = _why(number)
        if why is not None:
            return ReadCounts(None, why, f"the count of {_short(id)!r} is {_short(number, quoted=True)}")
        found[id] = number
    lacking = [id for id in task.ids if id not in found]
    if lacking and zeros == "written":
        return ReadCounts(None, "missing key", f"it does not count {_short(lacking[0])!r}")
    return ReadCounts(task.whole(found))


def _why(number: Any) -> str | None:
    """Return why `number` is no count, or `None`."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return "no number"
    if isinstance(number, float):
        return "not whole" if math.isfinite(number) else "too large"
    return "negative" if number < 0 else "too large" if number > MOST else None


def _kind(value: Any) -> str:
    kinds = {bool: "truth value", int: "number", float: "number", str: "text", list: "list", Several: "list"}
    return kinds.get(type(value), "null")


def _short(value: Any, most: int = 40, *, quoted: bool = False) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**most:
        return "a number of many digits"
    text = f'"{value}"' if isinstance(value, str) and quoted else str(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def answered(error: str) -> bool:
    """Tell whether a model did answer where `error` stands, in words that give no counts or name no class: wrong, and no failure of the run."""
    kind = error.partition(":")[0]
    return (kind in KINDS and kind not in of_names.LASTING) or of_names.answered(error)


def kind_of(error: str | None) -> str | None:
    """Return the kind that an error of a counting contestant tells of; ``other`` where it is none of `KINDS`, `None` without an error."""
    if error is None:
        return None
    first = error.partition(":")[0]
    return first if first in KINDS else of_names.kind_of(error) or "other"
