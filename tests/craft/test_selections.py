"""Which pictures a share takes: nested, as many as promised, and covering what the known answers say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fieldguide.craft import selections
from fieldguide.errors import UsageProblem

LABELS = np.repeat(np.arange(20), np.arange(3, 23))
SHARES = tuple(share / 10 for share in range(10, -1, -1))


@pytest.mark.parametrize("words", ["balanced", "uniform", "long-tail(50)", "class-drop(0.2)"])
def test_larger_shares_contain_smaller_ones(words: str) -> None:
    masks = selections.masks(selections.read(words), LABELS, 20, SHARES, 3)
    for large, small in itertools.pairwise(masks):
        assert not (small & ~large).any()
    assert masks[0].all() and not masks[-1].any()
    if words != "balanced":
        assert [mask.sum() for mask in masks] == [int(share * len(LABELS) + 0.5) for share in SHARES]
    others = selections.masks(selections.read(words), LABELS, 20, SHARES, 4)
    assert any((a != b).any() for a, b in zip(masks, others, strict=True)), "another seed draws others"


def test_balanced_takes_its_share_of_every_class_and_one_at_least() -> None:
    each = np.bincount(LABELS)
    for share, mask in zip(SHARES, selections.masks(selections.read("balanced"), LABELS, 20, SHARES, 0), strict=True):
        wanted = np.maximum(np.floor(share * each + 0.5 + 1e-9), share > 0)
        assert np.array_equal(np.bincount(LABELS[mask], minlength=20), wanted)


def test_uniform_choice_of_a_tenth_of_the_birds_leaves_eight_or_nine_classes_empty() -> None:
    labels = np.arange(5994) % 200
    empty = [
        200 - len(set(labels[selections.masks(selections.read("uniform"), labels, 200, (599 / 5994,), seed)[0]]))
        for seed in range(40)
    ]
    assert np.mean(empty) == pytest.approx(8.5, abs=1.2)


def test_a_long_tail_falls_by_its_ratio_and_dropped_classes_come_last() -> None:
    labels = np.repeat(np.arange(10), 200)
    (tail,) = selections.masks(selections.read("long-tail(20)"), labels, 10, (0.2,), 0)
    counts = np.sort(np.bincount(labels[tail]))[::-1]
    assert counts[0] / counts[-1] == pytest.approx(20, rel=0.25)
    assert counts[4] / counts[5] == pytest.approx(20 ** (1 / 9), rel=0.1)
    early, late = selections.masks(selections.read("class-drop(0.3)"), labels, 10, (0.7, 0.75), 0)
    assert (np.bincount(labels[early], minlength=10) > 0).sum() == 7
    assert (np.bincount(labels[late], minlength=10) > 0).sum() == 10


def test_texts_fill_up_class_by_class_and_begin_anew_where_there_are_too_few() -> None:
    labels = np.repeat([0, 1, 2], [4, 2, 0])
    before = np.zeros(6, int)
    for needed in ([0, 0, 0], [3, 1, 1], [4, 5, 2]):
        taken = selections.filling(labels, np.array(needed), 1)
        assert np.bincount(labels, taken, minlength=3).tolist() == [*needed[:2], 0]
        assert (taken >= before).all(), "more never takes one back"
        before = taken
    assert sorted(before[labels == 1]) == [2, 3]


@pytest.mark.parametrize("words", ["balance", "long-tail(1)", "class-drop(2)", "uniform(3)", "long-tail(1.2.3)", ""])
def test_words_that_mean_no_selection_are_refused(words: str) -> None:
    with pytest.raises(UsageProblem, match="--selection") as told:
        selections.read(words)
    assert "balanced" in told.value.allowed
    assert str(selections.read("long-tail")) == "long-tail(50)"
