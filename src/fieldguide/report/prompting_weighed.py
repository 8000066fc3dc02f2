"""Language models whose names are weighed instead of written: accuracy from their scores, and what the probabilities are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldguide.report import say
from fieldguide.report.prompted_files import Counted, Json, Kind, Part, Prompted, number, share, whole, words
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import NOT_APPLICABLE, NOT_RECORDED, Value
from fieldguide.tasks.asking import WEIGHING
from fieldguide.tasks.reading import KINDS, kind_of

#: Forms of a score, and what each is.
FORMS = {
    "sum": ("Sum", "the log-probabilities of all tokens of a name, the end of the turn included, added up"),
    "token": ("Per token", "the sum over the number of tokens"),
    "byte": ("Per byte", "the sum over the bytes of the name"),
    "pmi": ("PMI", "the sum less that for a grey picture under the same prompt"),
}
#: How names were computed, as the facts tell it.
_WAYS = {
    "joined": "all names at once, as a tree, in one pass with the picture",
    "tree": "all names at once, as a tree behind the picture, which was computed once",
    "copied": "as rows of a batch, each behind a copy of what was computed of the picture",
    "naive": "with a whole pass for every name",
}
#: How the error of an answer begins that was left out because it was too unsure.
UNSURE = "too unsure"
#: Who chose the form.
_BY = {
    "validation": "validation pictures, by log loss",
    "settings": "the settings",
    "no validation pictures": "nobody: there are no validation pictures",
}
_MOST_FORMS = 8


@dataclass(frozen=True, slots=True)
class Form:
    """One form of the score on validation pictures, under its own temperature; `chosen` the one that is used."""

    name: str
    chosen: bool
    nll: Value
    accuracy: Value
    temperature: Value
    pictures: Value


@dataclass(frozen=True, slots=True)
class Weighed:
    """What the probabilities of one contestant are made of; `facts` are name and words, in order."""

    contestant: Contestant
    forms: tuple[Form, ...]
    facts: tuple[tuple[str, str], ...]


def how_of(contestant: Contestant) -> str:
    """Return how a prompted contestant's answers are had; empty where it did not say."""
    return words(_object(contestant.facts.get("prompt")).get("how"))


def weighs(contestant: Contestant) -> bool:
    """Tell whether it gives a number for every name, and no words."""
    return how_of(contestant) in WEIGHING


def as_read(contestant: Contestant) -> Prompted:
    """Return the scores of a contestant that weighs names in the form of answers in words: it has one reading, its own."""
    how, part = how_of(contestant), contestant.test or {}
    n, right, failed = (whole(part.get(name)) for name in ("n", "correct", "failed"))
    if n is None or right is None or failed is None or right + failed > n:
        return Prompted(problem=NOT_RECORDED)
    macro = share(_object(contestant.metric("macro_f1")).get("value"))
    own = Counted(how, "", right, n - failed, n, contestant.metric("accuracy"), macro)
    return Prompted(how, Part(n=n, readings=(own,), kinds=tuple(_kinds(part, n, right, failed)), scored=right))


def _kinds(part: Json, n: int, right: int, failed: int) -> Iterator[Kind]:
    if n - failed - right:
        yield Kind("other label", KINDS["other label"], n - failed - right, (n - failed - right) / n, ())
    counts: dict[str, int] = {}
    for error, count in _object(part.get("failures")).items():
        kind = UNSURE if str(error).startswith(f"{UNSURE}:") else kind_of(str(error)) or "no answer"
        counts[kind] = counts.get(kind, 0) + (whole(count) or 0)
    for kind, count in counts.items():
        yield Kind(kind, "too unsure to be given" if kind == UNSURE else KINDS.get(kind, kind), count, count / n, ())


def weighed(study: Study) -> tuple[Weighed, ...]:
    """Return what the probabilities of every contestant that weighs names are made of."""
    return tuple(_weighed(one) for one in study.scored if weighs(one))


def _weighed(contestant: Contestant) -> Weighed:
    told = _object(contestant.facts.get("weighing"))
    entries = told.get("forms")
    forms = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    return Weighed(
        contestant=contestant,
        forms=tuple(_form(entry, words(told.get("form")), told) for entry in forms[:_MOST_FORMS]),
        facts=tuple(_facts(contestant, told)),
    )


def _form(entry: Json, chosen: str, told: Json) -> Form:
    form, nll = words(entry.get("form")), number(entry.get("nll"))
    accuracy = share(entry.get("accuracy"))
    temperature = number(entry.get("temperature"))
    pictures = whole(entry.get("pictures"))
    return Form(
        name=form_name(form),
        chosen=bool(form) and form == chosen,
        nll=say.number(nll, say.decimal),
        accuracy=say.number(accuracy, say.percent),
        temperature=say.number(temperature, _heat),
        pictures=say.number(whole(told.get("pictures")) if pictures is None else pictures, say.count),
    )


def form_name(form: str) -> str:
    """Return what a form of the score is called."""
    return FORMS[form][0] if form in FORMS else say.clean(form, 60) or NOT_RECORDED


def _heat(temperature: float) -> str:
    return f"{temperature:.3g}"


def _facts(contestant: Contestant, told: Json) -> Iterator[tuple[str, str]]:
    how, form = how_of(contestant), words(told.get("form"))
    yield "Form of the score", form_name(form) if form else NOT_RECORDED if how == "likelihood" else NOT_APPLICABLE
    by = words(told.get("by"))
    if by:
        yield "Chosen by", _BY.get(by, say.clean(by, 60))
    heat = number(told.get("temperature"))
    yield "Temperature of the probabilities", NOT_RECORDED if heat is None else _heat(heat)
    orders = whole(told.get("orders"))
    yield "Orders of the list", NOT_RECORDED if orders is None else "one" if orders == 1 else f"{say.count(orders)}, averaged"
    least = share(told.get("threshold"))
    if "threshold" in told:
        yield "Unsure answers", "all are given" if least is None else f"not given below {say.percent(least)}"
    left_out = whole(told.get("left_out"))
    if left_out:
        yield "Validation pictures without numbers", say.count(left_out)
    bounds = share(told.get("bounds"))
    if bounds is not None:
        yield "Told only as a bound", f"{say.percent(bounds)} of the numbers: the server names its likeliest tokens alone"
    yield from _computed(_object(contestant.facts.get("likelihood")))


def _computed(told: Json) -> Iterator[tuple[str, str]]:
    """Yield how names were scored by the model, where it was noted."""
    if not told:
        return
    way = words(told.get("way"))
    yield "Names were scored", _WAYS.get(way, say.clean(way, 80) or NOT_RECORDED)
    labels, tokens, nodes = (whole(told.get(name)) for name in ("labels", "tokens", "nodes"))
    if labels is not None and tokens is not None:
        shared = f", {say.count(nodes)} of them computed" if nodes is not None else ""
        yield "Names and their tokens", f"{say.count(labels)} names, {say.count(tokens)} tokens{shared}"
    why = told.get("why")
    for tried, reason in list(why.items())[:3] if isinstance(why, Mapping) else ():
        yield f"Not as {say.clean(tried, 20)}", say.clean(say.shortened(str(reason)), 300)


def _object(told: object) -> Json:
    return told if isinstance(told, Mapping) else {}
