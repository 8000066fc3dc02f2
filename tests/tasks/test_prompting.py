"""Prompts as files: read, filled, and the same for every picture; names of classes are data, whatever they hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldguide.errors import UsageProblem
from fieldguide.files import write_toml
from fieldguide.records import ClassInfo, Example, Image, Pixels
from fieldguide.tasks.asking import Asking, Shown
from fieldguide.tasks.prompting import (
    Prompt,
    Words,
    answer,
    called,
    pick_examples,
    prompt_names,
    read_prompt,
    render,
    schema_of,
)

CAT = ClassInfo("n01_cat", "cat", ("kitty", "house cat"), "a small animal with whiskers")
DOG = ClassInfo("dog", "dog")
EEL = ClassInfo("eel", "moray eel")
THREE = (CAT, DOG, EEL)
DIGITS = tuple(ClassInfo(digit, digit) for digit in "0123456789")
LIST = "Which? {classes}"


def said(asking: Asking, role: str = "user") -> list[str]:
    return [part for turn in asking.messages if turn.role == role for part in turn.parts if isinstance(part, str)]


def asked(classes: tuple[ClassInfo, ...] = THREE, /, **fields: object) -> Asking:
    return render(Prompt(**{"question": LIST, **fields}), classes)  # type: ignore[arg-type]


def pictures_of(asking: Asking) -> list[str | None]:
    return [part.key for turn in asking.messages for part in turn.parts if isinstance(part, Shown)]


@pytest.mark.parametrize("name", prompt_names())
def test_every_prompt_of_the_package_asks_about_one_picture(name: str) -> None:
    prompt = read_prompt(name)
    assert prompt.about and prompt.source and prompt.name == name
    asking = render(prompt, THREE)
    assert pictures_of(asking) == [None]
    assert asking.messages[-1].role == "user"
    assert "{" not in asking.text().replace('{"label": "..."}', "")
    assert len(asking.answers) == 3


def test_what_the_package_asks_with_by_default() -> None:
    asking = render(read_prompt("plain"), THREE)
    (turn,) = asking.messages
    words, picture = turn.parts
    assert picture == Shown(None), "the list stands before the picture"
    assert words == (
        "Which one of these 3 classes does the picture show? cat, dog, moray eel.\n"
        "Answer with the name of the class alone, written as in the list."
    )
    assert asking.schema is None and asking.how == "generate" and asking.temperature == 0.0
    assert render(read_prompt("plain"), THREE, "choice").how == "choice"


def test_the_instruction_about_ninety_animals_is_the_published_one_letter_for_letter() -> None:
    published = (
        "You are a professional image classification model. Your task is to classify the given image into one of the following "
        "categories: {animal_list} Respond with the category name only, and do not include any additional information."
    )
    names = [f"animal {number}" for number in range(90)]
    asking = render(read_prompt("animals90"), [ClassInfo(name, name) for name in names])
    assert said(asking) == [published.replace("{animal_list}", ", ".join(names))]
    assert said(asking, "system") == []


def test_the_chess_prompt_lists_in_its_own_order_and_misses_a_quote() -> None:
    pieces = [ClassInfo(name, name) for name in ("bishop", "king", "knight", "pawn", "queen", "rook")]
    asking = render(read_prompt("llava_chess"), pieces)
    (system,) = said(asking, "system")
    assert '"PAWN", "KING", QUEEN", "BISHOP", "ROOK", "KNIGHT"' in system
    assert asking.answers == ("BISHOP", "KING", "KNIGHT", "PAWN", "QUEEN", "ROOK")
    assert asking.temperature == 0.5 and asking.made["notes"] == ()
    assert render(read_prompt("llava_chess"), THREE).made["notes"] == (
        "it speaks of 6 classes that are not there: pawn, king, queen, bishop, rook ...",
        "3 of 3 classes are not named in it: cat, dog, moray eel",
    )


def test_the_chess_prompt_that_can_be_reordered_is_the_same_but_for_the_quote() -> None:
    pieces = [ClassInfo(name, name) for name in ("bishop", "king", "knight", "pawn", "queen", "rook")]
    (own,), (listed,) = (said(render(read_prompt(name), pieces), "system") for name in ("llava_chess", "llava_chess_listed"))
    assert listed.replace('"QUEEN"', 'QUEEN"') == own and listed != own
    turned = read_prompt("llava_chess_listed").model_copy(update={"order": ("rook", "king")})
    assert 'are "ROOK", "KING", "BISHOP"' in said(render(turned, pieces), "system")[0]


def test_the_animals_of_the_published_prompt_stand_in_its_order_with_the_cat_as_example() -> None:
    ids = ("butterfly", "cat", "chicken", "cow", "dog", "elephant", "horse", "sheep", "spider", "squirrel")
    asking = render(read_prompt("llava_animals"), [ClassInfo(id, id) for id in ids])
    (system,) = said(asking, "system")
    assert (
        'animals: "dog", "horse", "elephant", "butterfly", "chicken", "cat", "cow", "sheep", "squirrel", "spider". Ex' in system
    )
    assert 'respond only with "cat".' in system
    assert asking.answers == ids, "answers stay in the manifest's order"
    assert asking.messages[-1].parts == (Shown(None), "What animal is this?")


@pytest.mark.realdata
def test_the_digit_prompt_is_the_published_modelfile_letter_for_letter(data_root: Path) -> None:
    file = data_root / "mnist500" / "llava_prompt.txt"
    system = file.read_text(encoding="utf-8").split('"""')[1]
    ours, theirs = render(read_prompt("llava_mnist"), DIGITS), render(read_prompt(file), DIGITS)
    assert said(ours, "system") == said(theirs, "system") == [system]
    assert ours.temperature == theirs.temperature == 0.0
    assert read_prompt(file).model == "llava" and read_prompt(file).notes == ()
    other = render(read_prompt("llava_mnist").model_copy(update={"example": "7"}), DIGITS)
    assert said(other, "system") == [system.replace('a 3, respond only with "3"', 'a 7, respond only with "7"')]


