"""The section on taught language models: before and after on the same test pictures, and format apart from recognition.

How each was taught is in `taught_how`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.gain_chart import Gain, gains
from fieldguide.report.prompted_files import change, share, whole, words
from fieldguide.report.prompting_split import heading
from fieldguide.report.read import Contestant, Json, Study
from fieldguide.report.say import MISSING, NOT_APPLICABLE, Value
from fieldguide.report.taught_how import Lesson, lesson_of

#: Most couples that are shown.
MOST = 12
_NOTHING = "over the free answer untaught: none of the points comes without teaching, and all are"
_OUTCOMES = {"better": "really better after", "worse": "really worse after"}


@dataclass(frozen=True, slots=True)
class Terms:
    """Words that depend on what is asked for: classes, or counts.

    `label` is what can be scored, `no_label` its absence, `right` a right answer. `knew` says what an answer without a label may have named
    all the same, `knows` what its words do not tell of the others, and `tells` what does. `held` are ways of answering in which nothing is
    lost by format, `ways` those that are no reading of words. The others are sentences and headings of the section.
    """

    label: str
    no_label: str
    labels: str
    right: str
    knew: str
    knows: str
    tells: str
    held: Mapping[str, str]
    ways: Mapping[str, str]
    lead: str
    scores: str
    caption: str
    what: str
    change: str
    looks: str


CLASSES = Terms(
    label="a label",
    no_label="no label",
    labels="are a label",
    right="right",
    knew="had named the right class before, in other words",
    knows="Whether the model knew the others words alone do not tell",
    tells="the same model held to the list, or asked for likelihoods, does",
    held={"choice": "held to the list", "likelihood": "asked for likelihoods", "decision": "asked for a decision"},
    ways={"labels": "The likeliest label", "linear": "A linear layer", "choice": "Held to the list"},
    lead=(
        "A gain has two parts that add up: format, on pictures that only one side has a label for, and recognition, on those that both "
        "have one for."
    ),
    scores="Points of test accuracy",
    caption="Test accuracy before and after; in bold what both are scored by. Filtered ones leave answers out that are no name.",
    what="Read as",
    change="Points",
    looks="validation accuracy, answers asked for",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One reading or filtered denominator: what is counted before and after; `main` where it is what both are scored by."""

    name: str
    before: Value
    after: Value
    difference: Value
    main: bool


@dataclass(frozen=True, slots=True)
class Couple:
    """The same model before and after; `told` are sentences, `differs` what else is not the same."""

    model: str
    before: Contestant
    after: Contestant
    rows: tuple[Row, ...]
    chart: Markup
    told: tuple[str, ...]
    differs: tuple[str, ...]
    points: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Taught:
    """The section. `alone` are taught contestants whose model was not asked the same before."""

    terms: Terms
    couples: tuple[Couple, ...]
    more: int
    lessons: tuple[Lesson, ...]
    alone: tuple[Contestant, ...]


def taught(study: Study, terms: Terms = CLASSES) -> Taught | None:
    """Return the section, or `None` where no language model was taught."""
    tuned = [c for c in study.scored if c.facts.get("kind") == "tuned"]
    if not tuned:
        return None
    known = {c.name: c for c in study.scored}
    told = [one for one in _list((study.before_after or {}).get("pairs")) if isinstance(one, dict)]
    found = [one for one in told if words(one.get("before")) in known and words(one.get("after")) in known]
    couples = tuple(_couple(one, known, found, terms) for one in found[:MOST])
    paired = {one["after"] for one in found}
    alone = tuple(c for c in tuned if c.name not in paired)
    return Taught(terms, couples, max(0, len(found) - MOST), tuple(map(lesson_of, tuned)), alone)


