"""Probabilities that can be believed, and answers that are better not given: both decided on validation pictures.

Temperature scaling (Guo et al., arXiv 1706.04599): one number that divides all logits, so that no answer changes. The temperature
has the least negative log-likelihood on validation pictures and one picture more, whose class is anybody's guess; without that one,
validation pictures that are all right would ask for certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.heads import Array

#: How far a temperature may be from the model's own, as a factor either way.
_FURTHEST = 1000.0
#: How far a probability may move with the batch that a picture is in; the picture that sets a threshold must not be refused by it.
_MOVED = 1e-5


@dataclass(frozen=True)
class Calibration:
    """`temperature` divides logits; `before` and `after` are negative log-likelihoods on `pictures` of validation, `None` without any."""

    temperature: float = 1.0
    before: float | None = None
    after: float | None = None
    pictures: int = 0

    def facts(self) -> dict[str, Any]:
        """Return what the log tells of it."""
        told = {"nll_before": self.before, "nll_after": self.after, "calibration_pictures": self.pictures}
        return {"temperature": self.temperature, **told}


def calibrated(logits: Array, labels: NDArray[np.integer] | Sequence[int], present: NDArray[np.bool_]) -> Calibration:
    """Return the temperature that suits ``"pictures classes"`` logits of validation pictures.

    `present` ``"classes"`` tells which classes can be answered at all; pictures of the others say nothing about a temperature.
    """
    from scipy.optimize import minimize_scalar

    labels = np.asarray(labels, np.int64)
    told = present[labels] if len(labels) else np.zeros(0, bool)
    rows = logits[told][:, present]
    if not len(rows) or present.sum() < 2:
        return Calibration()
    right = (np.cumsum(present) - 1)[labels[told]]

    def cost(log_temperature: float) -> float:
        logs = _logs(rows / np.exp(log_temperature))
        return float(-(logs[np.arange(len(rows)), right].sum() + logs.mean()) / (len(rows) + 1))

    span = float(np.log(_FURTHEST))
    found = float(np.exp(minimize_scalar(cost, bounds=(-span, span), method="bounded", options={"xatol": 1e-6}).x))
    return Calibration(found, _nll(rows, right), _nll(rows / found, right), len(rows))


def threshold(top: Array, right: NDArray[np.bool_], share: float) -> float | None:
    """Return the probability below which answers are refused so that `share` of the right ones of validation are, at most.

    `top` is the highest probability of each validation picture, `right` whether that answer is right. `None` where none is.
    """
    held = np.sort(top[right])
    return float(held[min(int(share * len(held)), len(held) - 1)]) - _MOVED if len(held) else None


def _logs(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _nll(logits: Array, labels: NDArray[np.integer]) -> float:
    return float(-_logs(logits)[np.arange(len(labels)), labels].mean())
