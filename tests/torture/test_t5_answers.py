"""Group T5: kill -9 while a model behind a server is being asked; then the same command asks for what is missing, and for nothing else.

The server itself kills who asks, at the arrival of a request or behind a reply, so the moment is one at which answers are on their way.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from tests.rooms import write_colours
from tests.stub import Answer, Stub, ok, serving
from tests.torture.faults import Ended, Plan, Running, start
from tests.torture.small_study import at_once, partial

import fieldguide
from fieldguide.craft.chat.kept import Answers
from fieldguide.data.tables import read_predictions
from fieldguide.errors import DONE

pytestmark = [pytest.mark.torture("T5", "Kills"), pytest.mark.slow(keep=1)]
KEY = "sk-torture-5e2c8f91d4b7"
Tell = Callable[[str], None]


class Killer:
    """Answers by colour, and kills who asks at the picture whose number, counted from 1, is `at`."""

    def __init__(self) -> None:
        self.at, self.behind, self.child = 0, False, 0
        self.seen, self.replied = Counter[str](), Counter[str]()
        self.lock = threading.Lock()

    def script(self, body: dict[str, Any], number: int) -> Answer:
        url = next((part["image_url"]["url"] for part in parts(body) if part["type"] == "image_url"), None)
        if url is None or "Which one of these" not in json.dumps(body):  # of the probe, about a made picture
            return ok("yes")
        with self.lock:
            self.seen[url] += 1
            mine = self.seen.total() == self.at
        pixels = np.asarray(Picture.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
        reply = ok(("red", "green", "blue")[int(pixels.reshape(-1, 3).mean(axis=0).argmax())])

        def answer(handler: BaseHTTPRequestHandler) -> None:
            if mine and not self.behind:
                os.kill(self.child, signal.SIGKILL)
                return
            reply(handler)
            handler.wfile.flush()
            with self.lock:
                self.replied[url] += 1
            if mine:
                os.kill(self.child, signal.SIGKILL)

        return answer


def parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for turn in body["messages"]:
        if isinstance(turn["content"], list):
            yield from turn["content"]


class Bench:
    """Pictures, a server, and a study of it."""

    def __init__(self, folder: Path, killer: Killer, stub: Stub, wide: int) -> None:
        self.base, self.killer, self.wide = folder / "base", killer, wide
        self.pictures = write_colours(self.base / "pictures", each=8)
        self.word = f"vlm_prompt/served/colour:server={stub.url},key_variable=TORTURE_KEY,at_once={wide},as=far"

    @property
    def study(self) -> Path:
        return self.base / "study"

    def run(self, at: int = 0, behind: bool = False) -> Ended:
        self.killer.at, self.killer.behind = (self.killer.seen.total() + at if at else 0), behind
        with self.killer.lock:  # no request is looked at before it is known whose it is
            child: Running = start(
                self.base, "compare", self.pictures, self.word, "--out", self.study, plan=Plan(), setup=at_once
            )
            self.killer.child = int(child.process.pid or 0)
        return child.end()


@pytest.fixture(scope="module", autouse=True)
def libraries(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Import here, by using them once, what the forked children need."""
    import openai  # noqa: F401

    folder = tmp_path_factory.mktemp("warm")
    with serving(Killer().script) as stub:
        word = f"vlm_prompt/served/colour:server={stub.url},as=far"
        assert fieldguide.compare(write_colours(folder / "pictures", each=8), [word], out=folder / "study").exit_code == DONE


@pytest.mark.parametrize("wide", [1, 3])
@pytest.mark.parametrize("behind", [False, True], ids=["at a request", "behind a reply"])
def test_killed_while_asking(behind: bool, wide: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Tell) -> None:
    monkeypatch.setenv("TORTURE_KEY", KEY)
    killer = Killer()
    with serving(killer.script) as stub:
        bench = Bench(tmp_path, killer, stub, wide)
        kept = 0
        for number, at in enumerate((2, 3)):
            ended = bench.run(at, behind)
            assert ended.code == -signal.SIGKILL, ended.text
            assert not partial(bench.study), "something half-written lies under a final name"
            if (bench.study / "answers.sqlite").exists():
                with Answers(bench.study / "answers.sqlite") as answers:
                    assert kept <= len(answers) <= len(killer.replied), "answers were lost"
                    # What was answered and not yet written when the kill came are at most those on their way.
                    assert len(answers) >= len(killer.replied) - (number + 1) * 2 * wide
                    kept = len(answers)
        before = killer.seen.total()
        ended = bench.run()
        assert ended.code == DONE, ended.text
        found = read_predictions(bench.study / "runs" / "far" / "predictions.parquet")
        assert all(one.error is None for one in found) and len(killer.replied) == len(found)
        assert killer.seen.total() - before == len(found) - kept, "the last run asked for more than was missing"
        again = killer.seen.total()
        shutil.rmtree(bench.study / "runs")
        assert bench.run().code == DONE and killer.seen.total() == again, "what is kept was asked again"
        keyed = sum(headers.get("authorization") == f"Bearer {KEY}" for headers in stub.headers)
        assert keyed == stub.count, "the key was not used, so that it could not leak"
    leaks = [path for path in bench.base.rglob("*") if path.is_file() and leaked(path.read_bytes())]
    assert not leaks
    twice = sum(killer.replied.values()) - len(killer.replied)
    told(
        f"{len(found)} pictures, 2 kills {'behind a reply' if behind else 'at a request'}: {twice} replies were had twice; key in 0 files"
    )


def leaked(data: bytes) -> bool:
    """Tell whether the key stands in `data`, as it is or in an encoding that hides it little."""
    forms = (
        KEY.encode(),
        KEY.encode().hex().encode(),
        base64.b64encode(KEY.encode())[:-4],
        KEY[::-1].encode(),
        KEY.encode("utf-16-le"),
    )
    return any(form in data for form in forms)


def test_the_look_for_leaks_finds_some() -> None:
    assert all(map(leaked, (f"x{KEY}y".encode(), KEY.encode().hex().encode(), base64.b64encode(f"{KEY}".encode()))))
    assert not leaked(time.ctime().encode())
