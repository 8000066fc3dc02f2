"""A served model asked over a real connection: everything that a server may do wrong, and what of it a user gets to read."""

from __future__ import annotations

import datetime
import email.utils
import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import stub
from tests.stub import Answer, failing, in_turn, ok, raw, serving

from fieldguide.craft.served import MOST_LETTERS, Chat, Manner, Patience, Question, Reply
from fieldguide.craft.server import Server, server_of
from fieldguide.craft.troubles import NotAsked, ServerProblem, wait_of
from fieldguide.errors import ENVIRONMENT, EnvironmentProblem, UsageProblem

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
HELLO = Question("m", ({"role": "user", "content": "hello"},), SCHEMA, 0.0, 7, 50)
KEY = "sk-very-secret-0123456789"


class Asking:
    """A `Chat` that does not wait, with what it would have waited."""

    def __init__(self, server: Server | str, **patience: Any) -> None:
        self.waits: list[float] = []
        server = Server(server) if isinstance(server, str) else server
        self.chat = Chat(server, Patience(**{"attempts": 4, "seconds": 5.0, **patience}), sleep=self.waits.append)

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_: object) -> None:
        self.chat.close()

    def __call__(self, question: Question = HELLO) -> Reply:
        return self.chat.ask(question)


def problem(server: Server | str, question: Question = HELLO, **patience: Any) -> tuple[ServerProblem, list[float]]:
    with Asking(server, **patience) as ask, pytest.raises(ServerProblem) as failed:
        ask(question)
    assert failed.value.code == ENVIRONMENT
    return failed.value, ask.waits


def test_a_reply_carries_its_text_its_cost_and_how_it_was_asked() -> None:
    with serving(in_turn(ok('{"a": 1}'))) as server, Asking(server.url) as ask:
        reply = ask()
    assert (reply.text, reply.finish, reply.tokens_in, reply.tokens_out) == ('{"a": 1}', "stop", 100, 20)
    assert (reply.level, reply.model) == ("json_schema", "served-name") and 0 < reply.seconds < 5
    (body,) = server.asked
    assert server.paths == ["/v1/chat/completions"]
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.0,
        "seed": 7,
        "max_tokens": 50,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}},
    }
    assert "authorization" not in server.headers[0] and server.headers[0]["accept-encoding"] == "identity"


NUMBER = {"type": "integer", "minimum": 0}


@pytest.mark.parametrize(
    ("named", "required", "strict"),
    [
        ({"properties": NUMBER, "b": NUMBER}, ["b", "properties"], True),
        ({"a": NUMBER, "b": NUMBER}, ["a"], False),
        ({"a": {"type": "object", "properties": {"b": NUMBER}, "required": []}}, ["a"], False),
        ({"a": {"type": "array", "items": {"type": "object", "properties": {"b": NUMBER}}}}, ["a"], False),
    ],
)
def test_a_server_is_asked_to_be_strict_only_where_every_key_is_required(named: Any, required: list[str], strict: bool) -> None:
    schema = {"type": "object", "properties": named, "required": required, "additionalProperties": False}
    with serving(in_turn(ok('{"a": 1}'))) as server, Asking(server.url) as ask:
        ask(replace(HELLO, schema=schema))
    assert server.asked[0]["response_format"]["json_schema"] == {"name": "answer", "strict": strict, "schema": schema}


