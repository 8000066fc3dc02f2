"""Scores with and without: counted by hand on small studies."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fieldguide.evaluate.intervals import wilson
from fieldguide.evaluate.subsets import TITLES, Doubts, doubts_of, sentence, with_and_without
from fieldguide.records import ManifestRow

#: 20 test pictures; "ahead" has 16 right, "behind" 14. Of the first five "ahead" has all and "behind" one.
RIGHT = {"ahead": range(16), "behind": [0, *range(5, 18)]}


def rows(**marks: range | list[int]) -> list[ManifestRow]:
    return [
        ManifestRow(
            f"{at:05}", f"{at}.png", "c0", "test", marks=tuple(sorted(name for name, places in marks.items() if at in places))
        )
        for at in range(20)
    ]


NO_SUSPECTS = Doubts(frozenset())


def told(make: SimpleNamespace, doubts: Doubts = NO_SUSPECTS, **marks: range | list[int]) -> dict[str, dict[str, object]]:
    return {entry["code"]: entry for entry in with_and_without(make.contest(20, RIGHT), rows(**marks), doubts)}


def test_accuracy_is_counted_with_and_without(make: SimpleNamespace) -> None:
    found = told(make, leaked=range(5))["leaked"]
    assert (found["n"], found["state"], found["title"]) == (5, "found", "Also in train")
    ahead, behind = found["runs"]["ahead"], found["runs"]["behind"]  # type: ignore[index]
    assert (ahead["with"]["value"], ahead["with"]["n"]) == (16 / 20, 20)
    assert (ahead["without"]["value"], ahead["without"]["n"]) == (11 / 15, 15)
    assert (ahead["without"]["low"], ahead["without"]["high"]) == pytest.approx(wilson(11, 15))
    assert (ahead["with"]["low"], ahead["with"]["high"]) == pytest.approx(wilson(16, 20))
    assert ahead["change"] == pytest.approx(11 / 15 - 16 / 20)
    assert behind["without"]["value"] == 13 / 15 and behind["change"] > 0


def test_a_change_of_places_is_told_by_name(make: SimpleNamespace) -> None:
    found = told(make, leaked=range(5), burst=[19])
    assert found["leaked"]["order_changes"] is True and found["leaked"]["swapped"] == ["behind", "ahead"]
    assert "without them behind comes before ahead" in str(found["leaked"]["sentence"])
    assert found["burst"]["order_changes"] is False and "order" not in str(found["burst"]["sentence"])


def test_who_owed_most_to_the_pictures_is_named(make: SimpleNamespace) -> None:
    """Without the last three of its right answers "behind" falls; "ahead" has none of them right."""
    words = str(told(make, leaked=[16, 17])["leaked"]["sentence"])
    assert "ahead 80.0 % with them, 88.9 % without." in words and words.endswith("behind falls most, from 70.0 % to 66.7 %.")
    assert "falls most" not in str(told(make, leaked=range(5))["leaked"]["sentence"])


def test_a_tie_is_no_change_of_places(make: SimpleNamespace) -> None:
    found = told(make, repeated=[1, 2])["repeated"]  # leaves 14 and 14
    runs = found["runs"]
    assert runs["ahead"]["without"]["value"] == runs["behind"]["without"]["value"]  # type: ignore[index]
    assert found["order_changes"] is False


def test_all_of_them_together_count_each_picture_once(make: SimpleNamespace) -> None:
    found = told(make, Doubts(frozenset({"00003", "00019"})), leaked=[0, 1], repeated=[1, 2], burst=[3])
    assert [found[code]["n"] for code in TITLES] == [2, 2, 1, 2, 5]
    assert found["all"]["runs"]["ahead"]["without"]["n"] == 15  # type: ignore[index]


def test_suspects_outside_the_test_part_do_not_count(make: SimpleNamespace) -> None:
    assert told(make, Doubts(frozenset({"val1", "val2"})))["suspects"]["state"] == "fine"


def test_no_such_picture_and_nothing_left_are_states(make: SimpleNamespace) -> None:
    found = told(make, burst=range(20))
    assert (found["leaked"]["state"], found["leaked"]["n"], found["leaked"]["runs"]) == ("fine", 0, {})
    for code in ("burst", "all"):
        assert (found[code]["state"], found[code]["n"], found[code]["runs"]) == ("not applicable", 20, {})
        assert "no test picture is left" in str(found[code]["sentence"])


def test_suspects_that_nobody_could_name_are_skipped_with_the_reason(make: SimpleNamespace) -> None:
    doubts = doubts_of({"state": "skipped", "why": "no probabilities", "suspects": []}, dropped=True)
    found = told(make, doubts)
    assert found["suspects"]["state"] == "skipped" and "no probabilities" in str(found["suspects"]["sentence"])
    assert found["all"]["state"] == "fine"
    known = doubts_of({"state": "found", "why": None, "suspects": [{"image": "00001"}]}, dropped=True)
    assert (known.suspects, known.dropped) == (frozenset({"00001"}), True)


def test_the_sentence_of_the_leak() -> None:
    best = ("vit", 0.91, 0.887)
    assert sentence("leaked", 14, best) == "14 test pictures are also in train: vit 91.0 % with them, 88.7 % without."
    dropped = sentence("leaked", 1, best, dropped=True)
    assert (
        dropped == "1 test picture is also in train (its copies were left out of training): vit 91.0 % with it, 88.7 % without."
    )
    assert "left out" not in sentence("repeated", 3, best, dropped=True)


def test_suspects_are_called_an_upper_bound() -> None:
    assert "upper bound until a person has looked" in sentence("suspects", 3, ("vit", 0.91, 0.95))
    assert all("upper bound" not in sentence(code, 3, ("vit", 0.9, 0.9)) for code in TITLES if code != "suspects")


def test_every_subset_is_there_in_order(make: SimpleNamespace) -> None:
    assert list(told(make)) == ["leaked", "repeated", "burst", "suspects", "all"]
