"""Where wrong answers go: a planted pull is found, an even spread is cleared, and the counts are those of the definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest, spearmanr

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.leaning import Pull, order, pulls
from fieldguide.evaluate.pairs import holm


def answered(truth: list[int], answer: list[int], classes: int) -> AnswerSheet:
    keys = tuple(map(str, range(len(truth))))
    labels = tuple(f"c{at}" for at in range(classes))
    return AnswerSheet("any", keys, np.array(truth), np.array(answer), None, (None,) * len(truth), labels)


def drawn(seed: int, classes: int = 10, each: int = 20, pull: int | None = None, weights: object = None) -> AnswerSheet:
    """Return wrong answers alone: spread evenly, half of them drawn to `pull`, or by `weights` of the labels."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), each)
    chances = np.tile(np.ones(classes) if weights is None else np.asarray(weights, dtype=float), (len(truth), 1))
    chances[np.arange(len(truth)), truth] = 0
    answer = (chances / random.exponential(size=chances.shape)).argmax(axis=1).tolist()  # each label by its weight
    drawn_to = random.random(len(truth)) < 0.5
    answer = [pull if pull not in (None, own) and to else given for own, given, to in zip(truth, answer, drawn_to, strict=True)]
    return answered(truth.tolist(), answer, classes)


def test_counts_and_p_are_those_of_the_definition() -> None:
    # Truths 0 0 0 1 1 2 2 3; right once; one names no label.
    found = pulls(answered([0, 0, 0, 1, 1, 2, 2, 3], [1, 1, 2, 1, -1, 1, 3, 1], 4), example=1)
    one, rest = found[1], [found[at] for at in (0, 2, 3)]
    assert (one.wrong, one.could, one.even, one.p_holm) == (4, 6, 1 / 3, None)
    assert one.p == pytest.approx(float(binom.sf(3, 6, 1 / 3)))
    assert one.expected == 2 and one.share == 4 / 6 and one.low < 4 / 6 < one.high  # type: ignore[operator]
    theirs = binomtest(4, 6).proportion_ci(method="exact")
    assert (one.low, one.high) == pytest.approx((theirs.low, theirs.high)) and rest[1].high == 1
    assert [(each.wrong, each.could, each.even) for each in rest] == [(0, 1, 0.5), (1, 1, 0.5), (1, 2, 0.5)]
    assert [each.p_holm for each in rest] == holm([each.p or 0 for each in rest])
    alone = pulls(answered([0, 0, 0, 1, 1, 2, 2, 3], [1, 1, 2, 1, -1, 1, 3, 1], 4), example=None)[1]
    assert (alone.wrong, alone.could) == (4, 6) and alone.p_holm is not None and alone.p == one.p


def test_a_planted_pull_is_found_and_hides_no_other() -> None:
    found = pulls(drawn(1, pull=3), 3)
    assert [one.outcome == "more" for one in found] == [at == 3 for at in range(10)]
    assert pulls(drawn(1, pull=3), 4)[3].outcome == "more"  # named or not
    truth = drawn(1, pull=3)
    answer = np.where((truth.answer != 3) & (truth.truth != 7) & (np.arange(truth.n) % 2 == 0), 7, truth.answer)
    both = pulls(answered(truth.truth.tolist(), answer.tolist(), 10), 3)
    assert [one.label for one in both if one.outcome == "more"] == ["c3", "c7"]


def test_an_even_spread_is_cleared_as_often_as_it_should_be() -> None:
    found = [pulls(drawn(seed), 3) for seed in range(60)]
    assert sum(one[3].outcome == "more" for one in found) <= 7  # 3 expected at most; more than 7 comes once in 90 times
    assert sum(any(other.outcome == "more" for other in one if other is not one[3]) for one in found) <= 7


def test_what_cannot_be_told_is_not_told() -> None:
    assert [one.outcome for one in pulls(answered([0, 0, 1], [1, 1, 0], 2), 1)] == ["not applicable"] * 2
    few = pulls(answered([0, 1, 2], [1, 1, 1], 3), 1)[1]
    assert (few.wrong, few.could, few.outcome) == (2, 2, "too few wrong answers to tell")
    none = pulls(answered([0, 1, 2], [0, 1, -1], 3), 1)[1]
    assert (none.wrong, none.could, none.share, none.p) == (0, 0, None, None)


def test_a_lean_towards_the_start_of_the_list_is_found_whatever_the_example_takes() -> None:
    early = drawn(2, weights=np.arange(10, 0, -1) ** 2)
    told = order(pulls(early, None), None)
    assert told.outcome == "earlier" and told.rho is not None and told.rho < -0.8
    took = [one.wrong / one.expected for one in pulls(early, None)]
    assert told.rho == pytest.approx(spearmanr(range(10), took).statistic)
    late = order(pulls(drawn(2, weights=np.arange(1, 11) ** 2), 0), 0)
    assert late.outcome == "later" and late.labels == 9
    assert order(pulls(drawn(3, pull=0), 0), 0).outcome == "not distinguishable"


def test_an_even_spread_has_no_place() -> None:
    told = [order(pulls(drawn(seed, classes=6), None), None) for seed in range(20)]  # 720 orders: all are looked at
    assert sum(one.outcome in ("earlier", "later") for one in told) <= 4
    assert order(pulls(drawn(0, classes=4), None), None).outcome == "too few labels to tell"
    assert order(pulls(answered(list(range(6)), list(range(6)), 6), None), None).outcome == "too few wrong answers to tell"


def test_one_label_that_takes_all_is_no_trend() -> None:
    """Labels are put into other orders, not answers: hundreds of answers to the first label alone are one surprise in six."""
    found = [Pull(f"c{at}", 300 if at == 0 else 10, 400, 0.2, None, None, None, None, None, "more") for at in range(6)]
    assert order(found, None).outcome == "not distinguishable"
