"""Group T12: a key, a password in the server's address and the values of its query stand nowhere, however the server quotes them.

A server quotes all three back in whatever it says: in refusals, in replies, as the reason why one ended, as its model's name, in its
headers; in six writings. The commands that talk to servers are run against it, with all logs of the libraries turned on; then
everything that is left of them is read, and every writing is taken back before it is looked at.
"""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import tempfile
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.pictures import write_folder
from tests.stub import Answer, Stub, described, envelope, raw, serving
from tests.torture.shell import Shell, in_process
from tests.torture.writings import WRITINGS, holds

from fieldguide import cli, describing
from fieldguide.asked import Describing
from fieldguide.craft import wire
from fieldguide.craft.insisting import Patience
from fieldguide.craft.secrets import HIDDEN
from fieldguide.errors import ENVIRONMENT, PARTLY, UNFORESEEN, USAGE, Problem

pytestmark = [pytest.mark.torture("T12", "Secrets"), pytest.mark.slow(keep=3)]

KEY, PASSWORD, SIGNATURE = "sk-proj-Ab9+/=T3BlbkFJ&x_y-0123456789", "long:pass/word-4711", "signature-of-the-query"
ARTEFACTS = ("log", "report", "cache", "settings", "traceback", "terminal")
#: What is kept of answers, and what is noted while a contestant runs; everything else of a study is settings.
_CACHE, _LOG = (
    (".sqlite", ".sqlite-wal", ".replies.jsonl", "predictions.parquet"),
    ("log.jsonl", "failed.json", "fit.json", "readings.json", "cost.json"),
)
Tell = Callable[[str], None]


@dataclass
class Yard:
    """One study that was driven against a server which quotes in one writing; `said` is what each artefact of it holds."""

    root: Path
    said: dict[str, str] = field(default_factory=dict)

    @property
    def study(self) -> Path:
        return self.root / "study"


def quoting(writing: str, there: list[Stub]) -> Callable[[dict[str, Any], int], Answer]:
    """Answer each request by quoting the secrets that came with it: every fifth is refused for now, one model for good."""

    def script(body: dict[str, Any], number: int) -> Answer:
        (server,) = there
        login = server.headers[number]["authorization"]
        sent = [KEY] if login.startswith("Bearer") else [PASSWORD]
        written = [
            form for one in (*sent, *([SIGNATURE] if "?" in server.paths[number] else [])) for form in WRITINGS[writing](one)
        ]
        model, mine = "m-" + written[0], written[number % len(written)]
        headers = {"x_request_id": mine.replace("\n", "")}
        if body["model"] == "refused":
            long = "it is not known here " * (number % 13)  # cut in the middle of the quotation somewhere
            return raw(401, json.dumps({"error": {"message": f"Incorrect API key {long}: {mine}", "code": mine}}), **headers)
        if number % 5 == 4:
            return raw(
                500, f"<html><title>Bad gateway for {mine}</title></html>" if number % 2 else f"upstream said {mine}", **headers
            )
        pictures = isinstance(body["messages"][-1]["content"], list)
        text = f"cat, says {mine}" if pictures or "Class:" not in str(body) else json.dumps(_told(body, mine))
        reply = json.loads(envelope(text, mine))
        return raw(200, json.dumps({**reply, "model": model, "system_fingerprint": mine}), **headers)

    return script


def _told(body: dict[str, Any], mine: str) -> dict[str, Any]:
    said = described(body)
    said["fields"] = {name: f"{text} and {mine}" for name, text in said["fields"].items()}
    return said


