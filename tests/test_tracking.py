"""Trackers: called with every event, and never in the way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fieldguide.bench import Bench, Silent
from fieldguide.errors import UsageProblem
from fieldguide.tracking import tracker


class Saying(Silent):
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_function_of_the_user_hears_every_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_to_track.py").write_text(
        "heard = []\n\ndef note(run, event, values):\n    heard.append((run, event, values))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    track = tracker("mine_to_track:note", tmp_path, Silent())
    bench = Bench(tmp_path, tracker=lambda event, values: track("net", event, values))
    bench.log("epoch", epoch=0, val_accuracy=0.5)
    bench.fact(parameters=7)
    assert sys.modules["mine_to_track"].heard == [
        ("net", "epoch", {"epoch": 0, "val_accuracy": 0.5}),
        ("net", "fact", {"parameters": 7}),
    ]


@pytest.mark.parametrize("words", ["nowhere_at_all:note", "json:nothing", "json", "json:__doc__", ":x", "tensor-board"])
def test_a_tracker_that_is_none_is_three_breaths(words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageProblem) as caught:
        tracker(words, tmp_path, Silent())
    assert words in caught.value.given and "MODULE:FUNCTION" in caught.value.allowed


def test_one_that_raises_is_told_of_once_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def broken(run: str, event: str, values: Any) -> None:
        calls.append(event)
        raise OSError("no server")

    monkeypatch.setattr("json.broken", broken, raising=False)
    saying = Saying()
    track = tracker("json:broken", tmp_path, saying)
    for epoch in range(3):
        track("net", "epoch", {"epoch": epoch})
    assert calls == ["epoch"]
    assert saying.said == ["--track json:broken stopped: OSError: no server. The study goes on without it."]


def test_tensorboard_reads_the_curve_once_though_an_epoch_was_told_twice(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for sitting in (range(3), range(2, 4)):
        track = tracker("tensorboard", tmp_path, Silent())
        for epoch in sitting:
            track("net", "epoch", {"epoch": epoch, "val_accuracy": 0.1 * epoch + 0.01 * sitting.start, "val_loss": None})
        track("net", "best", {"epoch": 1})
    read = EventAccumulator(str(tmp_path / "tensorboard" / "net"))
    read.Reload()
    assert read.Tags()["scalars"] == ["val_accuracy"]
    seen = [(event.step, round(event.value, 2)) for event in read.Scalars("val_accuracy")]
    assert seen == [(0, 0.0), (1, 0.1), (2, 0.22), (3, 0.32)]
