"""A served model that looks, asked over a real connection: what travels, in what order, how many at once, and what of it is told."""

from __future__ import annotations

import base64
import gc
import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import stub
from tests.looking import Kind, colour, decoded, looks, plain_picture
from tests.stub import Answer, Stub, failing, in_turn, ok, raw, serving

from fieldguide.craft.chat import Said, Wanted
from fieldguide.craft.chat.over_http import Served, open_served
from fieldguide.craft.chat.sent import sent
from fieldguide.craft.troubles import ServerProblem
from fieldguide.errors import PictureError, Problem, UsageProblem
from fieldguide.records import Pixels
from fieldguide.tasks.asking import Asking, Message, Shown

COLOURS = ("red", "green", "blue")
SYSTEM = Message("system", ("You name colours.",))
ASKING = Asking((SYSTEM, Message("user", ("One of: red, green, blue.", Shown(), "Which?"))), COLOURS)
CHOICE = Asking(ASKING.messages, COLOURS, "choice")


def opened(server: Stub | str, **more: Any) -> Served:
    url = server if isinstance(server, str) else server.url
    wanted = Wanted("served/eyes-1", url, **{"attempts": 2, "timeout": 5.0, **more})
    chat = open_served(wanted, sleep=lambda seconds: None)
    return chat


def says(chat: Served, asking: Asking = ASKING, *pictures: Pixels, **examples: Pixels) -> list[Said]:
    try:
        return list(chat.ask(asking, pictures or [plain_picture(name) for name in COLOURS], examples))
    finally:
        chat.close()


def test_what_is_said_comes_in_order_with_its_cost() -> None:
    with serving(looks()) as server:
        chat = opened(server)
        said = says(chat)
    assert [one.text for one in said] == list(COLOURS) and {one.error for one in said} == {None}
    assert said[0].tokens_in == (len(decoded(server.asked[1])[1]) // 4 + 16) and said[0].tokens_out == 1
    assert said[0].cached == (said[0].tokens_in or 0) // 2 and said[0].finish == "stop" and said[0].level == "text"
    assert chat.revision == "eyes-1@main; pictures of at most 1024 px; png up to 128 px or 256 colours, else jpeg 95"
    assert (chat.size, chat.ahead, chat.where) == (1024, 8, server.url[7:-3])
    assert chat.facts["server"] == {"host": chat.where, "kind": "openai", "url": server.url}


def test_a_request_holds_the_prompt_and_pixels_and_nothing_else() -> None:
    shown = Asking(
        (
            SYSTEM,
            Message("user", (Shown("k1"), "Which?")),
            Message("assistant", ("green",)),
            Message("user", (Shown(), "Which?")),
        ),
        COLOURS,
        seed=7,
        temperature=0.5,
        most_tokens=9,
    )
    with serving(looks()) as server:
        says(opened(server), shown, plain_picture("blue"), k1=plain_picture("green"))
    hello, body = server.asked
    assert hello["messages"] == [{"role": "user", "content": "Say yes."}]
    example, asked = (sent(plain_picture(name)).url for name in ("green", "blue"))
    assert body == {
        "model": "eyes-1",
        "messages": [
            {"role": "system", "content": "You name colours."},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": example}}, {"type": "text", "text": "Which?"}],
            },
            {"role": "assistant", "content": "green"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": asked}}, {"type": "text", "text": "Which?"}],
            },
        ],
        "temperature": 0.5,
        "seed": 7,
        "max_tokens": 9,
    }


def test_pictures_are_made_smaller_and_never_larger() -> None:
    photo = np.random.default_rng(0).integers(0, 255, (300, 600, 3)).astype(np.uint8)
    with serving(looks(lambda pixels, text: "x".join(map(str, pixels.shape[:2])) if pixels is not None else "")) as server:
        said = says(opened(server, image_size=200), ASKING, photo, plain_picture("red"))
    assert [one.text for one in said] == ["100x200", "8x8"]


