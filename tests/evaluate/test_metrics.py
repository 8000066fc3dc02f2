"""The metrics against scikit-learn, by hand, and under what goes wrong."""

from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fieldguide.errors import DataProblem
from fieldguide.evaluate.answers import OFF_LIST
from fieldguide.evaluate.intervals import wilson
from fieldguide.evaluate.metrics import chance, choose, confusion_of, score_run, score_sheet, top5_of
from fieldguide.records import ManifestRow, Prediction


def values(part):
    return {name: score["value"] for name, score in part["metrics"].items()}


@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_scikit_learns(make, seed):
    sheet = make.random_sheet(seed)
    part, truth = values(score_sheet(sheet)), sheet.truth
    answer = np.where(sheet.answer < 0, 8, sheet.answer)
    assert part["accuracy"] == pytest.approx(sk.accuracy_score(truth, answer))
    with pytest.warns(UserWarning, match="not in y_true"):
        assert part["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, answer))
    for average in ("macro", "weighted"):
        options = {"labels": range(8), "average": average, "zero_division": 0}
        assert part[f"{average}_precision"] == pytest.approx(sk.precision_score(truth, answer, **options))
        assert part[f"{average}_recall"] == pytest.approx(sk.recall_score(truth, answer, **options))
        assert part[f"{average}_f1"] == pytest.approx(sk.f1_score(truth, answer, **options))


def test_a_sheet_without_failures_agrees_on_top5_and_log_loss(make):
    sheet = make.random_sheet(7, skill=1.0)
    whole = np.isfinite(sheet.probabilities).all(axis=1)
    kept = make.permuted(sheet, np.flatnonzero(whole))
    part = score_sheet(kept)
    top5 = sk.top_k_accuracy_score(kept.truth, kept.probabilities, k=5, labels=range(8))
    assert part["metrics"]["top5_accuracy"]["value"] == pytest.approx(top5)
    assert 0.3 < top5 < 0.99
    assert part["metrics"]["log_loss"]["value"] == pytest.approx(sk.log_loss(kept.truth, kept.probabilities, labels=range(8)))
    assert part["metrics"]["log_loss"]["why"] is None


def test_failures_are_wrong_in_one_denominator_by_hand(make):
    manifest = make.manifest(["a"] * 4 + ["b"] * 6)
    labels = ["a", "a", "b", None, "b", "b", "b", "b", "a", "wolf"]
    part = score_run("m", make.predictions(labels), manifest)["parts"]["test"]
    assert (part["n"], part["correct"], part["failed"]) == (10, 6, 2)
    assert part["failures"] == {"could not be read": 1, OFF_LIST: 1}
    assert part["confusion"] == [[2, 1, 1], [1, 4, 1]]
    assert part["metrics"]["accuracy"]["value"] == 0.6
    assert part["metrics"]["accuracy"]["n"] == 10
    assert values(part)["macro_recall"] == pytest.approx((2 / 4 + 4 / 6) / 2)
    assert values(part)["weighted_precision"] == pytest.approx(0.4 * 2 / 3 + 0.6 * 4 / 5)
    first = part["per_class"][0]
    assert (first["id"], first["n"], first["predicted"]) == ("a", 4, 3)
    assert first["precision"]["value"] == pytest.approx(2 / 3) and first["precision"]["n"] == 3
    assert (first["recall"]["low"], first["recall"]["high"]) == pytest.approx(wilson(2, 4))
    assert first["f1"]["value"] == pytest.approx(4 / 7)
    assert first["f1"]["low"] < 4 / 7 < first["f1"]["high"]


def test_missing_rows_count_as_no_answer(make):
    manifest = make.manifest(["a"] * 5 + ["b"] * 5)
    part = score_run("m", make.predictions(["a"] * 5), manifest)["parts"]["test"]
    assert (part["n"], part["correct"], part["failures"]) == (10, 5, {"no answer": 5})
    none = score_run("m", [], manifest)["parts"]["test"]
    assert (none["n"], none["correct"], none["failed"]) == (10, 0, 10)
    assert values(none)["macro_f1"] == 0.0


def test_validation_is_none_where_there_is_none_or_none_was_predicted(make):
    manifest = make.manifest(["a", "b"], train=["a", "b"], val=["a", "b", "b"])
    test, val = make.predictions(["a", "b"]), make.predictions(["a", "b"], "val")
    assert score_run("m", test, manifest)["parts"]["val"] is None
    both = score_run("m", test + val, manifest)["parts"]
    assert (both["val"]["n"], both["val"]["correct"], both["val"]["failed"]) == (3, 2, 1)
    assert (both["test"]["n"], both["test"]["correct"]) == (2, 2)


def test_cross_validated_rows_are_all_test(make):
    manifest = make.manifest(["a", "b", "a", "b"])
    rows = tuple(dataclasses.replace(row, fold=index % 2) for index, row in enumerate(manifest.rows))
    folded = dataclasses.replace(manifest, rows=rows)
    parts = score_run("m", make.predictions(["a", "b", "a", "a"]), folded)["parts"]
    assert folded.folds == 2 and parts["val"] is None
    assert (parts["test"]["n"], parts["test"]["correct"]) == (4, 3)
    assert "no training part" in chance(folded)["how"]


def test_excluded_pictures_take_no_part(make):
    manifest = make.manifest(["a", "b"])
    out = ManifestRow("gone", "gone.png", "a", None, excluded="could not be read")
    widened = dataclasses.replace(manifest, rows=(*manifest.rows, out))
    assert score_run("m", make.predictions(["a", "b"]), widened)["parts"]["test"]["n"] == 2


def test_no_test_pictures_is_a_problem_of_the_data(make):
    with pytest.raises(DataProblem, match="no test pictures"):
        score_run("m", [], make.manifest([], train=["a", "b"]))


def test_a_class_without_pictures_does_not_pull_the_average_down(make):
    manifest = make.manifest(["a", "b"] * 4, train=["c"])
    part = score_run("m", make.predictions(["a", "b"] * 3 + ["c", "b"]), manifest)["parts"]["test"]
    assert values(part)["macro_recall"] == pytest.approx((3 / 4 + 1) / 2)
    absent = part["per_class"][2]
    assert absent["recall"]["state"] == "not applicable" and absent["precision"]["value"] == 0.0
    unseen = score_run("m", make.predictions(["a", "b"] * 4), manifest)["parts"]["test"]["per_class"][2]
    assert {unseen[name]["state"] for name in ("precision", "recall", "f1")} == {"not applicable"}


def test_what_needs_probabilities_says_so(make):
    part = score_run("m", make.predictions(["a", "b"]), make.manifest(["a", "b"]))["parts"]["test"]
    for name in ("log_loss", "calibration_error"):
        score = part["metrics"][name]
        assert (score["value"], score["state"]) == (None, "not applicable") and "no probabilities" in score["why"]
    assert part["calibration_null"] is None
    assert "only 2 classes" in part["metrics"]["top5_accuracy"]["why"]


def test_top5_ranks_the_answer_first_and_equals_in_class_order(make):
    base = make.random_sheet(0, pictures=8)
    flat = np.full((8, 8), 1 / 8)
    even = dataclasses.replace(base, truth=np.arange(8), answer=np.full(8, 7), probabilities=flat, errors=(None,) * 8)
    assert top5_of(even).value == 5 / 8  # the answer (class 7), then classes 0 to 3
    assert top5_of(dataclasses.replace(even, truth=np.full(8, 7))).value == 1.0
    failed = dataclasses.replace(even, answer=np.full(8, -1))
    assert top5_of(failed).value == 0.0
    partly = flat.copy()
    partly[[0, 7]] = np.nan
    assert top5_of(dataclasses.replace(even, probabilities=partly)).value == 4 / 8  # class 0 is no longer ranked, 7 is answered
    assert top5_of(dataclasses.replace(even, probabilities=None)).state == "not applicable"


def test_scores_over_part_of_the_pictures_say_how_many(make):
    sheet = make.random_sheet(3)
    known = int(np.isfinite(sheet.probabilities).all(axis=1).sum())
    part = score_sheet(sheet)
    for name in ("log_loss", "calibration_error"):
        assert part["metrics"][name]["n"] == known < sheet.n
        assert f"{known} of {sheet.n}" in part["metrics"][name]["why"]
    assert part["metrics"]["accuracy"]["n"] == sheet.n


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_changes_nothing(make, seed, shuffle):
    sheet = make.random_sheet(seed, pictures=40, classes=6)
    order = list(range(40))
    shuffle.shuffle(order)
    assert json.dumps(score_sheet(sheet)) == json.dumps(score_sheet(make.permuted(sheet, order)))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), skill=st.floats(0, 8), pictures=st.integers(1, 30))