def _couple(told: Json, known: dict[str, Contestant], every: Sequence[Json], terms: Terms) -> Couple:
    before, after = known[told["before"]], known[told["after"]]
    difference = as_object(told.get("difference"))
    value = change(difference.get("value"))
    return Couple(
        model=say.clean(say.pathless(told.get("model") or ""), 120) or say.NOT_RECORDED,
        before=before,
        after=after,
        rows=tuple(_rows(told, terms)),
        chart=_chart(told, before, after),
        told=(*_sentences(told, terms), *_without_teaching(told, known, every, terms)),
        differs=tuple(_differs(told)),
        points=say.NOT_RECORDED if value is None else say.points(value),
        outcome=_OUTCOMES.get(str(told.get("outcome")), str(told.get("outcome") or say.NOT_RECORDED)),
    )


def as_object(told: Any) -> Json:
    """Return what a file holds where an object belongs; an empty one where it is none."""
    return told if isinstance(told, dict) else {}


def _list(told: Any) -> list[Any]:
    return told if isinstance(told, list) else []


def _rows(told: Json, terms: Terms) -> Iterator[Row]:
    """Yield the readings, then the filtered denominators."""
    n, main = whole(told.get("n")), {words(one) for one in _list(told.get("main"))}
    for filtered, entries in ((False, told.get("readings")), (True, told.get("filtered"))):
        for one in _list(entries):
            id = words(as_object(one).get("id"))
            sides = [as_object(as_object(one).get(side)) for side in ("before", "after")]
            before, after = (_accuracy(side, whole(side.get("n")) if filtered else n) for side in sides)
            name = terms.ways.get(id) or heading(id, filtered)
            yield Row(name, before, after, _difference(before, after), not filtered and main == {id})


def _accuracy(side: Json, of: int | None) -> Value:
    if not side:
        return Value(NOT_APPLICABLE, title="this one does not answer so, or writes nothing that could be read")
    score = as_object(side.get("accuracy"))
    value, right = share(score.get("value")), whole(side.get("right"))
    if value is None:
        return Value(NOT_APPLICABLE, title="no answer is counted") if of == 0 else MISSING
    low, high = share(score.get("low")), share(score.get("high"))
    note = "" if low is None or high is None else f"{say.interval(low, high)}"
    return Value(say.percent(value), value, note, f"{say.count(right or 0)} of {say.count(of or 0)}")


def _difference(before: Value, after: Value) -> Value:
    if before.number is None or after.number is None:
        return Value(NOT_APPLICABLE, title="needs both")
    return Value(say.points(after.number - before.number), after.number - before.number)


def _chart(told: Json, before: Contestant, after: Contestant) -> Markup:
    rows = []
    for name, part in (("all", "difference"), ("format", "format"), ("recognition", "recognition")):
        one = as_object(told.get(part))
        value, low, high = (change(one.get(key)) for key in ("value", "low", "high"))
        if value is not None and low is not None and high is not None:
            rows.append(Gain(name, value, low, high, whole_one=part == "difference"))
    return gains(rows, f"What {after.name} gains over {before.name}, in points of accuracy") if len(rows) == 3 else Markup("")


def _sentences(told: Json, terms: Terms) -> Iterator[str]:
    """Yield the whole difference, its two parts, what they rest on, and the shares on both sides."""
    n = whole(told.get("n")) or 0
    p, holm = share(told.get("p")), share(told.get("p_holm"))
    only = [whole(told.get(name)) for name in ("only_after", "only_before")]
    if n and None not in only:
        test = "" if p is None else f": p {_equals(p)} (exact McNemar test)"
        corrected = "" if holm is None or holm == p else f", {say.p_value(holm)} after Holm’s correction over the couples here"
        after, before = (
            f"{_counted(count)} {terms.right} only {when}" for count, when in zip(only, ("after", "before"), strict=True)
        )
        yield f"Of {say.count(n)} test pictures, {after} and {before}{test}{corrected}."
    yield from _of_format(told, terms)
    yield from _of_recognition(told, terms)
    yield from _shares(told, n, terms)


