"""The doctor's eye for words: each kind of finding where it is, not where it is not, and the published files near their known figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from fieldguide.data.texts import doctor
from fieldguide.data.texts.doctor import Looked, by_group, groups, look, totals
from fieldguide.records import ClassInfo, Line, Texts

CLASSES = (
    ClassInfo("001.Anna_Hummingbird", "Anna Hummingbird", ("Calypte anna",)),
    ClassInfo("Black-footed Albatross", "Black-footed Albatross"),
    ClassInfo("canary", "canary"),
    ClassInfo("orange", "orange"),
)
HUMMINGBIRD, ALBATROSS, CANARY, ORANGE = (info.id for info in CLASSES)


def looked(said: Mapping[str, Sequence[str]], **more: object) -> tuple[Looked, ...]:
    return look(Texts("x", {id: tuple(map(Line, lines)) for id, lines in said.items()}), CLASSES, **more)  # type: ignore[arg-type]


def codes(id: str, text: str) -> list[str]:
    (one,) = looked({id: [text]})
    return [finding.code for finding in one.findings]


@pytest.mark.parametrize(
    ("id", "text"),
    [
        (HUMMINGBIRD, "Anna's Hummingbird has a pink throat."),
        (HUMMINGBIRD, "a throat like all anna-hummingbirds have"),
        (HUMMINGBIRD, "the calypte anna"),
        (ALBATROSS, "an albatross, black-footed"),
        (ALBATROSS, "the blackfooted albatrosses"),
        (CANARY, "canaries are yellow"),
        (CANARY, "the canary's beak"),
    ],
)
def test_names_are_found_in_hyphen_plural_and_possessive_forms(id: str, text: str) -> None:
    assert codes(id, text) == ([] if text == "an albatross, black-footed" else ["names_class"])


def test_other_classes_are_named_by_names_of_several_words_alone() -> None:
    assert codes(CANARY, "unlike the Black footed Albatross, small") == ["names_other"]
    assert codes(CANARY, "an orange beak") == [] and codes(ORANGE, "an orange peel") == ["names_class"]
    assert codes(ORANGE, "round and canary-like") == []
    (one,) = looked({CANARY: ["smaller than Anna's hummingbird"]})
    assert one.findings[0].detail == "Anna Hummingbird"


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("A bird with a loud, ringing song.", "sound"),
        ("A bird that feeds on insects.", "behaviour"),
        ("a lively, friendly dog", "character"),
        ("lays four blue eggs", "life"),
        ("found in North America", "place"),
        ("lives near wetlands", "habitat"),
        ("a wingspan of 20 cm", "measure"),
        ("about 4.3-5.1 inches long", "measure"),
        ("weighs 3 oz", "measure"),
        ("a sweet fragrance", "sense"),
        ("was bred for hunting", "renown"),
    ],
)
def test_what_no_picture_shows_is_told_with_its_reason(text: str, group: str) -> None:
    (one,) = looked({CANARY: [text]})
    found = {finding.group: finding for finding in one.findings if finding.code == "not_visible"}
    assert group in found
    assert found[group].detail.endswith({entry.name: entry.reason for entry in groups()}[group])


@pytest.mark.parametrize(
    "text",
    [
        "a short tail with two white bars",
        "black and white stripes on the head, 3 in number",
        "a so-called cap, dark as a raven",
        "a bird with a bill like a dagger",
        "long wings that show 2 white patches",
        "brown like tree bark, a songster's throat patch",
        "perched upright with its crest raised",
    ],
)
def test_what_can_be_seen_is_left_alone(text: str) -> None:
    assert codes(CANARY, text) == []


def test_what_lines_share() -> None:
    found = looked(
        {
            CANARY: [
                "A yellow body.",
                "dark wings with two white bars",
                "A black body and yellow wings",
                "a yellow body",
                "round",
            ],
            ORANGE: ["a yellow body", "wings dark, with the two white bars", "a yellow body with black wings", "soft rind"],
            ALBATROSS: ["a yellow body!"],
        }
    )
    told = {(one.id, one.at): [finding.code for finding in one.findings] for one in found}
    assert told[CANARY, 0] == ["shared"] and told[CANARY, 3] == ["shared", "repeated"] and told[ALBATROSS, 0] == ["shared"]
    assert told[CANARY, 1] == told[ORANGE, 1] == ["nearly_shared"]
    assert told[CANARY, 2] == told[ORANGE, 2] == [], "the same words are not the same look"
    assert found[0].findings[0].detail == "orange, Black-footed Albatross"
    assert totals(found) == {**dict.fromkeys(doctor.CODES, 0), "shared": 4, "nearly_shared": 2, "repeated": 1}
    assert set(by_group(found)) == {group.name for group in groups()} and not any(by_group(found).values())


def test_lengths_and_contexts() -> None:
    assert codes(CANARY, "Yellow. Black wings.") == ["long"] and codes(CANARY, " ".join(["yellow"] * 41)) == ["long"]
    assert codes(CANARY, "found by John L. Hay") == [] and codes(CANARY, "...") == ["empty"]

    def counted(lines: Sequence[str]) -> list[int]:
        return [len(line.split()) + 2 for line in lines]

    said = {CANARY: ["one two three", "one two three four"]}
    assert [len(one.findings) for one in looked(said, counted=counted, context=5)] == [0, 1]
    assert looked(said, counted=counted, context=5)[1].findings[0].detail == "6 tokens, 5 are read"
    assert totals(looked(said, counted=counted, context=None))["beyond_context"] == 0


def test_little_words_and_odd_lines_do_no_harm() -> None:
    assert [one.findings for one in looked({CANARY: ["the", "a"]})] == [(), ()]
    assert looked({}) == ()
    assert codes("no class", "yellow") == []
    assert codes(CANARY, "猫 の 耳") == []


def _published(path: Path) -> dict[str, list[str]]:
    if path.is_dir():
        return {file.stem: file.read_text(encoding="utf-8").split("\n") for file in sorted(path.glob("*.txt"))}
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("place", "lines", "names", "unseen", "shared"),
    [
        # Counted before by other means, in %: 17.6 name the class, 29.0 tell of calls, eggs, nests or ranges, 9.1 are shared word for word.
        ("AdaptCLIPZS/gpt4_0613_api_CUB", 4615, (17, 20), (48, 52), (8.5, 9.5)),
        # 0, 0.3, 70.7
        ("classify_by_description/descriptors_cub.json", 1312, (0, 0.1), (0, 1.6), (70, 72)),
        ("classify_by_description/descriptors_pets.json", 246, (0, 0.1), (0, 0.1), (38, 41)),
        ("CuPL/base/pet_prompts_base.json", 1110, (95, 100), (15, 21), (0, 0.1)),
    ],
)
def test_published_descriptions_are_as_dirty_as_known(
    data_root: Path,
    place: str,
    lines: int,
    names: tuple[float, float],
    unseen: tuple[float, float],
    shared: tuple[float, float],
) -> None:
    said = {
        id: tuple(Line(text) for text in every if text.strip()) for id, every in _published(data_root / "texts" / place).items()
    }
    found = look(Texts("x", said), [ClassInfo(id, id) for id in said])
    share = {code: 100 * count / len(found) for code, count in totals(found).items()}
    assert len(found) == lines
    for code, (least, most) in (("names_class", names), ("not_visible", unseen), ("shared", shared)):
        assert least <= share[code] <= most, (code, share[code])
    if lines == 4615:
        strict = sum(any(one.group in ("sound", "life", "place", "measure") for one in line.findings) for line in found)
        assert 28 <= 100 * strict / lines <= 34, "sounds, broods, places and measures alone"
