"""Cross-fitting: a signal that only pairs of the same class carry does not reach the translation of that class's lines."""

from __future__ import annotations

import numpy as np
import pytest
from tests.craft.translators.planted import pairs, turned

from fieldguide.craft.translators import NotApplicable, Pairs, Said, crossed, fitted
from fieldguide.craft.translators.crossing import Crossed

CLASSES = 20


def marked(seed: int = 0) -> Pairs:
    """Lines hold a word that only their class uses, and nothing else of use; pictures hold a corner of their class."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), 15)
    lines = np.eye(CLASSES)[labels] + 0.05 * random.normal(size=(len(labels), CLASSES))
    pictures = random.normal(size=(CLASSES, 32))[labels] + 0.1 * random.normal(size=(len(labels), 32))
    return pairs(lines, pictures, labels)


def recognised(made: np.ndarray, of: Pairs) -> float:
    means = np.stack([of.pictures[of.groups == group].mean(0) for group in range(CLASSES)])
    far = ((made[:, None] - means[None]) ** 2).sum(2)
    return float((far.argmin(1) == of.groups).mean())


@pytest.mark.parametrize("name", ["ridge", "memory", "procrustes"])
def test_what_only_the_own_class_teaches_does_not_get_through(name: str) -> None:
    given = marked()
    whole, apart = fitted(name, given, 0, given), crossed(name, given, 5, 0)
    assert not isinstance(whole, NotApplicable) and isinstance(apart, Crossed)
    assert recognised(whole(given.lines), given) > 0.9
    # A rotation sends what it never saw to where nothing was seen, and the four classes of a fold share that room.
    assert recognised(apart(given.lines, given.groups), given) < (0.3 if name == "procrustes" else 0.1)


def test_what_other_classes_teach_does_get_through() -> None:
    given = turned(0, noise=0.05)
    apart = crossed("ridge", given, 4, 1)
    assert isinstance(apart, Crossed) and apart.told["folds"] == 4
    assert recognised(apart(given.lines, given.groups), given) > 0.85


def test_each_class_has_one_fold_that_did_not_see_it() -> None:
    given = turned(0)
    apart = crossed("shift", given, 5, 2)
    assert isinstance(apart, Crossed) and sorted(apart.fold_of) == list(range(CLASSES))
    for group, fold in apart.fold_of.items():
        seen = [other for other, its in apart.fold_of.items() if its != fold]
        rest = given.take(np.flatnonzero(np.isin(given.groups, seen)))
        alone = fitted("shift", rest)
        assert not isinstance(alone, NotApplicable)
        mine = given.take(np.flatnonzero(given.groups == group))
        assert np.allclose(apart(mine.lines, mine.groups), alone(mine.lines), atol=1e-4)


def test_a_class_without_pairs_gets_the_mean_of_all_folds() -> None:
    given = turned(0)
    known = given.take(np.flatnonzero(given.groups != 7))
    apart = crossed("ridge", known, 3, 0)
    assert isinstance(apart, Crossed) and 7 not in apart.fold_of
    line = Said(given.lines.pooled[:2])
    mean = np.mean([translator(line) for translator in apart.by_fold], axis=0)
    assert np.allclose(apart(line, np.array([7, -1])), mean, atol=1e-5)


def test_pairs_without_a_class_teach_every_fold() -> None:
    given = turned(0)
    bare = pairs(given.lines.pooled, given.pictures, np.where(given.groups < 4, given.groups, -1))
    apart = crossed("shift", bare, 4, 0)
    assert isinstance(apart, Crossed)
    for fold, translator in enumerate(apart.by_fold):
        rest = bare.take(
            np.flatnonzero(
                (bare.groups < 0) | (bare.groups != next(group for group, its in apart.fold_of.items() if its == fold))
            )
        )
        alone = fitted("shift", rest)
        assert not isinstance(alone, NotApplicable)
        assert np.allclose(translator(given.lines), alone(given.lines), atol=1e-4)
    few = crossed("shift", pairs(given.lines.pooled, given.pictures), 4, 0)
    assert isinstance(few, NotApplicable) and "takes two" in few.why


def test_fewer_classes_than_folds_and_what_does_not_apply() -> None:
    given = turned(0)
    two = crossed("ridge", given.take(np.flatnonzero(given.groups < 2)), 5, 0)
    assert isinstance(two, Crossed) and two.told["folds"] == 2
    assert isinstance(crossed("identity", turned(0, 24, 16), 5, 0), NotApplicable)
