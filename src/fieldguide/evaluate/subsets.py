"""Scores with and without the pictures that a careful reader would want to see left out: leaked, repeated, of one scene, suspected.

Nothing is left out of the comparison itself. Everything is counted twice over the same answers, and the difference is shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import wilson
from fieldguide.records import ManifestRow, Score

#: What the subsets are called where they are shown, in the order they are shown.
TITLES: Mapping[str, str] = {
    "leaked": "Also in train",
    "repeated": "Repeated",
    "burst": "Of one scene",
    "suspects": "Label suspects",
    "all": "All of these",
}
#: A fall, beyond that of the best contestant, from which another one is named, too.
_WORTH_A_WORD = 0.01
_NONE_LEFT = "no test picture is left without them"

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Doubts:
    """What is known against single pictures.

    `suspects` are the keys of label suspects, or `None` where nobody could say, and then `unknown` is the reason. `dropped` says
    that copies of test pictures were left out of training.
    """

    suspects: Collection[str] | None = None
    unknown: str = "label suspects were not looked for"
    dropped: bool = False


def doubts_of(suspects: Mapping[str, Any], *, dropped: bool) -> Doubts:
    """Return what ``suspects.json`` holds against pictures, and whether copies of test pictures were left out of training."""
    if suspects["state"] not in ("found", "fine"):
        return Doubts(None, str(suspects["why"]), dropped)
    return Doubts(frozenset(str(line["image"]) for line in suspects["suspects"]), dropped=dropped)


def with_and_without(sheets: Sequence[AnswerSheet], rows: Sequence[ManifestRow], doubts: Doubts) -> list[dict[str, Any]]:
    """Return ``comparison.json``'s ``subsets`` for `sheets` that are lined up with the test `rows`, in the order of `TITLES`.

    Each has a state: ``found``, ``fine`` (no such picture), ``not applicable`` (nothing is left without them) or ``skipped``. Where
    found, ``runs`` gives for each contestant the accuracy ``with`` and ``without`` the pictures, with Wilson's intervals, and
    their difference (``change``); ``order_changes`` says whether any two contestants change places, ``swapped`` which two first.
    """
    ordered = sorted(sheets, key=lambda sheet: (-sheet.correct, sheet.run))
    told, anything = [], np.zeros(len(rows), dtype=bool)
    for code in ("leaked", "repeated", "burst"):
        mask = np.array([code in row.marks for row in rows], dtype=bool)
        anything |= mask
        told.append(_subset(code, ordered, mask, doubts))
    if doubts.suspects is None:
        told.append({**_head("suspects", 0, "skipped"), "sentence": f"Not known: {doubts.unknown}."})
    else:
        mask = np.array([row.key in doubts.suspects for row in rows], dtype=bool)
        anything |= mask
        told.append(_subset("suspects", ordered, mask, doubts))
    return [*told, _subset("all", ordered, anything, doubts)]


def sentence(code: str, count: int, best: tuple[str, float, float], *, dropped: bool = False) -> str:
    """Return what is to be said of `count` > 0 test pictures; `best` is a contestant with its accuracy with and without them."""
    run, with_them, without = best
    one = count == 1
    pictures = f"{count:,} test picture{'' if one else 's'}"
    what = {
        "leaked": f"{pictures} {'is' if one else 'are'} also in train"
        + (f" ({'its' if one else 'their'} copies were left out of training)" if dropped else ""),
        "repeated": f"{pictures} {'repeats' if one else 'repeat'} another test picture",
        "burst": f"{pictures} {'is' if one else 'are'} of one scene with another picture",
        "suspects": f"{pictures} may carry a wrong label",
        "all": f"{pictures} {'has' if one else 'have'} at least one of these marks",
    }[code]
    scores = f"{run} {_percent(with_them)} with {'it' if one else 'them'}, {_percent(without)} without"
    caution = "; suspects are what contestants disagree with, so this is an upper bound until a person has looked"
    return f"{what}: {scores}{caution if code == 'suspects' else ''}."


def _head(code: str, count: int, state: str) -> dict[str, Any]:
    return {
        "code": code,
        "state": state,
        "n": count,
        "title": TITLES[code],
        "runs": {},
        "order_changes": False,
        "swapped": None,
    }


def _subset(code: str, ordered: Sequence[AnswerSheet], mask: Mask, doubts: Doubts) -> dict[str, Any]:
    count, left = int(mask.sum()), int((~mask).sum())
    if not count:
        return {**_head(code, 0, "fine"), "sentence": "No test picture."}
    if not left:
        return {**_head(code, count, "not applicable"), "sentence": f"All {count:,} test pictures: {_NONE_LEFT}."}
    runs, without = {}, {}
    for sheet in ordered:
        without[sheet.run] = right = int(sheet.right[~mask].sum())
        runs[sheet.run] = {
            "with": asdict(_accuracy(sheet.correct, sheet.n)),
            "without": asdict(_accuracy(right, left)),
            "change": right / left - sheet.accuracy,
        }
    swapped = next(
        (
            [b.run, a.run]
            for a, b in itertools.combinations(ordered, 2)
            if a.correct > b.correct and without[a.run] < without[b.run]
        ),
        None,
    )
    best = ordered[0]
    told = sentence(code, count, (best.run, best.accuracy, without[best.run] / left), dropped=doubts.dropped)
    told += _falls_most(ordered, without, left)
    if swapped is not None:
        told += f" The order changes: without them {swapped[0]} comes before {swapped[1]}."
    return {
        **_head(code, count, "found"),
        "sentence": told,
        "runs": runs,
        "order_changes": swapped is not None,
        "swapped": swapped,
    }


def _falls_most(ordered: Sequence[AnswerSheet], without: Mapping[str, int], left: int) -> str:
    """Return a sentence on the contestant that owed most to the pictures, where it is not the best one, which is told anyway."""
    falls = {sheet.run: sheet.accuracy - without[sheet.run] / left for sheet in ordered}
    most = max(ordered, key=lambda sheet: falls[sheet.run])
    if falls[most.run] <= max(falls[ordered[0].run], 0.0) + _WORTH_A_WORD:
        return ""
    return f" {most.run} falls most, from {_percent(most.accuracy)} to {_percent(without[most.run] / left)}."


def _accuracy(right: int, total: int) -> Score:
    return Score(right / total, *wilson(right, total), total)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
