"""Group T9: 20 ways in which a language model answers beside the question, read one by one and in one study of recorded answers.

Of each: which class every reading finds, if any, and of what kind the answer is. None of it may be guessed, and none of it may reach the
report as anything but text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tests.pictures import write_folder
from tests.torture.test_t11_injection import Page

import fieldguide
from fieldguide.asked import Entry
from fieldguide.data.classes import read_classes, write_classes
from fieldguide.errors import PARTLY, plain
from fieldguide.evaluate.readings import MOST_SHOWN
from fieldguide.files import read_json
from fieldguide.records import ClassInfo
from fieldguide.study import redraw
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.reading import KINDS, READINGS, read

CLASSES = (ClassInfo("cat", "cat", ("kitty",)), ClassInfo("dog", "dog", ("hound",)), ClassInfo("eel", "eel"))
ZOO = Classify(CLASSES)


@dataclass(frozen=True)
class Case:
    """What was said of a cat; what strict, normalised, alias and json make of it (a label, or a kind); all texts of a case fare alike."""

    name: str
    said: tuple[str, ...]
    strict: str
    normalised: str
    alias: str
    json: str

    @property
    def expected(self) -> tuple[str, ...]:
        return (self.strict, self.normalised, self.alias, self.json)


def case(name: str, said: str | tuple[str, ...], strict: str, json: str, normalised: str = "", alias: str = "") -> Case:
    normalised = normalised or strict
    return Case(name, (said,) if isinstance(said, str) else said, strict, normalised, alias or normalised, json)


NO = "invalid JSON"
CASES = (
    case("fenced JSON", '```json\n{"label": "cat"}\n```', "extra words", "cat"),
    case("JSON in prose", 'Of course! {"label": "Cat"} Anything else?', "extra words", "cat"),
    case("two JSON objects", '{"label": "cat"}\n{"label": "dog"}', "two labels", "two labels"),
    case("a trailing comma", '{"label": "cat",}', NO, NO),
    case("single quotes", "{'label': 'cat'}", NO, NO),
    case("cut", ('{"label": "ca', '{"label": "cat", "why": "because', "<think>It may be a cat, or"), "cut", "cut"),
    case("a confidence of NaN", '{"label": "cat", "confidence": NaN}', NO, NO),
    case(
        "a confidence of 95 or 0.95",
        (
            '{"label": "cat", "confidence": 95}',
            '{"label": "cat", "confidence": 0.95}',
            '{"label": "cat", "confidence": "95 %"}',
        ),
        "extra words",
        "cat",
    ),
    case("a synonym", ("kitty", "Kitties"), "synonym", NO, alias="cat"),
    case("a plural", ("cats", "the cats"), "other spelling", NO, normalised="cat"),
    case("another case", ("CAT", "Cat."), "other spelling", NO, normalised="cat"),
    case("another language", ("кошка", "猫", "قطة"), "other language", NO),
    case("off the list", ("tiger", "chat noir", "cat" * 500), "off-list", NO),
    case("two labels", ("cat or dog", "cat, dog", "a kitty and a hound", "not a dog but a cat"), "two labels", NO),
    case(
        "a refusal", ("I'm sorry, I can't help with that.", "As an AI, I cannot tell a cat from a dog."), "refusal", "refusal"
    ),
    case("empty", ("", " \n", "..."), "empty", "empty"),
    case("100 KB", "A cat, and so on. " * 5700, "extra words", NO),
    case("thinking tags", ("<think>A dog? No.</think>\n\ncat", "A dog? No.</think>cat"), "extra words", NO, normalised="cat"),
    case("a script", '<script>alert("cat")</script><img src=x onerror=alert(1)>', "extra words", NO),
    case("one token again and again", ("cat cat cat cat cat", "!" * 40 + "cat cat"), "extra words", NO),
)
assert len(CASES) == len({one.name for one in CASES}) == 20


def shown(text: str) -> str:
    """Return what a study shows of an answer."""
    return plain(text, MOST_SHOWN)


@dataclass(frozen=True)
class Flown:
    """A study in which `said` was answered about as many cats, and what came of it."""

    said: dict[str, str]
    part: dict[str, Any]
    page: Page
    codes: tuple[int, ...]

    def kind(self, name: str) -> dict[str, Any]:
        return next(kind for kind in self.part["kinds"] if kind["id"] == name)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Flown:
    root = tmp_path_factory.mktemp("answers")
    texts = [text for one in CASES for text in one.said]
    photos = write_folder(root / "photos", ("cat", "dog", "eel"), each=len(texts), size=8)
    said = {f"cat/{at:03d}.png": text for at, text in enumerate(texts)}
    lines = [{"path": path, "answer": text} for path, text in said.items()]
    lines += [{"path": f"{name}/{at:03d}.png", "answer": name} for name in ("dog", "eel") for at in range(len(texts))]
    answers = root / "answers.jsonl"
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    entry = Entry(name="said", family="recorded", settings={"file": str(answers)})
    study = fieldguide.compare(photos, [entry], out=root / "study", split="test-only", leaks="keep")
    classes = study.folder / "classes.toml"
    write_classes(
        classes, [next(own for own in CLASSES if own.id == info.id) for info in read_classes(classes, study.manifest.classes)]
    )
    again = redraw(study.folder)
    part = read_json(study.folder / "runs" / "said" / "readings.json")["parts"]["test"]
    page = Page((study.folder / "report.html").read_text(encoding="utf-8"))
    paths = {row.key: row.path for row in study.manifest.part("test")}
    assert len(paths) == 3 * len(texts)
    return Flown(
        {key: said[path] for key, path in paths.items() if path in said}, part, page, (study.exit_code, again.exit_code)
    )


@pytest.mark.torture("T9", "Answers of language models")
@pytest.mark.parametrize("one", CASES, ids=[one.name for one in CASES])
def test_what_is_said_beside_the_question(one: Case, flown: Flown, told: Callable[[str], None]) -> None:
    for text in one.said:
        found = [read(text, ZOO, reading) for reading in READINGS]
        assert tuple(each.label or each.kind for each in found) == one.expected
        counted = flown.kind(one.strict)
        mine = [said for said in flown.said.values() if strictly(said) == one.strict]
        assert counted["count"] == len(mine) and text in mine
        assert {example["raw"] for example in counted["examples"]} <= {shown(said) for said in mine}
        assert all(len(example["raw"]) <= MOST_SHOWN for example in counted["examples"])
    flown.page.nothing_runs()
    assert flown.codes == (PARTLY, PARTLY)
    readings = ", ".join(f"{name}: {heard}" for name, heard in zip(READINGS, one.expected, strict=True))
    told(f"{KINDS[one.strict]}. {readings}. {shown(one.said[0])[:80]}")


def strictly(text: str) -> str:
    """Return of which kind an answer of `CASES` is, letter for letter."""
    return next(one.strict for one in CASES if text in one.said)


def test_every_answer_is_counted_once(flown: Flown) -> None:
    dogs_and_eels = 2 * len(flown.said)
    assert flown.part["n"] == dogs_and_eels + len(flown.said)
    assert sum(kind["count"] for kind in flown.part["kinds"]) == len(flown.said)
    rows = {row["id"]: row for row in flown.part["readings"]}
    for at, reading in enumerate(READINGS):
        cats = sum(len(one.said) for one in CASES if one.expected[at] == "cat")
        assert rows[reading]["right"] == cats + (dogs_and_eels if reading != "json" else 0)
        assert rows[reading]["labelled"] == rows[reading]["right"]