def test_small_pictures_and_drawings_are_sent_to_the_last_bit_and_photographs_as_jpeg() -> None:
    random = np.random.default_rng(0)
    small = random.integers(0, 255, (128, 100, 3)).astype(np.uint8)
    drawing = np.zeros((400, 500, 3), np.uint8)
    drawing[100:200, 100:200] = (255, 0, 0)
    coarse = Image.fromarray(random.integers(0, 255, (30, 40, 3)).astype(np.uint8))
    photo = np.asarray(coarse.resize((400, 300), Image.Resampling.BICUBIC))
    for pixels, kind, most in ((small, "image/png", 0), (drawing, "image/png", 0), (photo, "image/jpeg", 12)):
        got = sent(pixels)
        back = np.asarray(Image.open(io.BytesIO(base64.b64decode(got.text))))
        assert got.kind == kind and got.url.startswith(f"data:{kind};base64,") and back.shape == pixels.shape
        assert np.abs(back.astype(int) - pixels).mean() <= most
    assert max(Image.open(io.BytesIO(base64.b64decode(sent(photo, 50).text))).size) == 50
    assert sent(np.zeros((1, 3000, 3), np.uint8), 10).kind == "image/png"  # a line keeps its one pixel


@pytest.mark.parametrize(
    ("kind", "level", "calls"),
    [
        (Kind(), "json_schema", 4),
        (Kind(schema="refused"), "text", 5),
        (Kind(schema="refused", object="refused"), "text", 5),
        (Kind(schema="ignored"), "text", 4),
    ],
)
def test_a_choice_is_kept_to_the_list_as_far_as_the_server_can_and_says_how_far(kind: Kind, level: str, calls: int) -> None:
    def eye(pixels: Pixels | None, text: str) -> str:
        seen = colour(pixels, text)
        return "a kind of blue" if seen == "blue" else seen

    with serving(looks(eye, kind)) as server:
        said = says(opened(server), CHOICE)
    kept = level == "json_schema"
    assert [one.text for one in said] == ["red", "green", "red" if kept else "a kind of blue"]
    assert {one.level for one in said} == {level} and server.count == calls
    wish = server.asked[1]["response_format"]["json_schema"]["schema"]
    assert wish["properties"] == {"answer": {"type": "string", "enum": list(COLOURS)}} and wish["required"] == ["answer"]
    assert "response_format" not in server.asked[0] and all("json_object" not in json.dumps(body) for body in server.asked)


def test_a_schema_of_the_prompt_is_wished_for_and_its_json_is_handed_on() -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    asking = Asking(ASKING.messages, COLOURS, "choice", schema)
    with serving(looks(kind=Kind(schema="refused"))) as server:
        said = says(opened(server), asking)
    assert [one.text for one in said] == [json.dumps({"said": name}) for name in COLOURS]
    assert {one.level for one in said} == {"json_object"}
    with serving(looks()) as server:
        free = says(opened(server), Asking(ASKING.messages, COLOURS, "generate", schema))
    assert [one.text for one in free] == list(COLOURS) and "response_format" not in server.asked[-1]


def test_many_are_asked_at_once_and_few_are_held() -> None:
    taken, handed, most = 0, 0, 0

    def pictures() -> Iterator[Pixels]:
        nonlocal taken, most
        for number in range(60):
            taken += 1
            most = max(most, taken - handed)
            yield plain_picture(COLOURS[number % 3])

    with serving(looks(kind=Kind(seconds=0.03))) as server:
        chat = opened(server, at_once=6)
        start, texts, share = time.perf_counter(), [], 0.0
        for said in chat.ask(ASKING, pictures(), {}):
            handed += 1
            texts.append(said.text)
            share += said.seconds or 0.0
        wall = time.perf_counter() - start
        chat.close()
    assert texts == list(COLOURS) * 20
    assert 4 <= server.most <= 6 and most <= chat.ahead == 12
    assert 0.5 * wall < share <= wall * 1.01  # the shares of what ran at once sum up to the clock's time


def test_answers_keep_their_order_whichever_comes_first() -> None:
    def script(body: dict[str, Any], number: int) -> Answer:
        time.sleep(0.05 * (number % 3 == 1))
        return looks()(body, number)

    with serving(script) as server:
        said = says(opened(server, at_once=5), ASKING, *[plain_picture(COLOURS[at % 3]) for at in range(20)])
    assert [one.text for one in said] == [COLOURS[at % 3] for at in range(20)]


