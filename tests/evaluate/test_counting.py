"""Scores of counts: what is exact, how far the rest is off, and which contestants differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy.stats import wilcoxon

from fieldguide.data.tables import freeze
from fieldguide.errors import DataProblem
from fieldguide.evaluate.counting import CountSheet, count_sheet, few_interval, score_count_run, score_counts
from fieldguide.evaluate.counting_pairs import choose_counts, commonest, compare_counts
from fieldguide.evaluate.intervals import mean_interval, wilson
from fieldguide.records import Manifest, ManifestRow, Prediction

CLASSES = ("cat", "dog", "eel")
Table = Sequence[Sequence[int] | None]


def manifest(test: Table, train: Table = (), val: Table = ()) -> Manifest:
    rows = [
        ManifestRow(
            f"{split}{at:04}",
            f"{at}.png",
            "",
            split,
            counts=tuple((c, n) for c, n in zip(CLASSES, row or (), strict=True) if n),
        )
        for split, table in (("test", test), ("train", train), ("val", val))
        for at, row in enumerate(table)
    ]
    return freeze(rows, CLASSES, 1, "count")  # type: ignore[arg-type]


def answers(table: Table, split: str = "test", errors: Sequence[str] = ()) -> list[Prediction]:
    told = iter(errors)
    return [
        Prediction(f"{split}{at:04}", error=next(told, "no JSON: words and no JSON"))
        if row is None
        else Prediction(f"{split}{at:04}", counts=dict(zip(CLASSES, row, strict=True)))
        for at, row in enumerate(table)
    ]


def sheet(run: str, given: Table, truth: Table) -> CountSheet:
    return count_sheet(run, answers(given), manifest(truth).part("test"), CLASSES)


TRUTH: Table = [(1, 0, 0), (2, 1, 0), (0, 0, 3), (0, 0, 0)]
GIVEN: Table = [(1, 0, 0), (2, 3, 0), None, (0, 1, 1)]


def test_scores_by_hand() -> None:
    part = score_counts(sheet("a", GIVEN, TRUTH), {"cat": 1, "dog": 5, "eel": 10})
    metric = {name: score["value"] for name, score in part["metrics"].items()}
    assert (part["n"], part["correct"], part["failed"], part["kinds"]) == (4, 1, 1, {"no JSON": 1})
    assert metric["exact"] == metric["exact_counts"] == 1 / 4 and metric["parsed"] == 3 / 4
    # Over the three pictures with an answer: errors (0, 0, 0), (0, 2, 0), (0, 1, 1).
    assert metric["mae"] == pytest.approx(np.mean([0, 2 / 3, 2 / 3])) and metric["bias"] == metric["mae"]
    assert metric["total_mae"] == pytest.approx(4 / 3)
    assert metric["value_mae"] == pytest.approx((0 + 10 + 15) / 3)
    assert part["metrics"]["mae"]["n"] == 3 and part["metrics"]["exact"]["n"] == 4
    assert (part["metrics"]["exact"]["low"], part["metrics"]["exact"]["high"]) == wilson(1, 4)
    low, high = part["metrics"]["mae"]["low"], part["metrics"]["mae"]["high"]
    assert 0 <= low < metric["mae"] < high <= 2 / 3 + 1e-9
    dog = part["per_class"][1]
    assert (dog["pictures"], dog["things"], dog["counted"]) == (1, 1, 4)
    assert dog["exact"]["value"] == 1 / 4 and dog["exact_where_shown"]["value"] == 0.0
    assert dog["mae"]["value"] == pytest.approx(1.0) and part["per_class"][0]["exact"]["value"] == 3 / 4
    json.dumps(part, allow_nan=False)


def test_bias_says_which_way() -> None:
    part = score_counts(sheet("low", [(0, 0, 0), (1, 0, 0), (0, 0, 1), (0, 0, 0)], TRUTH))
    assert part["metrics"]["bias"]["value"] < 0 < part["metrics"]["mae"]["value"]
    assert part["metrics"]["total_bias"]["value"] == pytest.approx(-(1 + 2 + 2) / 4)


def test_values_need_every_class() -> None:
    assert score_counts(sheet("a", GIVEN, TRUTH))["metrics"]["value_mae"]["why"] == "no values are given"
    some = score_counts(sheet("a", GIVEN, TRUTH), {"cat": 1, "eel": 2})["metrics"]["value_mae"]
    assert some["value"] is None and some["why"] == "no value is given for dog"


def test_a_contestant_without_any_answer_has_shares_and_no_means() -> None:
    part = score_counts(sheet("mute", [None] * 4, TRUTH))
    assert part["metrics"]["exact"]["value"] == 0.0 and part["metrics"]["parsed"]["value"] == 0.0
    assert part["metrics"]["mae"]["state"] == "not applicable" and part["per_class"][0]["bias"]["value"] is None


def test_counts_of_other_classes_and_missing_answers_are_failures() -> None:
    rows = manifest(TRUTH).part("test")
    found = count_sheet("x", [Prediction("test0000", counts={"fox": 1}), Prediction("test0001")], rows, CLASSES)
    assert found.errors == ("a count of no class of the study", "no answer", "no answer", "no answer") and not found.right.any()
    with pytest.raises(DataProblem, match="answers twice"):
        count_sheet("x", [Prediction("test0000"), Prediction("test0000")], rows, CLASSES)


def test_a_class_that_an_answer_leaves_out_has_none() -> None:
    found = count_sheet("x", [Prediction("test0000", counts={"cat": 1})], manifest(TRUTH).part("test")[:1], CLASSES)
    assert found.correct == 1


def test_equal_counts_and_equal_text_are_two_things() -> None:
    rows = manifest(TRUTH).part("test")[:2]
    given = [
        Prediction("test0000", counts={"cat": 1}, raw='{"cat": 1}'),
        Prediction("test0001", counts={"cat": 2, "dog": 1}, raw='{"dog": 1, "cat": 2}'),
    ]

    def say(counts: Mapping[str, int]) -> str:
        return json.dumps({name: counts[name] for name in CLASSES if counts.get(name)})

    by_counts = score_counts(count_sheet("x", given, rows, CLASSES, say))
    by_text = score_counts(count_sheet("x", given, rows, CLASSES, say, "text"))
    assert by_counts["metrics"]["exact"]["value"] == 1.0 == by_text["metrics"]["exact_counts"]["value"]
    assert by_text["metrics"]["exact"]["value"] == 0.5 == by_counts["metrics"]["exact_text"]["value"]
    assert by_text["correct"] == 1 and by_text["exact_is"] == "text"
    # Who answers in no words is held to the counts, and its text is not applicable.
    wordless = score_counts(count_sheet("x", [Prediction("test0000", counts={"cat": 1})], rows[:1], CLASSES, say, "text"))
    assert wordless["metrics"]["exact"]["value"] == 1.0 and wordless["metrics"]["exact_text"]["value"] is None


def test_both_parts_are_scored_and_validation_chooses() -> None:
    known = manifest(TRUTH, val=TRUTH, train=TRUTH)
    runs = {
        "far": [(1, 0, 0), (9, 9, 9), (9, 9, 9), (9, 9, 9)],
        "near": [(1, 0, 0), (2, 2, 0), (0, 0, 2), (0, 0, 1)],
        "mute": [None] * 4,
    }
    scores = [score_count_run(name, [*answers(table), *answers(table, "val")], known) for name, table in runs.items()]
    assert choose_counts(scores) == "near"
    assert scores[0]["parts"]["val"]["correct"] == scores[1]["parts"]["val"]["correct"] == 1
    assert choose_counts([score_count_run("x", answers(TRUTH), known)]) is None


def test_the_commonest_counts_are_the_floor() -> None:
    known = manifest([(1, 0, 0), (1, 0, 0), (0, 2, 0)], train=[(1, 0, 0), (1, 0, 0), (0, 2, 0)])
    floor = commonest(known)
    assert floor["accuracy"] == pytest.approx(2 / 3) and "'1 cat'" in floor["how"]
    assert "test pictures" in commonest(manifest(TRUTH))["how"]


def drawn(errors: Sequence[int], truth: Table) -> Table:
    return [(row[0] + more, row[1], row[2]) for row, more in zip(truth, errors, strict=True)]  # type: ignore[index]


def test_contestants_differ_in_exact_answers_and_in_errors() -> None:
    truth: Table = [(5, 2, 1)] * 40
    random = np.random.default_rng(1)
    good = drawn([0] * 30 + [1] * 10, truth)
    near = drawn([int(random.integers(1, 3)) for _ in range(40)], truth)
    far = drawn([int(random.integers(4, 9)) for _ in range(40)], truth)
    known = manifest(truth, train=[(0, 0, 0)])
    sheets = [sheet(name, table, truth) for name, table in (("far", far), ("good", good), ("near", near))]
    told = compare_counts(sheets, known, [])
    assert told["order"][0] == "good" and told["nearest"] == "good" and told["task"] == "count" and told["classes"] == 3
    exact = {(pair["a"], pair["b"]): pair["outcome"] for pair in told["pairs"]}
    assert exact[("good", "far")] == "a better" and exact[("far", "near")] == "too few pictures to tell"
    # Neither is ever exact, yet one is nearer: that is what the other test is for.
    off = {(row["a"], row["b"]): row for row in told["errors"]}
    assert off[("far", "near")]["outcome"] == "b nearer" and off[("far", "near")]["difference"] > 0
    a, b = (np.abs(np.array(table) - np.array(truth)).sum(axis=1) for table in (far, near))
    assert off[("far", "near")]["p"] == pytest.approx(wilcoxon((a - b)[a != b]).pvalue)
    assert off[("far", "near")]["low"] < off[("far", "near")]["difference"] < off[("far", "near")]["high"]
    json.dumps(told, allow_nan=False)


def test_the_interval_is_that_of_drawing_pictures() -> None:
    values = np.random.default_rng(2).poisson(1.5, 60) / 3
    quick, plain = few_interval(values), mean_interval(values)
    assert quick == pytest.approx(plain, abs=0.03) and quick[0] < values.mean() < quick[1]
    assert few_interval(values[::-1]) == quick and few_interval(np.full(4, 2.0)) == (2.0, 2.0)


def test_few_pictures_tell_nothing_and_only_pictures_both_answered_count() -> None:
    truth: Table = [(5, 2, 1)] * 5
    told = compare_counts(
        [sheet("a", drawn([1] * 5, truth), truth), sheet("b", drawn([9] * 5, truth), truth)], manifest(truth), []
    )
    assert told["errors"][0]["outcome"] == "too few pictures to tell" and told["errors"][0]["p"] == 1.0
    told = compare_counts([sheet("a", [None] * 5, truth), sheet("b", drawn([9] * 5, truth), truth)], manifest(truth), [])
    assert told["errors"][0]["n"] == 0 and told["errors"][0]["difference"] is None and told["nearest"] == "b"
    assert compare_counts([sheet("a", [None] * 5, truth)], manifest(truth), [])["nearest"] is None