def test_pictures_and_free_text_travel_as_the_protocol_has_them() -> None:
    parts = [{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with serving(in_turn(ok("a cat", usage=None))) as server, Asking(server.url) as ask:
        reply = ask(Question("m", ({"role": "user", "content": parts},), temperature=None))
    assert server.asked == [{"model": "m", "messages": [{"role": "user", "content": parts}]}]
    assert (reply.text, reply.level, reply.tokens_in, reply.tokens_out) == ("a cat", "text", None, None)


NEVER_LISTENED = "http://127.0.0.1:1/v1"
WEB = raw(502, "<html><head><title>Bad Gateway</title></head><body>nginx</body></html>", "text/html")


@pytest.mark.parametrize(
    ("answer", "attempts", "told"),
    [
        (failing(500, "boom"), 4, "HTTP 500, boom"),
        (failing(503), 4, "HTTP 503"),
        (failing(408), 4, "HTTP 408"),
        (failing(429, "slow down"), 4, "HTTP 429, slow down"),
        (WEB, 4, "HTTP 502, a web page (Bad Gateway)"),
        (stub.cut, 4, "the connection broke"),
        (stub.hang_up, 4, "the connection broke"),
        (raw(200, '{"choices": [{"mess'), 4, "is no JSON, or was cut"),
        (raw(200, "[" * 5000), 4, "is no JSON, or was cut"),
        (raw(200, b"\xff\xfe\x00bad"), 4, "is no JSON, or was cut"),
        (raw(200, '"words"'), 4, "holds no message"),
        (raw(200, '{"choices": []}'), 4, "holds no message"),
        (raw(200, '{"choices": [null]}'), 4, "holds no message"),
        (raw(200, '{"error": {"message": "upstream is gone", "code": "x1"}}'), 4, "upstream is gone (x1)"),
        (raw(200, "<!doctype html><html></html>", "text/html"), 4, "a web page where JSON was expected"),
        (raw(200, "data: {}\n\n", "text/event-stream"), 4, "is no JSON"),
        (failing(401, "who are you?"), 1, "HTTP 401, who are you?"),
        (failing(403), 1, "HTTP 403"),
        (failing(402), 1, "HTTP 402"),
        (raw(429, '{"error": {"message": "gone", "code": "insufficient_quota"}}'), 1, "insufficient_quota"),
        (failing(413), 1, "HTTP 413"),
        (raw(404, '{"detail": "Not Found"}'), 3, "HTTP 404, Not Found"),
        (raw(422, '{"detail": [{"loc": ["body", "n"], "msg": "unknown"}]}'), 3, "HTTP 422, body.n: unknown"),
        (raw(400, "not JSON at all\n\n  here"), 3, "HTTP 400, not JSON at all here"),
        (stub.huge(20), 1, "larger than 2 MB"),
    ],
)  # fmt: skip
def test_what_a_server_does_wrong_is_asked_again_where_that_may_help_and_told_plainly(
    answer: Answer, attempts: int, told: str
) -> None:
    with serving(in_turn(answer)) as server:
        failed, waits = problem(server.url)
    assert told in failed.given and server.url in failed.given
    assert server.count == attempts
    assert waits == ([1.0, 2.0, 4.0] if attempts == 4 else [])
    assert len(str(failed).splitlines()) == 3


@pytest.mark.parametrize("answer", [failing(500), failing(429), stub.cut, stub.hang_up, raw(200, "{"), raw(200, "{}"), WEB])
def test_what_passes_by_itself_costs_no_reply(answer: Answer) -> None:
    with serving(in_turn(answer, answer, ok("{}"))) as server, Asking(server.url) as ask:
        assert ask().text == "{}"
    assert server.count == 3 and ask.waits == [1.0, 2.0]


def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    then = email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90), usegmt=True)
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    script = in_turn(
        failing(429, retry_after="7"),
        failing(503, retry_after=then),
        failing(429, retry_after=past),
        failing(429, retry_after="soon"),
        ok("{}"),
    )
    with serving(script) as server, Asking(server.url, attempts=5) as ask:
        ask()
    assert ask.waits[0] == 7 and 85 < ask.waits[1] <= 90 and ask.waits[2:] == [4.0, 8.0]
    with serving(in_turn(failing(429, retry_after="3600"))) as server:
        failed, waits = problem(server.url)
    assert server.count == 1 and not waits and failed.lasting and "it asks to wait 3,600 s" in failed.given


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("12", 12.0), ("0.5", 0.5), ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0), ("Thu, 01 Jan 1970 00:00:01 GMT", None)]
    + [(said, None) for said in ("", "0", "-3", "nan", "later", "Thu, 99 Foo 1970 99:99:99 GMT")],
)  # fmt: skip
def test_seconds_to_wait_are_read_as_seconds_or_as_a_date(said: str, seconds: float | None) -> None:
    assert wait_of({"retry-after": said}, now=10.0) == seconds
    assert wait_of({}, now=0.0) is None


