"""What a line is worth, where it is known beforehand: planted directions, and areas that scikit-learn computes in its own way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from fieldguide.evaluate import descriptions
from fieldguide.evaluate.descriptions import Read, Rights, Seen, auc_interval
from fieldguide.evaluate.distances import unit

AXES = np.eye(8)
ALL = np.zeros(3, np.int64)


def pictures(each: int = 40, noise: float = 0.5, seed: int = 0) -> Seen:
    """Three classes along the first three axes; the first two also share the fourth, which makes them rivals."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    centres = AXES[:3] + np.array([[1.0], [1.0], [0.0]]) * AXES[3]
    return Seen(unit(centres[labels] + noise * random.normal(size=(len(labels), 8))), labels)


def read(*lines: tuple[int, int]) -> Read:
    """Lines as (class, axis)."""
    return Read(AXES[[axis for _, axis in lines]], np.array([owner for owner, _ in lines]))


def test_the_nearest_rival() -> None:
    assert descriptions.rivals(pictures(noise=0.1), ALL)[:2] == [1, 0]
    one = Seen(AXES[:2], np.array([0, 0]))
    assert descriptions.rivals(one, ALL[:2]) == [None, None]


def test_lines_that_are_true_useless_and_contradicted() -> None:
    seen = pictures()
    said = read((0, 0), (0, 6), (0, 1), (1, 1), (1, 3), (2, 2), (2, 7))
    found = descriptions.worths(seen, said, ALL)
    assert [worth.rival for worth in found[:5]] == [1, 1, 1, 0, 0]
    true, useless, wrong, other, common, third, nothing = found
    assert true.auc > 0.9 > 0.8 > wrong.rest and other.auc > 0.9 and third.auc > 0.9  # type: ignore[operator]
    assert wrong.auc < 0.1 and wrong.contradicts is True  # type: ignore[operator]
    assert [worth.contradicts for worth in (true, useless, other, common, third, nothing)] == [False] * 6
    assert abs(common.auc - 0.5) < 0.15 and common.rest > 0.6, "both have it, the third does not"  # type: ignore[operator]
    for worth in found:
        assert worth.low < worth.auc < worth.high and (worth.own, worth.against) == (40, 40)  # type: ignore[operator]


def test_the_area_is_that_of_scikit_learn() -> None:
    seen, said = pictures(12), read((0, 0), (0, 5), (1, 1), (2, 2))
    middle = np.nanmean(said.vectors(3), axis=0)
    for line, worth in enumerate(descriptions.worths(seen, said, ALL)):
        similar = seen.rows @ (said.rows[line] - middle)
        owner = said.owners[line]
        two = np.isin(seen.labels, [owner, worth.rival])
        assert worth.auc == pytest.approx(roc_auc_score(seen.labels[two] == owner, similar[two]))
        assert worth.rest == pytest.approx(roc_auc_score(seen.labels == owner, similar))


def test_a_picture_that_is_like_any_text_misleads_no_line() -> None:
    seen = pictures(noise=0.2)
    loud = seen.rows + 3 * AXES[4] * (seen.labels == 1)[:, None]
    said = Read(unit(read((0, 0), (1, 1), (2, 2)).rows + AXES[4]), np.arange(3))
    assert min(worth.auc for worth in descriptions.worths(Seen(loud, seen.labels), said, ALL)) > 0.9  # type: ignore[type-var]


def test_lines_about_one_class_alone_are_measured_too() -> None:
    (worth,) = descriptions.worths(pictures(), read((0, 0)), ALL)
    assert worth.auc is not None and worth.auc > 0.9


def test_too_few_pictures_are_no_ground() -> None:
    seen = pictures(4)
    assert all(
        worth.auc is None and worth.contradicts is None for worth in descriptions.worths(seen, read((0, 0), (2, 2)), ALL)
    )
    (alone,) = descriptions.worths(Seen(AXES[:1], np.array([0])), read((0, 0)), ALL[:1])
    assert (alone.rival, alone.own, alone.auc) == (None, 1, None)


