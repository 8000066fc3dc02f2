"""McNemar and Holm against statsmodels, and when the pictures are too few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as oracle
from statsmodels.stats.multitest import multipletests

from fieldguide.evaluate.pairs import all_pairs, holm, mcnemar

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("only_a", "only_b", "expected"),
    [(17, 5, 0.017), (22, 10, 0.05), (32, 20, 0.13), (5, 0, 0.0625), (3, 0, 0.25), (0, 0, 1.0)],
)
def test_known_values(only_a, only_b, expected):
    assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=0.03)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


@given(only_a=st.integers(0, 300), only_b=st.integers(0, 300))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_mcnemar_is_statsmodels(only_a, only_b):
    expected = oracle([[10, only_a], [only_b, 7]], exact=True).pvalue
    assert mcnemar(only_a, only_b) == pytest.approx(min(1.0, expected), abs=1e-12)


@given(p=PROBABILITIES)
@settings(deadline=None, derandomize=True, max_examples=15)
def test_holm_is_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


@given(p=PROBABILITIES)
@settings(deadline=None, derandomize=True)
def test_holm_keeps_the_order_and_never_lowers(p):
    adjusted = holm(p)
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.asarray(adjusted)[order]) >= 0).all()
    assert all(before <= after <= 1 for before, after in zip(p, adjusted, strict=True))


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


def duel(make, n, only_a, only_b):
    hits = np.zeros((2, n), dtype=bool)
    hits[0, :only_a] = True
    hits[1, only_a : only_a + only_b] = True
    hits[:, only_a + only_b :] = True
    return [make.sheet("a", hits[0]), make.sheet("b", hits[1])]


@pytest.mark.parametrize(
    ("only_a", "only_b", "outcome"),
    [
        (17, 5, "a better"),
        (5, 17, "b better"),
        (32, 20, "not distinguishable"),
        (3, 3, "not distinguishable"),  # 6 : 0 would have been p = 0.031
        (5, 0, "too few pictures to tell"),
        (3, 2, "too few pictures to tell"),
        (6, 0, "a better"),
        (0, 0, "too few pictures to tell"),
    ],
)
def test_the_outcome_of_one_pair(make, only_a, only_b, outcome):
    (pair,) = all_pairs(duel(make, 200, only_a, only_b), 0.05)
    assert pair.outcome == outcome
    assert (pair.only_a, pair.only_b) == (only_a, only_b)
    assert pair.difference == pytest.approx((only_a - only_b) / 200)
    assert pair.low <= pair.difference <= pair.high


def test_too_few_is_asked_at_the_level_the_pair_would_face(make):
    """Six discordant pictures (best p 0.031) are enough alone, and behind two sure pairs, but not among three open ones."""
    n = 400
    alone = duel(make, n, 3, 3)
    assert all_pairs(alone, 0.05)[0].outcome == "not distinguishable"
    weak = make.sheet("weak", np.zeros(n, dtype=bool))
    behind_sure_pairs = {(pair.a, pair.b): pair for pair in all_pairs([*alone, weak], 0.05)}
    assert behind_sure_pairs["a", "b"].outcome == "not distinguishable"
    assert behind_sure_pairs["a", "weak"].outcome == "a better"
    third = alone[0].right.copy()
    third[:1] = False
    among_open_pairs = {(pair.a, pair.b): pair for pair in all_pairs([*alone, make.sheet("c", third)], 0.05)}
    assert among_open_pairs["a", "b"].outcome == "too few pictures to tell"


def test_correction_can_take_a_difference_away(make):
    sheets = duel(make, 300, 17, 5)
    shuffled = np.roll(sheets[0].right, 40)
    crowd = [*sheets, make.sheet("c", shuffled), make.sheet("d", np.roll(shuffled, 40))]
    pair = all_pairs(crowd, 0.05)[0]
    assert pair.p < 0.05 < pair.p_holm
    assert pair.outcome == "not distinguishable"