@pytest.mark.parametrize(
    "answer", [stub.hanging(30), stub.dripping(30), stub.dripping(30, status=500)], ids=["silent", "drip", "error"]
)
def test_a_reply_that_is_not_whole_in_time_is_given_up(answer: Answer) -> None:
    start = time.monotonic()
    with serving(in_turn(answer)) as server:
        failed, waits = problem(server.url, attempts=2, seconds=0.2)
    assert ("no whole reply within 0.2 s" in failed.given or "HTTP 500" in failed.given) and not failed.lasting
    assert server.count == 2 and len(waits) == 1 and time.monotonic() - start < 15


def test_an_error_page_is_read_within_bounds() -> None:
    with serving(in_turn(stub.huge(20, status=500), ok("{}"))) as server, Asking(server.url) as ask:
        assert ask().text == "{}"


def test_a_text_longer_than_any_answer_is_cut_and_says_so() -> None:
    with serving(in_turn(ok("x" * 100_000))) as server, Asking(server.url) as ask:
        reply = ask()
    assert (len(reply.text), reply.finish) == (MOST_LETTERS, "too long")


def test_nobody_there_is_asked_again_and_would_be_the_same_for_the_next_question() -> None:
    failed, waits = problem(NEVER_LISTENED)
    assert failed.lasting and "connection refused" in failed.given and waits == [1.0, 2.0, 4.0]
    assert "Start the server" in failed.next


