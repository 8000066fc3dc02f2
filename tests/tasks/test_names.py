"""Which class a text names: the closest spelling decides, a shared name is nobody's, and the longest name in a sentence counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldguide.records import ClassInfo
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.names import Names, bare, fold

ZOO = Names(
    (
        ClassInfo("bear", "bear", ("teddy",)),
        ClassInfo("polar_bear", "polar bear", ("ice bear", "teddy")),
        ClassInfo("lion", "lion"),
        ClassInfo("sea_lion", "sea lion"),
        ClassInfo("colts foot", "colt's foot"),
        ClassInfo("st_bernard", "St. Bernard"),
        ClassInfo("mouse", "mouse", ("field mouse",)),
        ClassInfo("猫头鹰", "owl"),
    )
)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("Polar Bears", "polar_bear"),
        ("the polar-bear.", "polar_bear"),
        ("PolarBear", "polar_bear"),
        ("**Sea_Lion**", "sea_lion"),
        ("(sealions)", "sea_lion"),
        ("colts foot", "colts foot"),
        ("Colt’s-foot", "colts foot"),
        ("ST BERNARDS", "st_bernard"),
        ("mice", "mouse"),
        ("owls", "猫头鹰"),
        ("“猫头鹰”。", "猫头鹰"),
        ("field mice", None),
        ("teddy", None),
        ("brown bear", None),
        ("bear polar", None),
        ("not bear", None),
        ("≠ bear", None),
        ("bear, lion", None),
        ("sea", None),
        ("the", None),
        ("a", None),
        ("", None),
    ],
)
def test_other_spellings_of_one_name(text: str, id: str | None) -> None:
    assert ZOO.normalised(text) == id


def test_synonyms_are_read_in_other_spellings_and_a_shared_one_is_nobodys() -> None:
    assert ZOO.alias("Field-Mice!") == "mouse" and ZOO.alias("the ice bears") == "polar_bear"
    assert ZOO.alias("teddy") is None and ZOO.alias("Teddies") is None


def test_the_letter_decides_between_names_that_differ_in_spelling_alone() -> None:
    names = Names((ClassInfo("cat", "cat"), ClassInfo("cats", "cats"), ClassInfo("Cat", "Cat"), ClassInfo("a-b", "a-b")))
    assert [names.normalised(id) for id in ("cat", "cats", "Cat", "a-b")] == ["cat", "cats", "Cat", "a-b"]
    assert names.normalised("CATS") == "cats"
    assert names.normalised("CAT") is None and names.normalised("the cat") is None
    assert names.normalised("A b") == "a-b"


def test_a_letter_may_be_a_class() -> None:
    names = Names(tuple(ClassInfo(name, name) for name in ("A", "B", "I", "C++", "C")))
    assert [names.normalised(text) for text in ("A", "a", "an A", "the b", "c++", "c", "C+")] == [
        "A",
        "A",
        "A",
        "B",
        "C++",
        "C",
        None,
    ]


def test_a_class_called_like_an_article_is_no_article() -> None:
    names = Names(tuple(ClassInfo(letter, letter, (letter * 2,)) for letter in "ABC"))
    assert [names.normalised(text) for text in ("A B", "a b", "A, B", "a. b.", "the C", "an A")] == [None] * 4 + ["C", "A"]
    assert names.alias("a bb") is None and names.alias("the bb") == "B"


def test_the_plural_of_one_class_that_is_another_is_no_second_name() -> None:
    names = Names((ClassInfo("cat", "cat"), ClassInfo("cats", "cats")))
    assert names.normalised("the cats") == "cats" and names.normalised("the cat") == "cat"
    assert names.mentioned("some cats") == {"cats"}


def test_letters_that_nobody_sees_do_not_matter_around_a_name() -> None:
    assert ZOO.normalised("\ufeffbear\u200b") == "bear" and ZOO.normalised("\u200fBear.\x00") == "bear"
    assert ZOO.normalised("be\u200bar") is None


def test_figures_keep_their_spaces_and_signs() -> None:
    names = Names(tuple(ClassInfo(str(number), str(number)) for number in range(12)))
    assert names.normalised("3.") == "3" and names.normalised("11") == "11"
    assert names.normalised("<3") is None and names.normalised("> 3") is None and names.normalised("(3)") == "3"
    assert names.normalised("1 1") is None and names.normalised("1.1") is None and names.normalised("1, 1") is None


def test_a_plural_that_is_another_class_s_synonym_is_read_as_that_by_alias_and_by_nobody_else() -> None:
    names = Names((ClassInfo("cat", "cat"), ClassInfo("play", "play", ("cats",))))
    assert names.alias("cats") == "play"
    assert names.normalised("cats") is None
    assert names.normalised("the cat") == "cat"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("I see a polar bear.", {"polar_bear"}),
        ("a polar bear beside a bear", {"polar_bear", "bear"}),
        ("sea lions", {"sea_lion"}),
        ("three mice", {"mouse"}),
        ("a teddy", {"bear", "polar_bear"}),
        ("not-a-bear", {"bear"}),
        ("这是一只猫头鹰。", {"猫头鹰"}),
        ("bearing", set()),
        ("", set()),
    ],
)
def test_what_a_sentence_mentions(text: str, ids: set[str]) -> None:
    assert ZOO.mentioned(text) == ids


def test_folding_in_pieces_is_folding() -> None:
    text = "Ａ Polar_Bear — " * 200
    assert fold(text) == "a polar bear — " * 199 + "a polar bear —"
    assert bare("The 'Cat'.") == "cat"


IDS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True)


@given(IDS, st.lists(st.text(max_size=8), max_size=6), st.text(max_size=10), st.data())
def test_a_looser_reading_keeps_what_a_stricter_one_found(
    ids: list[str], others: list[str], text: str, data: st.DataObject
) -> None:
    infos = [ClassInfo(id, data.draw(st.sampled_from([id, *others])), tuple(others[at::3])) for at, id in enumerate(ids)]
    task = Classify(tuple(infos))
    for said in (
        text,
        data.draw(st.sampled_from([*ids, *others, *(info.name for info in infos)]))
        + data.draw(st.sampled_from(["", "s", "."])),
    ):
        strict, normalised, alias = task.names.strict(said), task.names.normalised(said), task.names.alias(said)
        assert strict in (None, normalised)
        assert normalised in (None, alias)
