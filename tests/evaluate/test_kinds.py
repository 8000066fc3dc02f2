"""Kinds against each other: models are the sample, pictures are the sample, and what holds class by class."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from fieldguide.evaluate import kinds
from fieldguide.evaluate.answers import AnswerSheet


def scored(run: str, correct: int) -> dict[str, Any]:
    """Return what validation says of a run."""
    return {"run": run, "parts": {"val": {"correct": correct, "metrics": {"macro_f1": {"value": 0.5}}}}}


def drawn(
    make: SimpleNamespace, shares: dict[str, float], pictures: int = 400, classes: int = 4, seed: int = 0
) -> list[AnswerSheet]:
    """Return sheets that are right at random with these shares."""
    random = np.random.default_rng(seed)
    return [make.sheet(run, random.random(pictures) < share, classes) for run, share in shares.items()]


@pytest.mark.parametrize(
    ("family", "facts", "kind"),
    [
        ("backbone", {"kind": "attention"}, "attention"),
        ("backbone", {}, "backbone"),
        ("vmamba", {}, "state space"),
        ("majority", {}, "floor"),
        ("linear", {}, "floor"),
        ("linear", {"weights": "hub"}, "features"),
        ("linear", {"kind": "floor", "weights": "hub"}, "floor"),
        ("somebody's own", {}, "somebody's own"),
    ],
)
def test_a_kind_is_told_by_the_fit_and_else_by_the_family(family: str, facts: dict[str, str], kind: str) -> None:
    assert kinds.kind_of(family, facts) == kind
    assert all(kinds.names_of(kind))


@pytest.mark.parametrize("sizes", [(3, 3), (2, 5), (4, 6)])
def test_the_test_over_models_goes_through_every_arrangement(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(sum(sizes))
    a, b = (random.integers(60, 70, size=size).tolist() for size in sizes)
    p, least = kinds.over_models(a, b)
    every = [*a, *b]
    ways = list(itertools.combinations(range(len(every)), len(a)))

    def difference(chosen: tuple[int, ...]) -> float:
        return np.mean([every[i] for i in chosen]) - np.mean([v for i, v in enumerate(every) if i not in chosen])

    differences = np.array([difference(chosen) for chosen in ways])
    observed = np.mean(a) - np.mean(b)
    tails = (differences >= observed - 1e-9).mean(), (differences <= observed + 1e-9).mean()
    assert p == pytest.approx(min(1, 2 * min(tails)))
    assert least == pytest.approx(2 / len(ways))
    scipy = permutation_test((a, b), lambda x, y: np.mean(x) - np.mean(y), n_resamples=np.inf)
    assert p == pytest.approx(scipy.pvalue)


def test_few_models_have_a_smallest_p() -> None:
    assert kinds.over_models([9, 9, 9], [1, 1, 1])[1] == pytest.approx(0.1)
    assert kinds.over_models([9, 8, 7], [1, 2, 3]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert kinds.over_models([9], [1]) == (1.0, 1.0)
    assert kinds.over_models([20], range(19)) == (pytest.approx(0.1), pytest.approx(0.1))


def test_many_models_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = [70, 72, 75, 71, 74], [69, 68, 71, 70, 73]
    exact = kinds.over_models(a, b)[0]
    monkeypatch.setattr(kinds, "_MOST_ARRANGEMENTS", 200)
    assert kinds.over_models(a, b)[0] == pytest.approx(exact, abs=0.06)


def test_groups_stand_best_first_and_the_floor_last(make: SimpleNamespace) -> None:
    sheets = drawn(make, {"cnn-b": 0.8, "floor": 0.95, "vit": 0.9, "cnn-a": 0.7})
    of_runs = {"cnn-a": "convolution", "cnn-b": "convolution", "vit": "attention", "floor": "floor"}
    groups = kinds.grouped(sheets, of_runs)
    assert [group.kind for group in groups] == ["attention", "convolution", "floor"]
    assert [sheet.run for sheet in groups[1].sheets] == ["cnn-b", "cnn-a"]
    assert [(a.kind, b.kind) for a, b in kinds.couples(groups)] == [("attention", "convolution")]


def test_three_against_three_never_differ_for_certain(make: SimpleNamespace) -> None:
    shares = {f"a{i}": 0.95 for i in range(3)} | {f"b{i}": 0.6 for i in range(3)}
    sheets = drawn(make, shares)
    found = kinds.told(sheets, {run: run[0] for run in shares}, [])
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"], pair["n_a"], pair["n_b"]) == ("a", "b", 3, 3)
    assert pair["outcome"] == "too few models to tell" and pair["p"] == pytest.approx(0.1)
    assert pair["low"] > 0.25, "these very models differ all the same"
    assert 0.3 < pair["without_least"] <= pair["difference"] <= pair["without_most"] < 0.42


def test_eight_against_six_can_differ(make: SimpleNamespace) -> None:
    shares = {f"a{i}": 0.95 for i in range(8)} | {f"b{i}": 0.6 for i in range(6)}
    sheets = drawn(make, shares)
    of_runs = {run: run[0] for run in shares}
    assert kinds.told(sheets, of_runs, [])["pairs"][0]["outcome"] == "a better"
    random = np.random.default_rng(3)
    turned = dict(zip(shares, random.permutation(list(of_runs.values())), strict=True))
    (pair,) = kinds.told(sheets, turned, [])["pairs"]
    assert pair["outcome"] == "not distinguishable" and pair["p"] > 0.05


def test_a_difference_over_models_is_rarely_found_where_there_is_none(make: SimpleNamespace) -> None:
    random, found = np.random.default_rng(1), 0
    for _ in range(300):
        accuracies = random.integers(700, 780, size=11).tolist()
        found += kinds.over_models(accuracies[:8], accuracies[8:])[0] <= 0.05
    assert 3 <= found <= 25


def _two(make: SimpleNamespace, better: int, worse: int, pictures: int = 400, classes: int = 8) -> list[AnswerSheet]:
    """Return a and b, which differ on class 0 alone: `better` pictures only a has right, `worse` only b."""
    one, other = np.ones(pictures, dtype=bool), np.ones(pictures, dtype=bool)
    places = np.flatnonzero(np.arange(pictures) % classes == 0)
    other[places[:better]] = False
    one[places[better : better + worse]] = False
    return [make.sheet("a", one, classes), make.sheet("b", other, classes)]


def test_a_class_needs_ten_pictures_that_tell(make: SimpleNamespace) -> None:
    found = kinds.told(_two(make, 9, 0), {"a": "x", "b": "y"}, [])["by_class"]
    assert (found["tested"], found["few"], found["tests"]) == (0, 8, [])
    found = kinds.told(_two(make, 15, 1), {"a": "x", "b": "y"}, [])["by_class"]
    (test,) = found["tests"]
    assert (found["tested"], found["few"]) == (1, 7)
    assert (test["class"], test["a"], test["only_a"], test["only_b"], test["holds"]) == ("c0", "x", 15, 1, True)
    assert test["p"] == pytest.approx(binomtest(1, 16).pvalue)


def test_validation_chooses_who_stands_for_a_kind(make: SimpleNamespace) -> None:
    sheets = drawn(make, {"cnn-a": 0.9, "cnn-b": 0.5, "vit": 0.9})
    of_runs = {"cnn-a": "convolution", "cnn-b": "convolution", "vit": "attention"}
    found = kinds.told(sheets, of_runs, [scored("cnn-a", 3), scored("cnn-b", 7), scored("vit", 9)])
    assert {kind["kind"]: kind["representative"] for kind in found["kinds"]} == {"convolution": "cnn-b", "attention": "vit"}
    assert found["by_class"]["tested"] == 4 and all(test["holds"] for test in found["by_class"]["tests"])
    unchosen = kinds.told(sheets, of_runs, [{"run": run, "parts": {"val": None}} for run in of_runs])
    assert "no validation pictures" in unchosen["by_class"]["why"] and unchosen["by_class"]["tests"] == []


def test_one_kind_is_shown_and_not_compared(make: SimpleNamespace) -> None:
    found = kinds.told(drawn(make, {"a": 0.9, "b": 0.5}), {"a": "x", "b": "floor"}, [])
    assert found["pairs"] == [] and "not two kinds" in found["by_class"]["why"]
    first = found["classes"][0]
    assert set(first["kinds"]) == {"x", "floor"} and first["n"] == 100


def test_recalls_are_those_of_the_members(make: SimpleNamespace) -> None:
    sheets = drawn(make, {"a": 0.9, "b": 0.5, "c": 0.2})
    found = kinds.told(sheets, {"a": "x", "b": "x", "c": "y"}, [])
    for at, entry in enumerate(found["classes"]):
        recalls = [float(sheet.right[sheet.truth == at].mean()) for sheet in sheets]
        assert entry["kinds"]["x"] == {
            "mean": pytest.approx(np.mean(recalls[:2])),
            "least": min(recalls[:2]),
            "most": max(recalls[:2]),
        }
        assert entry["kinds"]["y"]["mean"] == recalls[2]


def test_on_pictures_without_a_difference_hardly_a_study_has_a_finding(make: SimpleNamespace) -> None:
    studies = 0
    for seed in range(100):
        sheets = drawn(make, {"a": 0.7, "b": 0.7, "c": 0.7}, pictures=1200, classes=20, seed=seed)
        found = kinds.told(sheets, {"a": "x", "b": "y", "c": "z"}, [])["by_class"]
        assert found["tested"] > 40
        studies += any(test["holds"] for test in found["tests"])
    assert studies <= 10


def test_of_what_is_found_one_in_twenty_is_false(make: SimpleNamespace) -> None:
    true, false = 0, 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        truth = np.arange(1600) % 20
        one = random.random(1600) < 0.7
        other = random.random(1600) < np.where(truth < 6, 0.3, 0.7)  # 6 of 20 classes really differ
        found = kinds.told([make.sheet("a", one, 20), make.sheet("b", other, 20)], {"a": "x", "b": "y"}, [])["by_class"]
        held = [int(test["class"][1:]) for test in found["tests"] if test["holds"]]
        true += sum(place < 6 for place in held)
        false += sum(place >= 6 for place in held)
    assert true > 180 and false / (true + false) < 0.05