def test_one_picture_that_fails_is_told_and_the_others_are_answered() -> None:
    def script(body: dict[str, Any], number: int) -> Answer:
        pictures, _ = decoded(body)
        bad = pictures and colour(pictures[-1], "") == "green"
        return failing(400, "flagged") if bad and number % 2 else failing(500, "boom") if bad else looks()(body, number)

    with serving(script) as server:
        said = says(opened(server))
    assert [one.text for one in said] == ["red", "", "blue"] and not any(one.lasting for one in said)
    assert f"The server at {server.url} gave no reply: HTTP " in str(said[1].error)
    assert said[1].tokens_in is None and said[1].seconds is not None


def test_a_server_that_goes_is_asked_nothing_more_and_every_picture_has_a_reason() -> None:
    answers = [ok("yes"), ok("red"), ok("green"), failing(401, "expired")]
    with serving(in_turn(*answers)) as server:
        said = says(opened(server, at_once=1), ASKING, *[plain_picture("red")] * 20)
    assert server.count == 4 and [one.text for one in said[:2]] == ["red", "green"]
    assert "HTTP 401, expired" in str(said[2].error) and said[2].lasting
    assert all(
        str(one.error).startswith("not asked: because of a picture before it: The server") and one.lasting for one in said[3:]
    )


def test_a_key_that_does_not_open_costs_one_request() -> None:
    with serving(in_turn(failing(401, "who?"))) as server, pytest.raises(ServerProblem, match="HTTP 401, who"):
        opened(server, at_once=8)
    assert server.count == 1


def test_another_model_than_before_is_no_answer() -> None:
    answers = [ok("yes"), ok("red"), raw(200, stub.envelope("green").replace("served-name", "other-name"))]
    with serving(in_turn(*answers)) as server:
        first, second = says(opened(server, at_once=1), ASKING, plain_picture("red"), plain_picture("green"))
    assert first.text == "red" and second.text == "" and second.lasting
    assert second.error == "A model called other-name answered; it was served-name when the run began."


def test_a_reader_that_breaks_still_gets_what_was_answered() -> None:
    def pictures() -> Iterator[Pixels]:
        yield plain_picture("red")
        yield plain_picture("blue")
        raise PictureError("truncated", "lost")

    got: list[str] = []
    with serving(looks()) as server:
        chat = opened(server)
        with pytest.raises(PictureError):
            got.extend(said.text for said in chat.ask(ASKING, pictures(), {}))
        chat.close()
    assert got == ["red", "blue"]


def test_who_has_had_enough_waits_for_nobody() -> None:
    held = threading.Event()

    def script(body: dict[str, Any], number: int) -> Answer:
        pictures, _ = decoded(body)
        if pictures and colour(pictures[-1], "") == "blue":
            held.wait(30)
        return looks()(body, number)

    with serving(script) as server:
        chat = opened(server, timeout=30.0)
        stream = chat.ask(ASKING, (plain_picture("red" if at < 2 else "blue") for at in range(1000)), {})
        assert [next(stream).text, next(stream).text] == ["red", "red"]
        while server.inside < 4:  # as many as go at once wait for an answer
            time.sleep(0.01)
        start = time.monotonic()
        stream.close()  # what a Ctrl-C does to a generator
        chat.close()
        assert time.monotonic() - start < 10, "the replies that are on their way take half a minute"
        held.set()
        while server.inside or any(one.name.startswith("flight") for one in threading.enumerate()):
            time.sleep(0.01)
    assert server.count <= 7  # what was taken and not yet sent was never sent
    gc.collect()


def test_no_address_and_no_name_are_told_in_three_breaths() -> None:
    for wanted, told in ((Wanted("served/eyes"), "no address was given"), (Wanted("served/", "http://localhost"), "no name")):
        with pytest.raises(UsageProblem, match=told):
            open_served(wanted)


def test_what_a_user_can_do_is_told_in_the_words_of_a_contestants_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    nobody = "http://127.0.0.1:1/v1"
    for address, more, told in (
        ("nowhere", {}, "For example server=http://localhost:8000/v1"),
        (nobody, {}, "Start the server, or correct server=."),
        (nobody, {"key_variable": "NO_KEY"}, "Set that variable, or leave key_variable= out"),
    ):
        with pytest.raises(Problem) as problem:
            opened(address, **more)
        assert told in problem.value.next and "--" not in str(problem.value)
    with serving(in_turn(failing(401, "who?"))) as server, pytest.raises(Problem, match="a key, by key_variable=NAME"):
        opened(server)
