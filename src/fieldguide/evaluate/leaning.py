"""Where wrong answers go: which labels take more of them than an even spread, and whether their place in the prompt's list tells.

The null hypothesis of every test is an *even spread*: each wrong answer that names a label goes, independently of the others, to each
label but the truth with the same probability. An answer for a picture of a label cannot be a wrong answer "to" that label, so such
pictures are out of its test; answers that name no label are out of all tests. Labels also look alike, so what is not an even spread need
not come from the prompt: the tests say that answers lean, not why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binomtest, permutation_test, rankdata

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import SEED
from fieldguide.evaluate.pairs import holm

ALPHA = 0.05
#: Orders of the list that are drawn where it has more than can all be looked at.
ORDERS = 9_999
#: With fewer labels no order of them is rarer than one in twenty, whichever way it leans.
FEWEST_LABELS = 5
Outcome = Literal["more", "not distinguishable", "too few wrong answers to tell", "not applicable"]
Position = Literal["earlier", "later", "not distinguishable", "too few labels to tell", "too few wrong answers to tell"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pull:
    """How many wrong answers one label takes: `wrong` of the `could` that could have gone there.

    `share` is that share, with the exact interval of Clopper and Pearson, and `even` what it would be by an even spread. `p` is the exact
    binomial one that so many or more go there, `p_holm` that after Holm where the label was not named in advance. `outcome` is judged by
    the latter where it is there.
    """

    label: str
    wrong: int
    could: int
    even: float
    share: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    outcome: Outcome

    @property
    def expected(self) -> float:
        """Wrong answers that an even spread would send there."""
        return self.could * self.even


@dataclass(frozen=True, slots=True)
class Order:
    """Whether labels earlier in the list take more wrong answers (`rho` below 0) or later ones (above 0).

    `rho` is Spearman's rank correlation of the place in the list with wrong answers over those that an even spread would send there, over
    `labels` labels; `p` is two-sided, from orders of the labels: all of them, or `ORDERS` drawn with a fixed seed.
    """

    outcome: Position
    labels: int
    rho: float | None = None
    p: float | None = None


def pulls(answers: AnswerSheet, example: int | None, alpha: float = ALPHA) -> list[Pull]:
    """Return one `Pull` for each class of `answers`, in class order; `example` is the position of the label named in advance, if any.

    The example is tested alone, over all wrong answers for pictures of other labels. Every other label is tested over the wrong answers
    that did not go to the example, for pictures of neither, and corrected after Holm over these labels: a strong pull to the example
    would otherwise hide all others.
    """
    wrong = ~answers.right & (answers.answer >= 0)
    truth, answer, classes = answers.truth[wrong], answers.answer[wrong], len(answers.classes)
    rest = np.ones(len(truth), dtype=bool) if example is None else (truth != example) & (answer != example)
    counted = []
    for at in range(classes):
        among = truth != at if at == example else rest & (truth != at)
        others = classes - 1 if example in (None, at) else classes - 2  # labels that such an answer can name
        counted.append((int((among & (answer == at)).sum()), int(among.sum()), others))
    p = [_p(*one) for one in counted]
    tested = [at for at in range(classes) if at != example and p[at] is not None]
    adjusted = dict(zip(tested, holm([p[at] or 0.0 for at in tested]), strict=True))
    return [
        _pull(answers.classes[at], counted[at], p[at], adjusted.get(at), len(tested) if at != example else 1, alpha)
        for at in range(classes)
    ]


def _p(wrong: int, could: int, others: int) -> float | None:
    """Return the exact p of `wrong` or more; `None` where a wrong answer has nowhere else to go, or there is none."""
    return float(binomtest(wrong, could, 1 / others, alternative="greater").pvalue) if others > 1 and could else None


def _pull(label: str, counted: tuple[int, int, int], p: float | None, p_holm: float | None, tests: int, alpha: float) -> Pull:
    wrong, could, others = counted
    even = 1 / others if others else 1.0
    low, high = _interval(wrong, could)
    judged = p if p_holm is None else p_holm
    outcome: Outcome
    if others < 2:
        outcome = "not applicable"
    elif judged is not None and judged <= alpha:
        outcome = "more"
    elif could * math.log(even) + math.log(tests or 1) > math.log(alpha):  # even if all of them went there
        outcome = "too few wrong answers to tell"
    else:
        outcome = "not distinguishable"
    return Pull(label, wrong, could, even, wrong / could if could else None, low, high, p, p_holm, outcome)


def _interval(count: int, total: int) -> tuple[float | None, float | None]:
    """Return the exact interval of Clopper and Pearson, from quantiles of the beta distribution: thousands of labels take no time."""
    if not total:
        return None, None
    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    return low, float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0


def order(found: Sequence[Pull], example: int | None, alpha: float = ALPHA) -> Order:
    """Return whether wrong answers go rather to labels early or late in a list, where `found` is one `Pull` a label in its order.

    The null hypothesis: the labels stand in the list in an order that has nothing to do with how many wrong answers each takes. Labels are
    what is put into other orders, not answers, so a label that takes many for its looks is one surprise and not many. The example is
    left out, and so are the answers that went to it. A pull towards both ends of a list is none towards one: it is no trend.
    """
    used = [(at, one) for at, one in enumerate(found) if at != example and one.expected > 0]
    places = rankdata([at for at, _ in used])
    took = rankdata([one.wrong / one.expected for _, one in used])
    if len(found) - (example is not None) < FEWEST_LABELS:
        return Order("too few labels to tell", len(used))
    if len(used) < FEWEST_LABELS or len(set(took.tolist())) == 1:
        return Order("too few wrong answers to tell", len(used))
    centred = (places - places.mean()) / np.linalg.norm(places - places.mean())

    def rho(values: Floats, axis: int = -1) -> Any:
        apart = values - values.mean(axis=axis, keepdims=True)
        return (apart * centred).sum(axis=axis) / np.sqrt((apart**2).sum(axis=axis))

    tested = permutation_test(
        (took,),
        rho,
        permutation_type="pairings",
        n_resamples=ORDERS,
        vectorized=True,
        batch=256,
        random_state=np.random.default_rng(SEED),
    )
    value, p = float(tested.statistic), float(tested.pvalue)
    outcome: Position = "not distinguishable" if p > alpha else "earlier" if value < 0 else "later"
    return Order(outcome, len(used), value, p)
