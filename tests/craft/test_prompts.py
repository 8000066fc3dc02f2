"""Prompts: articles, sets, own templates and files, what is said in each way, and vectors that are what the definition says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.craft.by_colour import Reads

from fieldguide.craft import prompts, zero_shot
from fieldguide.errors import UsageProblem
from fieldguide.records import ClassInfo, Line, Texts

CLASSES = (ClassInfo("1", "ash", ("European ash", "ash")), ClassInfo("2", "oak"))


@pytest.mark.parametrize(
    ("template", "name", "line"),
    [
        ("a photo of a {}.", "apple", "a photo of an apple."),
        ("a photo of a {}.", "Unicorn", "a photo of a Unicorn."),
        ("a photo of a {}.", "European ash", "a photo of a European ash."),
        ("a photo of an {c}.", "dog", "a photo of a dog."),
        ("A {} from above.", "airport", "An airport from above."),
        ("a photo of a {}.", "the Eiffel Tower", "a photo of the Eiffel Tower."),
        ("a photo of the {}.", "hour hand", "a photo of the hour hand."),
        ("{}", "{} \\1", "{} \\1"),
    ],
)
def test_a_name_takes_its_article(template: str, name: str, line: str) -> None:
    assert prompts.said(template, name) == line


def test_every_set_has_a_place_for_the_name() -> None:
    assert {"plain", "name", "photos", "drawings", "satellite"} <= set(prompts.sets())
    for name, own in prompts.sets().items():
        assert prompts.templates(name) == own and all(template.count("{}") == 1 for template in own), name


def test_templates_of_ones_own_and_of_files(tmp_path: Path) -> None:
    assert prompts.templates("a {} | an ink {}.|a {}") == ("a {}", "an ink {}.")
    (tmp_path / "own.txt").write_text("a {}\n\nthe {}\n", encoding="utf-8")
    assert prompts.templates(f"{tmp_path}/own.txt") == ("a {}", "the {}")
    (tmp_path / "bench.json").write_text(json.dumps({"cars": ["a {c}."], "pets": ["the {c}."]}), encoding="utf-8")
    assert prompts.templates(f"{tmp_path}/bench.json#pets") == ("the {c}.",)
    (tmp_path / "list.json").write_text(json.dumps(["one {}"]), encoding="utf-8")
    assert prompts.templates(f"{tmp_path}/list.json") == ("one {}",)


@pytest.mark.parametrize(
    ("asked", "given", "allowed"),
    [
        ("photo", "no templates called 'photo'", "Did you mean photos?"),
        ("a {} and a {}|a {}", "does not say where the name goes", "{} once"),
        ("{folder}/none.txt", "cannot be read", "one template a line"),
        ("{folder}/several.json", "several lists", "cars"),
        ("{folder}/several.json#car", "none called 'car'", "Did you mean cars?"),
        ("{folder}/empty.json", "is empty", "{} once"),
    ],
)
def test_wrong_templates_are_named(tmp_path: Path, asked: str, given: str, allowed: str) -> None:
    (tmp_path / "several.json").write_text('{"cars": ["a {c}."]}', encoding="utf-8")
    (tmp_path / "empty.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UsageProblem) as wrong:
        prompts.templates(asked.replace("{folder}", str(tmp_path)))
    assert given in wrong.value.given and allowed in wrong.value.allowed and wrong.value.next


def test_vectors_are_what_the_definition_says() -> None:
    random = np.random.default_rng(0)
    rows = {line: random.normal(size=5) * random.uniform(1, 9) for line in ("a", "b", "c")}

    def read(lines: object) -> np.ndarray:
        return np.array([rows[line] for line in lines])  # type: ignore[attr-defined]

    groups = [["a", "b"], ["c"], []]
    mean = (rows["a"] / np.linalg.norm(rows["a"]) + rows["b"] / np.linalg.norm(rows["b"])) / 2
    again, left = (prompts.averaged(groups, read, again=value) for value in (True, False))
    assert np.allclose(again[0], mean / np.linalg.norm(mean)) and np.allclose(left[0], mean)
    assert np.allclose(left[1], rows["c"] / np.linalg.norm(rows["c"])) and not left[2].any()
    picture = random.normal(size=5)
    scores = [picture @ rows[line] / np.linalg.norm(rows[line]) for line in groups[0]]
    assert np.isclose(picture @ left[0], np.mean(scores)), "the mean of scores, line by line"


def test_what_is_said_in_each_way() -> None:
    texts = Texts("own", {"1": (Line("it has grey bark", "bark"), Line(" it has  grey bark"), Line("blue"))})
    said = zero_shot.spoken(CLASSES, "a photo of a {}.|{}", synonyms=False, texts=texts, reads=Reads())
    assert said.sentences["name"] == [["a photo of an ash.", "ash"], ["a photo of an oak.", "oak"]]
    first, second = said.sentences["name+texts"]
    assert first == ["a photo of an ash: it has grey bark", "ash: it has grey bark", "a photo of an ash: blue", "ash: blue"]
    assert second == ["a photo of an oak.", "oak"], "a class without lines goes by its name"
    assert (said.lines, said.without) == (2, ("2",)) and "texts" not in said.sentences
    with pytest.raises(UsageProblem, match="nothing of 1 of 2 classes, such as 2"):
        zero_shot.require(said, "texts", "own")
    more = zero_shot.spoken(CLASSES, "name", synonyms=True, texts=None, reads=Reads())
    assert more.sentences == {"name": [["ash", "European ash"], ["oak"]]}


def test_a_line_beyond_the_context_is_read_in_sentences_and_what_is_cut_is_counted() -> None:
    long = "red one two three four. blue five six! seven eight nine ten eleven twelve thirteen fourteen fifteen"
    texts = Texts("own", {info.id: (Line(long), Line("short. enough")) for info in CLASSES})
    said = zero_shot.spoken(CLASSES, "name", synonyms=False, texts=texts, reads=Reads())
    own = said.sentences["texts"][0]
    assert own == ["red one two three four.", "blue five six!", long.split("! ")[1], "short. enough"]
    told = said.facts("texts", Reads())
    assert (told["sentences"], told["sentences_cut"], told["first_cut"], told["context"]) == (4, 1, own[2], 8)
