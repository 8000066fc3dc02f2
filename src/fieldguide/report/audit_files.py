"""What lies in a study about prompt audits: ``runs/<folder>/audit.json``, in frozen values.

Nothing in it is believed: what is not of the expected kind is `None` or left out, and a file that is damaged says so instead of stopping
the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fieldguide.report.prompted_files import Json, change, number, opened, share, whole, words

#: The newest form of the file that is known.
SCHEMA = 1
#: Most entries of a list that are taken from a file.
MOST = 400
NAME = "audit.json"
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Bounded:
    """A share or a difference of shares with its interval, the pictures it is of, and its p value; each `None` where it is not there.

    `p` is that after Holm where the check is judged by it.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    p: float | None = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The interval, where both ends are there."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Recall:
    """The recall of one class under the prompt as it is and under a variant; `p` is corrected after Holm."""

    label: str
    n: int | None
    base: float | None
    variant: float | None
    difference: float
    p: float | None


@dataclass(frozen=True, slots=True)
class Variant:
    """One change of what is asked: `difference` is its accuracy minus that of the prompt as it is, `flips` the share of other answers.

    `beside` is the difference over answers that a shorter and a longer list both have, where the list's length was changed.
    """

    id: str
    name: str
    n: int | None
    unanswered: int | None
    accuracy: Bounded | None
    difference: Bounded | None
    flips: Bounded | None
    recall: tuple[Recall, ...]
    beside: Bounded | None = None

    @property
    def judged(self) -> Bounded | None:
        """The difference that the check is judged by."""
        return self.beside or self.difference


@dataclass(frozen=True, slots=True)
class Pulled:
    """Share of answers that name a label where another is right: `when` it stands as the example, and when it does `not_`."""

    label: str
    when: Bounded | None
    not_: Bounded | None
    difference: Bounded | None


@dataclass(frozen=True, slots=True)
class Places:
    """What each place of the list takes, first to last, over `orders` of it; `rho` is the rank correlation with what it takes beyond that.

    `shares` are place, its share of the answers, and the share that the labels that stood there would take anywhere, where it is known.
    `p` is of the mean place of the answers.
    """

    shares: tuple[tuple[int, float, float | None], ...]
    orders: int | None
    pictures: int | None
    rho: float | None
    p: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `state` is ``ok``, ``not applicable`` or ``not asked``, `found` what came out where it was asked.

    `alarm` tells whether something should be changed; `None` where the file does not say.
    """

    id: str
    question: str
    state: str
    why: str
    found: str
    sentence: str
    variants: tuple[Variant, ...]
    pulled: tuple[Pulled, ...]
    pull: Bounded | None
    places: Places | None
    alarm: bool | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the audit took."""

    questions: int | None = None
    asked: int | None = None
    kept: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    money: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """One contestant's audit; where it cannot be used, `problem` says why and there is nothing else."""

    model: str = ""
    how: str = ""
    part: str = ""
    pictures: int | None = None
    of: int | None = None
    seed: int | None = None
    classes: int | None = None
    right: int | None = None
    labelled: int | None = None
    accuracy: Bounded | None = None
    checks: tuple[Check, ...] = ()
    verdict: str = ""
    cost: Cost = field(default_factory=Cost)
    asking: str = ""
    revision: str = ""
    problem: str = ""


def read_audits(runs: Mapping[Path, str]) -> dict[str, Audit]:
    """Return the audit of each contestant that has one, by its name; `runs` gives the name of each folder."""
    return {name: read_audit(folder / NAME) for folder, name in runs.items() if (folder / NAME).exists()}


