"""Which classes are taken for which, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fieldguide.evaluate import rivals
from fieldguide.evaluate.answers import sheet
from fieldguide.records import ManifestRow, Prediction

IDS = ("a", "b", "c", "d")


def answered(run: str, said: dict[str, str | tuple[float, ...] | None]) -> object:
    """A sheet of pictures called ``a0``, ``b1`` ... whose class is their first letter."""
    rows = [ManifestRow(key, key, key[0], split="val") for key in said]
    answers = [
        Prediction(key, answer)
        if isinstance(answer, str)
        else Prediction(key, error="lost")
        if answer is None
        else Prediction(key, IDS[int(np.argmax(answer))], probabilities=answer)
        for key, answer in said.items()
    ]
    return sheet(run, answers, rows, IDS)


def test_confusion_counts_both_ways_and_by_the_share_of_each_class() -> None:
    one = answered("one", {"a0": "b", "a1": "a", "b0": "b", "b1": "b", "b2": "c", "b3": "b", "c0": "c", "d0": None})
    mean = rivals.confusion([one])
    assert mean[0, 1] == mean[1, 0] == pytest.approx((1 / 2 + 0) / 2)
    assert mean[1, 2] == mean[2, 1] == pytest.approx((1 / 4 + 0) / 2)
    assert mean[3].tolist() == [0, 0, 0, 0] and np.diag(mean).tolist() == [0, 0, 0, 0]
    assert rivals.by_answers([one], 4) == {"a": ("b",), "b": ("a", "c"), "c": ("b",), "d": ()}
    assert rivals.by_answers([one], 1)["b"] == ("a",)


def test_probabilities_tell_more_than_answers_and_contestants_are_averaged() -> None:
    sure = answered("sure", {"a0": "a", "b0": "b", "c0": "c", "d0": "d"})
    soft = answered("soft", {"a0": (0.6, 0.0, 0.1, 0.3), "b0": (0.0, 1.0, 0.0, 0.0), "c0": (0.2, 0.0, 0.8, 0.0), "d0": "d"})
    assert rivals.confusion([sure, soft])[0].tolist() == pytest.approx([0, 0, (0.1 + 0.2) / 4, 0.3 / 4])
    assert rivals.by_answers([sure, soft], 4) == {"a": ("c", "d"), "b": (), "c": ("a",), "d": ("a",)}


def test_who_knows_no_more_than_the_most_frequent_class_tells_nothing() -> None:
    assert not rivals.told_apart(answered("majority", {"a0": "a", "a1": "a", "b0": "a"}))
    assert rivals.told_apart(answered("better", {"a0": "a", "a1": "a", "b0": "b"}))
    assert not rivals.told_apart(answered("nobody", {}))


def test_names_are_alike_by_their_last_word_and_by_their_letters() -> None:
    names = {
        "1": "Hooded Warbler",
        "2": "Wilson Warbler",
        "3": "Hooded Oriole",
        "4": "Brewer Sparrow",
        "5": "zebra",
        "6": "Zebras",
    }
    found = rivals.by_name(names, 4)
    assert found["1"] == ("2", "3") and found["5"] == ("6",) and found["4"] == ()
    assert rivals.by_name({"x": "cat", "y": "lorry"}, 3) == {"x": (), "y": ()}
    assert rivals.by_name(names, 1)["1"] == ("2",)
