"""Which contestants that count really differ, in the form of ``comparison.json``: in exact answers, and in how far they are off.

Exact answers are tested as those of classifiers are: exact McNemar. On crowded pictures nobody is exact, so the mean absolute error of a
count is tested too, picture by picture, with Wilcoxon's signed-rank test over the pictures both answered. Holm corrects each over all pairs.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from fieldguide.errors import DataProblem
from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.compare import compare
from fieldguide.evaluate.counting import Bools, CountSheet, Ints, few_interval
from fieldguide.evaluate.pairs import holm
from fieldguide.records import Manifest

#: With fewer pictures whose errors differ no order of them is rare enough to be called a difference.
_FEWEST = 6


def compare_counts(
    sheets: Sequence[CountSheet], manifest: Manifest, scores: Sequence[Mapping[str, Any]], alpha: float = 0.05
) -> dict[str, Any]:
    """Return the content of ``comparison.json`` for contestants that counted the same pictures.

    Beside what `fieldguide.evaluate.compare.compare` gives of exact answers there is ``errors``: a row a pair, with the difference of
    mean absolute errors a - b (negative: a is nearer), its bootstrap interval over pictures, p, p_holm and outcome. ``chance`` is what
    always answering the commonest training counts would score.
    """
    if len({sheet.keys for sheet in sheets}) > 1:
        raise DataProblem(
            "The contestants were not scored on the same pictures.", "Contestants of one study.", "Run the comparison again."
        )
    told = compare(
        [as_labels(sheet, sheet.right, np.ones(sheet.n, bool)) for sheet in sheets],
        commonest(manifest),
        choose_counts(scores),
        alpha,
    )
    by_run = {sheet.run: sheet for sheet in sheets}
    ordered = [by_run[run] for run in told["order"]]
    return {
        **told,
        "classes": len(manifest.classes),
        "task": "count",
        "errors": nearer(list(itertools.combinations(ordered, 2)), alpha),
        "nearest": _nearest(sheets),
    }


def commonest(manifest: Manifest) -> dict[str, Any]:
    """Return ``{"accuracy", "how", "name"}``: the share of test pictures that have exactly the commonest counts of the training pictures."""
    train, test = manifest.part("train"), manifest.part("test")
    counted = Counter(row.counts or () for row in (train or test))
    best = min(counted, key=lambda counts: (-counted[counts], counts))
    share = sum((row.counts or ()) == best for row in test) / len(test)
    said = ", ".join(f"{count} {label}" for label, count in best) or "nothing"
    of = "training" if train else "test"
    how = f"always answering the commonest counts of the {of} pictures, which are '{said}'"
    return {"accuracy": share, "how": how, "name": "always giving the commonest counts"}


def choose_counts(scores: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the run that validation chooses: most exact answers, then the smallest mean error, then the first name.

    A contestant without a single usable answer comes last. `None` where none has a validation part.
    """
    ranked = []
    for score in scores:
        part = score["parts"]["val"]
        if part is not None:
            mae = part["metrics"]["mae"]["value"]
            ranked.append((-part["correct"], float("inf") if mae is None else mae, score["run"]))
    return min(ranked)[2] if ranked else None


def as_labels(sheet: CountSheet, right: Bools, usable: Bools) -> AnswerSheet:
    """Return a sheet of two classes, wrong and right, all of whose pictures are "right" in truth; neither `right` nor `usable` is no label."""
    answer = np.where(right, 1, np.where(usable, 0, -1)).astype(np.int64)
    return AnswerSheet(sheet.run, sheet.keys, np.ones(sheet.n, np.int64), answer, None, sheet.errors, ("wrong", "right"))


def nearer(couples: Sequence[tuple[CountSheet, CountSheet]], alpha: float) -> list[dict[str, Any]]:
    """Return a row for each couple: mean absolute errors on pictures both answered, a - b, tested after Wilcoxon, Holm over `couples`."""
    rows: list[dict[str, Any]] = []
    for a, b in couples:
        both = a.answered & b.answered
        # In whole things, so that equal errors are equal: the division comes after.
        whole = (_things_off(a) - _things_off(b))[both]
        gaps = whole / len(a.classes)
        low, high = few_interval(gaps) if len(gaps) > 1 else (None, None)
        differ = int(np.count_nonzero(whole))
        p = float(wilcoxon(whole[whole != 0]).pvalue) if differ >= _FEWEST else 1.0
        mean = float(gaps.mean()) if len(gaps) else None
        rows.append(
            {
                "a": a.run,
                "b": b.run,
                "n": int(both.sum()),
                "differ": differ,
                "difference": mean,
                "low": low,
                "high": high,
                "p": p,
            }
        )
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        real = adjusted <= alpha and row["difference"]
        blind = row["differ"] < _FEWEST
        outcome = ("a nearer" if row["difference"] < 0 else "b nearer") if real else "not distinguishable"
        row |= {"p_holm": adjusted, "outcome": "too few pictures to tell" if blind and not real else outcome}
    return rows


def _things_off(sheet: CountSheet) -> Ints:
    """Return by how many things each picture is miscounted, all classes together, ``"pictures"``."""
    off: Ints = np.abs(sheet.answer - sheet.truth).sum(axis=1)
    return off


def _nearest(sheets: Sequence[CountSheet]) -> str | None:
    """Return the run with the smallest mean absolute error among those that answered most pictures; `None` where none has an answer."""
    most = max(int(sheet.answered.sum()) for sheet in sheets)
    full = [sheet for sheet in sheets if sheet.answered.sum() == most]
    return min(full, key=lambda sheet: (float(np.nanmean(sheet.off)), sheet.run)).run if most else None
