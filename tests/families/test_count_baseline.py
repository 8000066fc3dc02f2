"""The floor under everything that counts: the mean, and a regression that validation chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldguide import contract, families
from fieldguide.bench import Bench, read_log
from fieldguide.errors import UsageProblem
from fieldguide.families import count_baseline
from fieldguide.families.count_baseline import Settings
from fieldguide.records import ClassInfo, Example
from fieldguide.tasks.count import Count

TASK = Count((ClassInfo("dot", "dot"), ClassInfo("bar", "bar")))


def picture(dots: int, bars: int, random: np.random.Generator) -> np.ndarray:
    """Return dots in red and bars in blue, each in a cell of its own, on a dim noisy ground."""
    pixels = random.integers(0, 30, (32, 32, 3))
    cells = random.permutation(16)[: dots + bars]
    for at, cell in enumerate(cells):
        y, x = 8 * (cell // 4) + 2, 8 * (cell % 4) + 2
        pixels[y : y + 4, x : x + 4, 0 if at < dots else 2] = 250
    return pixels.astype(np.uint8)


@pytest.fixture(scope="module")
def drawn() -> tuple[list[np.ndarray], list[dict[str, int]]]:
    random = np.random.default_rng(3)
    counts = [(int(random.integers(0, 7)), int(random.integers(0, 4))) for _ in range(90)]
    return [picture(*pair, random) for pair in counts], [{"dot": dots, "bar": bars} for dots, bars in counts]


def examples(held: Callable[[Sequence[Any]], list[Any]], drawn: Any) -> list[Example]:
    pixels, counts = drawn
    return [Example(image, counts=told) for image, told in zip(held(pixels), counts, strict=True)]


def off(fitted: Any, given: Sequence[Example]) -> float:
    answers = list(fitted.predict(example.image for example in given))
    errors = [
        abs(answer.counts[id] - (one.counts or {})[id]) for answer, one in zip(answers, given, strict=True) for id in TASK.ids
    ]
    return float(np.mean(errors))


def fit(given: Sequence[Example], folder: Path, val: Sequence[Example] = (), **settings: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return count_baseline.fit(given, val, TASK, Settings(**settings), Bench(folder))


@pytest.mark.parametrize("which", ["mean", "median"])
def test_a_constant_is_the_rounded_mean_or_median(held: Any, drawn: Any, tmp_path: Path, which: str) -> None:
    given = examples(held, drawn)[:31]
    fitted = fit(given, tmp_path, features=which)
    truth = [[(one.counts or {})[id] for id in TASK.ids] for one in given]
    [answer] = fitted.predict([given[0].image])
    expected = np.floor(getattr(np, which)(truth, axis=0) + 0.5).astype(int)
    assert list((answer.counts or {}).values()) == list(expected) and answer.label is None and answer.error is None


def test_the_commonest_counts_are_those_of_a_whole_picture(held: Any, drawn: Any, tmp_path: Path) -> None:
    images = [example.image for example in examples(held, drawn)[:5]]
    pairs = [(0, 3), (0, 3), (5, 0), (5, 1), (5, 2)]  # five dots are commoner than none, but no such picture is
    given = [Example(image, counts={"dot": a, "bar": b}) for image, (a, b) in zip(images, pairs, strict=True)]
    [answer] = fit(given, tmp_path, features="commonest").predict([images[0]])
    assert answer.counts == {"dot": 0, "bar": 3}


def test_a_regression_sees_what_colour_tells_and_is_nearer_than_the_mean(held: Any, drawn: Any, tmp_path: Path) -> None:
    given = examples(held, drawn)
    train, val, test = given[:50], given[50:65], given[65:]
    floor = off(fit(train, tmp_path / "a", features="mean"), test)
    for features, share in (("colour", 0.6), ("pixels", 0.8)):
        assert off(fit(train, tmp_path / features, val, features=features), test) < share * floor, features
    events = [event for event in read_log(tmp_path / "colour" / "log.jsonl") if event["event"] == "penalty"]
    maes = {event["penalty"]: event["val_mae"] for event in events}
    told = [event for event in read_log(tmp_path / "colour" / "log.jsonl") if event["event"] == "fact"][-1]
    assert len(maes) == 5 and maes[told["penalty"]] == min(maes.values()) < max(maes.values())


def test_shuffled_counts_are_no_nearer_than_the_mean(held: Any, drawn: Any, tmp_path: Path) -> None:
    given = examples(held, drawn)
    counts = [one.counts for one in given]
    np.random.default_rng(0).shuffle(counts)  # type: ignore[arg-type]
    mixed = [Example(one.image, counts=told) for one, told in zip(given, counts, strict=True)]
    floor = off(fit(given[:50], tmp_path / "a", features="mean"), given[65:])
    assert off(fit(mixed[:50], tmp_path / "b", mixed[50:65], features="colour"), given[65:]) > 0.9 * floor


def test_without_validation_the_largest_penalty_and_nothing_below_zero(held: Any, drawn: Any, tmp_path: Path) -> None:
    given = examples(held, drawn)
    fitted = fit(given[:9], tmp_path, features="pixels", penalties=(0.001, 5.0))
    told = [event for event in read_log(tmp_path / "log.jsonl") if event["event"] == "fact"][-1]
    assert told["penalty"] == 5.0
    fitted.bias[:] = -100
    assert {count for answer in fitted.predict([given[0].image]) for count in (answer.counts or {}).values()} == {0}


def test_a_network_that_stays_as_it_is(held: Any, drawn: Any, tmp_path: Path) -> None:
    given = examples(held, drawn)[:20]
    settings: dict[str, Any] = {"features": "test_resnet", "weights": "none", "image_size": 32, "batch_size": 7}
    fitted = fit(given, tmp_path / "scratch", given[:4], **settings)
    (tmp_path / "model").mkdir()
    fitted.save(tmp_path / "model")
    again = count_baseline.load(tmp_path / "model")
    images = [one.image for one in given]
    assert [a.counts for a in again.predict(images)] == [a.counts for a in fitted.predict(images)]
    assert fitted.frozen.preprocessing.squash and fitted.frozen.preprocessing.crop == 1.0  # nothing at the edge is cut off


@pytest.mark.parametrize(
    "words", ["count_baseline/mean:weights=none", "count_baseline/pixels:image_size=500", "count_baseline/pixels:penalties=0"]
)
def test_settings_that_mean_nothing_are_refused(words: str) -> None:
    with pytest.raises(UsageProblem):
        families.parse(words)


def test_an_unknown_network_is_named_with_its_neighbours() -> None:
    with pytest.raises(UsageProblem, match="count_baseline cannot look at 'pixel'") as caught:
        count_baseline.check(Settings(features="pixel"), online=False)
    assert "Did you mean pixels" in caught.value.allowed


def test_the_constants_keep_the_contract() -> None:
    articles = [one for one in contract.ARTICLES if one not in contract.SLOW]
    assert contract.breaches("count_baseline", Settings(features="median"), articles) == []


def test_tasks_are_told() -> None:
    assert families.tasks("count_baseline") == ("count",) and families.tasks("majority") == ("classify",)
