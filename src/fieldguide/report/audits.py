"""The section on prompt audits: the verdict first, then what was checked, what each change did, and what it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fieldguide.report import audit_chart, say
from fieldguide.report.audit_files import Audit, Bounded, Check, Places, Recall, Variant
from fieldguide.report.charts import Axis, dumbbell
from fieldguide.report.gap_strip import gap_axis, gap_ruler, gap_strip
from fieldguide.report.prompted_files import Json, words
from fieldguide.report.prompting_cost import money
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import NOT_APPLICABLE, NOT_RECORDED, Value

#: Rows that are shown of the changes of one check, of the labels that are pulled, and of the classes whose recall changed.
MOST_VARIANTS, MOST_PULLED, MOST_RECALL = 24, 15, 20
ALPHA = 0.05
#: How what was found stands out: a sign for each, and whether it is pointed at.
_FOUND = {"yes": ("!", "found"), "no": ("✓", "fine"), "not distinguishable": ("≈", "other")}
#: Checks whose question is better answered with yes: then nothing is wrong.
_BETTER = frozenset(("picture", "batch", "repeat"))
#: The check that shows another picture: what becomes of classes then says nothing of the prompt.
_UNSEEN = "picture"
_STATES = {"not applicable": "–", "not asked": "○"}
_WORDS = {"yes": "yes", "no": "no", "not distinguishable": "not distinguishable"}
HOWS = {
    "generate": "free text",
    "choice": "one of the labels",
    "likelihood": "how probable every label is",
    "decision": "how probable the letter of every label is",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of what is asked, ready to be shown."""

    name: str
    n: Value
    unanswered: Value
    accuracy: Value
    gap: Value
    strip: Markup
    flips: Value


@dataclass(frozen=True, slots=True)
class Row:
    """One check: `sign` repeats in form what was `found`; `strongest` is the change of it that moved accuracy most.

    `drawn` tells whether it stands on the axis of all checks: without its picture a model is lost, which would press all others together.
    """

    question: str
    state: str
    sign: str
    kind: str
    found: str
    sentence: str
    strongest: Change | None
    of: int
    flips: Value
    flipped_by: str
    changes: tuple[Change, ...]
    more: int
    ruler: Markup
    drawn: bool


@dataclass(frozen=True, slots=True)
class Pull:
    """One label: how often it is answered where another is right, when it is the example and when it is not."""

    label: str
    when: Value
    not_: Value
    chart: Markup
    gap: Value
    p: Value


@dataclass(frozen=True, slots=True)
class Moved:
    """One class whose recall changed by more than chance."""

    label: str
    name: str
    n: Value
    base: Value
    variant: Value
    gap: Value
    p: Value


@dataclass(frozen=True, slots=True)
class Shown:
    """One audited contestant; `doubts` say why it may not be about the contestant as it is now."""

    contestant: Contestant
    problem: str
    verdict: str
    doubts: tuple[str, ...]
    audited: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    ruler: Markup
    pulls: tuple[Pull, ...]
    pulls_more: int
    pull: str
    places: Markup
    place_rows: tuple[tuple[str, str, str], ...]
    places_said: str
    moved: tuple[Moved, ...]
    moved_more: int
    recalls: bool


@dataclass(frozen=True, slots=True)
class Audits:
    """The section: who was audited, and the contestants asked in words that were not."""

    shown: tuple[Shown, ...]
    waiting: tuple[Contestant, ...]


def audits(study: Study) -> Audits | None:
    """Return the section; `None` where nobody was audited and nobody could be."""
    prompted = [one for one in study.scored if _asked_in_words(one)]
    audited = [one for one in study.contestants if one.name in study.audits]
    if not prompted and not audited:
        return None
    shown = tuple(_shown(one, study.audits[one.name], study) for one in audited)
    return Audits(shown, tuple(one for one in prompted if one.name not in study.audits))


def _asked_in_words(contestant: Contestant) -> bool:
    """Tell whether it could be audited: it was prompted, or taught to answer in words."""
    facts = contestant.facts
    return facts.get("kind") == "prompted" or (facts.get("kind") == "tuned" and facts.get("head") == "words")