def read_audit(path: Path) -> Audit:
    """Return one file; never raises for what is in it."""
    told = opened(path, SCHEMA)
    if isinstance(told, str):
        return Audit(problem=told)
    checks = tuple(_each(told.get("checks"), _check))
    if not checks:
        return Audit(problem=f"{NAME} holds no check")
    base, cost = _object(told.get("base")), _object(told.get("cost"))
    counts = {name: whole(cost.get(name)) for name in ("questions", "asked", "kept", "tokens_in", "tokens_out")}
    return Audit(
        model=words(told.get("model")),
        how=words(told.get("how")),
        part=words(told.get("part")),
        pictures=whole(told.get("pictures")),
        of=whole(told.get("of")),
        seed=whole(told.get("seed")),
        classes=whole(told.get("classes")),
        verdict=words(told.get("verdict")),
        asking=words(told.get("asking")),
        revision=words(told.get("revision")),
        right=whole(base.get("right")),
        labelled=whole(base.get("labelled")),
        accuracy=_share(base.get("accuracy")),
        checks=checks,
        cost=Cost(**counts, money=number(cost.get("money")), seconds=number(cost.get("seconds"))),
    )


def _check(told: Json) -> Check | None:
    id, pull, places = words(told.get("id")), _object(told.get("pull")), told.get("places")
    if not id:
        return None
    return Check(
        id=id,
        **{name: words(told.get(name)) for name in ("question", "state", "why", "found", "sentence")},
        variants=tuple(_each(told.get("variants"), _variant)),
        pulled=tuple(_each(pull.get("labels"), _pulled)),
        pull=_change(pull.get("overall")),
        places=_places(places) if isinstance(places, Mapping) else None,
        alarm=told.get("alarm") if isinstance(told.get("alarm"), bool) else None,
    )


def _variant(told: Json) -> Variant | None:
    id = words(told.get("id"))
    if not id:
        return None
    return Variant(
        id=id,
        name=words(told.get("name")) or id,
        n=whole(told.get("n")),
        unanswered=whole(told.get("unanswered")),
        accuracy=_share(told.get("accuracy")),
        difference=_change(told.get("difference")),
        flips=_share(told.get("flips")),
        recall=tuple(_each(told.get("recall"), _recall)),
        beside=_change(told.get("beside_choice")),
    )


def _recall(told: Json) -> Recall | None:
    label, difference = words(told.get("label")), change(told.get("difference"))
    if not label or difference is None:
        return None
    return Recall(
        label, whole(told.get("n")), share(told.get("base")), share(told.get("variant")), difference, share(told.get("p_holm"))
    )


def _pulled(told: Json) -> Pulled | None:
    label = words(told.get("label"))
    ends = (_share(told.get("with")), _share(told.get("without")), _change(told.get("difference")))
    return Pulled(label, *ends) if label else None


def _places(told: Json) -> Places:
    entries = list(_each(told.get("places"), _place))
    rho, p = change(told.get("rho")), share(told.get("p_holm"))
    counts = (whole(told.get("orders")), whole(told.get("pictures")))
    shares = tuple(sorted(entries, key=lambda entry: entry[0]))
    return Places(shares, *counts, rho, share(told.get("p")) if p is None else p, words(told.get("outcome")))


def _place(told: Json) -> tuple[int, float, float | None] | None:
    place, taken = whole(told.get("place")), share(told.get("share"))
    return None if place is None or taken is None else (place, taken, share(told.get("expected")))


def _share(told: Any) -> Bounded | None:
    return _bounded(told, share)


def _change(told: Any) -> Bounded | None:
    return _bounded(told, change)


def _bounded(told: Any, kind: Callable[[Any], float | None]) -> Bounded | None:
    found = _object(told)
    value = kind(found.get("value"))
    if value is None:
        return None
    p = share(found.get("p_holm"))
    tested = share(found.get("p")) if p is None else p
    return Bounded(value, kind(found.get("low")), kind(found.get("high")), whole(found.get("n")), tested)


def _each(told: Any, one: Callable[[Json], Thing | None]) -> Iterator[Thing]:
    for entry in told[:MOST] if isinstance(told, list) else ():
        found = one(entry) if isinstance(entry, Mapping) else None
        if found is not None:
            yield found


def _object(told: Any) -> Json:
    return told if isinstance(told, Mapping) else {}
