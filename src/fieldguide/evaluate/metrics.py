"""The scores of one contestant. scikit-learn computes the metrics; failures are wrong, in one denominator for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from fieldguide.evaluate.answers import AnswerSheet, scored_parts, sheet
from fieldguide.evaluate.calibration import calibration_null, calibration_score, log_loss_score
from fieldguide.evaluate.intervals import Counts, class_intervals, f1_interval, wilson
from fieldguide.evaluate.reliability import abstention, reliability
from fieldguide.records import SCHEMA_VERSION, Manifest, Prediction, Score

TOP = 5


def score_run(run: str, predictions: Iterable[Prediction], manifest: Manifest) -> dict[str, Any]:
    """Return the content of ``scores.json`` for one contestant: a validation part and a test part.

    The validation part is `None` where the manifest has none (cross-validated and test-only studies) or where none of its
    pictures was predicted. Raises `DataProblem` where there are no test pictures or a picture was answered twice.
    """
    answers = list(predictions)
    test, val = scored_parts(run, manifest)
    answered = {prediction.image for prediction in answers}
    seen = any(row.key in answered for row in val)
    chosen_on = sheet(run, answers, val, manifest.classes) if seen else None
    counted = sheet(run, answers, test, manifest.classes)
    sure = {"reliability": reliability(counted), "abstention": abstention(chosen_on, counted)}
    parts = {
        "val": None if chosen_on is None else score_sheet(chosen_on),
        "test": score_sheet(counted) | sure,
    }
    return {"schema": SCHEMA_VERSION, "run": run, "parts": parts}


def score_sheet(answers: AnswerSheet) -> dict[str, Any]:
    """Return one part of ``scores.json``: counts, metrics with intervals, per-class table and confusion matrix."""
    confusion = confusion_of(answers)
    failures = Counter(error for error in answers.errors if error is not None)
    metrics = {
        "accuracy": accuracy_of(answers),
        "top5_accuracy": top5_of(answers),
        **_class_scores(answers, confusion),
        "log_loss": log_loss_score(answers),
        "calibration_error": calibration_score(answers),
    }
    return {
        "n": answers.n,
        "correct": answers.correct,
        "failed": sum(failures.values()),
        "failures": dict(sorted(failures.items(), key=lambda item: (-item[1], item[0]))),
        "metrics": {name: asdict(score) for name, score in metrics.items()},
        "calibration_null": calibration_null(answers),
        "per_class": _per_class(answers, confusion),
        "confusion": confusion.tolist(),
    }


def accuracy_of(answers: AnswerSheet) -> Score:
    """Return top-1 accuracy over all pictures, with Wilson's interval."""
    return Score(float(accuracy_score(answers.truth, answers.answer)), *wilson(answers.correct, answers.n), answers.n)


def top5_of(answers: AnswerSheet) -> Score:
    """Return the share of pictures whose class is among the first five, with Wilson's interval.

    The answer itself ranks first, then the other classes by probability; equal ones in class order. A failure is wrong, and
    an answer without probabilities is a ranking of one.
    """
    if len(answers.classes) <= TOP:
        return Score.absent(f"there are only {len(answers.classes)} classes")
    if answers.probabilities is None:
        return Score.absent("the contestant gives no probabilities")
    ranking = np.nan_to_num(answers.probabilities, nan=-1.0)
    rows = np.arange(answers.n)
    answered = answers.answer >= 0
    ranking[rows[answered], answers.answer[answered]] = 2.0
    own = ranking[rows, answers.truth]
    ahead = (ranking > own[:, None]) | ((ranking == own[:, None]) & (np.arange(len(answers.classes)) < answers.truth[:, None]))
    hits = int((answered & (own >= 0) & (ahead.sum(axis=1) < TOP)).sum())
    return Score(hits / answers.n, *wilson(hits, answers.n), answers.n)


def confusion_of(answers: AnswerSheet) -> Counts:
    """Return counts, ``"classes classes+1"``: rows are the truth, columns the answers, the last column no usable answer."""
    classes = len(answers.classes)
    answer = np.where(answers.answer < 0, classes, answers.answer)
    counts: Counts = confusion_matrix(answers.truth, answer, labels=np.arange(classes + 1))[:classes].astype(np.int64)
    return counts


def _class_scores(answers: AnswerSheet, confusion: Counts) -> dict[str, Score]:
    """Return balanced accuracy and macro and weighted precision, recall and F1, over the classes that have pictures here."""
    here = np.flatnonzero(confusion.sum(axis=1))
    intervals = class_intervals(confusion)
    scores = {}
    for average in ("macro", "weighted"):
        values = precision_recall_fscore_support(answers.truth, answers.answer, labels=here, average=average, zero_division=0.0)
        for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True):
            scores[f"{average}_{name}"] = Score(float(value), *intervals[f"{average}_{name}"], answers.n)
    return {"balanced_accuracy": scores["macro_recall"], **scores}


def _per_class(answers: AnswerSheet, confusion: Counts) -> list[dict[str, Any]]:
    table = []
    for index, label in enumerate(answers.classes):
        right = int(confusion[index, index])
        support, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
        precision = _share(right, predicted, "never answered")
        recall = _share(right, support, "no pictures of it")
        union = support + predicted
        f1 = (
            Score(2 * right / union, *f1_interval(right, predicted, support), union - right)
            if union
            else Score.absent("no pictures of it, and never answered")
        )
        scores = {"precision": asdict(precision), "recall": asdict(recall), "f1": asdict(f1)}
        table.append({"id": label, "n": support, "predicted": predicted, **scores})
    return table


def _share(count: int, total: int, otherwise: str) -> Score:
    return Score(count / total, *wilson(count, total), total) if total else Score.absent(otherwise)


def chance(manifest: Manifest) -> dict[str, Any]:
    """Return ``{"accuracy", "how"}``: what always answering the commonest class scores on the test pictures.

    The class is the commonest of the training part, the first in class order among equals. Where there is no training part
    (cross-validated and test-only studies) it is the commonest of the test pictures, and `how` says so.
    """
    train, test = manifest.part("train"), manifest.part("test")
    counted = Counter(row.label for row in (train or test))
    commonest = max(manifest.classes, key=lambda label: counted[label])  # max keeps the first among equals
    share = sum(row.label == commonest for row in test) / len(test)
    how = (
        f"always answering the commonest training class, which is '{commonest}'"
        if train
        else f"always answering the commonest class of the test pictures, which is '{commonest}' (there is no training part)"
    )
    return {"accuracy": share, "how": how}


def choose(scores: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the run that validation chooses among ``scores.json`` contents; `None` where none has a validation part.

    Highest validation accuracy; among equals the higher macro-F1, then the first name.
    """
    ranked = []
    for score in scores:
        part = score["parts"]["val"]
        if part is not None:
            ranked.append((-part["correct"], -part["metrics"]["macro_f1"]["value"], score["run"]))
    return min(ranked)[2] if ranked else None