def _shown(contestant: Contestant, audit: Audit, study: Study) -> Shown:
    axis = _axis([check for check in audit.checks if check.id != _UNSEEN])
    pulled = sorted(
        (one for check in audit.checks for one in check.pulled),
        key=lambda one: (-abs(one.difference.value if one.difference else 0.0), one.label),
    )
    places = next((check.places for check in audit.checks if check.places), None)
    moved = sorted(_moved(audit, study), key=lambda one: -abs(one.gap.number or 0.0))
    return Shown(
        contestant=contestant,
        problem=say.clean(audit.problem, 300),
        verdict=say.glued(say.clean(audit.verdict, 600)),
        doubts=tuple(_doubts(contestant, audit, study)),
        audited="" if audit.problem else _audited(audit),
        facts=tuple(_facts(audit)) if not audit.problem else (),
        rows=tuple(_row(check, _axis([check]) if check.id == _UNSEEN else axis) for check in audit.checks),
        ruler=gap_ruler(axis),
        pulls=tuple(_pull(one.label, one.when, one.not_, one.difference, study) for one in pulled[:MOST_PULLED]),
        pulls_more=max(0, len(pulled) - MOST_PULLED),
        pull=_overall(next((check.pull for check in audit.checks if check.pull), None)),
        places=audit_chart.places(places.shares) if places else Markup(""),
        place_rows=_place_rows(places) if places else (),
        places_said=_order(places) if places else "",
        moved=tuple(moved[:MOST_RECALL]),
        moved_more=max(0, len(moved) - MOST_RECALL),
        recalls=any(one.recall for check in audit.checks if check.id != _UNSEEN for one in check.variants),
    )


def _doubts(contestant: Contestant, audit: Audit, study: Study) -> Iterator[str]:
    """Yield what the audit was made of that the contestant is not any more."""
    if audit.problem:
        return
    prompt = contestant.facts.get("prompt")
    told: Json = prompt if isinstance(prompt, dict) else {}
    again = "Audit it again."
    model, how = words(contestant.facts.get("model")), words(told.get("how"))
    asking, revision = words(told.get("hash")), words(contestant.facts.get("revision"))
    if audit.model and model and audit.model != model:
        yield f"The audit is of the model {say.clean(say.pathless(audit.model), 80)}, and this contestant asks another one. {again}"
    elif audit.revision and revision and audit.revision != revision:
        yield f"The model has other weights or another precision than when it was audited. {again}"
    if audit.how and how and audit.how != how:
        yield f"The audit asked for {HOWS.get(audit.how, say.clean(audit.how, 40))}, and this contestant for something else. {again}"
    elif audit.asking and asking and audit.asking != asking:
        yield f"The prompt is another one than when it was audited. {again}"
    if audit.classes is not None and audit.classes != len(study.classes):
        yield f"The audit is of {say.count(audit.classes)} classes, and this study has {say.count(len(study.classes))}. {again}"


def _audited(audit: Audit) -> str:
    """Return on which pictures it was asked, and why not on others."""
    pictures = "an unknown number of" if audit.pictures is None else say.count(audit.pictures)
    of = "" if audit.of is None else f" of {say.count(audit.of)}"
    if audit.part == "test":
        return (
            f"Asked about {pictures}{of} test pictures, because this study has no others: a prompt that is changed after reading this "
            "should be tried on pictures that are new."
        )
    if not audit.part:
        return f"Asked about {pictures}{of} pictures; of which part is not recorded."
    return (
        f"Asked about {pictures}{of} pictures of the {say.clean(audit.part, 60)} part and not of the test part: whoever changes the prompt "
        "after reading this has not looked at the test pictures."
    )


