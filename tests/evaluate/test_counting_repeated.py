"""Counts of other seeds and of fewer pictures: numbers by hand, and that of errors less is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import wilcoxon

from fieldguide.evaluate.counting import CountSheet, score_counts
from fieldguide.evaluate.counting_pairs import as_labels
from fieldguide.evaluate.counting_repeated import counted_again, growth_of_counts, with_count_seeds
from fieldguide.evaluate.fractions import Point

N = 40


def sheet(run: str, off: Sequence[int], answered: int = N) -> CountSheet:
    """Return answers about one class of which each picture shows ten; `off` is by how many each is miscounted."""
    truth = np.full((N, 1), 10, np.int64)
    there = np.arange(N) < answered
    answer = np.where(there[:, None], truth + np.array(off)[:, None], 0)
    return CountSheet(run, tuple(map(str, range(N))), ("coin",), truth, answer, there, (None,) * N)


def scored(told: CountSheet) -> dict[str, Any]:
    return {"run": told.run, "parts": {"test": score_counts(told), "val": None}}


def grown(*runs: tuple[float, Sequence[int], int], **more: Any) -> dict[str, Any]:
    points, sheets = [], {}
    for fraction, off, answered in runs:
        told = sheet("net" if fraction == 1 else f"net@{100 * fraction:g}", off, answered)
        sheets[told.run] = told
        labels = as_labels(told, told.right, told.answered)
        points.append(Point("net", fraction, round(1000 * fraction), labels, {**scored(told), **more.get(told.run, {})}))
    return growth_of_counts(points, sheets, 0.05)


def test_every_seed_has_both_numbers_and_a_spread_of_each() -> None:
    own, other = scored(sheet("net", [0] * 20 + [1] * 20)), scored(sheet("net", [0] * 10 + [2] * 30))
    full = with_count_seeds(own, 42, {43: other})
    assert [(line["seed"], line["exact"], line["mae"], line["val_mae"]) for line in full["seeds"]] == [
        (42, 0.5, 0.5, None),
        (43, 0.25, 1.5, None),
    ]
    assert (full["spread"]["mean"], full["spread_mae"]["mean"], full["spread_mae"]["max"]) == (0.375, 1.0, 1.5)
    assert full["parts"] == own["parts"] and with_count_seeds(own, 42, {}) == own


def test_a_seed_without_a_usable_answer_has_no_error_and_none_is_put_in_its_place() -> None:
    full = with_count_seeds(scored(sheet("net", [1] * N)), 42, {43: scored(sheet("net", [1] * N, answered=0))})
    assert full["seeds"][1]["mae"] is None and full["spread_mae"] is None and full["spread"]["n"] == 2


def test_of_errors_the_smaller_stands_first() -> None:
    """The often exact one is far off where it is wrong, so the two orders are opposite."""
    exact = with_count_seeds(scored(sheet("exact", [0] * 30 + [9] * 10)), 1, {2: scored(sheet("exact", [0] * 32 + [9] * 8))})
    near = with_count_seeds(scored(sheet("near", [1] * N)), 1, {2: scored(sheet("near", [1] * 39 + [0]))})
    told = counted_again([exact, near], ["exact", "near"], {})
    (first,), (second,) = told["seeds"]["neighbours"], told["seeds_mae"]["neighbours"]
    assert (first["a"], first["outcome"], second["a"], second["outcome"]) == ("exact", "apart", "near", "apart")
    assert second["gap"] == pytest.approx(1.0 - 2.25) and second["swapped"] == 0
    assert "near is nearer in each of 4 pairings" in second["sentence"] and "near 0.97 to 1.00 of a count" in second["sentence"]
    better = with_count_seeds(scored(sheet("exact", [0] * 30 + [9] * 10)), 1, {2: scored(sheet("exact", [0] * N))})
    (swapped,) = counted_again([better, near], ["exact", "near"], {})["seeds_mae"]["neighbours"]
    assert (swapped["outcome"], swapped["swapped"]) == ("overlap", 2) and "exact is nearer than near in 2" in swapped[
        "sentence"
    ]


def test_who_was_never_readable_takes_no_part_in_the_order_of_errors() -> None:
    mute = scored(sheet("mute", [0] * N, answered=0))
    net = with_count_seeds(scored(sheet("net", [1] * N)), 1, {2: scored(sheet("net", [2] * N))})
    told = counted_again([net, mute], ["net", "mute"], {"mute": False})
    assert len(told["seeds"]["neighbours"]) == 1 and told["seeds_mae"]["neighbours"] == []


def test_an_error_that_falls_is_a_gain_and_one_that_rises_a_loss() -> None:
    random = np.random.default_rng(3)
    far, close = random.integers(3, 8, N).tolist(), random.integers(0, 2, N).tolist()
    (line,) = grown((1.0, close, N), (0.5, far, N), (0.25, far, N))["fractions_mae"]
    p = float(wilcoxon(np.array(close) - np.array(far)).pvalue)
    gap = np.mean(far) - np.mean(close)
    assert line["pair"]["p_holm"] == pytest.approx(p) and line["pair"]["outcome"] == "a nearer"
    assert f"the error of net fell by {gap:.2f} of a count" in line["sentence"] and "would probably help" in line["sentence"]
    assert line["per_doubling"] < 0 and "each doubling came with -" in line["sentence"]
    assert [point["mae"]["value"] for point in line["points"]] == pytest.approx([np.mean(far), np.mean(far), np.mean(close)])
    (line,) = grown((1.0, far, N), (0.5, close, N))["fractions_mae"]
    assert line["pair"]["outcome"] == "b nearer" and "rose by" in line["sentence"] and "did not help" in line["sentence"]


def test_exact_answers_are_told_beside_it() -> None:
    (line,) = grown((1.0, [0] * N, N), (0.5, [1] * N, N))["fractions"]
    assert line["pair"]["outcome"] == "a better" and [point["exact"]["value"] for point in line["points"]] == [0.0, 1.0]
    assert growth_of_counts([], {}, 0.05) == {} == grown((1.0, [0] * N, N))


def test_no_more_is_said_than_was_measured() -> None:
    (line,) = grown((1.0, [0] * 39 + [1], N), (0.5, [0] * N, N))["fractions_mae"]
    assert "too few of the test pictures differ to tell" in line["sentence"]
    (line,) = grown((1.0, [0] * N, 0), (0.5, [0] * N, N))["fractions_mae"]
    assert "no picture was answered by both runs" in line["sentence"] and line["pair"]["difference"] is None
    (line,) = grown((0.5, [0] * N, N))["fractions_mae"]
    assert line["pair"] is None and "not known" in line["sentence"]
    close = {"spread_mae": {"min": 0.4, "max": 5.0}}
    (line,) = grown((1.0, [0, 1] * 20, N), (0.5, [5, 6] * 20, N), **{"net": close, "net@50": close})["fractions_mae"]
    assert "the errors of its seeds overlap" in line["sentence"] and "would probably help" not in line["sentence"]
