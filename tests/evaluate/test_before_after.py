"""Before and after teaching: two parts that add up, each counted on its own pictures, against sums made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.before_after import Couple, Side, told

CLASSES = ("ant", "bee", "cat")


def sheet(run: str, truth: Any, answer: Any) -> AnswerSheet:
    keys = tuple(f"{at:064d}" for at in range(len(truth)))
    errors = tuple(None if one >= 0 else "extra words" for one in answer)
    return AnswerSheet(run, keys, np.asarray(truth), np.asarray(answer), None, errors, CLASSES)


def side(run: str, truth: Any, strict: Any, alias: Any = None, filtered: Any = None) -> Side:
    sheets = {"strict": sheet(run, truth, strict)} | ({} if alias is None else {"alias": sheet(run, truth, alias)})
    return Side(run, "strict", sheets, filtered or {})


def one(before: Side, after: Side) -> dict[str, Any]:
    (found,) = told([Couple("drawn", before, after)])["pairs"]
    return dict(found)


def test_parts_are_counted_on_their_own_pictures_and_add_up() -> None:
    truth = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    before = [-1, -1, 0, 1, 2, -1, 2, 2, -1, 0]
    alias = [0, 1, 0, 1, 2, -1, 2, 2, -1, 0]
    after = [0, 0, 0, -1, 1, 2, 2, 0, -1, 2]
    found = one(side("b", truth, before, alias), side("a", truth, after))
    # Without a label before: pictures 0, 1 won. Without one after: picture 3 lost. Both labelled: 4, 9 won, 7 lost.
    assert {key: found["format"][key] for key in ("gained", "lost", "named_before")} == {
        "gained": 2,
        "lost": 1,
        "named_before": 1,
    }
    assert {key: found["recognition"][key] for key in ("gained", "lost")} == {"gained": 2, "lost": 1}
    assert found["recognition"]["p"] == pytest.approx(binomtest(2, 3).pvalue)
    assert found["both"]["n"] == 5 and found["both"]["before"]["value"] == 3 / 5 and found["both"]["after"]["value"] == 4 / 5
    assert found["kept_silent"] == 1
    assert found["difference"]["value"] == pytest.approx(found["format"]["value"] + found["recognition"]["value"])
    assert (found["only_after"], found["only_before"]) == (4, 2)


@pytest.mark.parametrize("seed", range(5))
def test_they_add_up_whatever_was_answered(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, before, after = random.integers(0, 3, 60), random.integers(-1, 3, 60), random.integers(-1, 3, 60)
    found = one(side("b", truth, before), side("a", truth, after))
    assert found["difference"]["value"] == pytest.approx((np.mean(after == truth)) - np.mean(before == truth))
    assert found["difference"]["value"] == pytest.approx(found["format"]["value"] + found["recognition"]["value"])
    for part in ("difference", "format", "recognition"):
        assert found[part]["low"] <= found[part]["value"] <= found[part]["high"]


def test_pure_format_is_no_recognition_and_pure_recognition_no_format() -> None:
    truth = [0, 1, 2] * 10
    silent = one(side("b", truth, [-1] * 30), side("a", truth, truth))
    assert (silent["format"]["value"], silent["recognition"]["value"], silent["outcome"]) == (1.0, 0.0, "better")
    blind = one(side("b", truth, [0] * 30), side("a", truth, truth))
    assert (blind["format"]["value"], blind["recognition"]["value"]) == (0.0, pytest.approx(20 / 30))
    worse = one(side("b", truth, truth), side("a", truth, [-1] * 30))
    assert (worse["format"]["value"], worse["outcome"]) == (-1.0, "worse")


def test_readings_that_one_side_lacks_are_absent_and_p_is_corrected_over_couples() -> None:
    truth = [0, 1, 2] * 4
    weighs = Side("w", "likelihood", {"likelihood": sheet("w", truth, truth)})
    free = side("b", truth, [0] * 6 + [-1] * 6, filtered={"listed": (2, 6)})
    answer = told([Couple("m", free, weighs), Couple("m", weighs, side("a", truth, truth))])
    first, second = answer["pairs"]
    ways = {entry["id"]: (entry["before"] is None, entry["after"] is None) for entry in first["readings"]}
    assert ways == {"strict": (False, True), "likelihood": (True, False)}
    assert first["filtered"] == [
        {"id": "listed", "before": {"right": 2, "n": 6, "accuracy": first["filtered"][0]["before"]["accuracy"]}, "after": None}
    ]
    assert first["filtered"][0]["before"]["accuracy"]["value"] == pytest.approx(1 / 3)
    assert first["p_holm"] == pytest.approx(2 * first["p"]) and second["p"] == 1
