"""Secrets are found in every writing, wherever a line of base64 begins, and nothing else is touched."""

from __future__ import annotations

import base64
import json
import logging
import time
from urllib.parse import quote

import pytest
from tests.stub import in_turn, raw, serving
from tests.torture.writings import WRITINGS, holds

from fieldguide.craft.secrets import HIDDEN, hider, keep_from_logs, known_hidden
from fieldguide.craft.server import server_of
from fieldguide.craft.wire import Wire

KEY = "sk-proj-Ab+/=9&<x>_\"T3BlbkFJ'q\\0"


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("key", [KEY, "sk-very-secret-0123456789", "pässwörd-ü"])
def test_every_writing_is_found_and_its_surroundings_stay(writing: str, key: str) -> None:
    for written in WRITINGS[writing](key):
        text = f"Incorrect key: {written}; ask the owner. {written}"
        hidden = hider([key]).hide(text)
        assert holds(text, key) and not holds(hidden, key), written
        assert hidden.startswith("Incorrect key: ") and "; ask the owner. " in hidden and hidden.count(HIDDEN) == 2


def test_base64_is_found_wherever_it_begins_and_however_it_is_wrapped() -> None:
    hide = hider([KEY]).hide
    for before in range(9):
        for behind in range(4):
            whole = b"u" * before + KEY.encode() + b":" * behind
            for written in (
                base64.b64encode(whole),
                base64.urlsafe_b64encode(whole),
                base64.encodebytes(b"Bearer " * 9 + whole),
            ):
                text = written.decode()
                assert not holds(hide(text), KEY) and HIDDEN in hide(text)
                assert not holds(hide(quote(text, safe="")), KEY) and HIDDEN in hide(json.dumps(text))


def test_what_is_no_secret_stays() -> None:
    texts = ["a cat", "sk-very-secret", "c2stdmVyeS1zZWNyZXQ=", "", "736b2d", KEY[:-1], "%73%6b"]
    assert [hider([KEY, None, "", "EMPTY"]).hide(text) for text in texts] == texts
    assert hider(["EMPTY"]).hide("EMPTY") == "EMPTY", "a placeholder is no secret"
    assert hider([]).patterns == ()


def test_two_secrets_and_one_inside_the_other() -> None:
    hide = hider(["long-password", "long-password-0123"]).hide
    assert hide("long-password-0123 and long-password") == f"{HIDDEN} and {HIDDEN}"


def test_a_large_reply_is_read_in_no_time() -> None:
    hide, text = hider([KEY]).hide, base64.b64encode(bytes(range(256)) * 4000).decode()
    start = time.process_time()
    assert hide(text) == text and hide("\\" * 100_000) == "\\" * 100_000 and hide("&amp;" * 50_000 + "%25" * 50_000)
    assert time.process_time() - start < 3


def test_logs_of_the_libraries_are_discreet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keep_from_logs(hider(["a-key-for-logs-1"]))
    keep_from_logs(hider(["a-key-for-logs-2"]))
    logging.getLogger("httpcore2.http11").debug("headers %r", [(b"x-key", b"a-key-for-logs-1")])
    logging.getLogger("httpx").info('HTTP Request: POST %s "200"', "http://host/v1?sig=a-key-for-logs-2")
    assert "for-logs" not in caplog.text and caplog.text.count(HIDDEN) == 2
    assert known_hidden("a-key-for-logs-1") == HIDDEN


def test_a_reply_is_read_by_nobody_before_secrets_are_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever protocol reads it, and whichever field of it; a body that is no text stays as it is."""
    monkeypatch.setenv("MY_KEY", KEY.replace("\\", ""))
    told = {"models": [{"name": f"m {form}"} for writing in WRITINGS for form in WRITINGS[writing](KEY.replace("\\", ""))]}
    odd = b"\xff\xfe no text"
    with serving(in_turn(raw(200, json.dumps(told)), raw(200, odd))) as server:
        wire = Wire(server_of(server.url, "MY_KEY"), 5.0)
        value, answered = wire.json("/x", b"{}")
        assert wire.send("/x", b"{}").body == odd
        wire.close()
    assert len(value["models"]) == len(told["models"]) and all(HIDDEN in one["name"] for one in value["models"])
    assert not holds(answered.body.decode() + str(value), KEY.replace("\\", ""))
