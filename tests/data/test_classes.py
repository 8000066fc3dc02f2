"""Class names: proposed from folders, edited by people."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldguide.data.classes import display_name, propose, read_classes, write_classes
from fieldguide.errors import DataProblem, UsageProblem
from fieldguide.records import ClassInfo


@pytest.mark.parametrize(
    ("id", "name"),
    [
        ("n02085620-Chihuahua", "Chihuahua"),
        ("n02099601-golden_retriever", "golden retriever"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("12_cat", "cat"),
        ("german_shepherd", "german shepherd"),
        ("3", "3"),
        ("007", "007"),
        ("2023-01", "2023-01"),
        ("12__", "12__"),
        ("_", "_"),
        ("英国短毛猫", "英国短毛猫"),
        ("قط_منزلي", "قط منزلي"),
        ("cafe\u0301", "caf\u00e9"),
        ("n0208-x", "n0208-x"),
    ],
)
def test_display_names(id: str, name: str) -> None:
    assert display_name(id) == name


def test_two_classes_never_get_one_name() -> None:
    found = {info.id: info.name for info in propose(["001.cat", "cat", "n02085620-dog", "DOG", "eel_x"])}
    assert found == {"001.cat": "001.cat", "cat": "cat", "n02085620-dog": "n02085620-dog", "DOG": "DOG", "eel_x": "eel x"}


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    classes = (
        ClassInfo('a "b" = [c]', "ب\u200fقط", ("x", 'y"z'), "one\ntwo"),
        ClassInfo("犬", "犬"),
        ClassInfo("a.b", "with a dot", ("",)),
    )
    write_classes(tmp_path / "classes.toml", classes)
    assert read_classes(tmp_path / "classes.toml", [info.id for info in classes]) == classes
    assert read_classes(tmp_path / "classes.toml", ["犬"]) == (classes[1],)


def test_what_is_left_out_has_a_default_and_a_signature_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "classes.toml").write_text("[classes.cat]\n", encoding="utf-8-sig")
    assert read_classes(tmp_path / "classes.toml", ["cat"]) == (ClassInfo("cat", "cat"),)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("[classes.cat]\nname = 'a\n", UsageProblem, "valid TOML"),
        ("[classes.dog]\nname = 'a'\n", DataProblem, "no table for the class 'cat'"),
        ("classes = 3\n", DataProblem, "no table for the class 'cat'"),
        ("", DataProblem, "no table for the class 'cat'"),
        ("[classes]\ncat = 'tiger'\n", DataProblem, "no table for the class 'cat'"),
        ("[classes.cat]\nnmae = 'a'\n", UsageProblem, "unknown key nmae"),
        ("[classes.cat]\nname = 3\n", UsageProblem, "wrong type"),
        ("[classes.cat]\nname = '  '\n", UsageProblem, "wrong type"),
        ("[classes.cat]\nsynonyms = 'kitten'\n", UsageProblem, "wrong type"),
        ("[classes.cat]\nsynonyms = [1]\n", UsageProblem, "wrong type"),
        ("[classes.cat]\ndescription = ['a']\n", UsageProblem, "wrong type"),
    ],
)
def test_every_slip_is_named(tmp_path: Path, text: str, kind: type[Exception], said: str) -> None:
    path = tmp_path / "classes.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(kind, match=said) as caught:
        read_classes(path, ["cat"])
    assert str(path) in str(caught.value)


def test_a_file_in_another_encoding_and_a_missing_one_are_named(tmp_path: Path) -> None:
    path = tmp_path / "classes.toml"
    with pytest.raises(DataProblem, match="There is no"):
        read_classes(path, ["cat"])
    path.write_bytes("[classes.cat]\nname = 'K\xe4tzchen'\n".encode("latin-1"))
    with pytest.raises(UsageProblem, match="not UTF-8"):
        read_classes(path, ["cat"])
