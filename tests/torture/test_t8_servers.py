"""Group T8: servers that fail, in the middle of a run and before it, behind the OpenAI protocol and behind Ollama's.

Five pictures are asked about, one after another, and the fault befalls the second. The rule is the same for all: it ends within bounds
of time and memory, it is told in plain words, no answer that came is lost, and whoever asks again asks for what failed alone.
No time is really waited: what would have been waited is written down.
"""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import openai  # noqa: F401 - here, so that no case pays for the seconds this takes
import pytest
from tests import stub
from tests.looking import colour, decoded, looks, ollama, plain_picture
from tests.rooms import write_colours
from tests.stub import Answer, Script, Stub, failing, raw, serving
from tests.torture.shell import in_process

from fieldguide.craft.chat import Said, Wanted
from fieldguide.craft.chat.ollama import open_ollama
from fieldguide.craft.chat.over_http import open_served
from fieldguide.craft.insisting import Insisting
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DONE, PARTLY, EnvironmentProblem
from fieldguide.tasks.asking import Asking, Message, Shown

pytestmark = pytest.mark.slow(keep=14)
torture = pytest.mark.torture("T8", "Servers that fail")

Tell = Callable[[str], None]
SHOWN = ("red", "green", "blue", "red", "blue")
ASKING = Asking((Message("user", ("One of: red, green, blue.", Shown())),), ("red", "green", "blue"))
#: Seconds that a reply may take where it is late, and where it is not; and a whole case.
SHORT, LONG, MOST_SECONDS = 0.4, 30.0, 60.0
WEB = "<html><head><title>Bad Gateway</title></head><body>nginx</body></html>"
OPENAI, OLLAMA = "OpenAI", "Ollama"


@dataclass
class Sitting:
    """One way of asking, with what would have been waited."""

    way: str
    waits: list[float] = field(default_factory=list)
    patience: float = LONG
    hook: Callable[[int], None] = lambda number: None

    def serve(self, script: Script, port: int = 0) -> AbstractContextManager[Stub]:
        return serving(script, port=port) if self.way == OPENAI else ollama(script, port=port)

    def address(self, server: Stub) -> str:
        return server.url if self.way == OPENAI else server.root

    def says(self, address: str, shown: tuple[str, ...] = SHOWN, name: str = "eyes") -> list[Said]:
        """Ask about pictures of these colours, within bounds of time."""
        start = time.monotonic()
        opening = open_served if self.way == OPENAI else open_ollama
        prefix = "served/" if self.way == OPENAI else "ollama/"
        wanted = Wanted(prefix + name, address, at_once=1, timeout=self.patience, attempts=3)
        try:
            chat = opening(wanted, sleep=self._sleep)
            try:
                return list(chat.ask(ASKING, map(plain_picture, shown), {}))
            finally:
                chat.close()
        finally:
            assert time.monotonic() - start < MOST_SECONDS

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.hook(len(self.waits))


@pytest.fixture(params=[OPENAI, OLLAMA])
def sitting(request: pytest.FixtureRequest) -> Sitting:
    return Sitting(request.param)


def befalls(fault: Answer, times: int = 1000) -> Script:
    """Answer as a model does, but for the green picture, which gets the fault so many times."""
    left = [times]

    def script(body: dict[str, Any], number: int) -> Answer:
        pictures, _ = decoded(body)
        if pictures and colour(pictures[-1], "") == "green" and left[0]:
            left[0] -= 1
            return fault
        return looks()(body, number)

    return script


def asked_again(sitting: Sitting, said: list[Said]) -> None:
    """Ask once more for what failed, of a server that is well: that alone is asked, and then nothing is missing."""
    missing = [at for at, one in enumerate(said) if one.error is not None]
    with sitting.serve(looks()) as server:
        again = sitting.says(sitting.address(server), tuple(SHOWN[at] for at in missing))
        assert server.count == len(missing) + (sitting.way == OPENAI)
    whole = [one.text for one in said]
    for at, one in zip(missing, again, strict=True):
        whole[at] = one.text
    assert whole == list(SHOWN)


