"""What a source prints of a language model besides accuracy, beside what was measured, and questions that two contestants answer together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fieldguide.recipes import Figure, Question, Recipe
from fieldguide.report import say
from fieldguide.report.board import mirrored
from fieldguide.report.prompted_files import Counted
from fieldguide.report.read import Contestant, Study

_METRICS = {
    f"{mean}_{name}": f"{words}, {mean} average"
    for mean in ("macro", "weighted")
    for name, words in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
}
#: Families of language models that look.
_LOOK = ("vlm_prompt", "vlm_lora")
_DENOMINATORS = {
    "listed": "answers that are a name of the list",
    "any name": "answers that are a bare name, on the list or off it",
}


@dataclass(frozen=True, slots=True)
class Told:
    """One more figure of a contestant: as printed, and here in one or two wordings of what was meant."""

    name: str
    what: str
    published: str
    here: tuple[str, ...]


def others(recipe: Recipe, scored: Mapping[str, Contestant]) -> dict[str, str]:
    """Return, by name, what is to be said of contestants that are another model than the one whose figure was published."""
    found = {}
    figures = {figure.contestant: figure.of for figure in recipe.published.figures}
    for entry in recipe.study["contestants"]:
        wanted = figures.get(entry["name"]) or {**recipe.prompted, **entry.get("settings", {})}.get("model")
        contestant = scored.get(entry["name"])
        looks = contestant is not None and entry["family"] in _LOOK and entry["name"] in figures
        if contestant is None or not looks or contestant.settings.get("model") in (None, wanted):
            continue
        asked = say.pathless(say.clean(contestant.settings["model"], 80))
        found[entry["name"]] = f"{entry['name']}: asked here was {asked}, and the published figure is of {wanted}."
    return found


def more(study: Study, recipe: Recipe, scored: Mapping[str, Contestant]) -> tuple[Told, ...]:
    """Return what else the source prints of each contestant, in the recipe's order."""
    return tuple(told for figure in recipe.published.figures for told in _more(study, figure, scored.get(figure.contestant)))


def _more(study: Study, figure: Figure, contestant: Contestant | None) -> Iterator[Told]:
    name = figure.contestant
    if figure.filtered is not None:
        yield Told(name, "filtered accuracy", f"{figure.filtered:.2f}{say.NBSP}%", _filtered(study, contestant))
    for metric, value in figure.metrics.items():
        here = say.score(contestant.metric(metric) if contestant else None, share=False)
        yield Told(name, _METRICS[metric], printed(value), (_with_note(here) if contestant else "not scored",))
    if figure.time is not None:
        yield Told(name, "time to answer", figure.time, (_time(contestant),))
    if figure.hardware is not None:
        yield Told(name, "hardware", figure.hardware, (_hardware(study, contestant),))


def printed(share: float) -> str:
    """Return a published share with the digits it was printed with, two at least."""
    return f"{share:.2f}" if round(share, 2) == share else f"{share:g}"


def _with_note(value: say.Value) -> str:
    return f"{value.text} [{value.note}]" if value.note and not value.absent else value.text


def _filtered(study: Study, contestant: Contestant | None) -> tuple[str, ...]:
    """Return it over both denominators that the source leaves open."""
    if contestant is None:
        return ("not scored",)
    found = study.prompted.get(contestant.name)
    return tuple(map(_share, found.test.filtered if found else ())) or (say.NOT_RECORDED,)


def _share(counted: Counted) -> str:
    of = _DENOMINATORS.get(counted.id, counted.what or counted.id)
    if counted.right is None or counted.n is None:
        return say.NOT_RECORDED
    if not counted.n:
        return f"no {of}"
    value = say.score(counted.accuracy)
    return f"{_with_note(value)}: {counted.right} of the {counted.n} {of}"


def _time(contestant: Contestant | None) -> str:
    cost = (contestant.cost if contestant else None) or {}
    span, asked = cost.get("answer_wall_seconds"), cost.get("asked")
    if span is None:
        return say.NOT_RECORDED
    return say.seconds(float(span)) + (f" for {asked} that were asked" if isinstance(asked, int) else "")


def _hardware(study: Study, contestant: Contestant | None) -> str:
    server = ((contestant.facts if contestant else None) or {}).get("server")
    if isinstance(server, Mapping) and server.get("host"):
        return f"whatever {say.clean(server['host'], 80)} runs on"
    cost, machine = (contestant.cost if contestant else None) or {}, study.environment or {}
    cores = f", {machine['cores']} cores" if machine.get("cores") else ""
    return f"{cost['device']}{cores}" if cost.get("device") else say.NOT_RECORDED


def together(study: Study, question: Question) -> tuple[tuple[str, str], ...]:
    """Return the second of two contestants set against the first, in one sentence under both their names."""
    first, second = question.contestants
    name = f"{second} minus {first}"
    for pair in (study.comparison or {}).get("pairs") or []:
        if {pair["a"], pair["b"]} == {first, second}:
            return ((name, _set_against(pair if pair["a"] == second else mirrored(pair))),)
    return ((name, "Not both are scored here."),)


def _set_against(pair: Mapping[str, Any]) -> str:
    bounds = "" if pair.get("low") is None else f", 95 % interval {say.points(pair['low'])} to {say.points(pair['high'])}"
    alone = f"{pair['only_a']} pictures right in {pair['a']} alone, {pair['only_b']} in {pair['b']} alone"
    verdict = {"a better": f"{pair['a']} is better", "b better": f"{pair['b']} is better"}.get(pair["outcome"], pair["outcome"])
    return say.glued(
        f"{say.points(pair['difference'])} points{bounds}: {alone}; p {say.p_value(pair['p'])}, "
        f"after Holm over all pairs {say.p_value(pair['p_holm'])}: {verdict}."
    )
