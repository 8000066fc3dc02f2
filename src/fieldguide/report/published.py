"""The section of a study that follows a recipe: the published figures beside the measured ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from fieldguide import recipes
from fieldguide.errors import UsageProblem
from fieldguide.evaluate.intervals import wilson
from fieldguide.evaluate.published import Hits, means, standing
from fieldguide.recipes import Figure, Group, Recipe
from fieldguide.report import bars, fitting, published_asked, say
from fieldguide.report.read import Contestant, Study
from fieldguide.report.say import Value

_SAID = {"inside": "published inside", "above": "published above", "below": "published below"}


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant of the recipe; `contestant` is `None` where the study has no scores of it."""

    name: str
    contestant: Contestant | None
    published: Value
    val: Value
    test: Value
    bars: Markup
    fit: Value
    where: str

    @property
    def line(self) -> str:
        """The row as a sentence for the terminal."""
        told = [f"published {self.published.text}" if not self.published.absent else "no published figure"]
        if self.contestant is None:
            return f"{self.name}: {told[0]}; not scored here"
        told += [f"{part} {v.text} [{v.note}]" for part, v in (("validation", self.val), ("test", self.test)) if not v.absent]
        return f"{self.name}: {', '.join(told)}"


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a group: published, and here on validation and test; `of` says how many of its members were scored."""

    name: str
    of: str
    published: Value
    val: Value
    test: Value


@dataclass(frozen=True, slots=True)
class Answer:
    """A question the source left open, and what was found: a sentence for each contestant."""

    asks: str
    found: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """The section. `warnings` come first: what makes the figures those of something else; then nothing is said to lie inside.

    `others` tell of single contestants that are another model than the published one.
    """

    name: str
    recipe: Recipe
    warnings: tuple[str, ...]
    rows: tuple[Row, ...]
    inside: str
    ruler: Markup
    means: tuple[Mean, ...]
    differences: tuple[str, ...]
    answers: tuple[Answer, ...]
    more: tuple[published_asked.Told, ...]
    others: tuple[str, ...]
    ours: tuple[tuple[str, str], ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """What the terminal says of it."""
        return (
            *self.warnings,
            *self.others,
            *(row.line for row in self.rows),
            *([self.inside] if self.inside else []),
            *self.differences,
        )


def beside(study: Study) -> Beside | None:
    """Return the section, or `None` where the study follows no recipe that this fieldguide has."""
    asked = str(study.asked.get("recipe") or "")
    name = asked.removesuffix(recipes.TINY)
    try:
        recipe = recipes.read(name)
    except UsageProblem:
        return None
    scored = {contestant.name: contestant for contestant in study.scored}
    figures = {figure.contestant: figure for figure in recipe.published.figures}
    others = {} if asked != name else published_asked.others(recipe, scored)
    warnings = tuple(_warnings(study, recipe, rehearsed=asked != name))
    rows = tuple(
        _row(
            entry["name"],
            figures.get(entry["name"]),
            scored.get(entry["name"]),
            alike=not warnings and entry["name"] not in others,
        )
        for entry in recipe.study["contestants"]
    )
    return Beside(
        name=name,
        recipe=recipe,
        warnings=warnings,
        rows=rows,
        inside="" if warnings else _inside([row for row in rows if row.name not in others], figures, recipe),
        ruler=bars.whole_ruler(),
        means=tuple(_mean(group, scored) for group in recipe.published.groups),
        differences=tuple(_differences(study, recipe, scored, alike=not warnings)),
        answers=tuple(
            Answer(question.asks, published_asked.together(study, question))
            if question.pair
            else Answer(question.asks, tuple((n, _fitted(study, scored.get(n))) for n in question.contestants))
            for question in recipe.questions
        ),
        more=published_asked.more(study, recipe, scored),
        others=tuple(others.values()),
        ours=tuple(recipe.ours.items()),
    )


def _warnings(study: Study, recipe: Recipe, *, rehearsed: bool) -> Iterator[str]:
    if rehearsed:
        yield (
            "This is the rehearsal: small models on made pictures, under the names of the recipe. "
            "The published figures stand here to show their place; they are of other models and other pictures."
        )
        return
    data, classes, pictures = recipe.data, len(study.manifest.classes), len(study.manifest.rows)
    if classes != data.classes or pictures < 0.98 * (data.pictures or 0):
        yield (
            f"Other pictures than those of the recipe: {pictures:,} in {classes} classes here, {data.told} in {data.classes} there. "
            "The published figures are of that set and say nothing about this one."
        )


def _row(name: str, figure: Figure | None, contestant: Contestant | None, *, alike: bool) -> Row:
    cost = (contestant.cost if contestant else None) or {}
    where = " · ".join(str(cost[key]) for key in ("device", "precision") if cost.get(key))
    val, test = (_ours(contestant, part, figure if alike else None) for part in ("val", "test"))
    bounds = _bounds(contestant, "val"), _bounds(contestant, "test")
    slot = contestant.slot if contestant else 0
    return Row(
        name=name,
        contestant=contestant,
        published=_published(figure),
        val=val,
        test=test,
        bars=bars.bars(val.number, test.number, bounds, slot) if contestant else Markup(""),
        fit=say.number(cost.get("fit_seconds"), say.seconds),
        where=where or say.NOT_RECORDED,
    )


def _published(figure: Figure | None) -> Value:
    if figure is None:
        return Value("none", title="the source reports no figure for it")
    rough = figure.about or (
        figure.correct is None and figure.accuracy == round(figure.accuracy)
    )  # as printed: no digits are made up
    text = f"{'about ' if figure.about else ''}{figure.accuracy:.{0 if rough else 2}f}{say.NBSP}%"
    if figure.correct is None or not figure.pictures:
        return Value(text, figure.share, "of how many is not said")
    span = say.interval(*wilson(figure.correct, figure.pictures))
    return Value(
        text, figure.share, f"{figure.correct}/{figure.pictures}, {span}", f"95 % interval of the published figure {span}"
    )


def _headline(contestant: Contestant, part: str) -> Any:
    """Return the score that stands beside a published figure: accuracy, or how many counts are exact."""
    return contestant.metric("accuracy", part) or contestant.metric("exact", part)


def _bounds(contestant: Contestant | None, part: str) -> tuple[float, float] | None:
    entry = _headline(contestant, part) if contestant else None
    return (entry["low"], entry["high"]) if entry and entry.get("low") is not None and entry.get("high") is not None else None


def _ours(contestant: Contestant | None, part: str, figure: Figure | None) -> Value:
    """Return our accuracy with counts and interval, and where the published figure lies."""
    if contestant is None:
        return Value("not scored", title="this contestant has no scores in this study")
    entry, bounds = _headline(contestant, part), _bounds(contestant, part)
    value = say.score(entry)
    scores = (contestant.test if part == "test" else contestant.val) or {}
    if value.number is None or bounds is None:
        return value
    told = f"{scores['correct']}/{scores['n']}, {value.note}" if "correct" in scores else value.note
    if figure is not None:
        told += f"; {_SAID[standing(figure.share, *bounds)]}"
    return Value(value.text, value.number, told, value.title)


def _inside(rows: Sequence[Row], figures: dict[str, Figure], recipe: Recipe) -> str:
    both = [(figures[row.name], row.contestant) for row in rows if row.name in figures and row.contestant]
    if not both:
        return "No published figure has a measured one beside it yet."
    told = []
    for part, word in (("val", "validation"), ("test", "test")):
        spans = [(figure, bounds) for figure, contestant in both if (bounds := _bounds(contestant, part))]
        if not spans:
            continue
        count = sum(standing(figure.share, *bounds) == "inside" for figure, bounds in spans)
        kind = ", the part that the source reports" if part == recipe.published.part else ""
        told.append(f"{count} of {len(spans)} inside our interval on {word}{kind}")
    return f"Published figures: {'; '.join(told)}."


def _mean(group: Group, scored: dict[str, Contestant]) -> Mean:
    here = [scored[name] for name in group.contestants if name in scored]

    def mean(part: str) -> Value:
        values = [v for c in here if (v := (c.metric("accuracy", part) or {}).get("value")) is not None]
        return say.number(float(np.mean(values)) if values else None, say.percent)

    stated = None if group.accuracy is None else group.accuracy / 100
    published = say.number(stated, lambda share: f"{100 * share:.2f}{say.NBSP}%")
    return Mean(group.name, f"{len(here)} of {len(group.contestants)}", published, mean("val"), mean("test"))


def _differences(study: Study, recipe: Recipe, scored: dict[str, Contestant], *, alike: bool) -> Iterator[str]:
    groups = {group.name: group for group in recipe.published.groups}
    for a, b in recipe.published.against:
        hits = [_hits(study, [scored[n] for n in groups[name].contestants if n in scored]) for name in (b, a)]
        if not all(len(each) for each in hits):
            continue
        found = means(*hits)
        stated = [groups[name].accuracy for name in (b, a)]
        there = "" if None in stated or not alike else f" (published {say.points((stated[0] - stated[1]) / 100)})"  # type: ignore[operator]
        low, high = (say.points(bound) for bound in found.bounds)
        yield say.glued(
            f"{b} minus {a}: {say.points(found.difference)} points{there}, 95 % interval {low} to {high} over test pictures, for these "
            f"very networks; {say.points(found.least)} to {say.points(found.most)} where any one of them is left out."
        )


def _hits(study: Study, group: list[Contestant]) -> Hits:
    truth = {row.key: row.label for row in study.manifest.part("test")}
    return np.array(
        [[key in c.answers and c.answers[key].label == label for key, label in truth.items()] for c in group], dtype=np.bool_
    ).reshape(len(group), len(truth))


def _fitted(study: Study, contestant: Contestant | None) -> str:
    return "Not scored here." if contestant is None else fitting.judged(study, contestant).sentence
