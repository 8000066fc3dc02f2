"""Heads by name against scikit-learn's, and the choice between strengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from fieldguide.bench import Bench, read_log
from fieldguide.craft import chosen
from fieldguide.craft.heads import Head


def drawn(each: int = 30, classes: int = 4, width: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    centres, mix = np.random.default_rng(99).normal(size=(2, width, width)) / np.array([1, 2])[:, None, None]
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    return centres[labels] + random.normal(size=(len(labels), width)) @ mix, labels


ROWS, LABELS = drawn()
FRESH, TRUTH = drawn(seed=1)


def one(kind: str, strength: float, classes: int = 4) -> Head:
    (head,) = chosen.every(kind, ROWS, LABELS, classes, (strength,))
    return head


def test_ridge_is_that_of_scikit_learn() -> None:
    for penalty in (0.01, 1.0):
        # Ours is in units of the mean variance, and over the mean of errors instead of their sum.
        alpha = penalty * ROWS.var(axis=0).mean() * len(ROWS)
        theirs = RidgeClassifier(alpha=alpha).fit(ROWS, LABELS).decision_function(FRESH)
        assert np.allclose(2 * one("ridge", penalty)(FRESH) - 1, theirs, atol=1e-6), "theirs has targets of -1 and 1"


def test_gda_is_that_of_scikit_learn() -> None:
    for shrinkage in (0.05, 0.5):
        theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.25] * 4).fit(ROWS, LABELS)
        ours = one("gda", shrinkage)(FRESH)
        difference = ours - theirs.decision_function(FRESH)
        assert np.allclose(difference, difference[:, :1], atol=1e-6)


def test_logistic_is_that_of_scikit_learn_with_two_classes_too() -> None:
    for rows, labels in ((ROWS, LABELS), (ROWS[:60], LABELS[:60])):
        theirs = LogisticRegression(C=0.1, max_iter=300).fit(rows, labels)
        (head,) = chosen.every("logistic", rows, labels, 4, (0.1,))
        logits = head(FRESH)[:, : len(theirs.classes_)]
        ours = np.exp(logits - logits.max(axis=1, keepdims=True))
        assert np.allclose(ours / ours.sum(axis=1, keepdims=True), theirs.predict_proba(FRESH), atol=1e-6)


def test_the_softmax_layer_comes_to_what_logistic_regression_comes_to() -> None:
    weak = LogisticRegression(C=100, max_iter=1000).fit(ROWS, LABELS)
    assert (one("linear", 0.01)(FRESH).argmax(axis=1) == weak.predict(FRESH)).mean() > 0.93
    assert np.array_equal(one("linear", 0.01).weights, one("linear", 0.01).weights)


@pytest.mark.parametrize("kind", ["ridge", "gda", "logistic", "linear"])
def test_a_class_without_a_row_is_never_answered(kind: str) -> None:
    head = one(kind, 0.1, classes=6)
    assert (head.bias[4:] == -1e9).all() and head(FRESH).argmax(axis=1).max() <= 3


def test_validation_chooses_and_without_it_the_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    strengths = (1e6, 0.01, 0.02)
    kept = chosen.best("ridge", (ROWS, LABELS), (FRESH, TRUTH), 4, strengths, bench)
    events = read_log(tmp_path / "log.jsonl")
    tried = [event["val_accuracy"] for event in events if event["event"] == "strength"]
    best = strengths[int(np.argmax(tried))]
    assert events[-1]["strength"] == best != 1e6 and np.array_equal(kept.weights, one("ridge", best).weights)
    first = chosen.best("ridge", (ROWS, LABELS), (FRESH[:0], TRUTH[:0]), 4, strengths, Bench(tmp_path))
    assert np.array_equal(first.weights, one("ridge", 1e6).weights)
