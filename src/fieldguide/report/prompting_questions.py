"""The same question to the same model, answered in several ways: what of a difference is format, and what recognition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fieldguide.report import say
from fieldguide.report.charts import Axis, axis_for, strip, strip_axis
from fieldguide.report.gap_strip import gap_axis, gap_ruler, gap_strip
from fieldguide.report.prompted_files import Json, change, share, whole, words
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import NOT_APPLICABLE, Value

#: Ways of answering: what a row calls each, and how a sentence begins.
WAYS = {
    "strict": ("Free answer, strict", "Free answers, read letter for letter"),
    "normalised": ("Free answer, normalised", "The same answers in another spelling"),
    "alias": ("Free answer, alias", "The same answers with synonyms"),
    "choice": ("Held to the list", "Held to the list, token by token"),
    "likelihood": ("Likelihood", "The most probable name"),
    "decision": ("Decision", "The most probable letter"),
}
#: Questions, and ways of one question, that are shown.
MOST_QUESTIONS, MOST_WAYS = 12, 12
#: What is said of a difference that is none, or of which nobody can tell.
_DOUBTS = {
    "not distinguishable": ", which is not distinguishable from none",
    "too few pictures to tell": ", with too few pictures to tell",
}
_AGAIN = "the same stored answers, read less strictly: nothing to test"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of answering. `gap` and its parts are in percentage points against the base; `contestant` is `None` where it has gone."""

    contestant: Contestant | None
    run: str
    name: str
    base: bool
    accuracy: Value
    strip: Markup
    gap: Value
    gap_strip: Markup
    format: Value
    recognition: Value
    outcome: str
    p: Value


@dataclass(frozen=True, slots=True)
class Question:
    """One question that was answered in several ways; `told` are sentences, one for each way that was compared with the base."""

    model: str
    base: str
    n: str
    told: tuple[str, ...]
    ways: tuple[Way, ...]
    ruler: Markup
    gap_ruler: Markup


def questions(study: Study) -> tuple[Question, ...]:
    """Return the questions of ``questions.json``; none where the file is not there, or nothing in it can be used."""
    groups = (study.questions or {}).get("groups")
    found = [_question(group, study) for group in _each(groups)[:MOST_QUESTIONS]]
    return tuple(one for one in found if one is not None)


def _question(group: Json, study: Study) -> Question | None:
    entries = [entry for entry in _each(group.get("ways")) if words(entry.get("way"))][:MOST_WAYS]
    if len({words(entry.get("run")) for entry in entries}) < 2:
        return None
    chance = share(((study.comparison or {}).get("chance") or {}).get("accuracy"))
    ends = [
        end
        for entry in entries
        for key in ("value", "low", "high")
        if (end := share(_of(entry, "accuracy").get(key))) is not None
    ]
    axis = axis_for([*ends, *([] if chance is None else [chance])])
    gaps = [
        end
        for entry in entries
        for key in ("value", "low", "high")
        if (end := change(_of(_of(entry, "against"), "difference").get(key))) is not None
    ]
    apart = gap_axis(gaps)
    base = words(group.get("base"))
    first = next((entry for entry in entries if words(entry.get("run")) == base), entries[0])
    ways = tuple(_way(entry, entry is first, (axis, apart), chance, study) for entry in entries)
    return Question(
        model=say.clean(say.pathless(words(group.get("model")) or say.NOT_RECORDED), 120),
        base=_named(words(first.get("way"))),
        n=say.NOT_RECORDED if (n := whole(group.get("n"))) is None else say.count(n),
        told=tuple(_sentences(entries, first)),
        ways=ways,
        ruler=strip_axis(axis, chance),
        gap_ruler=gap_ruler(apart),
    )


