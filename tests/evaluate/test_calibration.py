"""Calibration error by hand, and the error of a model that is perfectly calibrated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fieldguide.evaluate.calibration import calibration_null, calibration_score, log_loss_score, null_error


def binary(make, confidence: list[float], right: list[bool]):
    """Return a two-class sheet that answers class 0 with these confidences."""
    n = len(confidence)
    given = np.column_stack([confidence, 1 - np.asarray(confidence)])
    sheet = make.random_sheet(0, pictures=n)
    return dataclasses.replace(
        sheet,
        truth=np.where(right, 0, 1),
        answer=np.zeros(n, dtype=int),
        probabilities=given,
        errors=(None,) * n,
        classes=("a", "b"),
    )


def test_calibration_error_by_hand(make):
    # Bins are thirds of a fifth: 0.61 and 0.65 share one, 0.95 and 1.0 another.
    sheet = binary(make, [0.61, 0.65, 0.95, 1.0], [True, False, True, True])
    assert calibration_score(sheet).value == pytest.approx((abs(1 - 1.26) + abs(2 - 1.95)) / 4)
    assert calibration_score(binary(make, [1.0] * 5, [True] * 5)).value == 0.0
    assert calibration_score(binary(make, [1.0] * 5, [False] * 5)).value == 1.0


def test_the_confidence_is_that_of_the_answer_not_of_the_likeliest_class(make):
    sheet = binary(make, [0.2, 0.2], [True, True])
    assert calibration_score(sheet).value == pytest.approx(0.8)


@pytest.mark.parametrize(("pictures", "expected"), [(100, 0.088), (1000, 0.027)])
def test_a_perfectly_calibrated_model_is_not_at_zero(pictures, expected):
    # Confidences spread evenly over 0.5 to 1, the upper half of the bins.
    null = null_error(np.random.default_rng(3).uniform(0.5, 1, pictures))
    assert null["mean"] == pytest.approx(expected, rel=0.07)
    assert null["mean"] < null["high"] < 1.8 * null["mean"]


def test_the_null_is_what_perfectly_calibrated_answers_show(make):
    random = np.random.default_rng(8)
    confidence = random.uniform(0.5, 1, 200)
    errors = []
    for _ in range(300):
        right = random.random(200) < confidence
        errors.append(calibration_score(binary(make, confidence.tolist(), right.tolist())).value)
    null = calibration_null(binary(make, confidence.tolist(), [True] * 200))
    assert np.mean(errors) == pytest.approx(null["mean"], rel=0.05)
    assert np.quantile(errors, 0.95) == pytest.approx(null["high"], rel=0.08)


def test_certain_answers_have_a_null_of_zero():
    assert null_error(np.ones(50)) == {"mean": 0.0, "high": 0.0}


def test_log_loss_by_hand(make):
    sheet = binary(make, [0.5, 0.25], [True, False])
    assert log_loss_score(sheet).value == pytest.approx((np.log(2) - np.log(0.75)) / 2)
    wrong = log_loss_score(binary(make, [1.0, 1.0], [True, False]))
    assert 10 < wrong.value < 20 and np.isfinite(wrong.high)


def test_failures_leave_the_calibration_but_are_told(make):
    sheet = make.random_sheet(2)
    known = np.isfinite(sheet.probabilities).all(axis=1)
    assert calibration_score(sheet).n == log_loss_score(sheet).n == known.sum() < sheet.n


def test_equal_confidences_in_any_order_give_the_same_error(make):
    random = np.random.default_rng(4)
    right = random.random(300) < 0.6
    sheet = binary(make, random.choice([0.7, 0.9, 0.55], 300).tolist(), right.tolist())
    scores = {calibration_score(make.permuted(sheet, random.permutation(300))).value for _ in range(20)}
    assert scores == {calibration_score(sheet).value}
