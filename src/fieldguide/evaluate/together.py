"""Which pictures two contestants miss together, and whether that is more often than their accuracies alone would have it.

Error consistency is Cohen's kappa of being right or wrong (R. Geirhos, K. Meding, F. A. Wichmann, "Beyond accuracy: quantifying
trial-by-trial behaviour of CNNs and humans by measuring error consistency", NeurIPS 2020, arXiv 2006.16736): 0 where the mistakes
of two contestants fall together as often as chance would have it at their accuracies, 1 where they are the same pictures. It
carries an interval, because many differences of it that were published are not significant without one (arXiv 2507.06645).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import RESAMPLES, SEED

_LEVELS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Together:
    """Two contestants on `n` pictures, of which `both` missed some, and took some of those for the `same` class.

    `expected` is how many both would miss if their mistakes had nothing to do with each other. `kappa` (error consistency) is
    `None` where one of them is always right or always wrong.
    """

    a: str
    b: str
    n: int
    both: int
    expected: float
    same: int
    kappa: float | None
    low: float | None
    high: float | None


def missed_together(sheets: Sequence[AnswerSheet]) -> list[dict[str, Any]]:
    """Return each pair of `sheets`, the better contestant first, in the form of ``causes.json``."""
    ordered = sorted(sheets, key=lambda sheet: (-sheet.correct, sheet.run))
    return [asdict(together(a, b)) for a, b in itertools.combinations(ordered, 2)]


def together(a: AnswerSheet, b: AnswerSheet) -> Together:
    """Return what `a` and `b`, lined up with the same pictures, missed together."""
    wrong_a, wrong_b = ~a.right, ~b.right
    both = wrong_a & wrong_b
    same = int((both & (a.answer == b.answer) & (a.answer >= 0)).sum())
    count, n = int(both.sum()), a.n
    only_a, only_b = int((wrong_a & ~wrong_b).sum()), int((wrong_b & ~wrong_a).sum())
    cells = np.array([n - count - only_a - only_b, only_a, only_b, count])
    kappa = _kappa(cells)
    low, high = _interval(cells) if kappa is not None else (None, None)
    expected = float(wrong_a.sum()) * float(wrong_b.sum()) / n
    return Together(a.run, b.run, n, count, expected, same, kappa, low, high)


def _kappa(cells: NDArray[np.int64]) -> float | None:
    """Return Cohen's kappa of the counts neither, only a, only b, both; `None` where a contestant has but one outcome."""
    neither, only_a, only_b, both = cells
    if 0 in (only_a + both, only_b + both, neither + only_b, neither + only_a):
        return None
    return float(_kappas(cells[None].astype(float))[0])


def _kappas(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = cells / cells.sum(axis=1, keepdims=True)
    a, b = shares[:, 1] + shares[:, 3], shares[:, 2] + shares[:, 3]
    expected = a * b + (1 - a) * (1 - b)
    kappas: NDArray[np.float64] = (shares[:, 0] + shares[:, 3] - expected) / (1 - expected)
    return kappas


def _interval(cells: NDArray[np.int64]) -> tuple[float, float]:
    """Return the bootstrap interval over pictures: a draw of pictures changes only the four counts, so those are drawn.

    Half a picture is shared out among the four cells, so that an outcome that was never seen is possible, and no draw is without one.
    """
    smooth = cells.astype(np.float64) + 0.125
    n = int(cells.sum())
    drawn = np.random.default_rng(SEED).multinomial(n, smooth / smooth.sum(), size=RESAMPLES)
    low, high = np.quantile(_kappas(drawn.astype(np.float64) + 0.125), _LEVELS)
    kappa = float(_kappas(cells[None].astype(float))[0])
    return min(float(low), kappa), max(float(high), kappa)
