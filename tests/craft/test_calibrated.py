"""Temperatures and thresholds in cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from fieldguide.craft.answering import softmax
from fieldguide.craft.calibrated import calibrated, threshold

ALL = np.ones(4, bool)


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, and labels drawn from their softmax."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, 4))
    return logits, np.array([random.choice(4, p=row) for row in softmax(logits)])


@pytest.mark.parametrize("factor", [0.1, 1.0, 20.0])
def test_the_temperature_that_was_planted_is_found(factor: float) -> None:
    logits, labels = drawn(3000)
    found = calibrated(logits * factor, labels, ALL)
    assert found.temperature == pytest.approx(factor, rel=0.1)
    assert found.before is not None and found.after is not None and found.after <= found.before + 1e-9
    assert ((logits / found.temperature).argmax(1) == logits.argmax(1)).all()


def test_one_picture_or_all_right_does_not_ask_for_certainty() -> None:
    logits = np.eye(4) * 50
    for count in (1, 4):
        found = calibrated(logits[:count], np.arange(count), ALL)
        assert 0.4 < softmax(logits[:1] / found.temperature).max() < 0.9
    sure = calibrated(np.tile(logits, (100, 1)), np.tile(np.arange(4), 100), ALL)
    assert softmax(logits[:1] / sure.temperature).max() > 0.99


def test_classes_that_cannot_be_answered_say_nothing() -> None:
    logits, labels = drawn(2000)
    whole = calibrated(logits[labels < 3][:, :3], labels[labels < 3], ALL[:3])
    logits[:, 3] = -1e9
    part = calibrated(logits, labels, np.array([True, True, True, False]))
    assert part.temperature == pytest.approx(whole.temperature) and part.pictures == (labels < 3).sum()
    assert calibrated(logits[:0], labels[:0], ALL).temperature == 1.0
    assert calibrated(logits, labels, np.array([True, False, False, False])).temperature == 1.0


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_about_the_share_that_was_asked_for_is_refused(share: float) -> None:
    logits, labels = drawn(4000)
    top, right = softmax(logits).max(axis=1), logits.argmax(axis=1) == labels
    least = threshold(top, right, share)
    assert least is not None
    assert (top[right] < least).mean() == pytest.approx(share, abs=0.002)
    assert (top[~right] < least).mean() > 1.5 * share, "wrong answers are refused more often"
    fresh, truth = drawn(4000, seed=1)
    sure = softmax(fresh).max(axis=1)[fresh.argmax(axis=1) == truth]
    assert (sure < least).mean() == pytest.approx(share, abs=0.02)


def test_few_right_answers_are_not_refused_and_none_set_no_threshold() -> None:
    top = np.array([0.3, 0.9, 0.5])
    assert threshold(top, np.array([False, True, True]), 0.1) == 0.5
    assert threshold(top, np.zeros(3, bool), 0.1) is None
