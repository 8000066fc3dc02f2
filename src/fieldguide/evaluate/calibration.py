"""Calibration: log loss and expected calibration error, with the error that a perfectly calibrated model would show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import SEED, in_blocks, mean_interval
from fieldguide.records import Score

BINS = 15
_NO_PROBABILITIES = "the contestant gives no probabilities"

Floats = NDArray[np.float64]


def log_loss_score(sheet: AnswerSheet) -> Score:
    """Return the mean of -ln(probability of the true class) over the pictures with probabilities; `Score.n` counts them."""
    if sheet.probabilities is None:
        return Score.absent(_NO_PROBABILITIES)
    known = np.isfinite(sheet.probabilities).all(axis=1)
    truth, given = sheet.truth[known], sheet.probabilities[known]
    order = np.lexsort((*given.T, truth))  # one order for one set of pictures: floating sums depend on it
    truth, given = truth[order], given[order]
    value = float(log_loss(truth, given, labels=np.arange(len(sheet.classes))))
    # scikit-learn clips at the smallest step of the type, so that one certain mistake is costly, not infinite.
    losses = -np.log(np.clip(given[np.arange(len(truth)), truth], np.finfo(np.float64).eps, 1.0))
    low, high = mean_interval(losses)
    return Score(value, low, high, len(truth), why=_partly(len(truth), sheet.n))


def calibration_score(sheet: AnswerSheet) -> Score:
    """Return the expected calibration error of the answers that carry a probability: 15 equal bins, confidence of the answer.

    No interval: the error is biased upwards and a bootstrap doubles that bias. `calibration_null` is what to read it against.
    """
    if sheet.probabilities is None:
        return Score.absent(_NO_PROBABILITIES)
    confidence, right = _confidences(sheet)
    error = float(_errors(confidence, right[None, :].astype(float))[0])
    return Score(error, n=len(confidence), why=_partly(len(confidence), sheet.n))


def calibration_null(sheet: AnswerSheet) -> dict[str, float] | None:
    """Return mean and 95th percentile of the error that a perfectly calibrated model with these confidences would show.

    Each simulated answer is right with exactly the probability it states. The error is above zero all the same, because a
    bin of few pictures is never right at exactly its rate. `None` where there are no probabilities.
    """
    if sheet.probabilities is None:
        return None
    return null_error(_confidences(sheet)[0])


def null_error(confidence: Floats) -> dict[str, float]:
    """Return ``mean`` and ``high`` (95th percentile) of the error where each `confidence`, ``"pictures"``, is true."""
    ordered = np.sort(confidence)
    random = np.random.default_rng(SEED)

    def simulate(size: int) -> Floats:
        return _errors(ordered, (random.random((size, len(ordered))) < ordered).astype(float))

    errors = in_blocks(simulate, len(ordered))
    return {"mean": float(errors.mean()), "high": float(np.quantile(errors, 0.95))}


def bins_of(confidence: Floats) -> NDArray[np.int64]:
    """Return the bin of each `confidence`, 0 to `BINS` - 1; a bin holds its upper end, and the first one zero."""
    bins: NDArray[np.int64] = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return bins


def _confidences(sheet: AnswerSheet) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the probability of each answer, rising, and whether it was right."""
    assert sheet.probabilities is not None
    known = np.flatnonzero(np.isfinite(sheet.probabilities).all(axis=1))
    confidence = sheet.probabilities[known, sheet.answer[known]]
    right = sheet.right[known]
    order = np.argsort(confidence, kind="stable")
    return confidence[order], right[order]


def _errors(confidence: Floats, right: Floats) -> Floats:
    """Return the calibration error of each row of `right`, ``"rows pictures"``, for rising `confidence`, ``"pictures"``.

    Sum over bins of |right answers - confidence|, over the number of pictures (Naeini et al., 2015; Guo et al., 2017).
    """
    bins = bins_of(confidence)
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    # Counted apart: whole numbers add up to the same in any order, so equal confidences may stand in any.
    gaps: Floats = np.abs(np.add.reduceat(right, starts, axis=1) - np.add.reduceat(confidence, starts))
    errors: Floats = gaps.sum(axis=1) / len(confidence)
    return errors


def _partly(known: int, total: int) -> str | None:
    return None if known == total else f"over the {known} of {total} pictures that have probabilities"