def test_ways_of_listing() -> None:
    assert said(asked()) == ["Which? cat, dog, moray eel"]
    assert said(asked(separator=" | ", numbered=True)) == ["Which? 1. cat | 2. dog | 3. moray eel"]
    assert said(asked(one_a_line=True, quote="*")) == ["Which? *cat*\n*dog*\n*moray eel*"]
    assert said(asked(synonyms=True, descriptions=True, one_a_line=True)) == [
        "Which? cat (also: kitty, house cat): a small animal with whiskers\ndog\nmoray eel"
    ]
    assert said(asked(order=("moray eel", "n01_cat", "horse"))) == ["Which? moray eel, cat, dog"]
    assert asked(order=("moray eel", "n01_cat", "horse")).made["notes"] == ("it speaks of 1 classes that are not there: horse",)
    assert asked(order=("moray eel",)).answers == ("cat", "dog", "moray eel")
    assert said(asked(question="{class_count}: {example} {example_answer} {{}}")) == ["3: cat cat {}"]
    assert said(asked(question="{example_answer}", example="eel", format="json")) == ['{"label": "moray eel"}']
    assert said(asked(question="{example}", example="a plane")) == ["a plane"], "a word that is no class stays as it is"


def test_descriptions_are_asked_for_only_where_there_are_some() -> None:
    assert asked(descriptions=True).made["notes"] == ("2 of 3 classes have no description",)
    with pytest.raises(UsageProblem, match=r"classes\.toml"):
        asked((DOG, EEL), descriptions=True)


def test_a_prompt_may_call_classes_by_other_names() -> None:
    own = {"n01_cat": Words(name="CAT"), "Moray-Eel": Words(name="EEL", synonyms=("moray",), description="long")}
    asking = asked(classes=own, synonyms=True)
    assert said(asking) == ["Which? CAT (also: kitty, house cat), dog, EEL (also: moray)"]
    assert asking.answers == ("CAT", "dog", "EEL")
    assert called(Prompt(question=LIST, classes=own), THREE)[2] == ClassInfo("eel", "EEL", ("moray",), "long")


