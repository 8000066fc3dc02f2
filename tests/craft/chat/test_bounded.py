"""Held to counts: every answer that can come is one that the question allows, and every one that it allows can come."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest

from fieldguide.craft.chat import Wanted, bounded
from fieldguide.craft.chat.bounded import END, Bounded, Language, Vocabulary, counts_in, held_to_counts, vocabulary
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.errors import DataProblem
from fieldguide.records import ClassInfo
from fieldguide.tasks.count import Count, Written, Zeros
from fieldguide.tasks.count_asking import CountPrompt, render_count

TASK = Count((ClassInfo("a", "penny"), ClassInfo("b", 'dîme "x"'), ClassInfo("c", "penny 2")))
#: A token for each byte, two words, and one that leads nowhere.
WORDS = Vocabulary({at: bytes([at]) for at in range(256)} | {300: b'{"penny', 301: b'": 1', 302: b"", 303: b"999"})
OVER = 999


@pytest.fixture(scope="module")
def drawn() -> Local:
    return open_local(Wanted("drawn"))


def of(zeros: Zeros, indent: int | None, most: int = 12) -> Bounded:
    written = Written(zeros, indent)
    sample = [*TASK.say(dict.fromkeys(TASK.ids, 1), written).encode(), OVER]
    return Bounded(Language(TASK.schema(written, most), indent), WORDS, OVER, sample)


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("zeros", ["omitted", "written"])
def test_what_is_said_by_lot_is_always_a_right_form(zeros: Zeros, indent: int | None) -> None:
    held, random_one, seen = of(zeros, indent), random.Random(3), set()
    for _ in range(60):
        tokens: list[int] = []
        while not held.done(tokens):
            tokens.append(random_one.choice(held.allowed(tokens) or []))
        assert held.allowed(tokens) == [OVER] and held.allowed([*tokens, OVER]) is None and held.done([*tokens, OVER, 5])
        text, used = held.read([*tokens, OVER, 7])
        assert used == len(tokens) < held.depth
        counts = {info.id: json.loads(text).get(info.name, 0) for info in TASK.classes}
        assert text == TASK.say(counts, Written(zeros, indent)) and max(counts.values()) <= 12
        seen.add(text)
    assert len(seen) > 20


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("zeros", ["omitted", "written"])
def test_every_answer_can_be_said(zeros: Zeros, indent: int | None) -> None:
    written = Written(zeros, indent)
    language = Language(TASK.schema(written, 12), indent)
    for values in itertools.product((0, 1, 9, 10, 12), repeat=3):
        state: bounded.State | None = language.start
        text = TASK.say(dict(zip(TASK.ids, values, strict=True)), written).encode()
        for byte in text:
            assert state is not None
            state = language.step(state, byte)
        assert state == END and len(text) <= language.longest


@pytest.mark.parametrize(
    "text",
    ['{"penny": 13', '{"penny": 01', '{"penny": 0', '{"penny 2": 1, "penny"', '{"pennies', "[", '{"penny": 1 ', '{"penny": -'],
)
def test_what_no_answer_begins_with_is_not_let_through(text: str) -> None:
    state: bounded.State | None = Language(TASK.schema(most=12)).start
    for byte in text.encode():
        state = None if state is None else Language(TASK.schema(most=12)).step(state, byte)
    assert state is None


def test_a_token_of_several_bytes_is_allowed_where_all_of_them_lead_on() -> None:
    held = of("omitted", None)
    assert sorted(held.allowed([]) or []) == [ord("{"), 300] and 301 in (held.allowed([300]) or [])
    assert 302 not in (held.allowed([]) or []) and 303 not in (held.allowed([300, *b'": ']) or []), "999 is too many"


def test_schemas_of_counts_are_known_from_others() -> None:
    assert counts_in(TASK.schema()) and counts_in(TASK.schema(Written("written", 2), 5))
    assert not counts_in(None) and not counts_in({"properties": {}})
    assert not counts_in({"properties": {"label": {"type": "string", "enum": ["a"]}}})
    assert not counts_in({"properties": {"a": {"type": "integer", "minimum": 3, "maximum": 9}}})


def test_the_small_model_says_counts_and_nothing_else(drawn: Local) -> None:
    random_one = np.random.default_rng(0)
    pictures = [random_one.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(3)]
    for prompt in (
        CountPrompt(question="{classes}?", indent=2, most=20),
        CountPrompt(question="{classes}?", zeros="written", most=7),
    ):
        asking = render_count(prompt, TASK, "choice")
        said = list(drawn.ask(asking, pictures, {}))
        for one in said:
            counts = {info.id: json.loads(one.text).get(info.name, 0) for info in TASK.classes}
            assert one.text == TASK.say(counts, prompt.written(TASK)) and max(counts.values()) <= prompt.most
            assert (one.error, one.finish, one.level) == (None, "stop", "trie") and one.tokens_out is not None
        (alone,) = drawn.ask(asking, pictures[1:2], {})
        assert alone.text == said[1].text, "the same alone and in company"
    free = next(drawn.ask(render_count(CountPrompt(question="{classes}?"), TASK), pictures[:1], {}))
    assert not free.text.startswith("{"), "and by itself it would not"


def test_the_indent_is_part_of_what_is_asked() -> None:
    one, two = (render_count(CountPrompt(question="{classes}?", indent=indent), TASK, "choice") for indent in (None, 2))
    assert one.hash != two.hash


def test_a_tokeniser_that_writes_otherwise_is_refused(drawn: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = render_count(CountPrompt(question="{classes}?"), TASK, "choice")
    written = drawn.hand.write(asking)
    assert held_to_counts(drawn.hand, asking, written).end == written.end
    monkeypatch.setattr(bounded, "_writes_bytes", lambda tokenizer: False)
    with pytest.raises(DataProblem, match="cannot be held to counts"):
        held_to_counts(drawn.hand, asking, written)


def test_tokens_of_sentencepiece_are_read(drawn: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [bounded._plainly(token) for token in ("\u2581penny", "<0xC3>", "ab")] == [b" penny", b"\xc3", b"ab"]
    words = vocabulary(drawn.hand.tokenizer)
    spelled = b"".join(words.bytes[at] for at in drawn.hand.tokenizer("How many: 12?", add_special_tokens=False)["input_ids"])
    assert spelled == b"How many: 12?"
