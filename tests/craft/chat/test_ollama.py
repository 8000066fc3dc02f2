"""Ollama's own interface, played by the stub: what is asked, what is checked first, and what is told where a model is not there or cannot see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests import stub
from tests.craft.chat.test_over_http import ASKING, CHOICE, COLOURS, SYSTEM
from tests.looking import DIGEST, Kind, colour, looks, ollama, plain_picture
from tests.stub import Stub, failing, in_turn, raw, serving

from fieldguide.craft.chat import Said, Wanted
from fieldguide.craft.chat.ollama import Ollama, open_ollama
from fieldguide.craft.chat.sent import sent
from fieldguide.craft.troubles import ServerProblem
from fieldguide.errors import EnvironmentProblem, UsageProblem
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown


def opened(server: Stub | str, name: str = "ollama/eyes", **more: Any) -> Ollama:
    url = server if isinstance(server, str) else server.root
    return open_ollama(Wanted(name, url, **{"attempts": 2, "timeout": 5.0, **more}), sleep=lambda seconds: None)


def says(chat: Ollama, asking: Asking = ASKING, *pictures: Pixels, **examples: Pixels) -> list[Said]:
    try:
        return list(chat.ask(asking, pictures or [plain_picture(name) for name in COLOURS], examples))
    finally:
        chat.close()


def test_what_is_said_comes_in_order_with_its_cost_and_the_digest_names_the_model() -> None:
    with ollama(looks()) as server:
        chat = opened(server)
        said = says(chat)
    assert [one.text for one in said] == list(COLOURS) and said[0].finish == "stop" and said[0].level == "text"
    assert (said[0].tokens_in or 0) > 16 and said[0].tokens_out == 1 and said[0].cached is None
    assert chat.revision.startswith(f"{DIGEST}; pictures of at most 1024 px") and server.paths == ["/api/chat"] * 3
    assert chat.facts["server"]["version"] == "0.13.0" and chat.facts["server"]["kind"] == "ollama"


def test_a_request_holds_pictures_as_base64_before_their_text_and_text_before_them_apart() -> None:
    shown = Asking(
        (
            SYSTEM,
            Message("user", ("One of: red, green.", Shown("k1"), Shown("k2"), "Which?")),
            Message("assistant", ("green",)),
            Message("user", (Shown(), "Which?", "Say it.")),
        ),
        COLOURS,
        seed=7,
        temperature=0.5,
        most_tokens=9,
    )
    examples = {"k1": plain_picture("green"), "k2": plain_picture("red")}
    with ollama(looks()) as server:
        says(opened(server), shown, plain_picture("blue"), **examples)
    assert server.asked == [
        {
            "model": "eyes:latest",
            "messages": [
                {"role": "system", "content": "You name colours."},
                {"role": "user", "content": "One of: red, green."},
                {"role": "user", "content": "Which?", "images": [sent(one).text for one in examples.values()]},
                {"role": "assistant", "content": "green"},
                {"role": "user", "content": "Which?\nSay it.", "images": [sent(plain_picture("blue")).text]},
            ],
            "stream": False,
            "keep_alive": "10m",
            "options": {"temperature": 0.5, "num_predict": 9, "seed": 7, "num_ctx": 8192},
        }
    ]


def test_a_choice_is_kept_to_the_list_by_a_schema() -> None:
    def eye(pixels: Pixels | None, text: str) -> str:
        return "a kind of blue" if colour(pixels, text) == "blue" else colour(pixels, text)

    with ollama(looks(eye)) as server:
        said = says(opened(server), CHOICE)
    assert [one.text for one in said] == ["red", "green", "red"] and {one.level for one in said} == {"json_schema"}
    assert server.asked[0]["format"]["properties"]["answer"]["enum"] == list(COLOURS)
    assert "num_ctx" not in server.asked[0]["options"] and "think" not in server.asked[0]
    with ollama(looks(eye, Kind(schema="ignored"))) as server:  # an Ollama from before schemas
        assert [(one.text, one.level) for one in says(opened(server), CHOICE)][2] == ("a kind of blue", "text")


def test_a_long_prompt_gets_room_and_a_model_that_thinks_is_asked_not_to() -> None:
    long = Asking((Message("user", ("x" * 30_000, Shown())),), COLOURS)
    with ollama(looks(), able=("completion", "vision", "thinking")) as server:
        says(opened(server), long, plain_picture("red"))
    assert server.asked[0]["options"]["num_ctx"] == 16_384 and server.asked[0]["think"] is False


def test_a_model_that_is_not_there_is_told_with_those_that_are_nearest_first() -> None:
    with ollama(looks()) as server:
        with pytest.raises(EnvironmentProblem) as wrong:
            opened(server, "ollama/eyed")
        with pytest.raises(UsageProblem, match="no name"):
            opened(server, "ollama/")
    assert "has no model eyed" in wrong.value.given and wrong.value.next == "ollama pull eyed"
    assert wrong.value.allowed == "Did you mean eyes:latest? Allowed: eyes:latest, words:7b."
    assert server.count == 0


def test_a_model_that_cannot_see_is_told_before_a_picture_is_sent() -> None:
    with ollama(looks(), able=("completion", "tools")) as server, pytest.raises(UsageProblem) as blind:
        opened(server, "ollama/words:7b")
    assert "words:7b cannot see" in blind.value.given and "completion, tools" in blind.value.given and server.count == 0
    with ollama(looks(), able=None) as server:  # too old to say
        assert len(says(opened(server))) == 3


def test_nobody_there_is_told_with_the_usual_words() -> None:
    with pytest.raises(ServerProblem) as gone:
        opened("http://127.0.0.1:1")
    assert "connection refused" in gone.value.given and "Ollama's interface" in gone.value.allowed and gone.value.lasting


@pytest.mark.parametrize("given", ["", "/v1", "/api", "/api/chat", "/"])
def test_an_address_may_end_as_people_copy_it(given: str) -> None:
    with ollama(looks()) as server:
        chat = opened(server.root + given)
        chat.close()
    assert chat.facts["server"]["url"] == server.root


def test_failures_are_asked_again_and_told_by_picture() -> None:
    half = raw(200, '{"model": "eyes", "message": {"role": "assistant", "content": "re"}, "done": false}')
    good = looks()
    script = in_turn(failing(503, "busy"), half, stub.cut)

    def answer(body: dict[str, Any], number: int) -> stub.Answer:
        return script(body, number) if number < 2 else good(body, number)

    with ollama(answer) as server:
        said = says(opened(server, attempts=3, at_once=1))
        assert [one.text for one in said] == list(COLOURS) and server.count == 5
    with ollama(in_turn(raw(200, '{"error": "runner stopped"}'))) as server:
        (failed,) = says(opened(server), ASKING, plain_picture("red"))
    assert "runner stopped (2 attempts)" in str(failed.error) and not failed.lasting


def test_pictures_are_made_smaller() -> None:
    with ollama(looks(lambda pixels, text: str(pixels.shape) if pixels is not None else "")) as server:
        (said,) = says(opened(server, image_size=64), ASKING, np.zeros((100, 200, 3), np.uint8))
    assert said.text == "(32, 64, 3)"


def test_an_openai_server_is_no_ollama() -> None:
    with serving(looks()) as server, pytest.raises(ServerProblem, match="HTTP 404"):
        opened(server)