def _facts(audit: Audit) -> Iterator[tuple[str, str]]:
    cost = audit.cost
    yield "Model", say.clean(say.pathless(audit.model), 120) if audit.model else NOT_RECORDED
    yield "Asked for", HOWS.get(audit.how, say.clean(audit.how, 60) or NOT_RECORDED)
    yield "Accuracy as it is", _counted(audit.accuracy, audit.right)
    if audit.labelled is not None and audit.pictures:
        yield "Answers that are a label", f"{say.count(audit.labelled)} of {say.count(audit.pictures)}"
    yield "Seed of the sample", NOT_RECORDED if audit.seed is None else str(audit.seed)
    yield "Questions", _questions(audit)
    yield "Tokens", " and ".join(_tokens(audit)) or NOT_RECORDED
    yield "Time", NOT_RECORDED if cost.seconds is None else say.seconds(cost.seconds)
    yield "Money", "no price is given" if cost.money is None else money(cost.money)


def _counted(accuracy: Bounded | None, right: int | None) -> str:
    if accuracy is None:
        return NOT_RECORDED
    bounds = f" [{say.interval(*accuracy.bounds)}]" if accuracy.bounds else ""
    of = f", {say.count(right)} of {say.count(accuracy.n)}" if right is not None and accuracy.n is not None else ""
    return f"{say.percent(accuracy.value)}{bounds}{of}"


def _questions(audit: Audit) -> str:
    cost = audit.cost
    if cost.questions is None:
        return NOT_RECORDED
    parts = [(cost.asked, "asked"), (cost.kept, "from kept answers")]
    told = [f"{say.count(number)} {what}" for number, what in parts if number is not None]
    return say.count(cost.questions) + (f": {', '.join(told)}" if told else "")


def _tokens(audit: Audit) -> Iterator[str]:
    for number, what in ((audit.cost.tokens_in, "read"), (audit.cost.tokens_out, "written")):
        if number is not None:
            yield f"{say.count(number)} {what}"


def _row(check: Check, axis: Axis) -> Row:
    ok = check.state == "ok"
    sign, kind = _sign(check) if ok else (_STATES.get(check.state, "?"), "other")
    compared = [one for one in check.variants if one.judged]
    strongest = max(compared, key=_size, default=None)
    flipped = max((one for one in check.variants if one.flips), key=_flipped, default=None)
    ordered = sorted(check.variants, key=_size, reverse=True)
    shown = {id(one) for one in ordered[:MOST_VARIANTS]}
    return Row(
        question=say.clean(check.question or check.id, 200),
        state=say.clean(check.state, 40) or NOT_RECORDED,
        sign=sign,
        kind=kind,
        found=_WORDS.get(check.found, say.clean(check.found, 40) or NOT_RECORDED)
        if ok
        else say.clean(check.state, 40) or NOT_RECORDED,
        sentence=say.glued(say.clean(check.sentence or check.why, 900)),
        strongest=_change(strongest, axis) if ok and strongest else None,
        of=len(compared),
        flips=_shared(flipped.flips) if ok and flipped else Value(NOT_APPLICABLE),
        flipped_by=say.clean(flipped.name, 80) if ok and flipped else "",
        changes=tuple(_change(one, axis) for one in check.variants if id(one) in shown),
        more=max(0, len(check.variants) - MOST_VARIANTS),
        ruler=gap_ruler(axis),
        drawn=check.id != _UNSEEN,
    )


def _axis(checks: Sequence[Check]) -> Axis:
    gaps = [one.judged for check in checks for one in check.variants if one.judged]
    return gap_axis(end for gap in gaps for end in (gap.value, *(gap.bounds or ())))


def _sign(check: Check) -> tuple[str, str]:
    """Return the sign of what was found, and whether it is pointed at: a pull that helps is found, and no reason for alarm."""
    if check.alarm:
        return _FOUND["yes"]
    found = {"yes": "no", "no": "yes"}.get(check.found, check.found) if check.id in _BETTER else check.found
    return ("·", "other") if found == "yes" and check.alarm is False else _FOUND.get(found, ("?", "other"))


def _size(one: Variant) -> float:
    return abs(one.judged.value) if one.judged else 0.0


def _flipped(one: Variant) -> float:
    return one.flips.value if one.flips else 0.0


