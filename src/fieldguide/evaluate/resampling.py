"""Bootstrap of whole groups: rows of one class, or lines of one picture, are drawn together, because they err together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluate.intervals import RESAMPLES, SEED, Floats, Interval

#: With fewer groups a bootstrap says nothing.
FEWEST = 5
_LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class Draws:
    """`of` ``"rows"`` is the group of each row, from 0; `counts` ``"resamples groups"`` how often each group was drawn."""

    of: NDArray[np.int64]
    counts: Floats

    @property
    def enough(self) -> bool:
        """Whether there are groups enough to resample."""
        return bool(self.counts.shape[1] >= FEWEST)

    def sums(self, values: Floats) -> Floats:
        """Return the sum of ``"rows"`` or ``"rows features"`` in each resample."""
        flat = values[:, None] if values.ndim == 1 else values
        each = np.zeros((self.counts.shape[1], flat.shape[1]))
        np.add.at(each, self.of, flat)
        drawn = self.counts @ each
        return np.asarray(drawn[:, 0] if values.ndim == 1 else drawn)

    def mean(self, values: Floats) -> Interval | None:
        """Return the interval of the mean of ``"rows"``."""
        return self.ratio(values, np.ones(len(values)))

    def ratio(self, above: Floats, below: Floats) -> Interval | None:
        """Return the interval of the sum of `above` over the sum of `below`, both ``"rows"``."""
        if not self.enough:
            return None
        under = self.sums(below)
        if not (under > 0).all():
            return None
        low, high = np.quantile(self.sums(above) / under, _LEVELS)
        return float(low), float(high)


def draws(groups: NDArray[np.integer]) -> Draws:
    """Return resamples with replacement of the `groups` that rows belong to, ``"rows"``."""
    names, of = np.unique(groups, return_inverse=True)
    n = len(names)
    random = np.random.default_rng(SEED)
    counts = random.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) if n else np.zeros((RESAMPLES, 0))
    return Draws(of.astype(np.int64), counts.astype(float))
