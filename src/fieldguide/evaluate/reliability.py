"""How sure and how right: a contestant's answers by their confidence, and what leaving the unsure ones unanswered would do.

The confidence of an answer is the probability that the contestant gives to it. A threshold below which answers are not given is chosen
on validation pictures alone; what it does is then counted on test pictures, failures in the denominator as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.calibration import BINS, bins_of
from fieldguide.evaluate.intervals import mean_interval, share

#: How often answers that are given should be right, at least, when a threshold is chosen.
TARGETS = (0.95, 0.99)
#: Points of the curve of coverage.
POINTS = 40
#: How far a probability may move with the batch that a picture is in; the picture that sets a threshold must not be left out by it.
_MOVED = 1e-5
_NO_PROBABILITIES = "the contestant gives no probabilities"

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def reliability(answers: AnswerSheet) -> dict[str, Any] | None:
    """Return the answers that have a probability, by confidence; `None` where none has.

    ``bins`` are those of the calibration error, the empty ones left out: their ends, pictures ``n``, ``right`` ones, mean ``confidence``
    and ``accuracy`` with Wilson's interval. ``surplus`` is mean confidence minus accuracy: above zero the contestant is too sure.
    ``coverage`` are points of a curve, surest answers first: of all ``of`` pictures, ``answered`` are given an answer at ``threshold``, and
    so many of these are ``right``. ``ranking`` is the area under the ROC curve of confidence telling right answers from wrong ones.
    """
    if answers.probabilities is None:
        return None
    confidence, right = confidences(answers)
    gaps = np.sort(confidence - right)  # one order for one set of pictures: floating sums depend on it
    low, high = mean_interval(gaps)
    both = 0 < int(right.sum()) < len(right)
    return {
        "n": len(confidence),
        "of": answers.n,
        "confidence": float(confidence.mean()),
        "right": int(right.sum()),
        "surplus": {"value": float(gaps.mean()), "low": low, "high": high},
        "ranking": float(roc_auc_score(right, confidence)) if both else None,
        "bins": _bins(confidence, right),
        "coverage": _curve(confidence, right, answers.n),
    }


def confidences(answers: AnswerSheet) -> tuple[Floats, Bools]:
    """Return the probability of each answer that has one, falling, and whether it was right; among equals in the order of the pictures."""
    assert answers.probabilities is not None
    known = np.flatnonzero(np.isfinite(answers.probabilities).all(axis=1) & (answers.answer >= 0))
    confidence = answers.probabilities[known, answers.answer[known]]
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], answers.right[known][order]


def _bins(confidence: Floats, right: Bools) -> list[dict[str, Any]]:
    place, told = bins_of(confidence), []
    for at in range(BINS):
        inside = place == at
        count, hits = int(inside.sum()), int(right[inside].sum())
        if count:
            told.append(
                {
                    "low": at / BINS,
                    "high": (at + 1) / BINS,
                    "n": count,
                    "right": hits,
                    "confidence": float(confidence[inside].mean()),
                    "accuracy": share(hits, count),
                }
            )
    return told


def _curve(confidence: Floats, right: Bools, pictures: int) -> list[dict[str, Any]]:
    """Return points at about even steps of coverage. Answers of one confidence are given together or not at all."""
    ends = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)
    hits = np.cumsum(right)
    wanted = np.arange(1, POINTS + 1) * pictures / POINTS - 1
    near = np.unique([int(np.abs(ends - at).argmin()) for at in wanted])
    return [
        {"threshold": float(confidence[end]), "answered": int(end) + 1, "right": int(hits[end])} for end in ends[near].tolist()
    ]


def abstention(val: AnswerSheet | None, test: AnswerSheet, targets: Sequence[float] = TARGETS) -> list[dict[str, Any]]:
    """Return for each of `targets` the threshold that validation chooses and what it does on the test part.

    Chosen is the lowest confidence from which on the answers to validation pictures are right as often as the target asks for. Nothing is
    promised by that for other pictures: ``test`` counts it. ``state`` is ``ok``, or ``not applicable`` and ``why``.
    """
    if test.probabilities is None:
        return []
    if val is None or val.probabilities is None:
        why = "there are no validation pictures with probabilities to choose a threshold on"
        return [{"target": target, "state": "not applicable", "why": why} for target in targets]
    return [_abstaining(val, test, target) for target in targets]


def _abstaining(val: AnswerSheet, test: AnswerSheet, target: float) -> dict[str, Any]:
    confidence, right = confidences(val)
    ends = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)
    enough = ends[np.cumsum(right)[ends] >= target * (ends + 1)]
    if not len(enough):
        why = f"no threshold makes {100 * target:.0f} % of the answers to validation pictures right"
        return {"target": target, "state": "not applicable", "why": why}
    last = int(enough[-1])
    # Where all answers are right often enough, none is left out, however unsure one of the test part is.
    least = 0.0 if last == len(confidence) - 1 else max(0.0, float(confidence[last]) - _MOVED)
    sure, hit = confidences(test)
    given, hits = int((sure >= least).sum()), int(hit[sure >= least].sum())
    return {
        "target": target,
        "state": "ok",
        "why": None,
        "threshold": least,
        "val": {"answered": last + 1, "right": int(right[: last + 1].sum()), "n": val.n},
        "test": {"answered": share(given, test.n), "right": hits, "accuracy": share(hits, given)},
    }