@pytest.mark.parametrize(("own", "against"), [(5, 5), (40, 12)])
def test_intervals_of_areas_end_where_the_standard_error_says(own: int, against: int) -> None:
    areas = np.array([0.0, 0.03, 0.5, 0.8, 1.0])
    low, high = auc_interval(areas, own, against)
    assert (low <= areas).all() and (areas <= high).all() and (high - low > 0.1).all()
    many = (own + against) / 2 - 1
    for end in (low, high):
        inner = (end > 1e-9) & (end < 1 - 1e-9)
        spread = end * (1 - end) * (1 + many * (1 - end) / (2 - end) + many * end / (1 + end)) / (own * against)
        assert np.abs(end - areas)[inner] == pytest.approx(norm.ppf(0.975) * np.sqrt(spread[inner]))
    mirrored = auc_interval(1 - areas, own, against)
    assert mirrored[0] == pytest.approx(1 - high) and mirrored[1] == pytest.approx(1 - low)


def test_zero_shot_and_classes_without_a_line() -> None:
    seen = pictures(noise=0.1)
    vectors = read((0, 0), (1, 1)).vectors(3)
    right = descriptions.zero_shot(seen, vectors, ALL)
    assert right[:80].all() and not right[80:].any(), "what nobody describes is never answered"
    assert descriptions.zero_shot(seen, vectors, ALL, AXES[:3]).all()
    told = Rights(right).as_dict()
    assert (told["n"], told["draws"], told["value"]) == (120, 1, pytest.approx(2 / 3))
    assert (told["low"], told["high"]) == (pytest.approx(0.578, abs=2e-3), pytest.approx(0.745, abs=2e-3))


def test_descriptions_of_other_classes_are_no_ones_own() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        given = descriptions.deranged([2, 5, 7], np.zeros(8, np.int64), random)
        assert sorted(given) == sorted(given.values()) == [2, 5, 7] and all(taker != giver for taker, giver in given.items())
    seen = pictures(noise=0.1)
    mixed = descriptions.permuted(seen, AXES[:3], ALL, 0)
    assert mixed.draws == 20 and mixed.value < 0.05
    rows = {"own": Rights(descriptions.zero_shot(seen, AXES[:3], ALL)), "others": mixed}
    told = descriptions.difference(rows, "own", "others")
    assert told["low"] > 0.9 and told["value"] == pytest.approx(1 - mixed.value)  # type: ignore[operator]


def test_classes_are_compared_within_their_group() -> None:
    seen, groups = pictures(noise=0.1), np.array([0, 1, 0])
    assert descriptions.rivals(seen, groups) == [2, None, 0]
    assert descriptions.deranged([0, 1, 2], groups, np.random.default_rng(0)) == {0: 2, 1: 1, 2: 0}
    wrong = np.stack([AXES[0], AXES[6], AXES[1]])
    right = descriptions.zero_shot(seen, wrong, groups)
    assert right[:80].all(), "the second class has none to be mistaken for"
    found = descriptions.worths(seen, read((0, 0), (0, 2), (1, 1), (2, 2)), groups)
    assert [worth.rival for worth in found] == [2, 2, None, 0]
    assert found[0].auc == 1 and found[1].contradicts is True and found[2].auc is None


def test_random_words_are_as_many_from_the_same_pool_and_the_same_for_every_class() -> None:
    lines, owners = ["a red beak", "blue", "two white wing bars", "a tail"], np.array([0, 0, 1, 1])
    drawn = descriptions.random_words(lines, owners, np.random.default_rng(1))
    assert [len(line.split()) for line in drawn] == [3, 1, 4, 2]
    assert {word for line in drawn for word in line.split()} <= {word for line in lines for word in line.split()}
    assert drawn[2].startswith(drawn[0] + " ") and drawn[3].startswith(drawn[1] + " ")
    assert drawn == descriptions.random_words(lines, owners, np.random.default_rng(1)) != lines
    assert descriptions.random_words([], np.zeros(0, int), np.random.default_rng(1)) == []
