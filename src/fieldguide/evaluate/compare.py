"""The comparison: which contestants really differ on these pictures, in the form of ``comparison.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from fieldguide.errors import DataProblem, plain
from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.letters import letters
from fieldguide.evaluate.pairs import Pair, all_pairs, holm
from fieldguide.evaluate.power import power_line
from fieldguide.evaluate.verdict import Evidence, verdict
from fieldguide.records import SCHEMA_VERSION


def compare(
    sheets: Sequence[AnswerSheet], chance: Mapping[str, Any], chosen: str | None, alpha: float = 0.05
) -> dict[str, Any]:
    """Compare contestants on the same pictures and return the content of ``comparison.json``.

    `chance` is what `fieldguide.evaluate.metrics.chance` returned, with a ``name`` where it is called otherwise, `chosen` the run that
    validation chose (or `None`), `alpha` the level of all tests. Every pair is tested with exact McNemar, corrected after Holm over all
    pairs. Raises `DataProblem` where there is nothing to compare, or the contestants were not scored on the same pictures.
    """
    _check(sheets, chosen)
    ordered = sorted(sheets, key=lambda sheet: (-sheet.correct, sheet.run))
    order = [sheet.run for sheet in ordered]
    n, share = ordered[0].n, float(chance["accuracy"])
    pairs = all_pairs(ordered, alpha)
    worse = {pair.b for pair in pairs if pair.a == order[0] and pair.real}
    above = _above_chance(ordered, share, alpha)
    evidence = Evidence(
        ordered, {(pair.a, pair.b): pair for pair in pairs}, share, above, chosen, alpha, chance.get("name", "chance")
    )
    return {
        "schema": SCHEMA_VERSION,
        "n": n,
        "classes": len(ordered[0].classes),
        "alpha": alpha,
        "chance": dict(chance),
        "order": order,
        "chosen": chosen,
        "pairs": [pair.as_dict() for pair in pairs],
        "letters": letters(order, [(pair.a, pair.b) for pair in pairs if pair.real]),
        "leader_group": [run for run in order if run not in worse],
        "above_chance": above,
        "power": power_line(n, _discordances(pairs, order[0], above, n), len(pairs), alpha),
        "verdict": verdict(evidence),
    }


def _discordances(pairs: Sequence[Pair], leader: str, above: Mapping[str, bool], n: int) -> list[float]:
    """Return how often the leader and each other serious contestant differ in being right.

    Contestants no better than chance differ from everybody nearly everywhere; counted in, they would make the test set look
    blinder than it is for the pairs anybody wonders about.
    """
    return [(pair.only_a + pair.only_b) / n for pair in pairs if leader in (pair.a, pair.b) and above[pair.a] and above[pair.b]]


def _above_chance(sheets: Sequence[AnswerSheet], share: float, alpha: float) -> dict[str, bool]:
    """Test each contestant against the chance accuracy: exact binomial, one-sided, Holm over the contestants."""
    p = [float(binomtest(sheet.correct, sheet.n, share, alternative="greater").pvalue) for sheet in sheets]
    return {sheet.run: adjusted <= alpha for sheet, adjusted in zip(sheets, holm(p), strict=True)}


def _check(sheets: Sequence[AnswerSheet], chosen: str | None) -> None:
    if not sheets:
        raise DataProblem(
            "There is nothing to compare: no contestant has answers.",
            "At least one contestant that finished.",
            "Mend what made the contestants fail and run the same command again.",
        )
    first, *others = sheets
    runs = [sheet.run for sheet in sheets]
    for other in others:
        same = other.classes == first.classes and _pictures(other) == _pictures(first)
        if not same or runs.count(other.run) > 1:
            told = "are two contestants of one name" if same else "were not scored on the same pictures and classes"
            raise DataProblem(
                f"{plain(first.run)} and {plain(other.run)} {told}.",
                "Contestants of one study, each with its own name, all lined up with its manifest.",
                "Run the comparison again in one study folder.",
            )
    if not first.n:
        raise DataProblem(
            "There is nothing to compare on: the manifest has no test pictures.",
            "At least one picture that no contestant has learnt from.",
            "Make a new study whose split leaves a test part.",
        )
    if chosen is not None and chosen not in runs:
        raise ValueError(f"chosen {chosen!r} is none of {runs}")


def _pictures(sheet: AnswerSheet) -> list[tuple[str, int]]:
    return list(zip(sheet.keys, np.asarray(sheet.truth).tolist(), strict=True))
