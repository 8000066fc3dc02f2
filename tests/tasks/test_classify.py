"""Reading a class out of an answer: exactly one name, or nobody's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldguide.records import ClassInfo
from fieldguide.tasks.classify import Classify, fold

TASK = Classify(
    (
        ClassInfo("n01-cat", "house cat", ("kitty", "moggy")),
        ClassInfo("dog", "hound", ("kitty", "n01 cat")),
        ClassInfo("eel", "dog", ("snake fish",)),
        ClassInfo("猫头鹰", "owl"),
        ClassInfo("STRASSE", "street"),
    )
)


def test_ids_index_and_names() -> None:
    assert TASK.ids == ("n01-cat", "dog", "eel", "猫头鹰", "STRASSE")
    assert TASK.index["eel"] == 2
    assert TASK.say("n01-cat") == "house cat"


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("n01-cat", "n01-cat"),
        ("House_Cat", "n01-cat"),
        ('  "house-cat".\n', "n01-cat"),
        ("**house  cat**", "n01-cat"),
        ("ＨＯＵＳＥ ｃａｔ！", "n01-cat"),
        ("moggy", "n01-cat"),
        ("猫头鹰。", "猫头鹰"),
        ("「猫头鹰」", "猫头鹰"),
        ("straße", "STRASSE"),
        ("hound", "dog"),
        ("dog", "dog"),  # an id comes before another class's display name
        ("n01 cat", "n01-cat"),  # and before another's synonym
        ("kitty", None),  # two classes share it
        ("house cat or hound", None),
        ("a house cat", None),
        ("house", None),
        ("housecat", None),
        ("cat", None),
        ("", None),
        (" . ", None),
    ],
)
def test_one_name_and_nothing_beyond(text: str, id: str | None) -> None:
    assert TASK.read(text) == id


def test_a_display_name_two_classes_share_is_nobodys() -> None:
    task = Classify((ClassInfo("a", "crane"), ClassInfo("b", "Crane"), ClassInfo("c", "bird", ("crane",))))
    assert task.read("crane") is None
    assert task.read("a") == "a"


def test_ids_that_differ_by_case_alone_are_read_to_the_letter() -> None:
    task = Classify((ClassInfo("Cat", "Cat"), ClassInfo("cat", "cat"), ClassInfo("a_b", "a b"), ClassInfo("a b", "a b")))
    assert [task.read(id) for id in task.ids] == list(task.ids)
    assert task.read("CAT") is None
    assert task.read("A B") is None


def test_silence_names_no_class() -> None:
    task = Classify((ClassInfo("?", "?"), ClassInfo("-", "..."), ClassInfo("x", "x", ("!",))))
    for text in ("", "   ", "...", "!?", "\n"):
        assert task.read(text) is None
    assert task.read("?") == "?"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8, unique=True))
def test_every_id_reads_as_itself(ids: list[str]) -> None:
    task = Classify(tuple(ClassInfo(id, "shared name") for id in ids))
    assert [task.read(id) for id in ids] == ids


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
