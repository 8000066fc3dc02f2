"""How far chance alone moves a score: the same contestant fitted with other seeds, on the same pictures.

The interval of an accuracy says what other test pictures might have given; the spread over seeds says what another start of the same
training might have. The two are different doubts. Tests, tie groups and the verdict rest on the study's own seed alone: picking
the best of several seeds by the test would spoil it.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fieldguide.evaluate.metrics import score_run
from fieldguide.records import Manifest, Prediction

Scores = Mapping[str, Any]


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


def told(scores: Iterable[Scores], order: Sequence[str], by_chance: Mapping[str, bool]) -> dict[str, Any]:
    """Return the part ``seeds`` of ``comparison.json``, or nothing where every contestant was fitted once.

    `order` is the leaderboard, `by_chance` says whose training depends on chance, as far as that is known. ``neighbours`` tells of each
    pair of neighbours whether the seeds that were run keep them apart.
    """
    every = {str(scored["run"]): scored for scored in scores}
    spreads = {run: every[run]["spread"] for run in order if "spread" in every[run]}
    if not spreads:
        return {}
    values = {run: _values(every[run], by_chance.get(run)) for run in order}
    couples = [(a, b) for a, b in itertools.pairwise(order) if a in spreads or b in spreads]
    return {"seeds": {"runs": spreads, "neighbours": [_neighbours(a, b, every, values) for a, b in couples]}}


def _values(scored: Scores, by_chance: bool | None) -> list[float] | None:
    """Return the test accuracies a contestant can be said to have; one where chance plays no part, `None` where that is open."""
    if "seeds" in scored:
        return [line["accuracy"] for line in scored["seeds"]]
    return [scored["parts"]["test"]["metrics"]["accuracy"]["value"]] if by_chance is False else None


def _neighbours(a: str, b: str, every: Mapping[str, Scores], values: Mapping[str, list[float] | None]) -> dict[str, Any]:
    """Compare every seed of `a` with every seed of `b`, which stands below it."""
    first, second = (every[run]["parts"]["test"]["metrics"]["accuracy"]["value"] for run in (a, b))
    head = {"a": a, "b": b, "gap": first - second}
    mine, theirs = values[a], values[b]
    if mine is None or theirs is None:
        alone = a if mine is None else b
        sentence = f"{a} and {b}: not known, for {alone} was fitted with one seed."
        return {**head, "outcome": "not known", "pairings": 0, "swapped": 0, "level": 0, "sentence": sentence}
    pairings = [(x, y) for x in mine for y in theirs]
    swapped, level = sum(y > x for x, y in pairings), sum(y == x for x, y in pairings)
    counts = {"pairings": len(pairings), "swapped": swapped, "level": level}
    ranges = f"{_range(a, mine)}, {_range(b, theirs)}"
    if swapped or level:
        kept = f", level in {level}" if swapped and level else ""
        many = f"{b} comes out above {a} in {swapped}{kept}" if swapped else f"{b} is level with {a} in {level}"
        ends = "Which of the two stands first depends on the seed." if swapped else "Another seed can bring them level."
        sentence = f"{ranges}. Of {len(pairings)} pairings of their seeds, {many}. {ends}"
        return {**head, **counts, "outcome": "overlap", "sentence": sentence}
    sentence = f"{ranges}. {a} is ahead in each of {len(pairings)} pairings: no seed that was tried swaps them."
    return {**head, **counts, "outcome": "apart", "sentence": sentence}


def _range(run: str, accuracies: Sequence[float]) -> str:
    if len(accuracies) == 1:
        return f"{run} {100 * accuracies[0]:.1f} % (the same at any seed)"
    return f"{run} {100 * min(accuracies):.1f} to {100 * max(accuracies):.1f} % over {len(accuracies)} seeds"
