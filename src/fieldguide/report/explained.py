"""The explanations that lie in a study, as frozen values: which pictures were chosen, and the maps of every contestant for each.

``explained.json`` names the pictures; ``runs/<folder>/explained/<picture>.json`` holds one contestant's maps for one of them.
Whoever wrote the files, nothing in them is believed: lengths, ranges and names are checked, and every number is bounded.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DataProblem
from fieldguide.files import read_json
from fieldguide.records import SCHEMA_VERSION
from fieldguide.report.say import clean

Json = Mapping[str, Any]
Thing = TypeVar("Thing")

#: What one file may hold; beyond it the file was not written by fieldguide.
MOST_FILE_BYTES, MOST_PICTURES, MOST_MAPS, MOST_LAYERS, MOST_SIDE, MOST_STEPS = 16_000_000, 64, 24, 96, 128, 400
#: A key names a file, so it may hold nothing that leads out of the folder.
_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")


@dataclass(frozen=True, slots=True)
class Check:
    """How far one layer of a map can be trusted.

    `deletion` and `insertion` are the gap in nats after 0 to all of the picture was covered or shown, most important first;
    `random` the scores of random orders, in nats like `score`; `better` whether the map beats them, `moved` whether it changed
    with shuffled weights. What was not measured is `None` or empty.
    """

    sentence: str
    deletion: tuple[float, ...] = ()
    insertion: tuple[float, ...] = ()
    random: tuple[float, ...] = ()
    score: float | None = None
    better: bool | None = None
    moved: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """`cells` is ``"layers height width"`` uint8; the value of a cell is ``low + cell / 255 * (high - low)`` of its layer."""

    method: str
    title: str
    layers: tuple[str, ...]
    cells: NDArray[np.uint8]
    low: tuple[float, ...]
    high: tuple[float, ...]
    signed: bool
    checks: tuple[Check, ...] = ()

    def check(self, layer: int) -> Check | None:
        """Return the check of one layer, or `None` where none was made."""
        return self.checks[layer] if self.checks else None

    def values(self, layer: int) -> NDArray[np.float64]:
        """Return ``"height width"``."""
        low, high = self.low[layer], self.high[layer]
        return np.asarray(low + self.cells[layer] / 255.0 * (high - low), np.float64)


@dataclass(frozen=True, slots=True)
class Unfit:
    """A method that does not apply: why, and what to use."""

    method: str
    why: str
    instead: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why one contestant answered as it did for one picture.

    `gap` is the log-probability of the answer minus that of the runner-up, in nats. `seen` is the box that the network saw: left,
    top, right and bottom as shares of the picture; the maps lie over it.
    """

    image: str
    label: str | None
    answer: str
    runner_up: str
    probability: float | None
    gap: float | None
    seen: tuple[float, float, float, float]
    maps: tuple[Map, ...]
    unfit: tuple[Unfit, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One picture that was chosen to be explained, and what for."""

    image: str
    why: str


@dataclass(frozen=True, slots=True)
class Explained:
    """All explanations of a study: the pictures in order, and what there is by name of the contestant and picture."""

    pictures: tuple[Chosen, ...]
    found: Mapping[tuple[str, str], Explanation] = field(default_factory=dict)


def read_explained(study: Path, runs: Mapping[Path, str]) -> Explained | None:
    """Return the explanations in the folder `study`, or `None` where none were made; `runs` gives the name of each run's folder.

    Raises `DataProblem` for a file that is damaged, newer than this fieldguide or not what fieldguide writes.
    """
    told = _load(study / "explained.json", _chosen)
    if told is None:
        return None
    found = {}
    for folder, name in runs.items():
        for picture in told:
            explanation = _load(folder / "explained" / f"{picture.image}.json", explanation_from)
            if explanation is not None:
                found[name, picture.image] = explanation
    return Explained(told, found)


def explanation_from(value: Json) -> Explanation:
    """Return the explanation that `value` holds, in the form of the files; raises `ValueError` where it is not of that form."""
    maps = _some(value.get("maps", []), MOST_MAPS, "maps")
    return Explanation(
        image=_words(value["image"]),
        label=None if value.get("label") is None else _words(value["label"]),
        answer=_words(value["answer"]),
        runner_up=_words(value["runner_up"]),
        probability=_share(value.get("probability")),
        gap=_number(value.get("gap")),
        seen=_box(value.get("seen", (0, 0, 1, 1))),
        maps=tuple(_map(one) for one in maps),
        unfit=tuple(_unfit(one) for one in _some(value.get("not_applicable", []), MOST_MAPS, "methods")),
    )


def _load(path: Path, read: Callable[[Json], Thing]) -> Thing | None:
    try:
        if not path.exists():
            return None
        if path.stat().st_size > MOST_FILE_BYTES:
            raise ValueError(f"it is larger than {MOST_FILE_BYTES:,} bytes")
        value = read_json(path)
        if not isinstance(value, dict):
            raise ValueError("a JSON object was expected")
        if int(value.get("schema", 0)) > SCHEMA_VERSION:
            raise DataProblem(
                f"{path} was written by a newer fieldguide (version {value['schema']}).",
                f"This fieldguide reads versions up to {SCHEMA_VERSION}.",
                "Upgrade: pip install --upgrade fieldguide",
            )
        return read(value)
    except KeyError as error:
        raise _damaged(path, f"it has no {error}") from error
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, OSError) as error:
        raise _damaged(path, clean(error, 200)) from error


def _damaged(path: Path, why: str) -> DataProblem:
    return DataProblem(
        f"{path} cannot be read: {why}.",
        "Explanations are shown as `fieldguide explain` wrote them.",
        "Delete that one file and run `fieldguide explain` on the study again; what is whole is kept.",
    )


def _chosen(value: Json) -> tuple[Chosen, ...]:
    pictures = _some(value.get("pictures", []), MOST_PICTURES, "pictures")
    chosen: dict[str, Chosen] = {}
    for picture in pictures:
        if not isinstance(picture["image"], str) or not _KEY.fullmatch(picture["image"]):
            raise ValueError(f"{clean(picture['image'], 60)!r} is not the key of a picture")
        chosen.setdefault(picture["image"], Chosen(picture["image"], _words(picture.get("why") or "", 300)))
    return tuple(chosen.values())


def _map(value: Json) -> Map:
    layers = tuple(_words(name, 80) for name in _some(value["layers"], MOST_LAYERS, "layers"))
    if not layers:
        raise ValueError("a map has one or more layers")
    height, width = _side(value["height"]), _side(value["width"])
    low, high = (_numbers(value[name], len(layers)) for name in ("low", "high"))
    if not len(low) == len(high) == len(layers):
        raise ValueError("a layer has a low and a high value")
    if any(a > b for a, b in zip(low, high, strict=True)):
        raise ValueError("the low value of a layer is above its high value")
    checks = tuple(_check(one) for one in _some(value.get("checks") or [], MOST_LAYERS, "checks"))
    if checks and len(checks) != len(layers):
        raise ValueError(f"{len(checks)} checks for {len(layers)} layers")
    return Map(
        method=_words(value["method"], 60),
        title=_words(value.get("title") or value["method"], 120),
        layers=layers,
        cells=_cells(value["bytes"], (len(layers), height, width)),
        low=low,
        high=high,
        signed=_flag(value.get("signed")) or False,
        checks=checks,
    )


def _cells(text: object, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return the decoded bytes in `shape`; exactly as many as that, in exactly base64."""
    if not isinstance(text, str):
        raise ValueError("the bytes of a map are not a text")
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("the bytes of a map are not base64") from error
    if len(raw) != math.prod(shape):
        raise ValueError(f"{len(raw)} bytes for a map of {' x '.join(map(str, shape))}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _check(value: Json) -> Check:
    return Check(
        sentence=_words(value.get("sentence") or "", 600),
        deletion=_numbers(value.get("deletion") or (), MOST_STEPS),
        insertion=_numbers(value.get("insertion") or (), MOST_STEPS),
        random=_numbers(value.get("random") or (), MOST_STEPS),
        score=_number(value.get("score")),
        better=_flag(value.get("better")),
        moved=_flag(value.get("moved")),
    )


def _unfit(value: Json) -> Unfit:
    instead = tuple(_words(name, 60) for name in _some(value.get("instead", []), MOST_MAPS, "methods"))
    return Unfit(_words(value["method"], 60), _words(value.get("why") or "", 400), instead)


def _some(value: object, most: int, what: str) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) > most:
        raise ValueError(f"a list of at most {most} {what} was expected")
    return list(value)


def _words(value: object, most: int = 300) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text was expected, not {clean(value, 40)}")
    return clean(value, most)


def _flag(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"true, false or null was expected, not {clean(value, 40)}")
    return value


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e12:
        raise ValueError(f"a finite number was expected, not {clean(value, 40)}")
    return float(value)


def _numbers(values: Iterable[object], most: int) -> tuple[float, ...]:
    found = tuple(_number(value) for value in _some(values, most, "numbers"))
    if None in found:
        raise ValueError("a number is missing")
    return tuple(number for number in found if number is not None)


def _share(value: object) -> float | None:
    number = _number(value)
    if number is not None and not -1e-6 <= number <= 1 + 1e-6:
        raise ValueError(f"{number} is not a probability")
    return number


def _side(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SIDE:
        raise ValueError(f"the side of a map is 1 to {MOST_SIDE} cells, not {clean(value, 40)}")
    return value


def _box(value: object) -> tuple[float, float, float, float]:
    numbers = _numbers(value, 4) if isinstance(value, list | tuple) else ()
    if len(numbers) != 4:
        raise ValueError("the box that was seen has four numbers")
    left, top, right, bottom = (min(1.0, max(0.0, number)) if -1e-6 <= number <= 1 + 1e-6 else number for number in numbers)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("the box that was seen lies within the picture, from 0 to 1")
    return left, top, right, bottom