def test_tls_that_fails_is_told_at_once() -> None:
    with serving(stub.good) as server:
        failed, waits = problem(server.url.replace("http:", "https:"))
    assert failed.lasting and not waits and "TLS failed" in failed.given and "http://" in failed.next


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to sign a certificate with")
def test_a_certificate_that_nobody_vouches_for_is_told_at_once(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "own.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=nobody.invalid"
    subprocess.run(["openssl", *words.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake() -> None:
            connection, _ = listening.accept()
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

        thread = threading.Thread(target=shake)
        thread.start()
        failed, waits = problem(f"https://127.0.0.1:{listening.getsockname()[1]}/v1")
        thread.join()
    assert failed.lasting and not waits and "certificate is not trusted" in failed.given and "SSL_CERT_FILE" in failed.next


def test_only_the_host_that_was_given_is_asked() -> None:
    with serving(stub.good) as other, serving(in_turn(raw(307, "", location=f"http://u:pw@{other.url[7:]}/x?key=1"))) as server:
        failed, _ = problem(server.url)
    assert other.count == 0 and server.count == 1 and failed.lasting
    assert other.url in failed.given and "pw" not in failed.given and "key=1" not in failed.given


def test_a_proxy_is_not_used_for_a_server_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", NEVER_LISTENED)
    monkeypatch.setenv("http_proxy", NEVER_LISTENED)
    with serving(in_turn(ok("{}"))) as server, Asking(server.url) as ask:
        assert ask().text == "{}"


def refuses(*words: str) -> Callable[[dict[str, Any], int], Answer]:
    """Answer only requests whose JSON holds none of these words, and say which one it was."""

    def script(body: dict[str, Any], number: int) -> Answer:
        said = json.dumps(body)
        found = next((word for word in words if f'"{word}"' in said), None)
        instead = "; use max_completion_tokens instead" if found == "max_tokens" else ""
        return ok("{}") if found is None else failing(400, f"Unsupported: {found}{instead}")

    return script


@pytest.mark.parametrize(
    ("words", "manner", "calls"),
    [
        ((), Manner(), 1),
        (("json_schema",), Manner("json_object"), 2),
        (("json_schema", "json_object"), Manner("text"), 3),
        (("response_format",), Manner("text"), 3),
        (("max_tokens",), Manner(limit="max_completion_tokens"), 2),
        (("temperature", "seed"), Manner(left_out=frozenset({"temperature", "seed"})), 3),
        (
            ("seed", "max_tokens", "temperature", "json_schema"),
            Manner("json_object", "max_completion_tokens", frozenset({"temperature", "seed"})),
            5,
        ),
    ],
)
def test_a_server_is_asked_in_the_strictest_manner_it_knows_and_that_is_found_once(
    words: tuple[str, ...], manner: Manner, calls: int
) -> None:
    with serving(refuses(*words)) as server, Asking(server.url) as ask:
        first, again = ask(), ask()
    assert ask.chat.manner == manner and not ask.waits
    assert server.count == calls + 1
    assert first.level == again.level == manner.level


@pytest.mark.parametrize("status", [400, 404, 422, 501])
def test_every_way_of_refusing_a_schema_is_understood(status: int) -> None:
    def script(body: dict[str, Any], number: int) -> Answer:
        return failing(status) if "response_format" in body else ok('{"a": 1}')

    with serving(script) as server, Asking(server.url) as ask:
        assert ask().level == "text" and server.count == 3
    with serving(in_turn(failing(500, "response_format is not implemented"), ok("{}"))) as server, Asking(server.url) as ask:
        assert ask().level == "json_object"


def test_once_a_server_has_replied_a_refusal_is_about_one_question() -> None:
    with (
        serving(in_turn(ok("{}"), failing(400, "flagged"), failing(403, "flagged"), ok("{}"))) as server,
        Asking(server.url) as ask,
    ):
        ask()
        with pytest.raises(ServerProblem) as refused:
            ask()
        assert not refused.value.lasting and "flagged" in refused.value.given
        with pytest.raises(ServerProblem):
            ask()
        assert ask().level == "json_schema" and server.count == 4


@pytest.mark.parametrize("lasting", [failing(401, "expired"), failing(429, retry_after="3600")])
def test_after_a_lasting_trouble_nothing_more_is_sent(lasting: Answer) -> None:
    with serving(in_turn(ok("{}"), lasting, ok("{}"))) as server, Asking(server.url) as ask:
        ask()
        with pytest.raises(ServerProblem) as first:
            ask()
        with pytest.raises(NotAsked) as second:
            ask()
        assert server.count == 2 and ask.chat.broken is first.value is second.value.because
    assert not isinstance(first.value, NotAsked) and second.value.lasting
    assert second.value.given == f"Not asked, because of an earlier question: {first.value.given}"


def test_five_questions_in_a_row_without_a_reply_are_enough_and_fewer_are_not() -> None:
    answers = [ok("{}"), *[failing(500)] * 4, ok("{}"), *[failing(500)] * 5, ok("{}")]
    with serving(in_turn(*answers)) as server, Asking(server.url, attempts=1) as ask:
        went = []
        for _ in range(13):
            try:
                went.append(ask().text)
            except ServerProblem as problem:
                went.append("not asked" if isinstance(problem, NotAsked) else "failed")
        assert server.count == 11
    assert went == ["{}", *["failed"] * 4, "{}", *["failed"] * 5, "not asked", "not asked"]


def test_threads_that_ask_at_once_find_one_manner() -> None:
    with serving(refuses("json_schema", "seed")) as server, Asking(server.url) as ask:
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ask.chat.manner == Manner("json_object", left_out=frozenset({"seed"}))
    assert 8 < server.count <= 8 * 3


def test_who_stops_waits_no_longer() -> None:
    with serving(in_turn(failing(500))) as server:
        chat = Chat(Server(server.url), Patience(attempts=5, first_wait=60.0))

        def ask() -> None:
            with pytest.raises(ServerProblem):
                chat.ask(HELLO)

        asked = threading.Thread(target=ask)
        asked.start()
        while server.count == 0:
            time.sleep(0.01)
        chat.stop()
        asked.join(10)
        chat.close()
    assert not asked.is_alive() and server.count == 1


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", f"  {KEY}\n")
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organisation")
    monkeypatch.delenv("EMPTY_KEY", raising=False)


@pytest.mark.parametrize(
    ("url", "variable", "clean", "sends"),
    [
        ("https://api.example.org/v1/", None, "https://api.example.org/v1", f"Bearer {KEY}"),
        ("https://api.example.org", None, "https://api.example.org/v1", f"Bearer {KEY}"),
        ("https://api.example.org/v1/chat/completions", None, "https://api.example.org/v1", f"Bearer {KEY}"),
        ("http://api.example.org/v1", None, "http://api.example.org/v1", None),
        ("http://api.example.org/v1", "OTHER_KEY", "http://api.example.org/v1", f"Bearer {KEY}"),
        ("http://localhost:8000", None, "http://localhost:8000/v1", None),
        ("https://127.0.0.1:8000/x/y", None, "https://127.0.0.1:8000/x/y", None),
        ("http://[::1]:8000/v1", None, "http://[::1]:8000/v1", None),
        ("http://me:pass%20word@host/v1?api-version=3&sig=abcdefghijk#f", None, "http://host/v1", "Basic bWU6cGFzcyB3b3Jk"),
        ("https://me@host/v1", None, "https://host/v1", "Basic bWU6"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_what_opens_the_door(
    keyed: None, url: str, variable: str | None, clean: str, sends: str | None
) -> None:
    server = server_of(url, variable)
    assert (server.url, server.authorization) == (clean, sends)
    assert KEY not in repr(server) and "pass" not in repr(server) and "sig" not in repr(server)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://host/v1", "http://", "http://u:secret@", "http://host:port/", "http://a b/v1"]
)
def test_what_is_no_address_is_not_quoted_back(url: str) -> None:
    with pytest.raises(UsageProblem) as wrong:
        server_of(url)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("value", [None, "", "two words", "sk-abc\ndef", "schlüssel"])
def test_a_variable_without_a_key_is_named_and_its_value_is_not(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(EnvironmentProblem) as wrong:
        server_of("https://host/v1", "MY_KEY")
    assert "MY_KEY" in wrong.value.given
    assert not value or value not in str(wrong.value)


def test_the_key_goes_to_the_server_and_nowhere_else(keyed: None, caplog: pytest.LogCaptureFixture) -> None:
    """Servers quote keys, in refusals and in replies; libraries log what they send."""
    caplog.set_level(logging.DEBUG)
    script = in_turn(failing(500, f"bad key {KEY}"), ok(f"you sent Bearer {KEY}"), failing(401, f"Incorrect API key: {KEY}"))
    with serving(script) as stubbed, Asking(server_of(f"{stubbed.url}?sig=signature-1234", "OTHER_KEY")) as ask:
        assert ask().text == "you sent Bearer [hidden]"
        with pytest.raises(ServerProblem) as failed:
            ask()
        with pytest.raises(ServerProblem) as asked:
            ask(Question("m", ({"role": "user", "content": "x"},)))
    seen = caplog.text + "".join(str(vars(record)) for record in caplog.records) + repr(ask.chat.__dict__)
    seen += "".join("".join(traceback.format_exception(one.value)) + str(one.value) for one in (failed, asked))
    assert "[hidden]" in failed.value.given and KEY not in seen and "another key" in failed.value.next
    assert {headers["authorization"] for headers in stubbed.headers} == {f"Bearer {KEY}"}
    assert all(path.endswith("?sig=signature-1234") for path in stubbed.paths)
    assert not any("openai-organization" in headers for headers in stubbed.headers)


def test_user_and_password_of_an_address_are_sent_as_such() -> None:
    script = in_turn(ok("{}"), failing(500, "no user me with long-password"))
    with serving(script) as stubbed, Asking(server_of(stubbed.url.replace("//", "//me:long-password@")), attempts=1) as ask:
        ask()
        with pytest.raises(ServerProblem) as failed:
            ask()
    assert stubbed.headers[0]["authorization"] == "Basic bWU6bG9uZy1wYXNzd29yZA=="
    assert "long-password" not in str(failed.value)


def test_contents_have_names_of_their_own() -> None:
    keys = {
        HELLO.key("http://a/v1"),
        HELLO.key("http://b/v1"),
        *(
            Question(**{**{name: getattr(HELLO, name) for name in HELLO.__dataclass_fields__}, **change}).key("http://a/v1")
            for change in (
                {"model": "n"},
                {"seed": 8},
                {"temperature": 0.1},
                {"messages": ({"role": "user", "content": "hello!"},)},
                {"schema": None},
            )
        ),
    }
    assert len(keys) == 7 and HELLO.key("http://a/v1") in keys