def test_intervals_hold_their_value_and_stay_in_range(make, seed, skill, pictures):
    sheet = make.random_sheet(seed, pictures=pictures, classes=6, skill=skill)
    part = score_sheet(sheet)
    scores = [*part["metrics"].values(), *(row[name] for row in part["per_class"] for name in ("precision", "recall", "f1"))]
    for score in scores:
        if score["low"] is not None:
            assert 0 <= score["low"] <= score["value"] + 1e-12 <= score["high"] + 2e-12
    assert all(part["metrics"][name]["high"] <= 1 for name in ("macro_f1", "balanced_accuracy", "weighted_precision"))
    assert int(confusion_of(sheet).sum()) == sheet.n
    json.dumps(part, allow_nan=False)


def test_a_hundred_classes_are_scored_well_under_a_second(make):
    sheet = make.random_sheet(1, pictures=1000, classes=100)
    score_sheet(sheet)
    start = time.process_time()
    score_sheet(sheet)
    assert time.process_time() - start < 1.0


def test_chance_is_the_commonest_training_class_measured_on_test(make):
    manifest = make.manifest(["a", "b", "b", "b"], train=["a", "a", "b", "c", "c"])
    assert chance(manifest)["accuracy"] == 0.25
    assert chance(manifest)["how"] == "always answering the commonest training class, which is 'a'"
    alone = chance(make.manifest(["a", "b", "b", "b"]))
    assert alone["accuracy"] == 0.75 and "no training part" in alone["how"]


def test_validation_chooses_by_accuracy_then_f1_then_name(make):
    manifest = make.manifest(["a", "b"], val=["a"] * 4 + ["b"] * 2)

    def scored(run: str, val: list[str]) -> dict:
        return score_run(run, make.predictions(["a", "a"]) + make.predictions(val, "val"), manifest)

    plain, even = scored("p", ["a"] * 6), scored("e", ["a", "a", "a", "b", "b", "a"])
    best = scored("z", ["a"] * 4 + ["b", "a"])
    assert plain["parts"]["val"]["correct"] == even["parts"]["val"]["correct"] == 4
    assert choose([plain, even, best]) == "z"
    assert choose([plain, even]) == "e"
    assert choose([scored("y", ["a"] * 6), scored("x", ["a"] * 6)]) == "x"
    assert choose([score_run("m", make.predictions(["a", "b"]), manifest)]) is None
    assert choose([]) is None


def test_one_answer_too_many_is_refused(make):
    manifest = make.manifest(["a", "b"])
    with pytest.raises(DataProblem, match="twice"):
        score_run("m", [*make.predictions(["a", "b"]), Prediction("test00000", "b")], manifest)
