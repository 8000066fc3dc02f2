"""What a network is trained towards: targets, losses and scores of classes and of counts, each by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fieldguide.craft.goals import Counting, Naming, Scaling, goal_of, scaling_of
from fieldguide.records import ClassInfo, Example, Image
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count

CLASSES = (ClassInfo("cat", "cat"), ClassInfo("dog", "dog"))
COUNT, NAME = Count(CLASSES), Classify(CLASSES)


def shows(**counts: int) -> Example:
    return Example(Image("k", None), "", counts=counts)  # type: ignore[arg-type]


TRAIN = [shows(cat=1, dog=2), shows(cat=3, dog=2), shows(cat=5, dog=2)]


def test_counts_are_scaled_by_the_training_pictures_and_come_back() -> None:
    scaling = scaling_of(TRAIN, COUNT)
    assert scaling == Scaling((3.0, 2.0), (pytest.approx(math.sqrt(8 / 3)), 1.0)), (
        "of a class that never varies nothing is divided by zero"
    )
    goal = goal_of(COUNT, TRAIN, 0.0, False, "cpu")
    assert isinstance(goal, Counting)
    targets = goal.targets([shows(cat=5, dog=1), shows(dog=0)])
    assert targets[:, 1].tolist() == [-1.0, -2.0]
    assert np.allclose(scaling.counts(targets.double().numpy()), [[5, 1], [0, 0]], atol=1e-6)
    assert goal.targets([]).shape == (0, 2)


def test_the_loss_of_counts_is_squared_near_and_linear_far() -> None:
    goal = Counting(COUNT, Scaling((0.0, 0.0), (1.0, 1.0)))
    off = torch.tensor([[0.5, 0.0], [3.0, 0.0]])
    assert float(goal.loss(off, torch.zeros(2, 2))) == pytest.approx((0.125 + 2.5) / 2)
    assert goal.soft(off) is off


def test_scores_of_counts_are_of_whole_ones() -> None:
    goal = Counting(COUNT, Scaling((2.0, 0.0), (2.0, 1.0)))
    targets = goal.targets([shows(cat=2, dog=1), shows(cat=4), shows(cat=0, dog=3)])
    outputs = torch.tensor([[0.2, 1.4], [1.3, 0.0], [-4.0, 0.4]])  # 2 1, 5 0, and 0 (never below) 0
    found = goal.scores(outputs, targets)
    assert found["accuracy"] == pytest.approx(1 / 3) and found["mae"] == pytest.approx((1 + 3) / 6)
    assert found["loss"] == pytest.approx(float(goal.loss(outputs, targets)) / 3)
    assert set(goal.told) < set(found)


def test_classes_have_cross_entropy_with_what_is_asked_for() -> None:
    examples = [Example(Image("k", None), label) for label in ("cat", "dog", "dog", "dog")]  # type: ignore[arg-type]
    plain, balanced = (goal_of(NAME, examples, 0.1, balanced, "cpu") for balanced in (False, True))
    assert isinstance(plain, Naming) and isinstance(balanced, Naming) and plain.weights is None
    assert balanced.weights is not None and balanced.weights.tolist() == pytest.approx([2.0, 2 / 3])
    targets, outputs = plain.targets(examples), torch.tensor([[2.0, 0.0]] * 4)
    assert targets.tolist() == [0, 1, 1, 1] and plain.soft(targets).sum(0).tolist() == [1.0, 3.0]
    right, wrong = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    smooth = [0.95 * right + 0.05 * wrong, 0.95 * wrong + 0.05 * right]
    assert float(plain.loss(outputs, targets)) == pytest.approx(smooth[0] + 3 * smooth[1])
    assert float(plain.loss(outputs, plain.soft(targets))) == pytest.approx(smooth[0] + 3 * smooth[1])
    found = plain.scores(outputs, targets)
    assert found["accuracy"] == 0.25 and found["loss"] == pytest.approx((right + 3 * wrong) / 4)
    assert found["macro_f1"] == pytest.approx(0.2) and set(plain.told) < set(found)