def _without_teaching(told: Json, known: dict[str, Contestant], every: Sequence[Json], terms: Terms) -> Iterator[str]:
    """Yield what the untaught model does where nothing is lost by format: how much of the gain needed no teaching."""
    whole_gain = change(as_object(told.get("difference")).get("value"))
    if _how(known[told["before"]]) != "generate" or whole_gain is None:
        return
    for one in every:
        other, gain = known[one["before"]], change(as_object(one.get("difference")).get("value"))
        if one["after"] == told["after"] and _how(other) in terms.held and gain is not None:
            outcome = _OUTCOMES.get(str(one.get("outcome")), str(one.get("outcome")))
            free = f"over the free answer untaught: so many of the {say.points(whole_gain)} points need no teaching, and {say.points(gain)} are"
            over = f"{say.points(whole_gain - gain)} {free}" if gain != whole_gain else f"nothing {_NOTHING}"
            yield f"{other.name}, the same model {terms.held[_how(other)]}, gains {over} left for it ({outcome})."


def _how(contestant: Contestant) -> str:
    return words(as_object(contestant.facts.get("prompt")).get("how"))


def _of_format(told: Json, terms: Terms) -> Iterator[str]:
    one = as_object(told.get("format"))
    gained, lost, value = whole(one.get("gained")), whole(one.get("lost")), change(one.get("value"))
    if gained is None or lost is None or value is None:
        return
    told_lost = f", and {_counted(lost)} {terms.no_label} after that had been {terms.right}" if lost else ""
    won = f"{_counted(gained)} {terms.right} now where there was {terms.no_label} before"
    yield f"Format gain: {say.points(value)} points {_bounds(one)}. {won}{told_lost}."
    named = whole(one.get("named_before"))
    if gained and named is not None:
        yield f"{say.count(named)} of these {say.count(gained)} {terms.knew}. {terms.knows}; {terms.tells}."


def _of_recognition(told: Json, terms: Terms) -> Iterator[str]:
    one, both = as_object(told.get("recognition")), as_object(told.get("both"))
    value, m = change(one.get("value")), whole(both.get("n"))
    if value is None or m is None:
        return
    ends = [share(as_object(both.get(side)).get("value")) for side in ("before", "after")]
    p = share(one.get("p"))
    on = (
        ""
        if ends[0] is None or ends[1] is None
        else f": {say.percent(ends[0])} {terms.right} before, {say.percent(ends[1])} after"
    )
    test = "" if p is None or not m else f"; p {_equals(p)}"
    yield f"Recognition gain: {say.points(value)} points {_bounds(one)}. {say.count(m)} pictures have {terms.label} on both sides{on}{test}."


def _shares(told: Json, n: int, terms: Terms) -> Iterator[str]:
    """Yield accuracy as the share of answers that are a label times the share of these that are right, on both sides."""
    main = [words(one) for one in _list(told.get("main"))]
    readings = {words(one.get("id")): one for one in _list(told.get("readings")) if isinstance(one, dict)}
    if len(main) != 2 or not n:
        return
    said = []
    for side, reading in zip(("before", "after"), main, strict=True):
        one = as_object(as_object(readings.get(reading)).get(side))
        right, labelled = whole(one.get("right")), whole(one.get("labelled"))
        if right is None or not labelled:
            return
        said.append(
            f"{side} {say.percent(labelled / n)} of the answers {terms.labels}, and {say.percent(right / labelled)} of these are {terms.right}"
        )
    yield f"{said[0][:1].upper()}{said[0][1:]}; {said[1]}."
    if whole(as_object(told.get("both")).get("n")) == n:
        return
    yield "The two sides have {terms.label} for different pictures, so their second shares are no fair comparison; the recognition gain is one."


def _counted(count: int | None) -> str:
    return f"{say.count(count or 0)} {'is' if count == 1 else 'are'}"


def _equals(p: float) -> str:
    told = say.p_value(p)
    return told if told.startswith("<") else f"= {told}"


def _bounds(one: Json) -> str:
    low, high = change(one.get("low")), change(one.get("high"))
    return "" if low is None or high is None else f"[{say.points(low)}, {say.points(high)}]"


def _differs(told: Json) -> Iterator[str]:
    for one in _list(told.get("differs")):
        if isinstance(one, list) and len(one) == 3:
            what, before, after = (say.clean(say.pathless(part), 80) for part in one)
            yield f"{what}: {before} before, {after} after"
