"""Compact letters say exactly what the tests said."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldguide.evaluate.letters import letters


def test_by_hand():
    assert letters(["x"], []) == {"x": "a"}
    assert letters([], []) == {}
    assert letters(["r", "v", "l"], [("r", "l"), ("v", "l")]) == {"r": "a", "v": "a", "l": "b"}
    assert letters(["r", "v", "l"], [("r", "l")]) == {"r": "a", "v": "ab", "l": "b"}
    assert letters(["r", "v", "l"], [("v", "l")]) == {"r": "ab", "v": "a", "l": "b"}
    assert letters(["x", "y", "z"], itertools.combinations("xyz", 2)) == {"x": "a", "y": "b", "z": "c"}


def test_piephos_example():
    """The worked example of the paper's kind: a chain in which only neighbours are alike."""
    order = list("pqrst")
    different = [(a, b) for a, b in itertools.combinations(order, 2) if order.index(b) - order.index(a) > 1]
    assert letters(order, different) == {"p": "a", "q": "ab", "r": "bc", "s": "cd", "t": "d"}


NAMES = [f"m{index}" for index in range(7)]
COUPLES = list(itertools.combinations(NAMES, 2))


@given(different=st.sets(st.sampled_from(COUPLES)))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_a_letter_is_shared_exactly_where_there_is_no_difference(different):
    result = letters(NAMES, sorted(different))
    for a, b in COUPLES:
        assert bool(set(result[a]) & set(result[b])) == ((a, b) not in different)
    assert result[NAMES[0]].startswith("a")
    assert result == letters(NAMES, sorted(different, reverse=True))


@pytest.mark.parametrize("count", [60])
def test_more_groups_than_letters(count):
    names = [f"m{index}" for index in range(count)]
    result = letters(names, itertools.combinations(names, 2))
    assert len(set(result.values())) == count
    assert result["m52"] == "(53)"
