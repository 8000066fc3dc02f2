"""Where a published figure stands, and the means of groups over the same pictures."""

from __future__ import annotations

import numpy as np
import pytest

from fieldguide.evaluate.published import means, standing


def test_bounds_belong_to_the_inside() -> None:
    assert [standing(share, 0.9, 0.95) for share in (0.89, 0.9, 0.93, 0.95, 0.951)] == [
        "below",
        "inside",
        "inside",
        "inside",
        "above",
    ]


def hits(*shares: float, pictures: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((len(shares), pictures)) < np.array(shares)[:, None]


def test_the_difference_of_means_and_its_interval() -> None:
    a, b = hits(0.9, 0.8, seed=1), hits(0.6, 0.7, 0.5, seed=2)
    found = means(a, b)
    assert (found.a, found.b) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert found.difference == pytest.approx(a.mean() - b.mean())
    error = (a.mean(axis=0) - b.mean(axis=0)).std() / np.sqrt(400)
    assert found.bounds == (
        pytest.approx(found.difference - 1.96 * error, abs=0.006),
        pytest.approx(found.difference + 1.96 * error, abs=0.006),
    )


def test_leaving_one_out_moves_it_as_far_as_it_can() -> None:
    a, b = hits(0.9, 0.5, seed=1), hits(0.6, seed=2)
    found = means(a, b)
    moved = [a[1].mean() - b.mean(), a[0].mean() - b.mean(), found.difference]  # a group of one is never left empty
    assert (found.least, found.most) == (pytest.approx(min(moved)), pytest.approx(max(moved)))
    alone = means(a[:1], b)
    assert (alone.least, alone.most) == (alone.difference, alone.difference)


def test_pictures_are_paired() -> None:
    """Two groups that fail on the same pictures differ for certain by what one has more, however hard the pictures are."""
    shared = hits(0.5, seed=3)
    better = shared.copy()
    better[0, np.flatnonzero(~shared[0])[:20]] = True
    found = means(better, shared)
    assert found.difference == pytest.approx(0.05)
    assert 0.02 < found.bounds[0] < 0.05 < found.bounds[1] < 0.08
