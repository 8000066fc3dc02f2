"""Language models on this machine: the picture counts, a batch changes nothing, what is computed once changes nothing, order and laziness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.craft.chat.asking import NAMES, asking, picture

from fieldguide.craft.chat import Said, Wanted, prefix
from fieldguide.craft.chat.local import Local, open_local
from fieldguide.craft.chat.tiny import architectures
from fieldguide.errors import UsageProblem
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown

CAN = tuple(name for name in architectures() if name != "mllama")


def opened(tiny_chats: Path, architecture: str = "idefics3", **more: Any) -> Local:
    return open_local(Wanted(f"hf/{tiny_chats / architecture}", **more))


def logits_of(chat: Local, question: Any, seed: int, examples: dict[str, Pixels], *, cached: bool) -> torch.Tensor:
    """Return logits of the first steps of an answer, with or without what is computed once."""
    prompt = chat._written(question, examples)
    prompt.prefix, prompt.tried = None, not cached
    ready = chat._ready(prompt, 0, picture(seed))
    assert not isinstance(ready, Said)
    assert (prompt.prefix is not None) is cached
    with torch.inference_mode():
        return prefix._logits(chat.model, prompt.prefix.joined(chat.model, ready.inputs) if prompt.prefix else ready.inputs)


@pytest.mark.parametrize("architecture", architectures())
def test_it_generates_chooses_from_the_list_and_batches_change_nothing(tiny_chats: Path, architecture: str) -> None:
    pictures = [picture(seed, 32, 32 + 16 * (seed % 3)) for seed in range(7)]
    chat = opened(tiny_chats, architecture, batch_size=4)
    for how in ({"how": "choice"}, {"most_tokens": 5}, {"most_tokens": 5, "temperature": 1.0, "seed": 3}):
        question = asking(**how)
        said = list(chat.ask(question, pictures, {}))
        assert [one.text for one in said] == [next(chat.ask(question, [alone], {})).text for alone in pictures]
        assert all(one.error is None and one.tokens_in and one.seconds for one in said)
        if "how" in how:
            assert {one.text for one in said} <= set(NAMES)
            assert {(one.level, one.finish) for one in said} == {("trie", "stop")}
        else:
            assert len({one.text for one in said}) > 1, "what it sees makes a difference"
            assert {one.level for one in said} == {"text"}
            assert all(one.finish == "stop" or one.tokens_out == 5 for one in said)
        cached = {one.cached for one in said[1:]}
        assert cached == ({0} if architecture == "mllama" else {chat.facts["prefix"]["tokens"]})
        assert said[0].cached == 0, "the first picture pays for what is computed once"


@pytest.mark.parametrize("architecture", architectures())
def test_another_picture_has_other_logits_and_so_has_another_list(tiny_chats: Path, architecture: str) -> None:
    chat = opened(tiny_chats, architecture)
    one, two = (logits_of(chat, asking(), seed, {}, cached=False) for seed in (1, 2))
    assert float((one[0] - two[0]).abs().max()) > 0.05
    other = logits_of(chat, asking(NAMES[:4]), 1, {}, cached=False)
    assert float((one[0] - other[0]).abs().max()) > 0.05


@pytest.mark.parametrize("architecture", CAN)
@pytest.mark.parametrize("shown", [(), ("a", "b")])
def test_what_is_computed_once_changes_no_logit(tiny_chats: Path, architecture: str, shown: tuple[str, ...]) -> None:
    chat, examples = opened(tiny_chats, architecture), {"a": picture(10), "b": picture(11, 32, 64)}
    question = asking(examples=shown)
    for seed in (3, 4, 3):
        plain, cached = (logits_of(chat, question, seed, examples, cached=way) for way in (False, True))
        assert torch.allclose(plain, cached, atol=1e-4), float((plain - cached).abs().max())
    assert chat.facts["prefix"]["used"]
    if shown:
        swapped = {"a": examples["b"], "b": examples["a"]}
        chat.close()
        assert not torch.allclose(logits_of(chat, question, 3, swapped, cached=True), plain, atol=1e-2), "examples are seen"


def test_a_cache_is_copied_and_not_used_up(tiny_chats: Path) -> None:
    chat, same = opened(tiny_chats, batch_size=2), [picture(5)] * 6
    said = list(chat.ask(asking(most_tokens=6), same, {}))
    assert len({one.text for one in said}) == 1


def test_where_it_would_change_the_answers_nothing_is_computed_once(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(seed) for seed in range(3)]
    expected = [one.text for one in opened(tiny_chats).ask(asking(most_tokens=5), pictures, {})]
    honest = prefix.computed

    def spoilt(model: Any, inputs: Any) -> prefix.Prefix:
        made = honest(model, inputs)
        made.cache.layers[0].keys[..., -1, :] += 1.0
        return made

    monkeypatch.setattr(prefix, "computed", spoilt)
    chat = opened(tiny_chats)
    assert [one.text for one in chat.ask(asking(most_tokens=5), pictures, {})] == expected
    assert not chat.facts["prefix"]["used"]
    assert "logits differ by" in chat.facts["prefix"]["why"]
    assert any("computed anew" in note for note in chat.facts["notes"])


def test_mllama_goes_without_and_says_so(tiny_chats: Path) -> None:
    chat = opened(tiny_chats, "mllama")
    list(chat.ask(asking(most_tokens=2), [picture(0)], {}))
    assert chat.facts["prefix"] == {"used": False, "why": "its parts are not tokenised as the whole"}


def test_where_nothing_stands_before_the_picture_all_is_computed_and_examples_keep_their_place(tiny_chats: Path) -> None:
    chat, examples = opened(tiny_chats), {"a": picture(10)}
    first = Asking((Message("user", (Shown(), "Which? This is another one:", Shown("a"))),), NAMES, most_tokens=4)
    said = next(chat.ask(first, [picture(0)], examples))
    assert (said.error, chat.facts["prefix"]["used"], chat.facts["notes"]) == (None, False, [])
    # A model whose mark of a picture cannot be told apart is asked all the same.
    question, expected = asking(examples=("a",), most_tokens=4), []
    for blind in (False, True):
        chat = opened(tiny_chats)
        if blind:
            chat.hand.__dict__["mark"] = ""
        expected.append(next(chat.ask(question, [picture(0)], examples)))
        assert chat.facts["prefix"]["used"] is not blind
    assert expected[0].text == expected[1].text
    assert expected[1].error is None


def test_pictures_are_taken_as_they_are_needed_and_answered_in_order(tiny_chats: Path) -> None:
    chat, taken = opened(tiny_chats, "qwen3_vl", batch_size=2), []
    # The first is alone with its shape: a batch of it could only be filled by taking all.
    pictures = [picture(number, 32, 32 if number == 0 else 64 + 32 * (number % 2)) for number in range(9)]

    def stream() -> Iterator[Pixels]:
        for number in range(9):
            taken.append(number)
            yield pictures[number]

    stop = chat.ask(asking(most_tokens=3), stream(), {})
    assert taken == []
    order = []
    for number, said in enumerate(stop):
        order.append(said.text)
        assert len(taken) - number <= chat.ahead
    assert len(order) == 9
    assert order == [next(chat.ask(asking(most_tokens=3), [alone], {})).text for alone in pictures]


def test_a_picture_that_cannot_be_used_is_an_error_of_its_own(tiny_chats: Path) -> None:
    chat, empty = opened(tiny_chats, batch_size=3), np.zeros((0, 4, 3), np.uint8)
    said = list(chat.ask(asking(most_tokens=3), [empty, picture(0), empty, picture(1), picture(2)], {}))
    assert [one.error is None for one in said] == [False, True, False, True, True]
    assert chat.facts["prefix"]["used"], "it is not the fault of the model"
    good = list(chat.ask(asking(most_tokens=3), [picture(0), picture(1), picture(2)], {}))
    assert [one.text for one in said if one.error is None] == [one.text for one in good]


def test_where_memory_runs_out_batches_are_halved(tiny_chats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [picture(seed) for seed in range(8)]
    expected = [one.text for one in opened(tiny_chats).ask(asking(most_tokens=3), pictures, {})]
    chat, rows = opened(tiny_chats, batch_size=8), []
    honest = chat.model.generate

    def hungry(**inputs: Any) -> Any:
        rows.append(len(inputs["input_ids"]))
        if rows[-1] > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return honest(**inputs)

    monkeypatch.setattr(chat.model, "generate", hungry)
    most = 3
    assert [one.text for one in chat.ask(asking(most_tokens=3), pictures, {})] == expected
    assert chat.batch == 2
    rows.clear()
    assert [one.text for one in chat.ask(asking(most_tokens=3), pictures, {})] == expected
    assert max(rows) == 2, "it is remembered"
    assert "Memory ran out" in chat.facts["notes"][-1]
    most = 0
    said = list(chat.ask(asking(most_tokens=3), pictures[:2], {}))
    assert [(one.lasting, "memory" in str(one.error)) for one in said] == [(True, True)] * 2


def test_memory_that_runs_out_while_a_prefix_is_tried_says_nothing_of_the_architecture(
    tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [picture(seed) for seed in range(3)]
    expected = [one.text for one in opened(tiny_chats).ask(asking(most_tokens=3), pictures, {})]
    chat = opened(tiny_chats, batch_size=8)
    honest = chat.model.generate

    def hungry(**inputs: Any) -> Any:
        if len(inputs["input_ids"]) > most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return honest(**inputs)

    monkeypatch.setattr(chat.model, "generate", hungry)
    most = 0
    said = list(chat.ask(asking(most_tokens=3), pictures, {}))
    assert [(one.lasting, one.error) for one in said] == [(True, "memory ran out with a single picture")] * 3
    assert "prefix" not in chat.facts and not any("anew" in note for note in chat.facts["notes"])
    most = 1
    assert [one.text for one in chat.ask(asking(most_tokens=3), pictures, {})] == expected
    assert chat.facts["prefix"]["used"] and chat.batch == 1
    assert chat.facts["notes"][-1].startswith("Memory ran out: 1 picture goes through")


def test_numbers_that_are_none_and_prompts_that_are_too_long_are_told(tiny_chats: Path) -> None:
    chat = opened(tiny_chats)
    chat.context = 40
    said = list(chat.ask(asking(), [picture(0)], {}))
    assert said[0].lasting and "the model reads 40 at most" in str(said[0].error)
    chat = opened(tiny_chats)
    with torch.no_grad():
        chat.model.lm_head.weight[5] = torch.nan
    said = list(chat.ask(asking(how="choice"), [picture(0)], {}))
    assert "not a number" in str(said[0].error)


def test_json_is_chosen_too(tiny_chats: Path) -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string", "enum": list(NAMES)}}}
    said = list(opened(tiny_chats).ask(asking(how="choice", schema=schema), [picture(seed) for seed in range(3)], {}))
    assert all(one.text.startswith('{"label": "') and one.level == "trie" for one in said)


def test_narrow_numbers_are_another_revision_and_a_prefix_serves_them(tiny_chats: Path) -> None:
    wide, narrow = opened(tiny_chats), opened(tiny_chats, precision="bf16")
    assert wide.revision != narrow.revision
    assert wide.revision == opened(tiny_chats).revision
    assert wide.revision != opened(tiny_chats, image_size=16).revision
    assert (wide.facts["precision"], narrow.facts["precision"]) == ("fp32", "bf16")
    said = list(narrow.ask(asking(how="choice"), [picture(seed) for seed in range(3)], {}))
    assert {one.text for one in said} <= set(NAMES)
    assert narrow.facts["prefix"]["used"]
    with pytest.raises(UsageProblem, match="precision=nf4"):
        opened(tiny_chats, precision="nf4")


def test_size_bounds_what_is_sent(tiny_chats: Path) -> None:
    large = opened(tiny_chats, "qwen3_vl")
    assert (large.size, opened(tiny_chats, "qwen3_vl", image_size=16).size) == (32, 16)
    assert large._sized(picture(0, 64, 32)).size == (32, 64)
    assert opened(tiny_chats, image_size=16)._sized(picture(0, 64, 32)).size == (8, 16)