def test_an_answer_tells_which_class_is_meant() -> None:
    with pytest.raises(UsageProblem, match=r"'n01_cat' and 'dog' are both called 'cat'"):
        asked(classes={"dog": Words(name="cat")})  # type: ignore[arg-type]
    with pytest.raises(UsageProblem, match="both called 'a b'"):
        asked((ClassInfo("x", "a\nb"), ClassInfo("y", "a  b")))
    with pytest.raises(UsageProblem, match="no name"):
        asked((ClassInfo("\n", "\n"), DOG))
    assert asked((ClassInfo("Cat", "Cat"), ClassInfo("cat", "cat"))).answers == ("Cat", "cat"), "letters tell these apart"


def test_json_answers_have_a_schema_that_holds_every_answer() -> None:
    asking = render(read_prompt("json"), THREE)
    assert asking.schema == schema_of(("cat", "dog", "moray eel"))
    assert asking.schema["properties"]["label"]["enum"] == ["cat", "dog", "moray eel"]
    assert json.loads(answer(read_prompt("json"), 'a "b"')) == {"label": 'a "b"'}
    assert '{"label": "..."}' in said(asking)[0]


def test_training_pictures_are_shown_with_their_answers_and_the_list_is_said_once() -> None:
    prompt = Prompt(question=LIST, closing="So?", system="Look.")
    asking = render(prompt, THREE, examples=[("aa", "eel"), ("bb", "n01_cat")])
    assert [(turn.role, turn.parts) for turn in asking.messages] == [
        ("system", ("Look.",)),
        ("user", ("Which? cat, dog, moray eel", Shown("aa"), "So?")),
        ("assistant", ("moray eel",)),
        ("user", (Shown("bb"), "So?")),
        ("assistant", ("cat",)),
        ("user", (Shown(None), "So?")),
    ]
    assert asking.examples == ("aa", "bb")
    after = render(prompt.model_copy(update={"place": "after", "format": "json"}), THREE, examples=[("aa", "dog")])
    assert [turn.parts for turn in after.messages[1:]] == [
        (Shown("aa"), "Which? cat, dog, moray eel", "So?"),
        ('{"label": "dog"}',),
        (Shown(None), "Which? cat, dog, moray eel", "So?"),
    ]


def test_a_class_with_too_few_training_pictures_is_noted() -> None:
    prompt = Prompt(question=LIST, shots=2)
    pairs = [("a", "dog"), ("b", "dog"), ("c", "eel")]
    assert render(prompt, THREE, examples=pairs).made["notes"] == (
        "2 of 3 classes have fewer than 2 training pictures that could be shown",
    )
    assert render(prompt, (DOG,), examples=pairs[:2]).made["notes"] == ()
    assert render(prompt, THREE).made["notes"] == (), "none were drawn yet"


def test_the_hash_names_what_is_asked() -> None:
    first = asked()
    assert first.hash == asked().hash and len(first.hash) == 64
    # Answers are kept under this name: were it another in the next version, all would be asked, and paid, again.
    assert asked((ClassInfo("a", "cat"), ClassInfo("b", "dog"))).hash.startswith("0106471391357195")
    other = [
        asked(system="x"),
        asked(separator="; "),
        asked(temperature=0.1),
        asked(most_tokens=5),
        asked(seed=1),
        asked(format="json"),
        asked(place="after"),
        asked(THREE[::-1]),
        render(Prompt(question=LIST), THREE, "choice"),
        render(Prompt(question=LIST), THREE, examples=[("aa", "dog")]),
        render(Prompt(question=LIST), THREE, examples=[("ab", "dog")]),
    ]
    assert len({one.hash for one in [first, *other]}) == len(other) + 1
    assert asked(name="elsewhere", about="x", source="y").hash == first.hash, "what is not said changes nothing"


class Nowhere:
    """Holds no picture."""

    def read(self, key: str, at_least: int) -> Pixels:
        return np.zeros((1, 1, 3), np.uint8)

    def prepare(self, keys: object, at_least: int) -> None:
        pass


def train(**counts: int) -> list[Example]:
    reader = Nowhere()
    return [Example(Image(f"{label}{number:03d}", reader), label) for label, count in counts.items() for number in range(count)]


