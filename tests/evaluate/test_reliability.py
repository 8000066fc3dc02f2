"""Answers by confidence, the curve of coverage, and thresholds that validation chooses: by hand, against scikit-learn, and in any order."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from fieldguide.evaluate.calibration import BINS, calibration_score
from fieldguide.evaluate.metrics import score_run
from fieldguide.evaluate.reliability import POINTS, TARGETS, abstention, confidences, reliability
from fieldguide.records import Prediction


def binary(make, confidence: list[float], right: list[bool]):
    """Return a two-class sheet that answers class 0 with these confidences."""
    n = len(confidence)
    given = np.column_stack([confidence, 1 - np.asarray(confidence)])
    return dataclasses.replace(
        make.random_sheet(0, pictures=n),
        truth=np.where(right, 0, 1),
        answer=np.zeros(n, dtype=int),
        probabilities=given,
        errors=(None,) * n,
        classes=("a", "b"),
    )


def test_bins_are_those_of_the_calibration_error(make):
    sheet = make.random_sheet(3, pictures=400)
    told = reliability(sheet)
    assert told is not None
    error = sum(bin["n"] * abs(bin["right"] / bin["n"] - bin["confidence"]) for bin in told["bins"]) / told["n"]
    assert error == pytest.approx(calibration_score(sheet).value)
    assert sum(bin["n"] for bin in told["bins"]) == told["n"] < told["of"] == 400
    assert sum(bin["right"] for bin in told["bins"]) == told["right"]
    assert all(bin["low"] < bin["confidence"] <= bin["high"] and bin["n"] for bin in told["bins"])
    assert all(bin["accuracy"]["low"] <= bin["right"] / bin["n"] <= bin["accuracy"]["high"] for bin in told["bins"])


def test_bins_agree_with_scikit_learn(make):
    sheet = make.random_sheet(4, pictures=300)
    told, (confidence, right) = reliability(sheet), confidences(sheet)
    shares, means = calibration_curve(right, confidence, n_bins=BINS, strategy="uniform")
    assert told is not None
    assert [bin["right"] / bin["n"] for bin in told["bins"]] == pytest.approx(shares)
    assert [bin["confidence"] for bin in told["bins"]] == pytest.approx(means)


def test_the_surplus_is_how_much_too_sure(make):
    sheet = binary(make, [0.9, 0.9, 0.7, 0.7], [True, False, True, False])
    told = reliability(sheet)
    assert told is not None and told["surplus"]["value"] == pytest.approx(0.8 - 0.5)
    assert told["surplus"]["low"] < 0.3 < told["surplus"]["high"]
    assert told["ranking"] == pytest.approx(0.5)
    sure = reliability(binary(make, [0.9, 0.8, 0.6, 0.55], [True, True, False, False]))
    assert sure is not None and sure["ranking"] == 1.0
    every = reliability(binary(make, [0.9, 0.8], [True, True]))
    assert every is not None and every["ranking"] is None


def test_the_curve_gives_the_surest_answers_first_and_equal_ones_together(make):
    told = reliability(binary(make, [0.9, 0.8, 0.8, 0.6], [True, True, False, False]))
    assert told is not None
    assert [(point["answered"], point["right"]) for point in told["coverage"]] == [(1, 1), (3, 2), (4, 2)]
    assert [point["threshold"] for point in told["coverage"]] == [0.9, 0.8, 0.6]
    long = reliability(make.random_sheet(5, pictures=3000))
    assert long is not None and len(long["coverage"]) <= POINTS
    last = long["coverage"][-1]
    assert (last["answered"], last["right"]) == (long["n"], long["right"])
    answered = [point["answered"] for point in long["coverage"]]
    assert answered == sorted(set(answered))


def test_validation_alone_chooses_the_threshold(make):
    val = binary(make, [0.95, 0.9, 0.85, 0.8, 0.7, 0.6], [True, True, True, False, True, False])
    test = binary(make, [0.99, 0.84, 0.86, 0.5], [False, True, True, True])
    (found,) = abstention(val, test, (0.95,))
    assert found["threshold"] == pytest.approx(0.85, abs=1e-4) and found["threshold"] < 0.85
    assert found["val"] == {"answered": 3, "right": 3, "n": 6}
    assert found["test"]["answered"]["value"] == 0.5 and found["test"]["right"] == 1
    assert found["test"]["accuracy"]["value"] == 0.5, "what validation promises the test part need not keep"
    turned = dataclasses.replace(test, truth=1 - test.truth)
    assert abstention(val, turned, (0.95,))[0]["threshold"] == found["threshold"]
    (all_of_them,) = abstention(val, test, (0.6,))
    assert all_of_them["threshold"] == 0.0 and all_of_them["test"]["answered"]["value"] == 1.0


def test_what_cannot_be_chosen_is_named(make):
    val = binary(make, [0.9, 0.8], [False, False])
    test = binary(make, [0.9], [True])
    assert "no threshold makes 95 %" in abstention(val, test)[0]["why"]
    assert [one["state"] for one in abstention(None, test)] == ["not applicable"] * len(TARGETS)
    silent = dataclasses.replace(test, probabilities=None)
    assert abstention(val, silent) == [] and reliability(silent) is None
    (none,) = abstention(binary(make, [0.9], [True]), binary(make, [0.1], [True]), (0.95,))
    assert none["threshold"] == 0.0, "one right answer on validation leaves nobody out"


def test_the_order_of_the_pictures_does_not_matter(make):
    sheet = make.random_sheet(6, pictures=200)
    order = np.random.default_rng(1).permutation(200)
    assert json.dumps(reliability(make.permuted(sheet, order))) == json.dumps(reliability(sheet))


def test_it_stands_in_the_test_part_of_the_scores(make):
    manifest = make.manifest(["a", "b"] * 4, val=["a", "b"] * 3)
    given = {"a": (0.8, 0.2), "b": (0.3, 0.7)}
    answers = [Prediction(row.key, row.label, given[row.label]) for row in manifest.part() if row.split != "train"]
    parts = score_run("model", answers, manifest)["parts"]
    assert parts["test"]["reliability"]["n"] == 8 and "reliability" not in parts["val"]
    assert [one["state"] for one in parts["test"]["abstention"]] == ["ok", "ok"]
    words = [dataclasses.replace(one, probabilities=None) for one in answers]
    part = score_run("model", words, manifest)["parts"]["test"]
    assert part["reliability"] is None and part["abstention"] == []