def then() -> str:
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    return email.utils.format_datetime(moment, usegmt=True)


#: Faults that stay with one picture: how often it is asked about, and what is told.
STAYS: dict[str, tuple[Answer, int, str]] = {
    "read timeout": (stub.hanging(1.0), 3, "no whole reply within 0.4 s"),
    "slow drip": (stub.dripping(1.0), 3, "no whole reply within 0.4 s"),
    "400": (failing(400, "bad picture"), 1, "HTTP 400, bad picture"),
    "403": (failing(403, "flagged"), 1, "HTTP 403, flagged"),
    "404": (failing(404, "no such thing"), 1, "HTTP 404, no such thing"),
    "413": (failing(413, "too large"), 1, "HTTP 413, too large"),
    "429 without Retry-After": (failing(429, "slow down"), 3, "HTTP 429, slow down"),
    "500": (failing(500, "boom"), 3, "HTTP 500, boom"),
    "502": (raw(502, WEB, "text/html"), 3, "HTTP 502, a web page (Bad Gateway)"),
    "503": (failing(503, "loading"), 3, "HTTP 503, loading"),
    "drop in the middle of a body": (stub.cut, 3, "the connection broke"),
    "200 that is no JSON": (raw(200, "all is well", "text/plain"), 3, "its reply is no JSON, or was cut"),
    "200 that is empty": (raw(200, ""), 3, "its reply is no JSON, or was cut"),
}


@torture
@pytest.mark.parametrize("name", STAYS)
def test_fault_of_one_picture(name: str, sitting: Sitting, told: Tell) -> None:
    fault, attempts, words = STAYS[name]
    sitting.patience = SHORT if "within" in words else LONG
    with sitting.serve(befalls(fault)) as server:
        said = sitting.says(sitting.address(server))
        assert server.count == 4 + attempts + (sitting.way == OPENAI)
    assert [one.text for one in said] == ["red", "", "blue", "red", "blue"]
    assert words in str(said[1].error) and not said[1].lasting
    assert sitting.waits == [1.0, 2.0][: attempts - 1]
    told(f"4 of 5 answered; {str(said[1].error).partition('gave no reply: ')[2]}")
    sitting.patience = LONG
    asked_again(sitting, said)


#: Faults that pass: what is answered for how often, and what is waited.
PASSES: dict[str, tuple[Callable[[], Answer], int, list[float]]] = {
    "429 with Retry-After in seconds": (lambda: failing(429, retry_after="7"), 2, [7.0, 7.0]),
    "429 with Retry-After as a date": (lambda: failing(429, retry_after=then()), 1, [60.0]),
    "429 with a bad Retry-After": (lambda: failing(429, retry_after="soon"), 2, [1.0, 2.0]),
}


@torture
@pytest.mark.parametrize("name", PASSES)
def test_fault_that_passes(name: str, sitting: Sitting, told: Tell) -> None:
    fault, times, waits = PASSES[name]
    with sitting.serve(befalls(fault(), times)) as server:
        said = sitting.says(sitting.address(server))
    assert [one.text for one in said] == list(SHOWN) and server.count == 5 + times + (sitting.way == OPENAI)
    assert sitting.waits == pytest.approx(waits, abs=3.0 if "date" in name else 0)
    told(f"5 of 5 answered, after {sum(waits):g} s of waiting")


def endless(sent: list[int]) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("connection", "close")
        handler.end_headers()
        handler.close_connection = True
        for _ in range(100_000):
            handler.wfile.write(b" " * 65_536)
            sent[0] += 65_536

    return answer


