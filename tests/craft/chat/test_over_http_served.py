"""`transformers serve` with a model that looks, of a real class with random weights, asked as a user would: it speaks the protocol and talks rubbish.

A server in a process of its own imports torch and takes long to start, so this runs with all slow cases alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.craft.chat.test_over_http import ASKING, CHOICE
from tests.real_server import transformers_serve

from fieldguide.craft.chat import Wanted
from fieldguide.craft.chat.over_http import Served, open_served
from fieldguide.craft.chat.sent import sent
from fieldguide.craft.chat.tiny import write_chat
from fieldguide.errors import UsageProblem
from fieldguide.records import Pixels

pytestmark = pytest.mark.slow(keep=0)


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    model = write_chat(folder / "tiny-idefics3")
    with transformers_serve(model, folder) as url:
        opened = open_served(Wanted(f"served/{model}", url, at_once=3, attempts=2))
        yield opened
        opened.close()


def pictures() -> list[Pixels]:
    return list(np.random.default_rng(0).integers(0, 255, (4, 40, 48, 3)).astype(np.uint8))


def test_pictures_reach_the_model_and_answers_come_in_order(chat: Served) -> None:
    said, again = (list(chat.ask(ASKING, pictures(), {})) for _ in range(2))
    assert {one.error for one in said} == {None} and [one.text for one in said] == [one.text for one in again]
    assert all(one.tokens_in and one.tokens_out and one.text for one in said)
    backwards = list(chat.ask(ASKING, pictures()[::-1], {}))
    assert [one.text for one in backwards] == [one.text for one in said][::-1]
    assert Path(chat.told.removesuffix("@main")).name == "tiny-idefics3"


def test_the_client_of_the_protocol_is_told_the_same(chat: Served) -> None:
    from openai import OpenAI

    (picture,) = pictures()[:1]
    question = chat.question(ASKING, {})
    (_, gap, _) = question.messages[-1]["content"]
    gap["image_url"]["url"] = sent(picture).url
    client = OpenAI(base_url=chat.chat.server.url, api_key="none")
    reply = client.chat.completions.create(
        model=question.model,
        messages=list(question.messages),  # type: ignore[arg-type]
        temperature=0.0,
        max_tokens=question.most_tokens,
    )
    client.close()
    (said,) = chat.ask(ASKING, [picture], {})
    assert reply.choices[0].message.content == said.text and reply.usage
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (said.tokens_in, said.tokens_out)


def test_the_probe_finds_what_this_server_ignores(chat: Served) -> None:
    found = chat.probe()
    assert found["logprobs"] is False and found["structured"] == "none"
    assert found["images"] is not False and found["at_once"]["asked"] == 3


def test_probabilities_that_this_server_leaves_out_in_silence_are_refused(chat: Served) -> None:
    with pytest.raises(UsageProblem, match=r"gives no log-probabilities for .*found by trying"):
        list(chat.ask(replace(ASKING, how="likelihood"), pictures(), {}))
    assert chat.probe()["top_logprobs"] == 0


def test_a_choice_that_is_not_kept_to_the_list_says_so(chat: Served) -> None:
    assert {one.level for one in chat.ask(CHOICE, pictures(), {})} == {"text"}
