"""Classes that are confused stand side by side."""

from __future__ import annotations

import time

import numpy as np
import pytest

from fieldguide.evaluate.order import neighbours


def test_planted_groups_stand_together() -> None:
    random = np.random.default_rng(0)
    group = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    counts = np.where(group[:, None] == group[None], random.integers(4, 9, (12, 12)), random.integers(0, 2, (12, 12)))
    np.fill_diagonal(counts, 60)
    order = neighbours(np.hstack([counts, np.zeros((12, 1), int)]))
    assert sorted(order) == list(range(12))
    assert sum(a != b for a, b in zip(group[order], group[order][1:], strict=False)) == 2


def test_one_way_confusion_counts_and_rare_classes_are_not_drowned() -> None:
    counts = np.diag([1000, 1000, 5, 1000])
    counts[2, 0] = 5
    order = neighbours(counts)
    assert abs(order.index(2) - order.index(0)) == 1


@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_without_confusion_nothing_moves(size: int) -> None:
    assert neighbours(np.diag(np.full(size, 7)).reshape(size, size)) == list(range(size))


def test_the_order_is_the_same_each_time_and_ready_at_once_for_many_classes() -> None:
    random = np.random.default_rng(1)
    counts = random.poisson(0.3, (1000, 1001)) + np.eye(1000, 1001, dtype=int) * 20
    start = time.process_time()
    order = neighbours(counts)
    assert time.process_time() - start < 5 and order == neighbours(counts) and sorted(order) == list(range(1000))
