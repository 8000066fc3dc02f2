"""Counting as a task: what is asked, how the right answer is written, and what an answer in words is read as."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldguide.errors import UsageProblem
from fieldguide.records import ClassInfo
from fieldguide.tasks.asking import Shown, from_json
from fieldguide.tasks.asking import as_json as asking_json
from fieldguide.tasks.count import MOST, Count, Written, name_of
from fieldguide.tasks.count_asking import CountPrompt, count_prompt_names, read_count_prompt, render_count
from fieldguide.tasks.count_reading import KINDS, ReadCounts, answered, kind_of, read_counts

COINS = Count((ClassInfo("c1", "penny", ("pennies",)), ClassInfo("c5", "nickel"), ClassInfo("c10", "dime")))
MONEY = Count(
    tuple(
        ClassInfo(name, name)
        for name in sorted(["dime", "nickel", "penny", "quarter", "fifty", "five", "hundred", "one", "ten", "twenty"])
    )
)


def kind(text: str, **more: str) -> str | None:
    told = read_counts(text, COINS, **more)  # type: ignore[arg-type]
    assert (told.counts is None) == (told.kind is not None) == (told.error is not None)
    assert told.kind is None or told.kind in KINDS
    return told.kind


def test_the_right_answer_is_one_text() -> None:
    assert COINS.say({"c10": 2, "c1": 1}) == '{"penny": 1, "dime": 2}'
    assert COINS.say({"c10": 2}, Written("written")) == '{"penny": 0, "nickel": 0, "dime": 2}'
    assert COINS.say({"c10": 2, "c1": 1}, Written(indent=2, order=("c10",))) == '{\n  "dime": 2,\n  "penny": 1\n}'
    assert COINS.say({}) == "{}"
    assert name_of(COINS) == "count"


def test_the_published_question_to_the_letter() -> None:
    prompt = read_count_prompt("currency")
    asking = render_count(prompt, MONEY)
    [turn] = asking.messages
    assert turn.parts == (
        Shown(),
        "How many of each type of the currency (dime, nickel, penny, quarter, fifty, five, hundred, one, ten, twenty) are there? "
        "Respond in JSON format with the currency type as the key and a integer count as the value.",
    )
    assert MONEY.say({"twenty": 1, "dime": 3}, prompt.written(MONEY)) == '{\n  "dime": 3,\n  "twenty": 1\n}'
    assert from_json(json.loads(json.dumps(asking_json(asking)))) == asking
    assert asking.hash != render_count(prompt, MONEY, "choice").hash


def test_every_question_of_the_package_holds_all_names_and_its_answer_is_read() -> None:
    for name in count_prompt_names():
        prompt = read_count_prompt(name)
        text = render_count(prompt, COINS).text()
        assert all(info.name in text for info in COINS.classes) and prompt.source and prompt.about
        right = COINS.say({"c5": 7}, prompt.written(COINS))
        assert read_counts(right, COINS, prompt.reading, zeros=prompt.zeros).counts == {"c1": 0, "c5": 7, "c10": 0}


def test_examples_stand_before_the_question_with_their_answers() -> None:
    asking = render_count(CountPrompt(question="How many? {classes}", place="before"), COINS, examples=[("k1", {"c1": 4})])
    assert [turn.role for turn in asking.messages] == ["user", "assistant", "user"]
    assert asking.messages[0].parts == ("How many? penny, nickel, dime", Shown("k1"))
    assert asking.messages[1].parts == ('{"penny": 4}',) and asking.examples == ("k1",)


def test_names_are_data_and_no_template() -> None:
    odd = Count((ClassInfo("a", "{classes}"), ClassInfo("b", '"}{')))
    asking = render_count(CountPrompt(question="Count {classes}."), odd)
    assert asking.messages[0].parts[1] == 'Count {classes}, "}{.'
    assert read_counts(odd.say({"b": 3}), odd).counts == {"a": 0, "b": 3}


@pytest.mark.parametrize("how", ["likelihood", "decision"])
def test_counts_are_not_weighed(how: str) -> None:
    with pytest.raises(UsageProblem, match="Counts cannot be had"):
        render_count(read_count_prompt("plain"), COINS, how)  # type: ignore[arg-type]


def test_the_schema_has_bounds_and_an_order() -> None:
    written = COINS.schema(Written("written", order=("c10",)), most=20)
    assert list(written["properties"]) == ["dime", "penny", "nickel"] == written["required"]
    assert written["properties"]["dime"] == {"type": "integer", "minimum": 0, "maximum": 20}
    omitted = COINS.schema()
    assert omitted["properties"]["dime"]["minimum"] == 1 and omitted["required"] == [] and not omitted["additionalProperties"]


def test_reading_takes_whole_numbers_and_nothing_else() -> None:
    assert read_counts(' {"penny": 3, "c10": 1}\n', COINS) == ReadCounts({"c1": 3, "c5": 0, "c10": 1})
    assert read_counts("{}", COINS).counts == {"c1": 0, "c5": 0, "c10": 0}
    assert read_counts(f'{{"dime": {MOST}}}', COINS).counts == {"c1": 0, "c5": 0, "c10": MOST}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("0", "no object"),
        ("[[0.1, 0.2, 0.3, 0.4]]", "no object"),
        ('"penny"', "no object"),
        ("There are three pennies and a dime.", "no JSON"),
        ("I'm sorry, I cannot count them.", "refusal"),
        ('{"penny": 3', "cut"),
        ('{"penny": 3, "di', "cut"),
        ("{'penny': 3}", "invalid JSON"),
        ('{"penny": 3,}', "invalid JSON"),
        ('{"penny": NaN}', "invalid JSON"),
        ('{"penny": ' + "9" * 5000 + "}", "invalid JSON"),
        ('```json\n{"penny": 3}\n```', "extra words"),
        ('Here you are: {"penny": 3}', "extra words"),
        ('{"penny": 3} {"dime": 1}', "two objects"),
        ('{"Penny": 3}', "wrong key"),
        ('{"penny": 3, "euro": 0}', "wrong key"),
        ('{"pennies": 3}', "wrong key"),
        ('{"currency": {"penny": 3}}', "wrong key"),
        ('{"penny": 3, "c1": 3}', "two counts"),
        ('{"penny": 3, "penny": 4}', "two counts"),
        ('{"penny": "3"}', "no number"),
        ('{"penny": true}', "no number"),
        ('{"penny": null}', "no number"),
        ('{"penny": [3]}', "no number"),
        ('{"penny": 2.5}', "not whole"),
        ('{"penny": 3.0}', "not whole"),
        ('{"penny": 1e999}', "too large"),
        ('{"penny": -1}', "negative"),
        (f'{{"penny": {MOST + 1}}}', "too large"),
        ('{"penny": ' + "9" * 300 + "}", "too large"),
        ("[" * 100_000, "no JSON"),
        ("{" * 100_000, "invalid JSON"),
    ],
)
def test_why_an_answer_gives_no_counts(text: str, expected: str) -> None:
    assert kind(text) == expected
    error = read_counts(text, COINS).error or ""
    assert kind_of(error) == expected and answered(error) == (expected not in ("cut",)) and len(error) < 200


def test_a_number_in_quotes_is_told_with_them() -> None:
    assert read_counts('{"penny": "3"}', COINS).error == "no number: the count of 'c1' is \"3\""


def test_the_other_reading_takes_fences_prose_and_spellings_and_still_guesses_nothing() -> None:
    for text in ('```json\n{"Pennies": 3}\n```', 'Sure: {"penny": 3}.', '<think>{"dime": 1}</think>{"PENNY": 3}'):
        assert read_counts(text, COINS, "json").counts == {"c1": 3, "c5": 0, "c10": 0}, text
        assert read_counts(text, COINS).counts is None
    assert kind('{"penny": 3} or {"penny": 3}', reading="json") == "two objects"
    assert kind('{"penny": 3, "Pennies": 2}', reading="json") == "two counts"
    assert kind('<think>{"penny": 3}', reading="json") == "cut"
    assert kind('{"penny": "3"}', reading="json") == "no number"


def test_an_answer_that_was_cut_is_none_and_a_zero_that_had_to_be_written_is_missed() -> None:
    assert kind('{"penny": 3}', finish="length") == "cut"
    assert kind('{"penny": 3}', zeros="written") == "missing key"
    assert kind('{"penny": 3, "nickel": 0, "dime": 0}', zeros="written") is None


@given(st.dictionaries(st.sampled_from(COINS.ids), st.integers(0, MOST)), st.sampled_from(["omitted", "written"]))
def test_what_is_said_is_read_back(counts: dict[str, int], zeros: str) -> None:
    written = Written(zeros, order=("c10",))  # type: ignore[arg-type]
    assert read_counts(COINS.say(counts, written), COINS, zeros=zeros).counts == COINS.whole(counts)  # type: ignore[arg-type]


@given(st.text(alphabet='{}[]":,0123 penydim.-eE`\\', max_size=60))
def test_any_text_is_counts_or_one_kind_and_never_both(text: str) -> None:
    for reading in ("strict", "json"):
        kind(text, reading=reading)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('question = "Zähle {classes}"\nzeros = "written"\n', encoding="utf-8")
    assert read_count_prompt(path).name == "mine"
    for content, why in (('question = "{colour}"', "no place"), ("question = 3", "not possible"), ("= 3", "cannot be read")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(UsageProblem, match=why):
            render_count(read_count_prompt(path), COINS)
    with pytest.raises(UsageProblem, match="There is no question for counts"):
        read_count_prompt("currenzy")
