"""Two contestants on the same pictures: exact McNemar, Holm over all pairs, and when the pictures are too few to tell."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import difference_interval

Outcome = Literal["a better", "b better", "not distinguishable", "too few pictures to tell"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Contestants `a` and `b` on the same pictures. `difference` is accuracy a - b; `only_a` is what a alone got right.

    `low` and `high` bound this one difference and are not corrected for the number of pairs; `outcome` rests on `p_holm`.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int
    p: float
    p_holm: float
    outcome: Outcome

    @property
    def real(self) -> bool:
        """Whether the difference holds after correction."""
        return self.outcome in ("a better", "b better")

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``comparison.json``."""
        return asdict(self)

    def of_a(self) -> dict[str, Any]:
        """Return what is told where `b` is the base of `a`: the difference with its interval, p, p_holm, and better or worse."""
        return {
            "difference": {"value": self.difference, "low": self.low, "high": self.high},
            "p": self.p,
            "p_holm": self.p_holm,
            "outcome": {"a better": "better", "b better": "worse"}.get(self.outcome, self.outcome),
        }


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p of the exact McNemar test: a fair coin for the pictures that only one of the two got right."""
    discordant = only_a + only_b
    return float(binomtest(only_a, discordant).pvalue) if discordant else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Return Holm-adjusted p-values in the order given (S. Holm, 1979): the smallest times their number, and so on down."""
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(value) for value in adjusted]


def all_pairs(sheets: Sequence[AnswerSheet], alpha: float) -> list[Pair]:
    """Test every pair of `sheets`, earlier against later, and correct over all of them."""
    return paired(list(itertools.combinations(sheets, 2)), alpha)


def paired(couples: Sequence[tuple[AnswerSheet, AnswerSheet]], alpha: float) -> list[Pair]:
    """Test the first of each couple against its second, and correct after Holm over the `couples`."""
    only = [(int((a.right & ~b.right).sum()), int((b.right & ~a.right).sum())) for a, b in couples]
    p = [mcnemar(*counts) for counts in only]
    adjusted = holm(p)
    pairs = []
    for index, ((a, b), (only_a, only_b)) in enumerate(zip(couples, only, strict=True)):
        outcome: Outcome
        if adjusted[index] <= alpha:
            outcome = "a better" if only_a > only_b else "b better"
        else:
            outcome = "not distinguishable" if _could_tell(p, index, only_a + only_b, alpha) else "too few pictures to tell"
        low, high = difference_interval(a.n, only_a, only_b, alpha)
        difference = (only_a - only_b) / a.n
        pairs.append(Pair(a.run, b.run, difference, low, high, only_a, only_b, p[index], adjusted[index], outcome))
    return pairs


def _could_tell(p: Sequence[float], index: int, discordant: int, alpha: float) -> bool:
    """Whether a pair could have been told apart had all its discordant pictures gone one way, the rest as it is.

    That would be n : 0, with p = 2^(1 - n), and the pair would stand earlier in Holm's order: behind the pairs with smaller p
    it would face alpha / (pairs not behind it), and it must not be stopped by one of those before it. Asking Holm again with
    that p says both. The level at the pair's actual place would be laxer, and would call a pair "not distinguishable" that
    no answers on these pictures could have told apart.
    """
    best = [*p[:index], mcnemar(discordant, 0), *p[index + 1 :]]
    return holm(best)[index] <= alpha
