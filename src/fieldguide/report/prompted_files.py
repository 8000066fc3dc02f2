"""What lies in a study about answers in words: every reading of them, the kinds of errors, and labels that draw wrong answers.

``runs/<folder>/readings.json`` is written at every scoring, for each contestant whose answers hold raw text. Nothing in it is
believed: what is not of the expected kind is `None` or left out, and a file that is damaged says so instead of stopping the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fieldguide.files import read_json
from fieldguide.records import SCHEMA_VERSION

Json = Mapping[str, Any]
Thing = TypeVar("Thing")

#: Most examples of a kind, kinds and leanings that are taken from a file, and most characters of a raw answer.
MOST_EXAMPLES, MOST_KINDS, MOST_LEANINGS, MOST_RAW = 5, 40, 10, 300
#: A count or a cost beyond this was not counted by anybody.
_MOST = 10**15


@dataclass(frozen=True, slots=True)
class Counted:
    """One reading, or one filtered denominator: `right` of `n` answers, `labelled` of them with a label.

    `accuracy` is a `records.Score` as it stands in the file; `what` says what is counted.
    """

    id: str
    what: str = ""
    right: int | None = None
    labelled: int | None = None
    n: int | None = None
    accuracy: Json | None = None
    macro_f1: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A raw answer about the picture `key`, whose class is `truth`; `error` is what was noted of it."""

    key: str
    truth: str
    raw: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of error: how often, as a share of all answers, and examples."""

    id: str
    name: str
    count: int
    share: float | None
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Leaning:
    """How often a label was `answered`, how many of these answers are `wrong`, and of how many pictures it is the `truth`."""

    label: str
    answered: int
    wrong: int
    truth: int | None


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One class under the strict reading: `n` pictures, `labelled` of them with any label, `right` with theirs; `answered`: so often in all."""

    n: int
    labelled: int
    right: int
    answered: int


@dataclass(frozen=True, slots=True)
class Part:
    """The readings of one part of the split, `n` pictures.

    `labelled` is the share of answers that are a label under the headline, `recognised` the accuracy among these. `scored` counts the
    right ones among the labels that the scores are made of, which another reading may have given when the question was put.
    """

    n: int | None = None
    readings: tuple[Counted, ...] = ()
    filtered: tuple[Counted, ...] = ()
    kinds: tuple[Kind, ...] = ()
    leanings: tuple[Leaning, ...] = ()
    labelled: float | None = None
    recognised: float | None = None
    scored: int | None = None
    classes: Mapping[str, ClassCount] = field(default_factory=dict)

    def reading(self, id: str) -> Counted | None:
        """Return the reading of that name."""
        return next((one for one in self.readings if one.id == id), None)


@dataclass(frozen=True, slots=True)
class Prompted:
    """One contestant's ``readings.json``; where it cannot be used, `problem` says why and there is nothing else."""

    headline: str = ""
    test: Part = field(default_factory=Part)
    val: Part | None = None
    problem: str = ""


def read_prompted(runs: Mapping[Path, str]) -> dict[str, Prompted]:
    """Return what was read of each contestant's answers, by its name; `runs` gives the name of each folder."""
    return {
        name: read_readings(folder / "readings.json") for folder, name in runs.items() if (folder / "readings.json").exists()
    }


def noted(folder: Path, facts: Json) -> Json:
    """Return the `facts` of a log with those of ``fit.json``, which holds what showed only while the answers came."""
    try:
        told = _object(_object(read_json(folder / "fit.json")).get("facts"))
    except (ValueError, OSError, RecursionError):
        return facts
    return {**told, **facts, **{name: told[name] for name in ("notes", "prefix") if name in told}}


def opened(path: Path, newest: int) -> Json | str:
    """Return the content of a file of the study, or why there is none; never raises for what is in it. `newest` schema is known."""
    try:
        told = read_json(path)
    except OSError as error:  # its own words would tell where the study lies
        return f"{path.name} cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return f"{path.name} cannot be read: {error}"
    if not isinstance(told, dict):
        return f"{path.name} cannot be read: a JSON object was expected"
    schema = whole(told.get("schema"))
    if schema is not None and schema > newest:
        return f"{path.name} was written by a newer fieldguide (version {schema})"
    return told


def read_readings(path: Path) -> Prompted:
    """Return one file; never raises for what is in it."""
    told = opened(path, SCHEMA_VERSION)
    if isinstance(told, str):
        return Prompted(problem=told)
    parts = _object(told.get("parts"))
    if not isinstance(parts.get("test"), Mapping):
        return Prompted(problem=f"{path.name} holds no test part")
    val = parts.get("val")
    return Prompted(
        headline=words(told.get("headline")) or "strict",
        test=_part(parts["test"]),
        val=_part(val) if isinstance(val, Mapping) else None,
    )