def endless_body(sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = [0]
    with sitting.serve(befalls(endless(sent))) as server:
        said = sitting.says(sitting.address(server))
    assert "larger than 2 MB" in str(said[1].error) and [one.text for one in said][2:] == ["blue", "red", "blue"]
    assert sent[0] < 32e6  # what the system holds between the two, and not what the server would give
    told("4 of 5 answered; its reply is larger than 2 MB")
    asked_again(sitting, said)


#: Faults that every further picture would share: none is asked about any more.
ENDS: dict[str, tuple[Answer, str]] = {
    "401": (failing(401, "expired"), "HTTP 401, expired"),
    "redirect to a machine's own address": (
        raw(307, "", location="http://169.254.169.254/latest/meta-data"),
        "it sends on to http://169.254.169.254/latest/meta-data, and only the host that was given is asked",
    ),
    "429 that asks for an hour": (failing(429, retry_after="3600"), "it asks to wait 3,600 s"),
}


@torture
@pytest.mark.parametrize("name", ENDS)
def test_fault_that_ends_it(name: str, sitting: Sitting, told: Tell) -> None:
    fault, words = ENDS[name]
    with sitting.serve(befalls(fault)) as server:
        said = sitting.says(sitting.address(server))
        assert server.count == 2 + (sitting.way == OPENAI)
    assert said[0].text == "red" and words in str(said[1].error) and said[1].lasting
    assert all(str(one.error).startswith("not asked: because of a picture before it") for one in said[2:])
    assert not sitting.waits
    told(f"1 of 5 answered, 3 not asked; {str(said[1].error).partition('gave no reply: ')[2]}")
    asked_again(sitting, said)


def restart(sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes while it is asked, is away for an attempt, and comes back at the same address."""
    with ExitStack() as second:
        first = ExitStack()
        server = first.enter_context(sitting.serve(befalls(stub.hang_up)))
        port = int(server.root.rpartition(":")[2])
        came: list[Stub] = []

        def hook(number: int) -> None:
            if number == 1:
                first.close()
            else:
                came.append(second.enter_context(sitting.serve(looks(), port)))

        sitting.hook = hook
        said = sitting.says(sitting.address(server))
        assert [one.text for one in said] == list(SHOWN) and sitting.waits == [1.0, 2.0]
        assert came[0].count == 4
    told("5 of 5 answered, after 3 s of waiting; 1 of them asked about 3 times")


def refusal(sitting: Sitting, address: str, name: str = "eyes") -> EnvironmentProblem:
    with pytest.raises(EnvironmentProblem) as problem:
        sitting.says(address, name=name)
    assert len(str(problem.value).splitlines()) == 3
    return problem.value


def refused(sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = refusal(sitting, "http://127.0.0.1:1")
    assert "nobody listens there (connection refused) (3 attempts)" in problem.given and sitting.waits == [1.0, 2.0]
    told(problem.given)


def unknown_name(sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    problem = refusal(sitting, "http://models.example.org:8000")
    assert "the name models.example.org:8000 is not known" in problem.given
    told(problem.given)


def tls(sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    with sitting.serve(looks()) as server:
        problem = refusal(sitting, sitting.address(server).replace("http:", "https:"))
        assert server.count == 0
    assert "TLS failed" in problem.given and "http://" in problem.next and not sitting.waits
    told(problem.given.replace(server.root[7:], "localhost"))


@contextmanager
def deaf() -> Iterator[str]:
    """An address where connections are neither taken nor refused: as many wait already as may."""
    with socket.socket() as listening, ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            with suppress(BlockingIOError):
                caller.connect_ex(listening.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def slow_connection(sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    sitting.patience = SHORT
    with deaf() as address:
        problem = refusal(sitting, address)
    assert "no whole reply within 0.4 s (3 attempts)" in problem.given
    told(problem.given.replace(address[7:], "localhost"))


def wrong_model(sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name that the server does not have; behind the OpenAI protocol also of another model that answers in its place."""

    def script(body: dict[str, Any], number: int) -> Answer:
        return looks()(body, number) if body["model"] in ("eyes", "eyes:latest") else failing(404, "no model of that name")

    with sitting.serve(script) as server:
        problem = refusal(sitting, sitting.address(server), "ears")
    assert ("no model of that name" if sitting.way == OPENAI else "has no model ears") in problem.given
    told(problem.given.replace(server.root[7:], "localhost"))
    if sitting.way == OPENAI:
        other = raw(200, stub.envelope("green"))
        with sitting.serve(befalls(other)) as server:
            said = sitting.says(sitting.address(server))
        assert said[1].error == "A model called served-name answered; it was eyes-1@main when the run began."
        asked_again(sitting, said)


OTHERS = {
    "connection refused": refused,
    "name that nobody knows": unknown_name,
    "TLS that fails": tls,
    "connection that does not stand in time": slow_connection,
    "wrong model": wrong_model,
    "restart in the middle": restart,
    "endless body": endless_body,
}


@torture
@pytest.mark.parametrize("name", OTHERS)
def test_fault(name: str, sitting: Sitting, told: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    OTHERS[name](sitting, told, monkeypatch)


#: What befalls every third picture in a whole study, whichever it is; it passes before the command is given again.
IN_A_STUDY: dict[str, tuple[Answer, str]] = {
    "500": (failing(500, "boom"), "HTTP 500, boom"),
    "drop in the middle of a body": (stub.cut, "the connection broke"),
}


@torture
@pytest.mark.parametrize("name", IN_A_STUDY, ids=[f"in a study: {name}" for name in IN_A_STUDY])
def test_fault_in_a_study(
    name: str,
    sitting: Sitting,
    told: Tell,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same command asks about the pictures that failed, and about no other."""
    fault, words = IN_A_STUDY[name]
    asked: Counter[str] = Counter()
    well = [False]

    def script(body: dict[str, Any], number: int) -> Answer:
        pictures, text = decoded(body)
        if not pictures or "Which one of these" not in text:  # of the probe, about a made picture
            return looks()(body, number)
        picture = hashlib.sha256(pictures[-1].tobytes()).hexdigest()
        asked[picture] += 1
        return fault if int(picture, 16) % 3 == 0 and not well[0] else looks()(body, number)

    monkeypatch.setattr(Insisting, "_rest", lambda self, trouble, attempts: None)
    shell = in_process(capsys, monkeypatch)
    prefix = "served" if sitting.way == OPENAI else "ollama"
    with sitting.serve(script) as server:
        word = f"vlm_prompt/{prefix}/eyes:server={sitting.address(server)},at_once=1,as=far"
        command = ("compare", write_colours(tmp_path / "pictures", each=10), word, "--out", tmp_path / "study")
        first = shell(*command)
        failed = {picture for picture in asked if int(picture, 16) % 3 == 0}
        rest = set(asked) - failed
        assert first.code == PARTLY and failed and rest, first.text
        assert f"far: {len(failed)} of {len(asked)} failed (" in first.text and words in first.text
        assert "counted wrong; the same command asks for these again" in first.text
        asked.clear()
        well[0] = True
        again = shell(*command)
    assert again.code == DONE and set(asked) == failed and max(asked.values()) == 1, again.text
    answers = read_predictions(tmp_path / "study" / "runs" / "far" / "predictions.parquet")
    assert len(answers) == len(failed | rest) and not any(one.error for one in answers)
    (line,) = [part for part in first.out.splitlines() if part.strip().startswith("far: ")]
    told(f"{line.strip().replace(server.root[7:], 'localhost')} Then {len(asked)} were asked.")


def test_the_group_would_notice(sitting: Sitting) -> None:
    """A server that is well answers all; one that answers wrongly is not taken for one that is."""
    with sitting.serve(looks()) as server:
        assert [one.text for one in sitting.says(sitting.address(server))] == list(SHOWN)
    with sitting.serve(looks(lambda pixels, text: json.dumps(text))) as server:
        assert [one.text for one in sitting.says(sitting.address(server))] != list(SHOWN)
