"""Which pictures are chosen to be explained."""

from __future__ import annotations

import numpy as np

from fieldguide.evaluate.answers import AnswerSheet
from fieldguide.evaluate.telling import telling

KEYS = tuple(f"{number:02d}" for number in range(8))
#: Right or wrong by picture, for the leader, a weaker one of its family, and another family.
RIGHT = {"first": "11101110", "second": "11001010", "other": "01101101"}
KINDS = {"first": "cnn", "second": "cnn", "other": "vit"}


def sheets(sure: dict[str, list[float]] | None = None) -> list[AnswerSheet]:
    found = []
    for run, marks in RIGHT.items():
        truth = np.zeros(8, np.int64)
        answer = np.array([0 if mark == "1" else 1 for mark in marks])
        top = np.array((sure or {}).get(run, [0.8] * 8))
        probabilities = np.stack([np.where(answer == 0, top, 1 - top), np.where(answer == 1, top, 1 - top)], axis=1)
        found.append(AnswerSheet(run, KEYS, truth, answer, probabilities, (None,) * 8, ("a", "b")))
    return found


def test_each_reason_comes_in_turn() -> None:
    chosen = telling(sheets(), KINDS, 4)
    assert chosen == [
        ("03", "missed by all"),
        ("07", "missed by first, right by the best of every other family"),
        ("00", "right by first, missed by the best of every other family"),
        ("01", "right by all"),
    ]


def test_the_surest_stand_first_and_nothing_comes_twice() -> None:
    chosen = telling(sheets({"first": [0.8, 0.8, 0.8, 0.8, 0.99, 0.8, 0.8, 0.8]}), KINDS, 8)
    assert chosen[3] == ("04", "right by all")
    keys = [key for key, _ in chosen]
    assert len(keys) == len(set(keys)) == 8


def test_reasons_are_true() -> None:
    right = {run: np.array([mark == "1" for mark in marks]) for run, marks in RIGHT.items()}
    for key, why in telling(sheets(), KINDS, 8):
        at = KEYS.index(key)
        if why == "missed by all":
            assert not any(marks[at] for marks in right.values())
        elif why == "right by all":
            assert all(marks[at] for marks in right.values())
        elif why.endswith("every other family"):
            assert right["first"][at] == why.startswith("right") and right["other"][at] != right["first"][at]
        else:
            assert right["first"][at] == why.startswith("right")


def test_one_contestant_is_enough_and_none_is_nothing() -> None:
    assert len(telling(sheets()[:1], KINDS, 3)) == 3
    assert telling([], {}, 3) == []
    assert telling(sheets(), KINDS, 0) == []
