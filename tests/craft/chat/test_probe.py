"""A server is probed, not trusted: each kind of server shows what it is, in thirteen questions at most."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from tests.craft.chat import test_ollama, test_over_http
from tests.looking import Eye, Kind, colour, looks, ollama
from tests.stub import Answer, Script, Stub, failing, serving

from fieldguide.errors import UsageProblem
from fieldguide.records import Pixels

Serve = Callable[[Script], AbstractContextManager[Stub]]
WAYS: dict[str, tuple[Serve, Callable[..., Any], int]] = {
    "openai": (serving, test_over_http.opened, 1),
    "ollama": (ollama, test_ollama.opened, 0),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def probed(way: str, kind: Kind, eye: Eye = colour, **more: Any) -> dict[str, Any]:
    return found_of(way, looks(eye, kind), **more)


def found_of(way: str, script: Script, **more: Any) -> dict[str, Any]:
    serve, opened, hello = WAYS[way]
    with serve(script) as server:
        chat = opened(server, **more)
        try:
            found: dict[str, Any] = chat.probe()
        finally:
            chat.close()
        assert server.count - hello <= 13
        assert chat.facts["probe"] == found
        assert found["questions"] == server.count - hello, "every question is counted"
    assert set(found) == {
        "images",
        "logprobs",
        "top_logprobs",
        "structured",
        "at_once",
        "model",
        "notes",
        "questions",
        "seconds",
    }
    return found


def test_a_server_that_can_all_of_it(way: str) -> None:
    found = probed(way, Kind(seconds=0.06))
    assert (found["images"], found["logprobs"], found["structured"]) == (True, True, "json_schema") and not found["notes"]
    assert found["at_once"]["asked"] == 4 and found["at_once"]["speedup"] > 1.5
    assert found["model"] == ("eyes-1@main" if way == "openai" else "eyes:latest") and found["seconds"] > 0.4


def test_a_server_that_ignores_what_it_does_not_know_is_found_out(way: str) -> None:
    """As ``transformers serve`` does with structure and probabilities."""
    found = probed(way, Kind(schema="ignored", object="ignored", logprobs="ignored"))
    assert (found["images"], found["logprobs"], found["structured"]) == (True, False, "none")
    assert any("json_schema was wished for, and 'nothing' came back" in note for note in found["notes"])


def test_a_server_that_refuses_says_so_in_its_own_words(way: str) -> None:
    found = probed(way, Kind(schema="refused", object="honoured", logprobs="refused"))
    assert (found["logprobs"], found["structured"]) == (False, "json_object")
    assert any("log-probabilities are refused: HTTP 400, logprobs are not supported" in note for note in found["notes"])
    assert probed(way, Kind(schema="refused", object="refused"))["structured"] == "none"


def test_pictures_that_are_dropped_on_the_way_are_noticed(way: str) -> None:
    found = probed(way, Kind(pictures="ignored"))
    assert found["images"] is False and "counted the same tokens with a picture and without" in found["notes"][0]
    assert probed(way, Kind(pictures="ignored", counts=False))["images"] is False
    wavering = iter(f"word {number}" for number in range(99))
    assert probed(way, Kind(pictures="ignored"), lambda pixels, text: next(wavering))["images"] is None


def test_a_model_that_says_the_same_of_every_picture_may_yet_see_and_one_that_is_wrong_does(way: str) -> None:
    found = probed(way, Kind(), lambda pixels, text: "a picture")
    assert found["images"] is None and "of a red picture it said 'a picture'" in found["notes"][0]
    wrong = {"red": "pear", "blue": "plum", "nothing": "x"}
    assert probed(way, Kind(), lambda pixels, text: wrong[colour(pixels, text)])["images"] is True


def test_a_server_that_refuses_pictures_is_no_use(way: str) -> None:
    with pytest.raises(UsageProblem) as blind:
        probed(way, Kind(pictures="refused"))
    assert "does not take pictures" in blind.value.given and "takes no image_url" in blind.value.given

    def llama(body: dict[str, Any], number: int) -> Answer:
        answer = looks(kind=Kind(pictures="refused"))(body, number)
        told = "image input is not supported - hint: you may need to provide the mmproj"
        return failing(500, told) if "base64" in str(body) or "images" in str(body) else answer

    with pytest.raises(UsageProblem, match="mmproj"):
        found_of(way, llama)


def test_what_could_not_be_found_out_is_none_with_a_note_and_nothing_is_fatal(way: str) -> None:
    hello = looks()

    def script(body: dict[str, Any], number: int) -> Answer:
        return hello(body, number) if way == "openai" and number == 0 else failing(503, "busy")

    serve, opened, _ = WAYS[way]
    with serve(script) as server:
        chat = opened(server)
        found = chat.probe()
        chat.close()
    assert [found[name] for name in ("images", "logprobs", "structured", "at_once")] == [None] * 4
    assert len(found["notes"]) == 6 and all("HTTP 503, busy" in note for note in found["notes"])


def test_one_at_a_time_is_not_compared(way: str) -> None:
    assert probed(way, Kind(), at_once=1)["at_once"] is None


def test_a_server_that_takes_one_at_a_time_gains_nothing(way: str) -> None:
    import threading

    turn, plainly = threading.Lock(), looks(kind=Kind(seconds=0.02))

    def script(body: dict[str, Any], number: int) -> Answer:
        with turn:
            return plainly(body, number)

    assert 0.6 < found_of(way, script)["at_once"]["speedup"] < 1.4


def test_a_reply_that_is_odd_is_no_structure(way: str) -> None:
    def eye(pixels: Pixels | None, text: str) -> str:
        return '{"answer": "hello"}' if "hello" in text else colour(pixels, text)

    assert probed(way, Kind(schema="ignored", object="ignored"), eye)["structured"] == "json_object"
