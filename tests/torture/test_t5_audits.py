"""Group T5: kill -9 while a contestant is audited; the same command asks for what is missing alone, and ends in the same ``audit.json``.

The server itself kills who asks, at the arrival of a request or behind a reply, in the first words, in the middle and near the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.looking import looks
from tests.rooms import write_colours
from tests.stub import Answer, serving
from tests.torture.faults import Ended, Plan, Running, start
from tests.torture.small_study import at_once, partial

import fieldguide
from fieldguide.errors import DONE
from fieldguide.files import read_json, write_json
from fieldguide.records import Pixels

pytestmark = [pytest.mark.torture("T5", "Kills"), pytest.mark.slow(keep=1)]
Tell = Callable[[str], None]


def eye(pixels: Pixels | None, text: str) -> str:
    """Name the strongest colour; take the first of the list for a third of the pictures."""
    if pixels is None or np.ptp(pixels) == 0:
        return "nothing"
    colours = ("red", "green", "blue")
    if int(pixels.sum()) % 3 == 0:
        return min(colours, key=lambda name: text.find(name))
    return colours[int(np.asarray(pixels).reshape(-1, 3).mean(axis=0).argmax())]


class Killer:
    """Looks, and kills who asks at the question whose number, counted from 1, is `at`."""

    def __init__(self) -> None:
        self.at, self.behind, self.child, self.seen = 0, False, 0, 0
        self.lock, self.script_of_eye = threading.Lock(), looks(eye)

    def script(self, body: dict[str, Any], number: int) -> Answer:
        reply = self.script_of_eye(body, number)
        with self.lock:
            self.seen += 1
            mine = self.seen == self.at

        def answer(handler: BaseHTTPRequestHandler) -> None:
            if not (mine and not self.behind):
                reply(handler)
                handler.wfile.flush()
            if mine:
                os.kill(self.child, signal.SIGKILL)

        return answer

    def run(self, base: Path, at: int = 0, behind: bool = False) -> Ended:
        self.seen, self.at, self.behind = 0, at, behind
        with self.lock:  # no request is looked at before it is known whose it is
            words = ("audit", base / "study" / "runs" / "far", "--pictures", 9, "--labels", 2)
            child: Running = start(base, *words, plan=Plan(), setup=at_once)
            self.child = int(child.process.pid or 0)
        return child.end()


def unclocked(run: Path) -> bytes:
    """Return ``audit.json`` of a contestant byte for byte, but for what a clock measured."""
    path = run / "audit.json"
    found = read_json(path)
    assert path.read_bytes() and found["cost"].pop("seconds") > 0
    write_json(path.with_name("unclocked.json"), found)
    return path.with_name("unclocked.json").read_bytes()


@pytest.mark.parametrize("behind", [False, True], ids=["at a request", "behind a reply"])
def test_killed_while_auditing(behind: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Tell) -> None:
    monkeypatch.setattr("fieldguide.study._score", lambda *_: None)
    monkeypatch.setattr("fieldguide.study._draw", lambda *_: fieldguide.study.Drawn())
    killer = Killer()
    with serving(killer.script) as stub:
        base, other = tmp_path / "base", tmp_path / "other"
        word = f"vlm_prompt/served/colour:server={stub.url},at_once=2,as=far"
        fieldguide.compare(write_colours(base / "pictures", each=8), [word], out=base / "study")
        shutil.copytree(base, other)
        assert killer.run(other).code == DONE
        every = killer.seen
        for at in (2, every // 3, every // 3):
            ended = killer.run(base, at, behind)
            assert ended.code == -signal.SIGKILL, ended.text
            assert not partial(base / "study"), "something half-written lies under a final name"
            assert not (base / "study" / "runs" / "far" / "audit.json").exists()
        ended = killer.run(base)
        assert ended.code == DONE, ended.text
        last = killer.seen
        assert last < every / 2, "what was kept was asked again"
        assert unclocked(base / "study" / "runs" / "far") == unclocked(other / "study" / "runs" / "far")
        assert killer.run(base).code == DONE and killer.seen == 0, "nothing is missing, so nobody is asked"
    told(f"{every} questions, 3 kills {'behind a reply' if behind else 'at a request'}: {last} were left for the last call")
