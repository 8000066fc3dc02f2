"""Would more pictures help: which runs are compared, what the sentence says, and that it says no more than was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.fractions import Point, growth, per_doubling
from fieldguide.evaluate.metrics import accuracy_of
from fieldguide.evaluate.seeds import spread

N = 200


def point(name: str, fraction: float, right: int | Sequence[int], pictures: int | None = None, **more: Any) -> Point:
    """Return a run that has the first `right` of 200 pictures right, or those listed."""
    hits = np.zeros(N, dtype=bool)
    hits[np.arange(right) if isinstance(right, int) else list(right)] = True
    truth = np.zeros(N, dtype=np.int64)
    run = name if fraction == 1 else f"{name}@{100 * fraction:g}"
    sheet = AnswerSheet(run, tuple(map(str, range(N))), truth, np.where(hits, 0, 1), None, (None,) * N, ("a", "b"))
    accuracy = accuracy_of(sheet)
    shown = {"value": accuracy.value, "low": accuracy.low, "high": accuracy.high, "n": N}
    scored = {"parts": {"test": {"metrics": {"accuracy": shown}, "failed": 0}}, **more}
    return Point(name, fraction, round(1000 * fraction) if pictures is None else pictures, sheet, scored)


def told(*points: Point) -> dict[str, Any]:
    (line,) = growth(points, 0.05)["fractions"]
    return dict(line)


def test_nothing_is_told_where_all_had_all_pictures() -> None:
    assert growth([point("net", 1.0, 100), point("other", 1.0, 120)], 0.05) == {}


def test_a_gain_that_is_real() -> None:
    line = told(point("net", 1.0, 160), point("net", 0.5, 130), point("net", 0.25, 100))
    assert line["pair"]["p"] == pytest.approx(binomtest(30, 30).pvalue)
    assert (line["pair"]["a"], line["pair"]["b"], line["pair"]["outcome"]) == ("net", "net@50", "a better")
    assert (line["pair"]["pictures_b"], line["pair"]["pictures_a"]) == (500, 1000)
    low, high = line["pair"]["low"], line["pair"]["high"]
    assert 0 < low < 0.15 < high
    assert line["sentence"] == (
        f"From 500 to 1,000 training pictures net gained 15.0 points [{100 * low:.1f}-{100 * high:.1f}] (p < 0.001): "
        "more pictures would probably help. Between 250 and 1,000 pictures, each doubling came with +15.0 points on average."
    )
    assert [entry["pictures"] for entry in line["points"]] == [250, 500, 1000]
    assert [entry["correct"] for entry in line["points"]] == [100, 130, 160]


def test_no_difference() -> None:
    sentence = told(point("net", 1.0, [*range(100), *range(110, 120)]), point("net", 0.5, 110))["sentence"]
    assert sentence.startswith("From 500 to 1,000 training pictures no difference could be shown for net: 0.0 points [-")
    assert "p = 1" in sentence
    assert "help" not in sentence


def test_an_early_gain_is_no_promise() -> None:
    sentence = told(point("net", 1.0, 110), point("net", 0.5, 110), point("net", 0.25, 50))["sentence"]
    assert "no difference could be shown" in sentence
    assert sentence.endswith("each doubling came with +15.0 points on average; the last step does not show it.")
    flat = told(point("net", 1.0, 110), point("net", 0.5, 110), point("net", 0.25, 110))["sentence"]
    assert "doubling" not in flat


def test_too_few_pictures_to_tell() -> None:
    sentence = told(point("net", 1.0, 103), point("net", 0.5, 100))["sentence"]
    assert "no difference could be shown for net: +1.5 points" in sentence
    assert sentence.endswith("the 200 test pictures are too few to tell.")


def test_a_loss() -> None:
    line = told(point("net", 1.0, 100), point("net", 0.5, 130))
    assert line["pair"]["outcome"] == "b better"
    assert line["sentence"] == (
        "From 500 to 1,000 training pictures net lost 15.0 points (p < 0.001): more pictures like these did not help."
    )


def test_seeds_that_overlap_take_the_promise_back() -> None:
    half, whole = spread([0.65, 0.81]), spread([0.8, 0.82])
    sentence = told(point("net", 1.0, 160, spread=whole), point("net", 0.5, 130, spread=half))["sentence"]
    assert "gained 15.0 points" in sentence
    assert "the accuracies of its seeds overlap, so part of this may be chance in training" in sentence
    assert "probably help" not in sentence
    apart = told(point("net", 1.0, 160, spread=whole), point("net", 0.5, 130, spread=spread([0.65, 0.7])))["sentence"]
    assert "probably help" in apart


def test_the_part_nearest_to_half_is_compared() -> None:
    parts = [point("net", fraction, 100) for fraction in (0.1, 0.4, 0.75)]
    assert told(point("net", 1.0, 160), *parts)["pair"]["b"] == "net@40"


def test_without_the_whole_nothing_is_compared() -> None:
    line = told(point("net", 0.5, 100), point("net", 0.25, 50))
    assert line["pair"] is None
    assert "not known" in line["sentence"]
    assert len(line["points"]) == 2


def test_parts_that_hold_the_same_pictures_are_no_doubling() -> None:
    line = told(point("net", 1.0, 160, pictures=4), point("net", 0.9, 100, pictures=4))
    assert (line["pair"], line["per_doubling"]) == (None, None)


def test_the_tests_are_corrected_over_contestants() -> None:
    runs = [point("one", 1.0, 107), point("one", 0.5, 100)]
    alone = growth(runs, 0.05)["fractions"][0]["pair"]
    assert (alone["outcome"], alone["p_holm"]) == ("a better", alone["p"])
    more = [p for at in range(4) for p in (point(f"x{at}", 1.0, [*range(90), 150]), point(f"x{at}", 0.5, [*range(90), 160]))]
    beside = next(line for line in growth([*runs, *more], 0.05)["fractions"] if line["name"] == "one")["pair"]
    assert beside["p_holm"] == pytest.approx(5 * alone["p"])
    assert beside["outcome"] == "not distinguishable" or beside["outcome"] == "too few pictures to tell"


def test_the_best_stands_first_and_whole_ones_are_no_lines() -> None:
    runs = [
        point("low", 1.0, 90),
        point("low", 0.5, 80),
        point("high", 1.0, 150),
        point("high", 0.5, 140),
        point("lone", 1.0, 199),
    ]
    assert [line["name"] for line in growth(runs, 0.05)["fractions"]] == ["high", "low"]


def test_the_slope_is_that_of_least_squares() -> None:
    points = [(100, 0.5), (200, 0.58), (400, 0.62), (800, 0.74)]
    expected = np.polyfit(np.log2([size for size, _ in points]), [accuracy for _, accuracy in points], 1)[0]
    assert per_doubling(points) == pytest.approx(expected)
    assert per_doubling([(100, 0.5), (200, 0.6)]) == pytest.approx(0.1)
    assert per_doubling([(100, 0.5), (100, 0.6)]) is None
    assert per_doubling([(0, 0.5)]) is None
