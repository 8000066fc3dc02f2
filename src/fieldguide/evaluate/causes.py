"""Why might they be wrong? Hypotheses for the causes of errors, each with its hit rate among errors and among right answers.

A hypothesis is a mark that a picture carries or not, whatever was answered (`fieldguide.evaluate.hypotheses`). Here it is asked whether
the mark is met more often among a contestant's errors than among its right answers. That is a coincidence with a measured
strength, and nothing more: automatic searches for the causes of errors find 36 % of the planted ones (Domino, S. Eyuboglu et
al., ICLR 2022, arXiv 2203.14960). What a person says in ``causes.toml`` wins over what was measured, and such pictures stay out of the
rates, because that person may have seen the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, fisher_exact

from fieldguide.data.measures import read_measures
from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.by_hand import ByHand, read_by_hand, write_by_hand
from fieldguide.evaluate.hypotheses import NAMES, Hypothesis, hypotheses
from fieldguide.evaluate.intervals import newcombe
from fieldguide.evaluate.together import missed_together
from fieldguide.records import SCHEMA_VERSION, Manifest

#: Fewer marked pictures, errors or right answers tell nothing: the rate is not tested.
FEWEST = 5
Mask = NDArray[np.bool_]
_MORE, _LESS, _SAME, _FEW = "more among errors", "less among errors", "not distinguishable", "too few pictures to tell"


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a mark is met among the errors and among the right answers of one contestant.

    `difference` is the first share less the second, with Newcombe's interval; `p` is Fisher's exact one, two-sided, `p_fdr` that after
    Benjamini and Hochberg over all rates that were tested. Absent where there are too few pictures.
    """

    run: str
    cause: str
    errors: int
    marked_errors: int
    right: int
    marked_right: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def as_dict(self, p_fdr: float | None, alpha: float) -> dict[str, Any]:
        """Return the form of ``causes.json``."""
        if p_fdr is None:
            outcome = _FEW
        elif p_fdr > alpha:
            outcome = _SAME
        else:
            outcome = _MORE if (self.difference or 0) > 0 else _LESS
        return {**asdict(self), "p_fdr": p_fdr, "outcome": outcome}


def causes(
    folder: Path,
    manifest: Manifest,
    sheets: Sequence[AnswerSheet],
    alpha: float,
    above_chance: Mapping[str, bool] | None = None,
) -> dict[str, Any]:
    """Return the content of ``causes.json`` for `sheets` that are lined up with the test pictures of `manifest`.

    A contestant that is not `above_chance` has no rates: which pictures it gets right says nothing of the pictures.

    Reads the measures and ``causes.toml`` of the study in `folder`, and writes the latter where there is none. Raises
    `UsageProblem` for a slip in it.
    """
    measures = read_measures(folder / "measures.parquet")
    by_hand = read_by_hand(folder, manifest, NAMES)
    every = hypotheses(manifest, measures)
    used = [one for one in every if one.name not in by_hand.unused]
    tags = _tags(used, by_hand)
    _propose(folder, manifest, every, sheets)
    judged = [sheet for sheet in sheets if (above_chance or {}).get(sheet.run, True)]
    return {
        "schema": SCHEMA_VERSION,
        "alpha": alpha,
        "pictures_measured": len({row.key for row in manifest.part("test")} & set(measures)),
        "causes": [_cause(one, by_hand, tags) for one in used] + [_own(name, by_hand, tags) for name in by_hand.own],
        "unused": sorted(by_hand.unused),
        "by_hand": len(by_hand.pictures),
        "rates": _rates(used, judged, frozenset(by_hand.pictures), alpha),
        "pictures": tags,
        "together": missed_together(sheets),
    }


def _cause(one: Hypothesis, by_hand: ByHand, tags: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": by_hand.titles.get(one.name, one.name),
        "says": one.says,
        "state": one.state,
        "why": one.why,
        "judged": len(one.judged),
        "marked": len(one.marked),
        "by_hand": sum(one.name in tag["causes"] for tag in tags.values() if tag["by_hand"]),
    }


def _own(name: str, by_hand: ByHand, tags: Mapping[str, Any]) -> dict[str, Any]:
    own = Hypothesis(name, "set by hand", "not applicable", "it is not measured, so it has no hit rate among right answers")
    return _cause(own, by_hand, tags)


def _tags(used: Sequence[Hypothesis], by_hand: ByHand) -> dict[str, dict[str, Any]]:
    """Return what each picture is marked with, by key; what a person said stands instead of what was measured."""
    tags: dict[str, dict[str, Any]] = {}
    for one in used:
        for key in one.marked:
            tag = tags.setdefault(key, {"causes": [], "by_hand": False, "note": "", "near": {}})
            tag["causes"].append(one.name)
            if key in one.near:
                tag["near"][one.name] = one.near[key]
    for key, said in by_hand.pictures.items():
        left = [name for name in said.causes if name not in by_hand.unused]
        tags[key] = {"causes": left, "by_hand": True, "note": said.note, "near": {}}
    return tags


def _rates(
    used: Sequence[Hypothesis], sheets: Sequence[AnswerSheet], edited: frozenset[str], alpha: float
) -> list[dict[str, Any]]:
    rates = []
    for one in used if sheets else ():
        if one.state == "found":
            judged, marked = (_mask(sheets[0].keys, keys - edited) for keys in (one.judged, one.marked))
            rates += [_rate(one.name, sheet, judged, marked) for sheet in sheets]
    tested = [rate.p for rate in rates if rate.p is not None]
    adjusted = iter(false_discovery_control(tested).tolist() if tested else [])
    return [rate.as_dict(next(adjusted) if rate.p is not None else None, alpha) for rate in rates]


def _rate(cause: str, sheet: AnswerSheet, judged: Mask, marked: Mask) -> Rate:
    right, wrong = sheet.right & judged, ~sheet.right & judged
    errors, marked_errors = int(wrong.sum()), int((wrong & marked).sum())
    answers, marked_right = int(right.sum()), int((right & marked).sum())
    if min(errors, answers, marked_errors + marked_right) < FEWEST:
        return Rate(sheet.run, cause, errors, marked_errors, answers, marked_right)
    table = [[marked_errors, errors - marked_errors], [marked_right, answers - marked_right]]
    return Rate(
        sheet.run,
        cause,
        errors,
        marked_errors,
        answers,
        marked_right,
        marked_errors / errors - marked_right / answers,
        *newcombe(marked_errors, errors, marked_right, answers),
        float(fisher_exact(table).pvalue),
    )


def _mask(keys: Sequence[str], chosen: frozenset[str]) -> Mask:
    return np.array([key in chosen for key in keys], dtype=bool)


def _propose(folder: Path, manifest: Manifest, every: Sequence[Hypothesis], sheets: Sequence[AnswerSheet]) -> None:
    """Write ``causes.toml`` where there is none, with the suggestions for the pictures that most contestants missed."""
    missed: Counter[str] = Counter()
    for sheet in sheets:
        missed.update(key for key, right in zip(sheet.keys, sheet.right, strict=True) if not right)
    rows = {row.key: row for row in manifest.part("test")}
    measured = _tags(every, ByHand())
    order = sorted(missed, key=lambda key: (-missed[key], rows[key].path))
    write_by_hand(folder, NAMES, [(rows[key], measured[key]["causes"]) for key in order if key in measured])