def _part(told: Json) -> Part:
    form = _object(told.get("format"))
    return Part(
        n=whole(told.get("n")),
        readings=tuple(_each(told.get("readings"), _counted)),
        filtered=tuple(_each(told.get("filtered"), _counted)),
        kinds=tuple(_each(told.get("kinds"), _kind))[:MOST_KINDS],
        leanings=tuple(_each(told.get("leaning"), _leaning))[:MOST_LEANINGS],
        labelled=share(form.get("labelled_share")),
        recognised=share(form.get("recognised")),
        scored=whole(_object(told.get("scored")).get("right")),
        classes=dict(_each(told.get("per_class"), _class)),
    )


def _class(told: Json) -> tuple[str, ClassCount] | None:
    id, counts = words(told.get("id")), [whole(told.get(name)) for name in ("n", "labelled", "right", "answered")]
    n, labelled, right, answered = (-1 if count is None else count for count in counts)
    return (
        (id, ClassCount(n, labelled, right, answered))
        if id and 0 <= right <= min(labelled, answered) and labelled <= n
        else None
    )


def _counted(told: Json) -> Counted | None:
    id = words(told.get("id"))
    if not id:
        return None
    macro = told.get("macro_f1")
    return Counted(
        id=id,
        what=words(told.get("what")),
        right=whole(told.get("right")),
        labelled=whole(told.get("labelled")),
        n=whole(told.get("n")),
        accuracy=_score(told.get("accuracy")),
        macro_f1=share(_object(macro).get("value") if isinstance(macro, Mapping) else macro),
    )


def _score(told: Any) -> Json | None:
    """Return a `records.Score` that holds shares and words alone, or `None`."""
    if not isinstance(told, Mapping):
        return None
    value, low, high = (share(told.get(key)) for key in ("value", "low", "high"))
    if value is None and told.get("value") is not None:
        return None
    state, why = words(told.get("state")), words(told.get("why"))
    return {"value": value, "low": low, "high": high, "n": whole(told.get("n")), "state": state or None, "why": why or None}


def _kind(told: Json) -> Kind | None:
    id, count = words(told.get("id")), whole(told.get("count"))
    if not id or count is None:
        return None
    examples = tuple(_each(told.get("examples"), _example))[:MOST_EXAMPLES]
    return Kind(id, words(told.get("name")) or id, count, share(told.get("share")), examples)


def _example(told: Json) -> Example | None:
    key, raw = told.get("key"), told.get("raw")
    if not isinstance(key, str):
        return None
    # One character more than is shown: whoever cuts it can say that it was cut.
    return Example(
        key,
        words(told.get("truth")),
        raw[: MOST_RAW + 1] if isinstance(raw, str) else "",
        words(told.get("error"))[: MOST_RAW + 1],
    )


def _leaning(told: Json) -> Leaning | None:
    label, answered, wrong = words(told.get("label")), whole(told.get("answered")), whole(told.get("wrong"))
    return None if not label or answered is None or wrong is None else Leaning(label, answered, wrong, whole(told.get("truth")))


def _each(told: Any, one: Callable[[Json], Thing | None]) -> Iterator[Thing]:
    for entry in told if isinstance(told, list) else ():
        found = one(entry) if isinstance(entry, Mapping) else None
        if found is not None:
            yield found


def _object(told: Any) -> Json:
    return told if isinstance(told, Mapping) else {}


def words(told: Any) -> str:
    """Return `told` where it is text, else nothing."""
    return told if isinstance(told, str) else ""


def whole(told: Any) -> int | None:
    """Return `told` where it is a count, else `None`."""
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= _MOST else None


def number(told: Any) -> float | None:
    """Return `told` where it is a finite number that is not negative, else `None`."""
    known = isinstance(told, int | float) and not isinstance(told, bool) and 0 <= told <= _MOST
    return float(told) if known else None


def share(told: Any) -> float | None:
    """Return `told` where it lies between 0 and 1, else `None`."""
    value = number(told)
    return value if value is not None and value <= 1 else None


def change(told: Any) -> float | None:
    """Return `told` where it is a difference of shares, -1 to 1, else `None`."""
    known = isinstance(told, int | float) and not isinstance(told, bool) and -1 <= told <= 1
    return float(told) if known else None
