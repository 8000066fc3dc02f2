"""How small a difference these test pictures can show: exact power of the exact McNemar test, no simulation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binom

POWER = 0.80
#: Discordance is the share of pictures that exactly one of two contestants gets right.
FLOOR = 0.02
ASSUMED = 0.15
_STEP = 1e-6


def detection_power(n: int, discordance: float, difference: float, alpha: float) -> float:
    """Return the chance that exact McNemar at level `alpha` finds the better of two contestants that differ by `difference`.

    Of `n` pictures, a binomial number with rate `discordance` is right for one contestant only, and each of those for the
    better one with probability (1 + difference / discordance) / 2.
    """
    return _power(*_critical(n, discordance, alpha), _share(discordance, difference))


def smallest_difference(n: int, discordance: float, alpha: float, power: float = POWER) -> float | None:
    """Return the smallest accuracy difference (a share) found with chance `power`; `None` where even the largest is not.

    The largest difference possible is `discordance` itself: all pictures that set the two apart go one way.
    """
    discordant, weight, critical = _critical(n, discordance, alpha)
    low, high = 0.0, discordance
    if _power(discordant, weight, critical, _share(discordance, high)) < power:
        return None
    while high - low > _STEP:
        middle = (low + high) / 2
        if _power(discordant, weight, critical, _share(discordance, middle)) < power:
            low = middle
        else:
            high = middle
    return high


def power_line(n: int, discordances: Sequence[float], pairs: int, alpha: float) -> dict[str, Any]:
    """Return the power part of ``comparison.json`` for `n` pictures, from `discordances` observed between serious contestants.

    ``single`` is the difference one comparison at level `alpha` finds with 80 % power, ``corrected`` the same at `alpha`
    over the number of `pairs`, the hardest level Holm asks for.
    """
    discordance = max(FLOOR, statistics.median(discordances)) if discordances else ASSUMED
    single = smallest_difference(n, discordance, alpha)
    corrected = smallest_difference(n, discordance, alpha / pairs) if pairs > 1 else single
    result = {"discordance": discordance, "single": single, "corrected": corrected}
    return {**result, "sentence": _sentence(n, pairs, discordance, single, corrected, measured=bool(discordances))}


def _sentence(n: int, pairs: int, discordance: float, single: float | None, corrected: float | None, *, measured: bool) -> str:
    start = f"With {n} test picture{'s' if n > 1 else ''} you"
    share = f"exactly one of two is right on {100 * discordance:.0f} % of the pictures"
    basis = f"where {share}" if measured else f"assuming that {share} (there is no pair to measure it on)"
    if single is None:
        return f"{start} cannot tell models apart, {basis}: even the largest difference possible there would often be missed."
    alone = f"{start} can tell apart models that differ by {100 * single:.1f} points"
    if pairs <= 1:
        return f"{alone}, {basis} (80 % power)."
    if corrected is None:
        return f"{alone} if you compare only two, but not over all {pairs} pairs at once, {basis} (80 % power)."
    return f"{alone} if you compare only two, and by {100 * corrected:.1f} points over all {pairs} pairs, {basis} (80 % power)."


def _share(discordance: float, difference: float) -> float:
    return min(1.0, (1 + difference / discordance) / 2)


_Array = np.ndarray[Any, np.dtype[np.float64]]


def _critical(n: int, discordance: float, alpha: float) -> tuple[_Array, _Array, _Array]:
    """Return numbers of discordant pictures, their probabilities, and the fewest that must go one way for p <= alpha."""
    spread = 8 * np.sqrt(n * discordance * (1 - discordance)) + 10  # beyond it the probability is below 1e-12
    middle = n * discordance
    counts = np.arange(max(0, int(middle - spread)), min(n, int(middle + spread)) + 1).astype(float)
    weight = binom.pmf(counts, n, discordance)
    return counts, weight, binom.isf(alpha / 2, counts, 0.5) + 1


def _power(counts: _Array, weight: _Array, critical: _Array, share: float) -> float:
    return float(weight @ binom.sf(critical - 1, counts, share))
