"""How far chance alone moves a score: the same contestant fitted with other seeds, on the same pictures.

The interval of an accuracy says what other test pictures might have given; the spread over seeds says what another start of the same
training might have. The two are different doubts. Tests, tie groups and the verdict rest on the study's own seed alone: picking
the best of several seeds by the test would spoil it.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fieldguide.evaluate.metrics import score_run
from fieldguide.records import Manifest, Prediction

Scores = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared over seeds: a `metric` of ``scores.json``, called the same in the line of a seed.

    `spread` is where its spread stands in ``scores.json``, `part` where its neighbours stand in ``comparison.json``. Where `lower` is
    better it is a mean error, in things; else a share.
    """

    metric: str = "accuracy"
    spread: str = "spread"
    part: str = "seeds"
    lower: bool = False

    def better(self, one: float, other: float) -> bool:
        """Tell whether `one` is better than `other`."""
        return one < other if self.lower else one > other

    def said(self, run: str, values: Sequence[float]) -> str:
        """Return what the seeds of `run` reached, from the lowest to the highest."""
        scale, digits, unit = (1, 2, "of a count") if self.lower else (100, 1, "%")
        low, high = (f"{scale * end:.{digits}f}" for end in (min(values), max(values)))
        if len(values) == 1:
            return f"{run} {low} {unit} (the same at any seed)"
        return f"{run} {low} to {high} {unit} over {len(values)} seeds"


ACCURACY = Measure()


def with_seeds(scored: Scores, seed: int, others: Mapping[int, Iterable[Prediction]], manifest: Manifest) -> dict[str, Any]:
    """Return the content of ``scores.json`` with what each seed scored and how far they lie apart; as it was without `others`.

    `scored` is that of the study's own `seed`, which stands first; `others` are the answers by further seed. ``spread`` holds
    ``n``, ``mean``, ``sd`` (of a sample: over n - 1), ``min`` and ``max`` of test accuracy.
    """
    if not others:
        return dict(scored)
    lines = [_line(seed, scored)]
    lines += [_line(other, score_run(str(scored["run"]), answers, manifest)) for other, answers in others.items()]
    return {**scored, "seeds": lines, "spread": spread([line["accuracy"] for line in lines])}


def spread(accuracies: Sequence[float]) -> dict[str, Any]:
    """Return number, mean, sample standard deviation and ends of two or more `accuracies` (shares)."""
    return {
        "n": len(accuracies),
        "mean": statistics.fmean(accuracies),
        "sd": statistics.stdev(accuracies),
        "min": min(accuracies),
        "max": max(accuracies),
    }


def _line(seed: int, scored: Scores) -> dict[str, Any]:
    test, val = scored["parts"]["test"], scored["parts"]["val"]
    return {
        "seed": seed,
        "accuracy": test["metrics"]["accuracy"]["value"],
        "macro_f1": test["metrics"]["macro_f1"]["value"],
        "val_accuracy": None if val is None else val["metrics"]["accuracy"]["value"],
        "failed": test["failed"],
    }


def told(
    scores: Iterable[Scores], order: Sequence[str], by_chance: Mapping[str, bool], measure: Measure = ACCURACY
) -> dict[str, Any]:
    """Return the part of ``comparison.json`` about seeds, or nothing where every contestant was fitted once.

    `order` is the leaderboard, `by_chance` says whose training depends on chance, as far as that is known. ``neighbours`` tells of each
    pair of neighbours whether the seeds that were run keep them apart.
    """
    every = {str(scored["run"]): scored for scored in scores}
    spreads = {run: found for run in order if (found := every[run].get(measure.spread)) is not None}
    if not spreads:
        return {}
    values = {run: _values(every[run], by_chance.get(run), measure) for run in order}
    couples = [(a, b) for a, b in itertools.pairwise(order) if a in spreads or b in spreads]
    neighbours = [_neighbours(a, b, every, values, measure) for a, b in couples]
    return {measure.part: {"runs": spreads, "neighbours": neighbours}}


def _own(scored: Scores, measure: Measure) -> float:
    return float(scored["parts"]["test"]["metrics"][measure.metric]["value"])


def _values(scored: Scores, by_chance: bool | None, measure: Measure) -> list[float] | None:
    """Return the values a contestant can be said to have; one where chance plays no part, `None` where that is open or a seed has none."""
    if "seeds" in scored:
        found = [line[measure.metric] for line in scored["seeds"]]
        return None if None in found else found
    return [_own(scored, measure)] if by_chance is False else None


def _neighbours(
    a: str, b: str, every: Mapping[str, Scores], values: Mapping[str, list[float] | None], measure: Measure
) -> dict[str, Any]:
    """Compare every seed of `a` with every seed of `b`, which stands below it."""
    head = {"a": a, "b": b, "gap": _own(every[a], measure) - _own(every[b], measure)}
    mine, theirs = values[a], values[b]
    if mine is None or theirs is None:
        alone = a if mine is None else b
        why = "has a seed without a usable answer" if "seeds" in every[alone] else "was fitted with one seed"
        sentence = f"{a} and {b}: not known, for {alone} {why}."
        return {**head, "outcome": "not known", "pairings": 0, "swapped": 0, "level": 0, "sentence": sentence}
    pairings = [(x, y) for x in mine for y in theirs]
    swapped, level = sum(measure.better(y, x) for x, y in pairings), sum(y == x for x, y in pairings)
    counts = {"pairings": len(pairings), "swapped": swapped, "level": level}
    ranges = f"{measure.said(a, mine)}, {measure.said(b, theirs)}"
    if swapped or level:
        kept = f", level in {level}" if swapped and level else ""
        over = "is nearer than" if measure.lower else "comes out above"
        many = f"{b} {over} {a} in {swapped}{kept}" if swapped else f"{b} is level with {a} in {level}"
        ends = "Which of the two stands first depends on the seed." if swapped else "Another seed can bring them level."
        sentence = f"{ranges}. Of {len(pairings)} pairings of their seeds, {many}. {ends}"
        return {**head, **counts, "outcome": "overlap", "sentence": sentence}
    ahead = "nearer" if measure.lower else "ahead"
    sentence = f"{ranges}. {a} is {ahead} in each of {len(pairings)} pairings: no seed that was tried swaps them."
    return {**head, **counts, "outcome": "apart", "sentence": sentence}