def test_examples_are_drawn_with_a_seed_from_every_class() -> None:
    classes = (ClassInfo("a", "a"), ClassInfo("b", "b"), ClassInfo("c", "c"))
    pool = train(a=20, b=20, c=2, other=9)
    picked = pick_examples(pool, classes, 3, seed=1)
    assert picked == pick_examples(pool[::-1], classes, 3, seed=1), "the order of the training pictures does not matter"
    other = pick_examples(pool, classes, 3, seed=2)
    assert set(picked.examples) != set(other.examples)
    counts = {id: sum(label == id for _, label in picked.examples) for id in "abc"}
    assert counts == {"a": 3, "b": 3, "c": 2} and picked.fewer == {"c": 2} and picked.seed == 1
    assert all(key.startswith(label) for key, label in picked.examples)
    labels = [label for _, label in pick_examples(pool, classes, 8, seed=1).examples]
    assert labels != sorted(labels), "they come mixed"
    fewer = set(pick_examples(pool, classes, 1, seed=1).examples)
    assert fewer < set(picked.examples), "more begin with the same"
    twice = [*pool, *pool]
    assert pick_examples(twice, classes, 3, seed=1) == picked, "a picture is shown once"
    assert pick_examples(pool, classes, 0, seed=1).examples == ()


hostile = st.text(st.sampled_from("ab {}\"'\\\n\r\t\u2028\u202e\ud800%$<>`é"), min_size=0, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(ClassInfo, st.uuids().map(str), hostile), min_size=2, max_size=4, unique_by=lambda info: info.id))
def test_names_of_classes_are_never_read_as_a_template(classes: list[ClassInfo]) -> None:
    prompt = Prompt(question="{classes}", one_a_line=True, quote='"', system='{{"{example}"}}', format="json")
    try:
        asking = render(prompt, classes)
    except UsageProblem as problem:
        assert "called" in problem.given
        return
    (words,) = said(asking)
    assert words.split("\n") == [f'"{name}"' for name in asking.answers], "one class is one line, and all of it"
    assert said(asking, "system") == [f'{{"{asking.answers[0]}"}}']
    assert list(asking.answers) == asking.schema["properties"]["label"]["enum"]  # type: ignore[index]
    assert [json.loads(answer(prompt, name))["label"] for name in asking.answers] == list(asking.answers)
    asking.text().encode("utf-8")
    assert len(asking.hash) == 64


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{clases}", "Did you mean classes?"),
        ("{", "brace"),
        ("a } b", "brace"),
        ("{classes!r}", "no place"),
        ("{classes:>9}", "no place"),
        ("{classes.__class__}", "no place"),
        ("{0}", "no place"),
        ("{}", "no place"),
    ],
)
def test_places_that_are_none_are_told(text: str, told: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        asked(system=text)
    assert told in str(caught.value)
    for name in ("{{", "classes", "class_count", "example", "example_answer"):
        assert name in str(caught.value)


def test_a_prompt_of_ones_own_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    write_toml(
        file, {"question": LIST, "shots": 2, "classes": {"dog": {"name": "hound"}}, "turns": [{"role": "user", "text": "Hi"}]}
    )
    prompt = read_prompt(file)
    assert prompt.name == "mine" and prompt.shots == 2
    asking = render(prompt, THREE)
    assert said(asking) == ["Hi", "Which? cat, hound, moray eel"]
    assert read_prompt(str(file)) == prompt


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("question = 3", "question"),
        ("qestion = 'x'", "question"),
        ("question = '{what}'", "{classes}"),
        ("question = 'a", "Expected"),
        ("about = 'x'", "asks nothing"),
        ("question = 'x'\ntemperature = nan", "temperature"),
        ("question = 'x'\nshots = -1", "shots"),
        ("question = 'x'\n[classes.dog]\ncolour = 'x'", "colour"),
        ("", "asks nothing"),
        ("just words", "prompt"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageProblem) as caught:
        read_prompt(file)
    assert told in str(caught.value) and "mine.toml" in caught.value.given


def test_unknown_names_are_told_with_those_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as caught:
        read_prompt("plian")
    assert caught.value.allowed.startswith("Did you mean plain?") and "llava_chess" in caught.value.allowed
    with pytest.raises(UsageProblem, match="no such file"):
        read_prompt(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "long").write_bytes(b"#" * 1_000_001)
    for name in ("binary", "long"):
        with pytest.raises(UsageProblem, match="cannot be read as a prompt"):
            read_prompt(tmp_path / name)
