"""The score card on planted geometry: each measure says what was built in, and not what was not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.spatial.distance import pdist
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel

from fieldguide.evaluate import distances
from fieldguide.evaluate.resampling import draws
from fieldguide.evaluate.translation import MEASURES, Real, Spoken, card, guessed, halves, hit, permuted

Array = NDArray[np.float64]
CLASSES, EACH, WIDTH = 12, 16, 24


class World:
    """Pictures around a mean far from zero: what a class shares, what a picture has of its own that a text tells, and what no text tells."""

    def __init__(self, seed: int = 0) -> None:
        random = self.random = np.random.default_rng(seed)
        self.mean = np.zeros(WIDTH)
        self.mean[0] = 4.0
        self.prototypes = random.normal(0, 1.0, (CLASSES, WIDTH))
        self.train_classes = np.repeat(np.arange(CLASSES), 30)
        self.classes = np.repeat(np.arange(CLASSES), EACH)
        self.train = self._pictures(self.train_classes)[1]
        self.told, self.pictures = self._pictures(self.classes)

    def _pictures(self, classes: NDArray[np.int64]) -> tuple[Array, Array]:
        told = self.mean + self.prototypes[classes] + self.random.normal(0, 0.7, (len(classes), WIDTH))
        return told, told + self.random.normal(0, 0.4, told.shape)

    def rows(self, target: Any = "picture", **translations: Array) -> dict[str, dict[str, Any]]:
        spoken = [
            Spoken(name, "direct" if name == "untranslated" else "translator", rows, rows, self.classes)
            for name, rows in translations.items()
        ]
        found = card(spoken, Real(self.pictures, self.classes), Real(self.train, self.train_classes), target=target, seed=1)
        return {str(row["name"]): row for row in found}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def turned(world: World) -> Array:
    """What a text encoder of its own space says: the told part under a rotation, shifted."""
    random = np.random.default_rng(5)
    rotation = np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0]
    return (world.told - world.mean) @ rotation + np.eye(WIDTH)[1] * 6.0


@pytest.fixture(scope="module")
def told(world: World, turned: Array) -> dict[str, dict[str, Any]]:
    shift = turned - turned.mean(axis=0) + world.pictures.mean(axis=0)
    shrunk = world.mean + 0.5 * (world.told - world.mean)
    return world.rows(
        perfect=world.pictures,
        good=world.told,
        ridge=shrunk,
        shift=shift,
        untranslated=turned,
        constant=np.tile(world.pictures.mean(axis=0), (len(world.classes), 1)),
    )


def value(rows: dict[str, dict[str, Any]], name: str, measure: str) -> float:
    found = rows[name][measure]["value"]
    assert found is not None, rows[name][measure]
    return float(found)


def test_a_perfect_translator_is_perfect(told: dict[str, dict[str, Any]]) -> None:
    perfect = {"gap": 0, "r2": 1, "variance_ratio": 1, "mmd": 0, "frechet": 0, "auc": 0.5, "class_accuracy": 1}
    perfect |= {"text_to_image_1": 1, "image_to_text_1": 1, "text_to_image_10": 1}
    for measure, wanted in perfect.items():
        assert value(told, "perfect", measure) == pytest.approx(wanted, abs=1e-6), measure


def test_a_shift_closes_the_gap_and_nothing_else(told: dict[str, dict[str, Any]]) -> None:
    assert value(told, "untranslated", "gap") > 0.8
    assert value(told, "shift", "gap") < 0.25
    for measure in ("text_to_image_1", "image_to_text_5"):
        assert value(told, "shift", measure) == pytest.approx(value(told, "untranslated", measure), abs=0.05)
        assert value(told, "shift", measure) < 0.2
    assert value(told, "shift", "class_accuracy") <= 0.34
    assert value(told, "shift", "r2") < 0


def test_shrinkage_shows_in_the_variance_and_not_in_the_ranking(told: dict[str, dict[str, Any]]) -> None:
    assert value(told, "ridge", "variance_ratio") < 0.3
    assert told["ridge"]["variance_ratio"]["high"] < 0.4
    assert value(told, "good", "variance_ratio") == pytest.approx(0.9, abs=0.1)
    assert value(told, "ridge", "text_to_image_1") == pytest.approx(value(told, "good", "text_to_image_1"), abs=0.1)
    assert value(told, "ridge", "text_to_image_1") > 0.8
    assert value(told, "ridge", "frechet") > 3 * value(told, "good", "frechet")
    assert value(told, "good", "r2") > value(told, "ridge", "r2") > 0.3


def test_one_answer_for_all_is_chance(told: dict[str, dict[str, Any]]) -> None:
    constant = told["constant"]
    assert value(told, "constant", "variance_ratio") == pytest.approx(0) and value(told, "constant", "effective_rank") == 0
    assert value(told, "constant", "gap") < 0.5 * value(told, "untranslated", "gap"), "closing the gap needs no knowledge"
    for measure in (*(f"{way}_{k}" for way in ("text_to_image", "image_to_text") for k in (1, 5, 10)), "class_accuracy"):
        assert constant[measure]["value"] == pytest.approx(constant[measure]["chance"], abs=1e-9), measure
    assert value(told, "constant", "zero_shot") < 0.2
    assert value(told, "constant", "r2") == pytest.approx(0, abs=0.05)
    assert value(told, "constant", "auc") < 0.6, (
        "one answer at the mean escapes a linear classifier; kernel and variance see it"
    )
    assert value(told, "constant", "mmd") > 2 * constant["mmd"]["chance"]
    assert value(told, "untranslated", "auc") > 0.99
    assert value(told, "constant", "cosine") == pytest.approx(0, abs=0.02)


def test_floor_and_ceiling_stand_where_they_should(told: dict[str, dict[str, Any]]) -> None:
    (floor,) = [row for row in told.values() if row["role"] == "floor"]
    assert floor["name"] == "ridge, classes permuted"
    assert floor["class_accuracy"]["value"] == 0 and floor["zero_shot"]["value"] < 0.1
    assert floor["r2"]["value"] < 0 and floor["cosine"]["value"] < 0.01
    ceiling = told["real pictures"]
    assert ceiling["class_accuracy"]["value"] == 1 and ceiling["zero_shot"]["value"] > 0.9
    assert ceiling["variance_ratio"]["value"] == pytest.approx(1, abs=0.15)
    assert abs(ceiling["auc"]["value"] - 0.5) < 0.1
    assert ceiling["mmd"]["value"] < ceiling["mmd"]["chance"] * 1.5
    assert "not the picture" in ceiling["text_to_image_1"]["why"] and ceiling["text_to_image_1"]["value"] is None
    for name in ("shift", "untranslated", "constant"):
        assert told[name]["mmd"]["value"] > told[name]["mmd"]["chance"]


def test_the_direct_bar_is_paired_and_corrected(told: dict[str, dict[str, Any]]) -> None:
    bar = told["good"]["bar"]
    assert bar["difference"] == pytest.approx(value(told, "good", "zero_shot") - value(told, "untranslated", "zero_shot"))
    assert bar["low"] > 0.5 and bar["p_adjusted"] < 0.001 and bar["p_adjusted"] >= bar["p"]
    assert "bar" not in told["untranslated"] and "bar" not in told["real pictures"]
    assert told["constant"]["bar"]["low"] < 0.2


def test_every_measure_has_a_value_or_a_reason(told: dict[str, dict[str, Any]]) -> None:
    for name, row in told.items():
        for measure in MEASURES:
            found = row[measure]
            assert (found["value"] is None) <= bool(found["why"]), (name, measure)
            assert (found["low"] is None) <= bool(found["why"]), (name, measure)
            if found["low"] is not None:
                assert found["low"] <= found["value"] <= found["high"], (name, measure)


def test_lines_of_a_class_are_right_for_all_of_its_pictures(world: World) -> None:
    lines = world.mean + world.prototypes[world.classes]
    rows = world.rows("class", lines=lines, shuffled=world.random.permutation(lines))
    assert value(rows, "lines", "text_to_image_1") > 0.9
    assert rows["lines"]["text_to_image_1"]["chance"] == pytest.approx(1 / CLASSES)
    assert value(rows, "shuffled", "text_to_image_1") < 0.35
    assert rows["real pictures"]["text_to_image_1"]["value"] > 0.8, "another picture of the class is the ceiling"
    assert value(rows, "lines", "zero_shot") > 0.95


def test_too_few_pairs_are_said(world: World) -> None:
    few = np.arange(0, len(world.classes), EACH)
    held = Real(world.pictures[few], world.classes[few])
    said = Spoken("good", "translator", held.pictures, held.pictures, held.classes)
    rows = card([said], held, Real(world.train, world.train_classes), "class", 0)
    assert {row["role"] for row in rows} == {"translator", "ceiling", "floor"}
    for row in rows:
        assert all(row[measure]["value"] is None and "held-out pairs" in row[measure]["why"] for measure in MEASURES)


def test_few_classes_have_no_interval(world: World) -> None:
    some = world.classes < 4
    held = Real(world.pictures[some], world.classes[some])
    said = Spoken("good", "translator", world.told[some], world.told[some], held.classes)
    (row, *_) = card([said], held, Real(world.train, world.train_classes), "class", 0)
    for measure in ("gap", "cosine", "r2", "line_accuracy", "auc"):
        assert row[measure]["value"] is not None and row[measure]["low"] is None and "too few" in row[measure]["why"]
    assert row["class_accuracy"]["low"] is not None


def test_halves_are_disjoint_and_of_the_same_classes() -> None:
    classes = np.array([0] * 5 + [1] + [2] * 4)
    first, second = halves(classes, 3)
    assert not set(first) & set(second)
    assert classes[first].tolist() == classes[second].tolist()
    assert sorted(classes[first].tolist()) == [0, 0, 2, 2]
    assert [a.tolist() for a in halves(classes, 3)] == [first.tolist(), second.tolist()]


def test_permuted_texts_are_of_another_class() -> None:
    classes = np.repeat(np.arange(5), 3)
    rows = classes[:, None] * np.ones((1, 2))
    moved = permuted(Spoken("x", "translator", rows, rows, classes), classes, 0)
    assert (moved.pairs[:, 0] != classes).all() and (moved.of != classes).all()
    assert sorted(np.unique(moved.pairs[:, 0]).tolist()) == [0, 1, 2, 3, 4]
    assert {len(set(moved.pairs[classes == name, 0])) for name in range(5)} == {1}
    pairs = {(a, b) for a, b in zip(moved.of.tolist(), moved.lines[:, 0].tolist(), strict=True)}
    assert pairs == {(a, b) for a, b in zip(classes.tolist(), moved.pairs[:, 0].tolist(), strict=True)}


def test_guessing_and_ties() -> None:
    assert guessed(np.array([9]), np.array([1]), 1)[0] == pytest.approx(0.1)
    assert guessed(np.array([8]), np.array([2]), 5)[0] == pytest.approx(1 - (8 * 7 * 6 * 5 * 4) / (10 * 9 * 8 * 7 * 6))
    assert guessed(np.array([2, 3]), np.array([1, 0]), 3).tolist() == [1.0, 0.0]
    scores = np.array([[3.0, 2.0, 2.0, 1.0]])
    right = np.array([[False, True, False, False]])
    assert [hit(scores, right, k)[0] for k in (1, 2, 3)] == pytest.approx([0.0, 0.5, 1.0])


def test_distances_are_those_of_the_textbook() -> None:
    random = np.random.default_rng(2)
    one, two = random.normal(0, 1, (300, 6)), random.normal(0.3, 2, (300, 6))
    a, b = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    wanted = ((one.mean(0) - two.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert distances.frechet(one, two, np.eye(6)) == pytest.approx(wanted, rel=1e-8)
    assert distances.effective_rank(random.normal(size=(4000, 6))) == pytest.approx(6, abs=0.02)
    assert distances.effective_rank(random.normal(size=(50, 1)) @ np.ones((1, 6))) == pytest.approx(1)
    above, floor = distances.mmd(one, two)
    assert above > 5 * floor
    width = np.median(pdist(np.concatenate([one, two]), "sqeuclidean"))
    within, across = (rbf_kernel(a, b, gamma=1 / width) for a, b in ((one, one), (one, two)))
    beyond = rbf_kernel(two, two, gamma=1 / width)
    off = ~np.eye(300, dtype=bool)
    assert above == pytest.approx(within[off].mean() + beyond[off].mean() - 2 * across[off].mean(), rel=1e-6)
    nothing, floor = distances.mmd(one, random.normal(0, 1, (300, 6)))
    assert abs(nothing) < 2 * floor


def test_the_area_is_that_of_scikit_learn_and_half_without_a_difference() -> None:
    random = np.random.default_rng(3)
    one, two = random.normal(0, 1, (200, 5)), random.normal(0, 1, (200, 5)) + np.eye(5)[0] * 1.2
    placed = distances.placements(one, two)
    assert placed is not None
    assert placed[0].mean() == pytest.approx(placed[1].mean(), abs=0.01)
    ideal = roc_auc_score(np.repeat([1, 0], 200), -np.concatenate([one[:, 0], two[:, 0]]))
    assert placed[0].mean() == pytest.approx(ideal, abs=0.04)
    same = distances.placements(one, one)
    assert same is not None and same[0].mean() == pytest.approx(0.5)
    assert distances.placements(one[:9], two[:9]) is None
    classes = np.repeat(random.normal(0, 3, (10, 5)), 20, axis=0)  # pictures around ten centres, and one answer in the middle
    middle = distances.placements(np.tile(classes.mean(axis=0), (200, 1)), classes + one)
    assert middle is not None and middle[0].mean() == pytest.approx(0.5, abs=0.1)


def test_groups_are_drawn_together() -> None:
    values = np.repeat(np.random.default_rng(4).normal(size=20), 10)
    alone, together = draws(np.arange(200)), draws(np.repeat(np.arange(20), 10))
    narrow, wide = alone.mean(values), together.mean(values)
    assert narrow and wide and wide[1] - wide[0] > 2.5 * (narrow[1] - narrow[0])
    assert draws(np.zeros(9, np.int64)).mean(np.ones(9)) is None
