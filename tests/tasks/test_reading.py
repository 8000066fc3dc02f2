"""Reading answers in words: four readings of one text, why a text names no class, and never a guess."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fieldguide.records import ClassInfo
from fieldguide.tasks import reading
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.json_text import first_object, objects
from fieldguide.tasks.reading import KINDS, LASTING, READINGS, Read, is_name, kind_of, read, without_thinking, words_of

ZOO = Classify(
    (
        ClassInfo("cat", "cat", ("kitty", "house cat", "pet")),
        ClassInfo("dog", "dog", ("hound", "pet")),
        ClassInfo("bear", "bear"),
        ClassInfo("polar_bear", "polar bear"),
        ClassInfo("jack", "jack in the pulpit"),
    )
)
MNIST = Classify(tuple(ClassInfo(str(digit), str(digit)) for digit in range(10)))


def every(text: str, task: Classify = ZOO) -> tuple[str | None, ...]:
    """Return under each reading the label, or else the kind in brackets."""
    found = [read(text, task, one) for one in READINGS]
    return tuple(one.label if one.label is not None else f"({one.kind})" for one in found)


@pytest.mark.parametrize(
    ("text", "strict", "normalised", "alias"),
    [
        ("cat", "cat", "cat", "cat"),
        ("  polar bear\n", "polar_bear", "polar_bear", "polar_bear"),
        ("polar_bear", "polar_bear", "polar_bear", "polar_bear"),
        ("Cat", "(other spelling)", "cat", "cat"),
        ("cat.", "(other spelling)", "cat", "cat"),
        ("A cat!", "(other spelling)", "cat", "cat"),
        ("Polar-Bears", "(other spelling)", "polar_bear", "polar_bear"),
        ("kitty", "(synonym)", "(synonym)", "cat"),
        ("The Kitties", "(synonym)", "(synonym)", "cat"),
        ("pet", "(two labels)", "(two labels)", "(two labels)"),
        ("not a cat", "(extra words)", "(extra words)", "(extra words)"),
        ("This is a cat.", "(extra words)", "(extra words)", "(extra words)"),
        ("cat or dog", "(two labels)", "(two labels)", "(two labels)"),
        ("bear\npolar bear", "(two labels)", "(two labels)", "(two labels)"),
        ("a large polar bear", "(extra words)", "(extra words)", "(extra words)"),
        ("tiger", "(off-list)", "(off-list)", "(off-list)"),
        ("gato", "(off-list)", "(off-list)", "(off-list)"),
        ("кошка", "(other language)", "(other language)", "(other language)"),
        ("これは猫です", "(other language)", "(other language)", "(other language)"),
        ("I'm sorry, but I can't tell a cat from a dog here.", "(refusal)", "(refusal)", "(refusal)"),
        ("As an AI language model, I'm unable to say.", "(refusal)", "(refusal)", "(refusal)"),
        ("Unfortunately, I can’t see a cat", "(refusal)", "(refusal)", "(refusal)"),
        ("Unfortunately it is a cat.", "(extra words)", "(extra words)", "(extra words)"),
        ("I'm not sure, a cat?", "(extra words)", "(extra words)", "(extra words)"),
        ("", "(empty)", "(empty)", "(empty)"),
        (" \n\t", "(empty)", "(empty)", "(empty)"),
        ("...", "(empty)", "(empty)", "(empty)"),
        ("<think>a dog?</think>\ncat", "(extra words)", "cat", "cat"),
        ("a dog? no.</think>kitty", "(synonym)", "(synonym)", "cat"),
        ("<think>it is a cat", "(cut)", "(cut)", "(cut)"),
        ("<think>cat</think>", "(empty)", "(empty)", "(empty)"),
        ('{"label": "ca', "(cut)", "(cut)", "(cut)"),
        ('{"label": "cat"}', "(extra words)", "(extra words)", "(extra words)"),
        ("{'label': 'cat'}", "(invalid JSON)", "(invalid JSON)", "(invalid JSON)"),
    ],
)
def test_the_readings_of_words(text: str, strict: str, normalised: str, alias: str) -> None:
    assert every(text)[:3] == (strict, normalised, alias)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"label": "cat"}', "cat"),
        ('{"anything": "Cats."}', "cat"),
        ('```json\n{"answer": "polar-bear"}\n```', "polar_bear"),
        ('Sure! Here it is: {"class": "cat", "confidence": 95} Hope it helps.', "cat"),
        ('{"animal": "cat", "confidence": 0.95, "reason": "no dog looks like that"}', "cat"),
        ('<think>{"label": "dog"}</think>{"label": "cat"}', "cat"),
        ('{"label": ["cat"]}', "cat"),
        ('{"answer": {"label": "cat", "score": 1}}', "cat"),
        ('{"label": "cat"} {"label": "Cat"}', "cat"),
        ('{"label": "cat"}\n{"label": "dog"}', "(two labels)"),
        ('{"label": "cat", "label": "dog"}', "(two labels)"),
        ('{"label": ["cat", "dog"]}', "(two labels)"),
        ('{"label": "cat", "answer": "dog"}', "(two labels)"),
        ('{"cat": 0.9, "dog": 0.1}', "(two labels)"),
        ('{"label": "cat or dog"}', "(two labels)"),
        ('{"label": "cat"} {"label": "tiger"}', "(extra words)"),
        ('{"label": "a cat on a mat"}', "(extra words)"),
        ('{"label": "kitty"}', "(synonym)"),
        ('{"label": "tiger"}', "(off-list)"),
        ('{"label": null}', "(off-list)"),
        ('{"label": true}', "(off-list)"),
        ("{}", "(off-list)"),
        ('{"label": "猫"}', "(other language)"),
        ('{"label": ""}', "(empty)"),
        ('{"label": "cat",}', "(invalid JSON)"),
        ("{'label': 'cat'}", "(invalid JSON)"),
        ('{"label": "cat", "confidence": NaN}', "(invalid JSON)"),
        ('{"label": cat}', "(invalid JSON)"),
        ('{"label": "cat", "box": {"label": "dog"},}', "(invalid JSON)"),
        ("cat", "(invalid JSON)"),
        ('["cat"]', "(invalid JSON)"),
        ('{"label": "cat"', "(cut)"),
        ('```json\n{"label": "c', "(cut)"),
        ("I'm sorry, I can't.", "(refusal)"),
        ("", "(empty)"),
    ],
)
def test_the_reading_of_json(text: str, said: str) -> None:
    assert every(text)[3] == said


def test_figures_are_read_out_of_json_as_names() -> None:
    assert every('{"digit": 3}', MNIST)[3] == every('{"digit": "3"}', MNIST)[3] == "3"
    assert every('{"digit": 3, "confidence": 0.5}', MNIST)[3] == "3"
    assert read('{"digit": 3.0}', MNIST, "json").label is None
    assert every("three", MNIST) == ("(off-list)", "(off-list)", "(off-list)", "(invalid JSON)")


@pytest.mark.parametrize("one", READINGS)
def test_an_answer_that_was_cut_or_declined_is_none_whatever_it_holds(one: reading.Reading) -> None:
    text = '{"label": "cat"}' if one == "json" else "cat"
    assert read(text, ZOO, one) == read(text, ZOO, one, "stop") == Read("cat")
    assert read(text, ZOO, one, "length") == Read(None, "cut")
    assert read(text, ZOO, one, "refusal") == read(text, ZOO, one, "content_filter") == Read(None, "refusal")


def test_thoughts_are_left_aside() -> None:
    assert without_thinking("a<think>b</think>c<THINKING>d</THINKING>e") == ("ace", False)
    assert without_thinking("thought</think>c") == ("c", False)
    assert without_thinking("<think>a<think>b</think>c") == ("c", False)
    assert without_thinking("c<think>") == ("c", True)
    assert without_thinking("I think a cat") == ("I think a cat", False)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cat", True),
        ("Cat", True),
        ("tiger", True),
        ("black bear", True),
        ("猫", True),
        ("jack in the pulpit", True),
        ("black-and-white colobus", True),
        ("a cat", False),
        ("it is a cat", False),
        ("cat.", True),
        ("cat!", False),
        ("cat, dog", False),
        ("cat or dog", False),
        ("cat dog", False),
        ("I cannot tell", False),
        ("", False),
        ("one two three four five", False),
        ('{"label": "cat"}', False),
        ("cat\ndog", False),
        ("x" * 300, False),
    ],
)
def test_what_is_a_bare_name(text: str, name: bool) -> None:
    assert is_name(text, ZOO) == name


def test_every_kind_has_a_name_and_words_that_lead_back_to_it() -> None:
    for kind in KINDS:
        if kind != "other label":
            assert kind_of(words_of(kind)) == kind_of(words_of(kind, "timeout: after 3 s")) == kind
    assert kind_of(None) is None and kind_of("truncated: lost") is None and kind_of("answer off the list") is None
    assert kind_of("empty answer") == "empty" and kind_of("no recorded answer") == "no answer"
    assert set(KINDS) >= LASTING


_SAID = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            [
                "cat",
                "Cats",
                "dog",
                "polar",
                "bear",
                "kitty",
                "pet",
                "not",
                "a",
                "the",
                "or",
                ",",
                ".",
                "-",
                "\n",
                "<think>",
                "</think>",
                *(
                    '{"label": "cat"}',
                    '{"label":',
                    '"dog"',
                    "}",
                    "{",
                    "```",
                    "```json",
                    "I'm sorry",
                    "猫",
                    "\u0301",
                    "null",
                    "NaN",
                ),
            ]
        ),
        max_size=8,
    ).map(" ".join),
    st.lists(st.sampled_from('{}[]":,`<>/ catdog\\\n'), max_size=30).map("".join),
)


@given(_SAID, st.sampled_from(["", "stop", "length", "refusal"]))
@example('{"label": "\\ud800"}', "")
def test_whatever_is_said_is_read_without_a_guess(text: str, finish: str) -> None:
    found = {one: read(text, ZOO, one, finish) for one in READINGS}
    for one in found.values():
        assert (one.label is None) != (one.kind is None)
        assert one.label is None or one.label in ZOO.index
        assert one.kind is None or (one.kind in KINDS and one.kind != "other label")
    assert found["strict"].label in (None, found["normalised"].label)
    assert found["normalised"].label in (None, found["alias"].label)
    named = ZOO.names.mentioned(without_thinking(text)[0])
    if len(named) > 1:
        assert {one.label for name, one in found.items() if name != "json"} == {None}


@given(st.sampled_from(ZOO.ids), st.sampled_from(ZOO.ids), st.sampled_from([" or ", ", ", " and ", "\n", "/", " ", "; not "]))
def test_two_names_are_no_answer(one: str, other: str, between: str) -> None:
    text = ZOO.say(one) + between + ZOO.say(other)
    if one != other and ZOO.names.normalised(text) is None:
        assert {read(text, ZOO, way).label for way in READINGS} == {None}
        assert {read(text, ZOO, way).kind for way in READINGS[:3]} == {"two labels"}


@given(
    st.dictionaries(
        st.sampled_from(["label", "x", "confidence"]), st.none() | st.booleans() | st.floats() | st.lists(st.none(), max_size=2)
    )
)
def test_any_json_is_read(value: object) -> None:
    assert read(json.dumps(value), ZOO, "json").label is None


K = 100_000
HUGE = {
    "braces": "{" * K,
    "nested": '{"a":' * (K // 5),
    "brackets": "[" * K,
    "objects": '{"a":1}' * (K // 7),
    "a fence without end": "```" + "a" * K,
    "a fence of spaces": "```" + " " * K,
    "ticks": "`" * K,
    "stops": "." * K + "x",
    "hyphens": "a" + "-" * K + "a",
    "articles": "a " * (K // 2),
    "a name again and again": "cat " * (K // 4),
    "a token again and again": "cat" * (K // 3),
    "halves of a name": "polar " * (K // 6),
    "thoughts": "<think>" * (K // 7),
    "ends of thoughts": "</think>" * (K // 8),
    "sorry": "sorry " * (K // 6),
    "apostrophes": "'" * K,
    "one word": "s" * K,
    "another script": "猫" * K,
    "marks on one letter": "a" + "\u0301\u0323" * (K // 2),
    "a figure": '{"label": ' + "9" * K + "}",
    "a text without end": '{"label": "' + "x" * K,
    "escapes": '{"label": "' + "\\u0061" * (K // 6) + '"}',
}


@pytest.mark.parametrize("name", HUGE)
def test_a_hundred_thousand_characters_are_read_in_bounded_time(name: str) -> None:
    text = HUGE[name]
    start = time.process_time()
    for one in READINGS:
        assert read(text, ZOO, one).label is None
    is_name(text, ZOO)
    first_object(text)
    assert time.process_time() - start < 8  # on a busy machine; about a tenth of it alone


def test_objects_are_found_in_order_and_nothing_is_mended() -> None:
    found = objects('a {"x": 1} b ```json\n{"y": {"z": 2}}\n``` {broken} {"w": 3}')
    assert found.found == ({"x": 1}, {"y": {"z": 2}}) and found.broken and not found.cut
    assert objects('{"x": 1, "x": 1}').found == ({"x": 1},)
    assert objects('{"x": 1, "x": 2, "x": 3}').found[0]["x"] == (1, 2, 3)
    assert objects("no object").found == () and not objects("no object").broken
    assert objects('{"x": "').cut and objects('{"x": ').cut and objects("{").cut and not objects("{x").cut


def test_an_answer_that_was_withheld_is_no_failure_of_the_run() -> None:
    assert reading.answered("too unsure: c0 with probability 0.310, below the threshold of 0.400")
    assert reading.answered(words_of("off-list")) and not reading.answered(words_of("cut"))
    assert not reading.answered("server failed: no reply") and not reading.answered("undecided: the server told too little")
