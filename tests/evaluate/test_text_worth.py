"""What a sweep says: intervals that cover what was planted, tests that find it, and a worth that is read off the curve and never beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from fieldguide.evaluate import text_worth
from fieldguide.evaluate.text_ratio import Cell, differences, grouped, interval, summary, two_way
from fieldguide.evaluate.text_worth import LESS, MORE, VALUE, told, worths

CLASSES, STEPS = 10, ((100.0, 30), (50.0, 15), (30.0, 9), (20.0, 6), (10.0, 3))


def accuracy(each: float) -> float:
    """Return the planted accuracy of so many pictures a class."""
    return 0.3 + 0.15 * math.log(each)


def planted(
    seed: int,
    worth: Callable[[int], float] = lambda each: 3.0 if each else 5.0,
    n: int = 500,
    seeds: int = 3,
    spread: float = 0.02,
) -> list[Cell]:
    """Return cells in which texts beside k pictures a class are worth `worth(k)` more, and instead of any (k = 0) as many."""
    random = np.random.default_rng(seed)
    hard = random.normal(size=n)
    cells = []

    def cell(curve: str, image: float, each: int, level: float, at: int) -> Cell:
        right = 0.8 * hard + 0.6 * random.normal(size=n) < norm.ppf(min(level, 0.999))
        source = (None, None) if curve == "pictures" else ("lines", "ridge")
        numbers = (each * CLASSES, 0, CLASSES, each, each)
        return Cell(curve, "balanced", *source, "gda", image, at, right, level, 0.1 if source[0] else None, *numbers)

    for at in range(seeds):
        moved = random.normal(scale=spread)
        for image, each in STEPS:
            cells.append(cell("pictures", image, each, accuracy(each) + moved, at))
            cells.append(cell("weighted", image, each, accuracy(each + worth(each)) + moved, at))
        cells.append(cell("weighted", 0.0, 0, accuracy(worth(0)) + moved if worth(0) else 0.1, at))
    return cells


def test_intervals_cover_what_was_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_worth, "RESAMPLES", 200)
    inside: dict[str, list[bool]] = {"mean": [], "difference": [], "beside": [], "alone": []}
    for seed in range(40):
        groups = grouped(planted(seed))
        inside["mean"] += [
            one["low"] <= accuracy(9) <= one["high"]
            for one in summary(groups)
            if (one["curve"], one["image"]) == ("pictures", 30)
        ]
        gain = accuracy(6) - accuracy(3)
        inside["difference"] += [one["low"] <= gain <= one["high"] for one in differences(groups) if one["image"] == 10]
        for one in worths(groups, CLASSES):
            if one["image"] in (0, 10):
                high = math.inf if one["high"] is None else one["high"]
                inside["beside" if one["image"] else "alone"].append(one["low"] <= (3 if one["image"] else 5) <= high)
    assert {name: len(those) for name, those in inside.items()} == dict.fromkeys(inside, 40)
    assert min(float(np.mean(those)) for those in inside.values()) >= 0.88, {k: np.mean(v) for k, v in inside.items()}


def test_a_planted_worth_is_found_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_worth, "RESAMPLES", 200)
    result = told(planted(1, n=10_000, spread=0.005), CLASSES)
    worth = {one["image"]: one for one in result["worth"]}
    assert set(worth) == {0, 10, 20, 30, 50}, "beside all pictures there is nothing to compare with"
    for image in (0, 10, 20, 30):
        assert worth[image]["value"] == pytest.approx(3 if image else 5, abs=1) and worth[image]["state"] == VALUE
        assert worth[image]["high"] - worth[image]["low"] < 6
    assert result["headline"] == worth[10]["sentence"]
    value, low, high = (f"{worth[10][name]:.1f}".removesuffix(".0") for name in ("value", "low", "high"))
    said = f"Beside 3 pictures a class, your descriptions (lines, through ridge) are worth {value} more pictures a class [{low} to {high}]."
    assert worth[10]["sentence"] == said


def test_worth_is_never_drawn_beyond_what_was_measured() -> None:
    more = {one["image"]: one for one in told(planted(2, lambda each: 60.0), CLASSES)["worth"]}
    assert {one["state"] for one in more.values()} == {MORE}
    assert more[10]["value"] is None and more[10]["high"] is None
    assert "more than the 27 further ones that there are" in more[10]["sentence"]
    assert "more than 30 pictures a class, all that there are" in more[0]["sentence"]
    less = {one["image"]: one for one in told(planted(3, lambda each: 0.0), CLASSES)["worth"]}
    assert less[0]["state"] == LESS and less[0]["sentence"].endswith(
        "less than 3 pictures a class, the fewest that were measured."
    )
    assert (less[0]["low"], less[0]["high"]) == (0.0, 3.0)
    assert less[10]["low"] == 0.0


def test_texts_that_were_dropped_everywhere_are_worth_nothing_and_differ_in_nothing() -> None:
    cells = [cell for cell in planted(4) if cell.curve == "pictures"]
    same = [
        Cell(**{**vars(cell), "curve": "weighted", "source": "s", "translator": "identity", "weight": 0.0}) for cell in cells
    ]
    result = told([*cells, *same], CLASSES)
    assert {one["state"] for one in result["worth"]} == {LESS}
    assert "no further picture [0 to 0]" in result["headline"]
    assert all(one["p_adjusted"] == 1 and one["low"] <= 0 <= one["high"] for one in result["differences"])


def test_holm_corrects_the_shares_of_a_curve_and_finds_what_is_there() -> None:
    found = {one["image"]: one for one in differences(grouped(planted(5, n=3000)))}
    assert found[10.0]["p_adjusted"] < 0.01 and found[10.0]["low"] > 0
    assert all(one["p_adjusted"] >= one["p"] for one in found.values())
    chance = [one["p"] for seed in range(30) for one in differences(grouped(planted(seed, lambda each: 0.0, n=300)))]
    assert np.mean(np.array(chance) < 0.05) < 0.1


def test_one_seed_gives_wilson_and_nearly_mcnemar() -> None:
    right = np.random.default_rng(0).random((1, 400)) < 0.9
    mean, low, high = interval(right.astype(float))
    exact = binomtest(int(right.sum()), 400).proportion_ci(method="wilson")
    assert (low, high) == (pytest.approx(exact.low, abs=2e-3), pytest.approx(exact.high, abs=2e-3))
    assert interval(np.ones((3, 50)))[1] == pytest.approx(binomtest(50, 50).proportion_ci(method="wilson").low, abs=5e-3)
    assert interval(np.zeros((2, 50)))[2] < 0.09
    mean, variance, _ = two_way(np.array([[1.0, 0.0, 1.0, 1.0]]))
    assert (mean, variance) == (0.75, pytest.approx(0.75 / 3 / 4))


def test_seeds_widen_an_interval() -> None:
    narrow, wide = (
        interval(np.array([cell.right for cell in planted(6, n=4000, spread=spread)[::11]], float)) for spread in (0, 0.08)
    )
    assert wide[2] - wide[1] > 2 * (narrow[2] - narrow[1])
