"""How far seeds lie apart, and what that says of neighbours."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from fieldguide.evaluate.metrics import score_run
from fieldguide.evaluate.seeds import spread, told, with_seeds
from fieldguide.records import Manifest, ManifestRow, Prediction


@pytest.fixture
def manifest() -> Manifest:
    from fieldguide.data.tables import freeze

    labels = {"test": ["cat", "dog"] * 5, "val": ["cat", "dog"]}
    rows = [
        ManifestRow(f"{split}{at}", f"{split}/{at}", label, split) for split in labels for at, label in enumerate(labels[split])
    ]  # type: ignore[arg-type]
    return freeze(rows, ["cat", "dog"], 42)


def answers(manifest: Manifest, right: int, val: int = 2) -> list[Prediction]:
    """Return answers of which the first `right` test pictures, and the first `val` of validation, are right."""
    other = {"cat": "dog", "dog": "cat"}
    lines = []
    for split, good in (("test", right), ("val", val)):
        rows = manifest.part(split)  # type: ignore[arg-type]
        lines += [Prediction(row.key, row.label if at < good else other[row.label]) for at, row in enumerate(rows)]
    return lines


def scored(run: str, *accuracies: float) -> dict[str, Any]:
    parts = {"test": {"metrics": {"accuracy": {"value": accuracies[0]}}}}
    lines = [{"seed": at, "accuracy": value} for at, value in enumerate(accuracies)]
    more = {"seeds": lines, "spread": spread(accuracies)} if len(accuracies) > 1 else {}
    return {"run": run, "parts": parts, **more}


def neighbours(*runs: dict[str, Any], by_chance: dict[str, bool] | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told(runs, [run["run"] for run in runs], by_chance or {})["seeds"]["neighbours"]
    return found


def test_every_seed_is_scored_on_the_same_pictures(manifest: Manifest) -> None:
    own = score_run("net", answers(manifest, 8), manifest)
    full = with_seeds(own, 42, {43: answers(manifest, 6, val=1), 44: answers(manifest, 7)}, manifest)
    assert [(line["seed"], line["accuracy"], line["val_accuracy"]) for line in full["seeds"]] == [
        (42, 0.8, 1.0),
        (43, 0.6, 0.5),
        (44, 0.7, 1.0),
    ]
    assert full["parts"] == own["parts"]
    assert full["spread"] == pytest.approx({"n": 3, "mean": 0.7, "sd": 0.1, "min": 0.6, "max": 0.8})
    assert full["seeds"][0]["macro_f1"] == own["parts"]["test"]["metrics"]["macro_f1"]["value"]


def test_a_picture_that_one_seed_did_not_answer_is_wrong_for_it(manifest: Manifest) -> None:
    own = score_run("net", answers(manifest, 8), manifest)
    line = with_seeds(own, 42, {43: answers(manifest, 10)[1:]}, manifest)["seeds"][1]
    assert (line["accuracy"], line["failed"]) == (0.9, 1)


def test_one_seed_changes_nothing(manifest: Manifest) -> None:
    own = score_run("net", answers(manifest, 8), manifest)
    assert with_seeds(own, 42, {}, manifest) == own
    assert told([own], ["net"], {"net": True}) == {}


def test_the_deviation_is_that_of_a_sample() -> None:
    values = [0.5, 0.6, 0.9, 0.7]
    assert spread(values)["sd"] == pytest.approx(statistics.stdev(values))
    assert spread(values)["sd"] > statistics.pstdev(values)


def test_neighbours_that_no_seed_swaps() -> None:
    (pair,) = neighbours(scored("a", 0.9, 0.85), scored("b", 0.8, 0.84, 0.7))
    assert (pair["outcome"], pair["pairings"], pair["swapped"], pair["level"]) == ("apart", 6, 0, 0)
    assert pair["gap"] == pytest.approx(0.1)
    assert pair["sentence"] == (
        "a 85.0 to 90.0 % over 2 seeds, b 70.0 to 84.0 % over 3 seeds. "
        "a is ahead in each of 6 pairings: no seed that was tried swaps them."
    )


def test_neighbours_whose_seeds_overlap() -> None:
    (pair,) = neighbours(scored("a", 0.9, 0.8), scored("b", 0.85, 0.8))
    assert (pair["outcome"], pair["pairings"], pair["swapped"], pair["level"]) == ("overlap", 4, 1, 1)
    assert "b comes out above a in 1, level in 1. Which of the two stands first depends on the seed." in pair["sentence"]
    (pair,) = neighbours(scored("a", 0.9, 0.8), scored("b", 0.7, 0.8))
    assert (pair["outcome"], pair["swapped"], pair["level"]) == ("overlap", 0, 1)
    assert "Another seed can bring them level." in pair["sentence"]


def test_without_chance_one_result_is_all_there_is() -> None:
    runs = scored("net", 0.9, 0.7), scored("linear", 0.8)
    (pair,) = neighbours(*runs, by_chance={"linear": False, "net": True})
    assert (pair["outcome"], pair["pairings"], pair["swapped"]) == ("overlap", 2, 1)
    assert "linear 80.0 % (the same at any seed)" in pair["sentence"]
    for unknown in ({}, {"linear": True}):
        (pair,) = neighbours(*runs, by_chance=unknown)
        assert (pair["outcome"], pair["pairings"]) == ("not known", 0)
        assert "linear was fitted with one seed" in pair["sentence"]


def test_only_neighbours_that_seeds_say_something_of_are_told() -> None:
    runs = scored("a", 0.9), scored("b", 0.8), scored("c", 0.7, 0.6)
    pairs = neighbours(*runs, by_chance={"a": False, "b": False, "c": True})
    assert [(pair["a"], pair["b"]) for pair in pairs] == [("b", "c")]