def drive(yard: Yard, writing: str, shell: Shell, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every command that talks to a server, and keep what they say and leave."""
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setattr(describing, "Patience", lambda attempts, seconds: Patience(attempts, seconds, first_wait=0.001))
    monkeypatch.setattr("fieldguide.craft.insisting.Insisting._rest", lambda *_: None)
    photos = write_folder(yard.root / "photos")
    terminal = []
    with caplog.at_level(logging.DEBUG), serving(quoting(writing, there := [])) as server:
        there.append(server)
        secretly = server.url.replace("//", f"//me:{PASSWORD.replace('/', '%2F')}@") + f"?sig={SIGNATURE}"
        keyed = ("--key-variable", "MY_KEY")
        plain = f"vlm_prompt/served/good:server={server.url},key_variable=MY_KEY,attempts=2,at_once=1,as=good"
        terminal.append(shell("compare", photos, "majority", plain, plain.replace("good", "refused"), "--out", yard.study))
        assert terminal[-1].code == PARTLY, terminal[-1].text
        terminal.append(
            shell("compare", photos, "majority", f"vlm_prompt/served/x:server={secretly},as=x", "--out", yard.root / "none")
        )
        assert terminal[-1].code == USAGE and not (yard.root / "none").exists(), terminal[-1].text
        fields = ("--fields", "size,beak", "--domain", "bird", "--attempts", 2)
        for address, more in ((secretly, ()), (server.url, keyed)):
            model = ("--model", f"maker/{'keyed' if more else 'password'}")
            terminal.append(shell("describe", yard.study, "--server", address, *model, *fields, *more))
        terminal.append(shell("describe", yard.study, "--server", secretly, "--model", "refused", *fields))
        assert terminal[-1].code == ENVIRONMENT, terminal[-1].text
        picture = next(photos.rglob("*.png"))
        for model in ("good", "refused"):
            terminal.append(shell("ask", f"served/{model}", picture, "a cat?", "--server", server.url, *keyed))
        terminal.append(shell("report", yard.study))
        yard.said["traceback"] = _traces(yard, secretly, monkeypatch)
    yard.said["terminal"] = "\n".join(said.out + said.err for said in terminal)
    yard.said["log"] = caplog.text
    for path in sorted(yard.study.rglob("*")):
        if path.is_file():
            yard.said[_artefact(path)] = yard.said.get(_artefact(path), "") + f"\n{path.name}\n" + _text(path)
    assert {headers.get("authorization") for headers in server.headers} >= {f"Bearer {KEY}"}
    assert any(headers.get("authorization", "").startswith("Basic ") for headers in server.headers), "the password was sent"
    assert any(path.endswith(f"?sig={SIGNATURE}") for path in server.paths), "and the query"


def _traces(yard: Yard, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a program sees of a failure, with the values of all names of ours on the way, and the log of a mistake of ours."""
    asked = Describing(server=address, model="refused", key_variable="MY_KEY", fields="size")
    traces = ""
    try:
        describing.follow(describing.prepare(yard.study, asked))
    except Problem as problem:
        problem.__traceback__ = problem.__traceback__.tb_next if problem.__traceback__ else None  # our own frame knows them
        traces = "".join(traceback.TracebackException.from_exception(problem, capture_locals=True).format()) + repr(problem)
    assert "in _insist" in traces

    def mistaken(self: Any, body: bytes) -> bytes:
        raise RuntimeError(f"a mistake about {body!r} and {KEY}")

    with monkeypatch.context() as patch:
        patch.setattr(wire.Wire, "_discreet", mistaken)
        patch.setattr(wire.troubles, "of_error", lambda *_: None)
        patch.setattr(tempfile, "tempdir", str(yard.root))
        with pytest.raises(SystemExit) as stopped:
            cli.main(["describe", str(yard.study), "--server", address, "--model", "new", "--key-variable", "MY_KEY"])
    assert stopped.value.code == UNFORESEEN
    (log,) = yard.root.glob("fieldguide-*.log")
    return traces + log.read_text(encoding="utf-8")


def _artefact(path: Path) -> str:
    if path.name.endswith(_CACHE):
        return "cache"
    if path.name.endswith(_LOG):
        return "log"
    return "report" if path.name.startswith(("report", "leaderboard", "scores", "comparison")) else "settings"


def _text(path: Path) -> str:
    if path.suffix == ".parquet":
        return json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False, default=str)
    if path.suffix == ".sqlite":
        with closing(sqlite3.connect(path)) as base:
            return "\n".join(base.iterdump())
    if path.suffix == ".bin":
        return ""  # pixels
    return re.sub(r"data:image/\w+;base64,[A-Za-z0-9+/=]*", "", path.read_text("utf-8", "replace"))


@pytest.fixture(scope="module")
def yards() -> dict[str, Yard]:
    return {}


@pytest.fixture
def yard(
    request: pytest.FixtureRequest,
    yards: dict[str, Yard],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Yard:
    """The study of a writing, which is driven once."""
    writing = request.getfixturevalue("writing")
    if writing not in yards:
        made = Yard(tmp_path_factory.mktemp("secrets"))
        drive(made, writing, in_process(capsys, monkeypatch), caplog, monkeypatch)
        yards[writing] = made
    return yards[writing]


@pytest.mark.parametrize("artefact", ARTEFACTS)
@pytest.mark.parametrize("writing", WRITINGS)
def test_quoted_and_kept_nowhere(yard: Yard, writing: str, artefact: str, told: Tell) -> None:
    text = yard.said[artefact]
    assert not holds(text, KEY, PASSWORD, SIGNATURE)
    assert HIDDEN in text, "what was quoted there is marked"
    around = next(line for line in text.splitlines() if HIDDEN in line)
    at = around.index(HIDDEN)
    told(re.sub(r"\d{4,}", "N", around[max(0, at - 70) : at + 40]))
