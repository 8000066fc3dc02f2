"""Answers are lined up with the manifest: one row each, failures kept."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fieldguide.errors import DataProblem
from fieldguide.evaluate.answers import MISSING, OFF_LIST, sheet
from fieldguide.records import Prediction

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def rows(make):
    return make.manifest(["cat", "dog", "owl", "cat"]).part("test")


def test_every_row_is_answered_once_in_manifest_order(rows):
    answers = [Prediction(row.key, row.label) for row in reversed(rows)] + [Prediction("elsewhere", "cat")] * 2
    result = sheet("m", answers, rows, CLASSES)
    assert result.keys == tuple(row.key for row in rows)
    assert result.truth.tolist() == result.answer.tolist() == [0, 1, 2, 0]
    assert (result.n, result.correct, result.accuracy) == (4, 4, 1.0)
    assert result.errors == (None,) * 4 and result.probabilities is None


def test_failures_stay_in_the_denominator_with_their_reason(rows):
    keys = [row.key for row in rows]
    answers = [Prediction(keys[0], "wolf"), Prediction(keys[1], "dog", error="timeout"), Prediction(keys[3], None)]
    result = sheet("m", answers, rows, CLASSES)
    assert result.errors == (OFF_LIST, "timeout", MISSING, MISSING)
    assert result.answer.tolist() == [-1] * 4
    assert (result.n, result.correct) == (4, 0)


def test_two_answers_for_one_picture_are_refused(rows):
    with pytest.raises(DataProblem, match="twice"):
        sheet("m", [Prediction(rows[0].key, "cat"), Prediction(rows[0].key, "cat")], rows, CLASSES)


def test_one_answer_serves_two_files_of_the_same_picture(rows):
    result = sheet("m", [Prediction(rows[0].key, "cat")], [rows[0], rows[0]], CLASSES)
    assert (result.n, result.correct) == (2, 2)


def test_probabilities_are_absent_where_they_are_none(rows):
    keys = [row.key for row in rows]
    answers = [
        Prediction(keys[0], "cat", (0.5, 0.3, 0.21)),
        Prediction(keys[1], "dog", (math.nan, 0.5, 0.5)),
        Prediction(keys[2], "owl", (-0.5, 0.5, 1.0)),
        Prediction(keys[3], None, (0.2, 0.3, 0.5), error="timeout"),
    ]
    result = sheet("m", answers, rows, CLASSES)
    assert np.isfinite(result.probabilities).all(axis=1).tolist() == [True, False, False, False]
    assert result.probabilities[0].sum() == pytest.approx(1.0, abs=1e-12)
    assert result.probabilities[0, 0] == pytest.approx(0.5 / 1.01)


def test_probabilities_for_another_class_list_are_refused(rows):
    with pytest.raises(DataProblem, match="2 probabilities"):
        sheet("m", [Prediction(rows[0].key, "cat", (0.5, 0.5))], rows, CLASSES)