def _way(entry: Json, base: bool, axes: tuple[Axis, Axis], chance: float | None, study: Study) -> Way:
    run, accuracy, against = words(entry.get("run")), _of(entry, "accuracy"), _of(entry, "against")
    contestant = next((one for one in study.contestants if one.name == run), None)
    value, bounds = share(accuracy.get("value")), _bounds(accuracy, share)
    right, n = whole(entry.get("right")), whole(accuracy.get("n"))
    title = f"{say.count(right)} of {say.count(n)}" if right is not None and n is not None else ""
    told = say.MISSING if value is None else Value(say.percent(value), value, say.interval(*bounds) if bounds else "", title)
    gap, gap_bounds = change(_of(against, "difference").get("value")), _bounds(_of(against, "difference"), change)
    slot = contestant.slot if contestant else 0
    p = against.get("p_holm")
    known_p = share(p)
    return Way(
        contestant=contestant,
        run=say.clean(run, 120),
        name=_named(words(entry.get("way"))),
        base=base,
        accuracy=told,
        strip=Markup("") if value is None else strip(axes[0], value, bounds, chance, slot),
        gap=_gap(against, "difference", base),
        gap_strip=gap_strip(axes[1], gap, gap_bounds) if against else Markup(""),
        format=_format(against),
        recognition=_gap(against, "recognition", base),
        outcome=say.clean(words(against.get("outcome")), 60),
        p=Value(say.p_value(known_p), known_p) if known_p is not None else Value(NOT_APPLICABLE, title="nothing is compared"),
    )


def _gap(against: Json, name: str, base: bool) -> Value:
    """Return a difference in points with its interval beneath."""
    if not against:
        return Value("–", title="what the others are compared with" if base else _AGAIN)
    value, bounds = change(_of(against, name).get("value")), _bounds(_of(against, name), change)
    if value is None:
        return say.MISSING
    counts = [whole(_of(against, name).get(key)) for key in ("gained", "lost")]
    title = "" if None in counts else f"{say.count(counts[0] or 0)} won, {say.count(counts[1] or 0)} lost"
    return Value(say.points(value), value, f"{say.points(bounds[0])} to {say.points(bounds[1])}" if bounds else "", title)


def _format(against: Json) -> Value:
    """Return the points that are won on pictures whose answer in the base is no name."""
    if not against:
        return Value("–")
    value, bounds = share(_of(against, "format").get("value")), _bounds(_of(against, "format"), share)
    if value is None:
        return say.MISSING
    note = f"{say.points(bounds[0])} to {say.points(bounds[1])}" if bounds else ""
    return Value(say.points(value), value, note)


def _sentences(entries: Sequence[Json], first: Json) -> Iterator[str]:
    """Yield for each way that is compared what it wins and loses against the base, and what of it is format."""
    base = WAYS.get(words(first.get("way")), ("", "The base"))[1]
    base_accuracy = share(_of(first, "accuracy").get("value"))
    if base_accuracy is not None:
        yield f"{base}: {say.percent(base_accuracy)} of the test pictures are right."
    for entry in entries:
        against = _of(entry, "against")
        gap, accuracy = change(_of(against, "difference").get("value")), share(_of(entry, "accuracy").get("value"))
        won, seen = share(_of(against, "format").get("value")), change(_of(against, "recognition").get("value"))
        if gap is None or accuracy is None:
            continue
        bounds = _bounds(_of(against, "difference"), change)
        span = f" [{say.points(bounds[0])}, {say.points(bounds[1])}]" if bounds else ""
        told = f"{WAYS.get(words(entry.get('way')), ('', words(entry.get('way'))))[1]}: {say.percent(accuracy)}, "
        told += f"{say.points(gap)} points{span}{_DOUBTS.get(words(against.get('outcome')), '')}"
        if won is not None and seen is not None:
            inner = _bounds(_of(against, "recognition"), change)
            seen_span = f" [{say.points(inner[0])}, {say.points(inner[1])}]" if inner else ""
            told += (
                f". Of these, {say.points(won)} are format (pictures whose first answer is no name of the list) and "
                f"{say.points(seen)}{seen_span} are recognition"
            )
        yield f"{told}."


def _named(way: str) -> str:
    return WAYS[way][0] if way in WAYS else say.clean(way, 60) or say.NOT_RECORDED


def _bounds(told: Json, kind: Callable[[Any], float | None]) -> tuple[float, float] | None:
    low, high = (kind(told.get(key)) for key in ("low", "high"))
    return None if low is None or high is None else (low, high)


def _of(told: Json, name: str) -> Json:
    found = told.get(name)
    return found if isinstance(found, Mapping) else {}


def _each(told: object) -> list[Json]:
    return [entry for entry in told if isinstance(entry, Mapping)] if isinstance(told, list) else []
