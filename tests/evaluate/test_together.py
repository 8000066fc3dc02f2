"""Missed together: counts by hand, kappa against scikit-learn, and an interval that covers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from fieldguide.evaluate.together import missed_together, together


def test_counts_and_what_chance_would_have(make: SimpleNamespace) -> None:
    a = make.sheet("a", [1, 1, 1, 1, 0, 0, 0, 0, 1, 1])
    b = make.sheet("b", [1, 1, 1, 1, 1, 0, 0, 0, 0, 1])
    found = together(a, b)
    assert (found.n, found.both, found.same) == (10, 3, 3) and found.expected == pytest.approx(4 * 4 / 10)


def test_the_same_mistake_is_told_from_another(make: SimpleNamespace) -> None:
    a, b = make.random_sheet(1), make.random_sheet(1)
    other = np.where(b.right | (b.answer < 0), b.answer, (b.answer + 1) % 8)
    other = np.where(other == b.truth, np.where(b.right, other, (other + 1) % 8), other)
    moved = type(b)("moved", b.keys, b.truth, other, None, b.errors, b.classes)
    assert together(a, moved).both == together(a, b).both == int((~a.right).sum())
    assert together(a, moved).same == 0 < together(a, b).same, "and having no answer is not the same answer"
    assert together(a, b).same == int((~a.right & (a.answer >= 0)).sum())


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_cohens_of_being_right(make: SimpleNamespace, seed: int) -> None:
    random = np.random.default_rng(seed)
    hard = random.random(150)
    a, b = (make.sheet(name, hard + random.normal(0, 0.3, 150) > 0.4) for name in "ab")
    found = together(a, b)
    assert found.kappa == pytest.approx(cohen_kappa_score(a.right, b.right))
    assert found.low is not None and found.high is not None and found.kappa is not None
    assert -1 <= found.low < found.kappa < found.high <= 1


def test_kappa_is_absent_where_a_contestant_has_but_one_outcome(make: SimpleNamespace) -> None:
    found = together(make.sheet("all", [1] * 8), make.sheet("b", [1, 0] * 4))
    assert (found.kappa, found.low, found.high) == (None, None, None)
    assert together(make.sheet("none", [0] * 8), make.sheet("b", [1, 0] * 4)).kappa is None


def test_the_interval_covers_what_is_true(make: SimpleNamespace) -> None:
    """Two contestants that miss a fifth each, half of that together: kappa is known, and 95 % intervals hold it about so often."""
    shares = np.array([0.7, 0.1, 0.1, 0.1])
    chance = 0.8 * 0.8 + 0.2 * 0.2
    true = (0.8 - chance) / (1 - chance)
    random = np.random.default_rng(4)
    held = 0
    for _ in range(120):
        outcome = random.choice(4, size=200, p=shares)
        found = together(make.sheet("a", ~np.isin(outcome, (1, 3))), make.sheet("b", ~np.isin(outcome, (2, 3))))
        assert found.low is not None and found.high is not None
        held += found.low <= true <= found.high
    assert 108 <= held <= 120


def test_every_pair_once_the_better_first(make: SimpleNamespace) -> None:
    sheets = [make.sheet("low", [0, 0, 0, 1]), make.sheet("high", [1, 1, 1, 0]), make.sheet("mid", [1, 1, 0, 0])]
    found = missed_together(sheets)
    assert [(pair["a"], pair["b"]) for pair in found] == [("high", "mid"), ("high", "low"), ("mid", "low")]
    assert missed_together(sheets[:1]) == []
