"""Group T5: kill -9, Ctrl-C and a polite end, at any moment; then the same command ends with the same numbers.

A child ends itself before a file operation, in the middle of a write (half of it is on disk), after a rename, or before a training
step. With FIELDGUIDE_TORTURE=all that is every rename, every write, every step and a seeded sample of all other operations; by
default one moment of each block that is drawn.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.torture.faults import PHASES, Moment, Plan, at_most, sample
from tests.torture.small_study import Place, Small, again, at_once, make, partial, small

pytestmark = [pytest.mark.torture("T5", "Kills"), pytest.mark.slow(keep=4)]
#: What is done at a moment: kinds of operation, whether the signal comes after it, and how many moments are drawn of them.
MOMENTS: dict[str, tuple[tuple[str, ...], bool, int]] = {
    "before a file operation": (("create", "sync", "close", "rename", "remove", "read", "list", "look"), False, 12),
    "in the middle of a write": (("write",), False, 1000),
    "after a rename": (("rename",), True, 1000),
}
BLOCKS = [f"{phase}, {moment}" for phase in PHASES for moment in MOMENTS]
SIGNALS = {"SIGINT": 130, "SIGTERM": 143}
Tell = Callable[[str], None]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return small(tmp_path_factory.mktemp("kills"))


def drawn(moments: list[Moment], most: int, block: str) -> list[Moment]:
    return sample(moments, at_most(most), block)


def ended_by(study: Small, number: int, code: int, *, after: bool = False) -> Callable[[Place, Moment], tuple[int, str | None]]:
    """Return what is done at a moment: the signal comes, the command ends with `code`, and called again it goes on."""

    def trial(place: Place, moment: Moment) -> tuple[int, str | None]:
        ended = place.compare(Plan(moment, signal=number, after=after))
        if ended.code != code or "Traceback" in ended.text or "A mistake" in ended.text:
            return ended.code, f"ended with {ended.code}, not {code}: {ended.text[-600:]}"
        cut = partial(place.study)
        return ended.code, f"not whole: {cut}" if cut else again(place, study.whole)

    return trial


def line(ends: Counter[int]) -> str:
    count = sum(ends.values())
    return f"{count} of {count} moments conform: nothing half-written under a final name, and the same command ends in the same numbers"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"kill -9 in {block}")
def test_killed_and_called_again(block: str, study: Small, told: Tell) -> None:
    phase, words = block.split(", ", 1)
    kinds, after, most = MOMENTS[words]
    moments = drawn(study.of(kinds, phase), most, block)
    told(line(study.tried(moments, ended_by(study, signal.SIGKILL, -signal.SIGKILL, after=after))))


def test_killed_before_a_training_step(study: Small, told: Tell) -> None:
    moments = drawn(study.of(("step",)), 1000, "step")
    told(line(study.tried(moments, ended_by(study, signal.SIGKILL, -signal.SIGKILL))))


@pytest.mark.parametrize("block", [f"{name} in {phase}" for name in SIGNALS for phase in PHASES])
def test_stopped_and_called_again(block: str, study: Small, told: Tell) -> None:
    name, phase = block.split(" in ")
    moments = drawn(study.of(("create", "rename", "read", "sync"), phase), 5, f"{name} {phase}")
    ends = study.tried(moments, ended_by(study, getattr(signal, name), SIGNALS[name]))
    told(f"{line(ends)}; exit {SIGNALS[name]}")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The same with two seeds; only the network takes part."""
    return small(tmp_path_factory.mktemp("kills-among-seeds"), seeds=2)


@pytest.mark.parametrize("words", MOMENTS, ids=lambda words: f"kill -9 among further seeds, {words}")
def test_killed_among_further_seeds(words: str, seeded: Small, told: Tell) -> None:
    kinds, after, most = MOMENTS[words]
    moments = drawn(seeded.of(kinds, name=r"runs/net/(seeds|cost)"), most, f"seeds {words}")
    told(line(seeded.tried(moments, ended_by(seeded, signal.SIGKILL, -signal.SIGKILL, after=after))))


# --- real processes -----------------------------------------------------------------------------------------------------------


def begun(place: Place) -> subprocess.Popen[str]:
    """Start a command in a process of its own and wait until it is at work."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "COLUMNS": "200"}
    words = ["compare", str(place.plan), "--out", str(place.study)]
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldguide", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    deadline = time.monotonic() + 120
    while not (place.study / "store").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("name", SIGNALS, ids=lambda name: f"{name} to a command")
def test_a_command_is_stopped(name: str, study: Small, tmp_path: Path, told: Tell) -> None:
    place = make(tmp_path / "base")
    process = begun(place)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == SIGNALS[name], (out, err)
    assert "Stopped. The same command goes on from here." in err and "Traceback" not in err
    assert again(place, study.whole) is None
    told(f"Stopped. The same command goes on from here.; exit {SIGNALS[name]}")


def slowly(mark: Path) -> None:
    """Let a picture take half a minute: whoever waits for the threads that decode waits long. The first leaves `mark`."""
    from fieldguide.data import images

    def load(*_: Any, **__: Any) -> None:
        mark.touch()
        time.sleep(30)

    at_once()
    images.load = load  # type: ignore[assignment]


def test_a_second_ctrl_c_leaves_at_once(study: Small, told: Tell, tmp_path: Path) -> None:
    mark = tmp_path / "at work"
    running = study.place.fresh().start(setup=functools.partial(slowly, mark))
    pid, deadline = running.process.pid or 0, time.monotonic() + 120
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(pid, signal.SIGINT)
    running.process.join(timeout=1)
    assert running.process.is_alive(), "the first waits for the pictures that are being decoded"
    os.kill(pid, signal.SIGINT)
    running.process.join(timeout=20)
    assert not running.process.is_alive() and running.process.exitcode == 130
    assert again(study.place, study.whole) is None
    told("the first waits for pictures that are being decoded, the second ends at once; the same command goes on; exit 130")