def _change(one: Variant, axis: Axis) -> Change:
    gap = one.judged
    return Change(
        name=say.clean(one.name, 80) + (", over answers that both lists have" if one.beside else ""),
        n=say.number(one.n, say.count),
        unanswered=say.number(one.unanswered, say.count),
        accuracy=_shared(one.accuracy),
        gap=_gap(gap),
        strip=gap_strip(axis, gap.value if gap else None, gap.bounds if gap else None),
        flips=_shared(one.flips),
    )


def _shared(told: Bounded | None) -> Value:
    if told is None:
        return Value(NOT_APPLICABLE, title="not asked, or with nothing to compare")
    over = f"over {say.count(told.n)} pictures" if told.n is not None else ""
    return Value(say.percent(told.value), told.value, say.interval(*told.bounds) if told.bounds else "", over)


def _gap(told: Bounded | None) -> Value:
    if told is None:
        return Value(NOT_APPLICABLE, title="these answers are not compared with those to the prompt as it is")
    note = f"{say.points(told.bounds[0])} to {say.points(told.bounds[1])}" if told.bounds else ""
    title = "" if told.p is None else f"p {say.p_value(told.p)}"
    return Value(say.points(told.value), told.value, note, title)


def _p(p: float | None) -> Value:
    return say.MISSING if p is None else Value(say.p_value(p), p)


def _pull(label: str, when: Bounded | None, not_: Bounded | None, gap: Bounded | None, study: Study) -> Pull:
    name = say.clean(study.names.get(label, label), 80)
    chart = Markup("")
    if when and not_:
        spoken = f"when it is not the example {say.percent(not_.value)}, when it is {say.percent(when.value)}"
        chart = dumbbell(not_.value, when.value, spoken)
    return Pull(name, _shared(when), _shared(not_), chart, _gap(gap), _p(gap.p if gap else None))


def _overall(told: Bounded | None) -> str:
    if told is None:
        return ""
    bounds = f" [{say.points(told.bounds[0])}, {say.points(told.bounds[1])}]" if told.bounds else ""
    p = f" (p {say.p_value(told.p)})" if told.p is not None else ""
    return say.glued(
        f"Over all labels, a label is answered {say.points(told.value)} points{bounds} more often where another is right when it stands "
        f"as the example{p}."
    )


def _place_rows(places: Places) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (say.count(at), say.percent(taken), NOT_RECORDED if expected is None else say.percent(expected))
        for at, taken, expected in places.shares
    )


def _order(places: Places) -> str:
    outcome = say.clean(places.outcome, 60) or NOT_RECORDED
    counts = [(places.orders, "orders of the list"), (places.pictures, "pictures")]
    over = " and ".join(f"{say.count(number)} {what}" for number, what in counts if number is not None)
    begun = f"Over {over}: " if over else ""
    if places.rho is None:
        return f"{begun}{outcome}."
    tested = "" if places.p is None else f"; the answers stand early or late by more than chance with p {say.p_value(places.p)}"
    return f"{begun}rank correlation of a place with what it takes beyond its labels {say.decimal(places.rho, 2)}{tested}: {outcome}."


def _moved(audit: Audit, study: Study) -> Iterator[Moved]:
    """Yield the classes whose recall changed by more than chance, after Holm over what was tested."""
    for check in audit.checks:
        for one in check.variants if check.id != _UNSEEN else ():
            for entry in one.recall:
                if entry.p is not None and entry.p <= ALPHA:
                    yield _of_class(entry, one.name, study)


def _of_class(entry: Recall, name: str, study: Study) -> Moved:
    values: Sequence[Value] = [say.number(number, say.percent) for number in (entry.base, entry.variant)]
    return Moved(
        label=say.clean(study.names.get(entry.label, entry.label), 80),
        name=say.clean(name, 80),
        n=say.number(entry.n, say.count),
        base=values[0],
        variant=values[1],
        gap=Value(say.points(entry.difference), entry.difference),
        p=_p(entry.p),
    )
