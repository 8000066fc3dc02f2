"""Slices: how pictures are cut, and whether a gap between kinds depends on the cut."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.intervals import difference_interval, gap_interval
from fieldguide.evaluate.slices import Slicing, by_answer, by_quarter, interaction, told

KINDS = {"cnn-0": "convolution", "cnn-1": "convolution", "vit-0": "attention", "vit-1": "attention"}


def study(make: SimpleNamespace, seed: int, planted: float = 0.0, pictures: int = 400, hard: float = 0.5) -> list[AnswerSheet]:
    """Return two CNNs and two transformers on pictures in four slices, i % 4.

    Slice 0 is harder for everybody by `hard`; `planted` is how much less often CNNs are right there beyond that.
    """
    random = np.random.default_rng(seed)
    difficulty = random.random(pictures)
    slice_0 = np.arange(pictures) % 4 == 0
    sheets = []
    for run, kind in KINDS.items():
        share = 0.95 - hard * slice_0 - planted * slice_0 * (kind == "convolution") - 0.03 * (kind == "convolution")
        # Half of the time a picture is as difficult for one contestant as for all.
        right = np.where(random.random(pictures) < 0.5, difficulty, random.random(pictures)) < share
        sheets.append(make.sheet(run, right))
    return sheets


def cut(pictures: int = 400) -> Slicing:
    return by_quarter("resolution", "Resolution", [float(i % 4) for i in range(pictures)], str)


def test_quarters_are_quarters_and_equal_values_stay_together() -> None:
    values = list(np.random.default_rng(0).random(200))
    found = by_quarter("x", "X", values, lambda value: f"{value:.2f}")
    assert found.place is not None and np.bincount(found.place).tolist() == [50, 50, 50, 50]
    for at in range(4):
        inside = [value for value, place in zip(values, found.place, strict=True) if place == at]
        beyond = [value for value, place in zip(values, found.place, strict=True) if place > at]
        assert max(inside) < min(beyond, default=2)
    first, second, third = (f"{sorted(values)[at]:.2f}" for at in (49, 99, 149))
    assert found.names == (f"up to {first}", f"{first} to {second}", f"{second} to {third}", f"over {third}")
    tied = by_quarter("x", "X", [1.0] * 70 + [2.0] * 20 + [3.0] * 10, lambda value: f"{value:.0f}")
    assert tied.place is not None and np.bincount(tied.place).tolist() == [70, 20, 10]
    assert tied.names == ("up to 1", "1 to 2", "over 2")


def test_what_cannot_be_cut_says_why() -> None:
    alike = by_quarter("x", "X", [5.0, 5.0, None], lambda value: f"{value:.0f} px")
    assert alike.place is None and alike.why == "all test pictures are alike in it (5 px)"
    assert by_quarter("x", "X", [None, None], str).why == "not known of any test picture"
    assert by_answer("x", "X", ("photographs", "drawings"), [False, None]).why == "all test pictures are photographs"
    assert by_answer("x", "X", ("photographs", "drawings"), [None]).why == "not known of any test picture"
    some = by_answer("x", "X", ("photographs", "drawings"), [False, True, None])
    assert some.place is not None and some.place.tolist() == [0, 1, -1]


def test_accuracies_of_slices_are_those_of_their_pictures(make: SimpleNamespace) -> None:
    sheets = study(make, 1)
    (table,) = told(sheets, KINDS, [cut()])["slicings"]
    for at, part in enumerate(table["slices"]):
        mask = np.arange(400) % 4 == at
        shares = {sheet.run: float(sheet.right[mask].mean()) for sheet in sheets}
        assert part["n"] == 100 and not part["few"]
        assert {run: score["value"] for run, score in part["runs"].items()} == pytest.approx(shares)
        cnns = [shares["cnn-0"], shares["cnn-1"]]
        assert part["kinds"]["convolution"] == pytest.approx({"mean": np.mean(cnns), "least": min(cnns), "most": max(cnns)})
    (pair,) = table["pairs"]
    assert (pair["a"], pair["b"]) == ("attention", "convolution")
    whole = np.mean([gap["difference"] for gap in pair["gaps"]])
    assert whole == pytest.approx(np.mean([s.accuracy for s in sheets[2:]]) - np.mean([s.accuracy for s in sheets[:2]]))


def test_a_planted_interaction_is_found(make: SimpleNamespace) -> None:
    (table,) = told(study(make, 2, planted=0.3), KINDS, [cut()])["slicings"]
    (pair,) = table["pairs"]
    assert pair["outcome"] == "depends on it" and pair["p"] < 0.005
    gaps = [gap["difference"] for gap in pair["gaps"]]
    assert gaps[0] > max(gaps[1:]) + 0.2 and pair["gaps"][0]["low"] > max(gaps[1:])


@pytest.mark.parametrize(("hard", "rare"), [(0.0, False), (0.5, False), (0.5, True)])
def test_without_one_it_is_rarely_found_however_hard_a_slice_is(make: SimpleNamespace, hard: float, rare: bool) -> None:
    """200 studies, level 5 %: hardness alone is no interaction, nor where the hard slice is small. (Over 1,500: 4.5, 5.6 and 6.3 %.)"""
    found = 0
    for seed in range(1000, 1200):
        random = np.random.default_rng(seed)
        pictures = 300
        place = (random.random(pictures) < (0.12 if rare else 0.5)).astype(np.int64)
        # Pictures where exactly one kind is right are commoner in the hard slice, and speak for neither.
        apart = random.random(pictures) < np.where(place == 1, 0.1 + hard, 0.1)
        gaps = np.where(apart, random.choice([-1.0, -0.5, 0.5, 1.0], size=pictures), 0.0)
        found += (interaction(gaps[:, None], place, draws=99)[0] or 0) <= 0.05
    assert found <= 14  # 7 %
    assert found >= 2


def test_a_label_that_means_nothing_is_found_as_often_as_the_level_says(make: SimpleNamespace) -> None:
    """The same, with the hits of contestants and slices dealt out at random."""
    found = 0
    sheets = study(make, 5, planted=0.3)
    gaps = np.mean([s.right for s in sheets[2:]], axis=0) - np.mean([s.right for s in sheets[:2]], axis=0)
    for seed in range(200):
        place = np.random.default_rng(seed).integers(4, size=400)
        found += (interaction(gaps[:, None], place, draws=99)[0] or 0) <= 0.05
    assert 2 <= found <= 17


def test_permutations_agree_with_every_arrangement() -> None:
    gaps = np.array([1.0, 0.5, 1.0, 0.0, -0.5, 0.0, -1.0, 0.0, 0.5, 0.0])
    place = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])

    def statistic(labels: np.ndarray) -> float:
        means, weights = [], []
        for at in (0, 1):
            inside = gaps[labels == at]
            variance = (((inside - inside.mean()) ** 2).sum() + gaps.var()) / len(inside)
            means.append(inside.mean())
            weights.append(len(inside) / variance)
        centre = np.average(means, weights=weights)
        return float(sum(w * (m - centre) ** 2 for m, w in zip(means, weights, strict=True)))

    every = []
    for chosen in itertools.combinations(range(10), 5):
        labels = np.zeros(10, dtype=int)
        labels[list(chosen)] = 1
        every.append(statistic(labels))
    exact = float(np.mean(np.array(every) >= statistic(place) - 1e-9))
    drawn = interaction(gaps[:, None], place, draws=20_000)[0]
    assert drawn == pytest.approx(exact, abs=0.01)


def test_small_slices_are_shown_and_not_tested(make: SimpleNamespace) -> None:
    place = [i < 12 for i in range(400)]
    (table,) = told(study(make, 2, planted=0.3), KINDS, [by_answer("d", "D", ("photographs", "drawings"), place)])["slicings"]
    assert table["slices"][0]["n"] == 388 and table["slices"][1]["few"]
    assert table["pairs"][0]["outcome"] == "too few pictures to tell" and table["pairs"][0]["p"] is None
    assert len(table["pairs"][0]["gaps"]) == 2
    alike = [make.sheet(run, np.ones(400, dtype=bool)) for run in KINDS]
    (table,) = told(alike, KINDS, [cut()])["slicings"]
    assert table["pairs"][0]["outcome"] == "too few pictures to tell"


def test_p_values_are_corrected_over_all_tests(make: SimpleNamespace) -> None:
    sheets = study(make, 3, planted=0.25)
    alone = told(sheets, KINDS, [cut()])["slicings"][0]["pairs"][0]
    random = np.random.default_rng(0)
    noise = [by_quarter(f"n{i}", "N", random.random(400).tolist(), str) for i in range(9)]
    among = told(sheets, KINDS, [cut(), *noise])
    assert among["tests"] == 10
    first = among["slicings"][0]["pairs"][0]
    assert first["p"] == alone["p"] < 0.005 and first["p_holm"] == pytest.approx(10 * alone["p"])


def test_many_tests_get_as_many_draws_as_it_takes(make: SimpleNamespace) -> None:
    sheets = study(make, 2, planted=0.3)
    found = told(sheets, KINDS, [cut(), cut()], draws=10)
    assert found["draws"] == 80
    assert found["slicings"][0]["pairs"][0]["outcome"] == "depends on it"


def test_one_kind_has_slices_and_no_gap(make: SimpleNamespace) -> None:
    (table,) = told(study(make, 1), dict.fromkeys(KINDS, "convolution"), [cut()])["slicings"]
    assert table["pairs"] == [] and len(table["slices"]) == 4


def test_the_gap_of_two_models_has_the_interval_of_their_difference() -> None:
    gaps = np.array([1.0] * 30 + [-1.0] * 12 + [0.0] * 158)
    low, high = gap_interval(gaps)
    assert (low, high) == (pytest.approx(difference_interval(200, 30, 12)[0], abs=0.01), pytest.approx(0.155, abs=0.012))
    assert gap_interval(gaps) == gap_interval(gaps[::-1])
    low, high = gap_interval(np.zeros(50))
    assert low < 0 < high
