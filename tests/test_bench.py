"""The bench's log: one line an event, whatever kills it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fieldguide.bench import Bench, Silent, cores, read_log, trim_log


def test_events_come_back_in_order(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.fact(name="猫\u2028\x85\n", rate=np.float32(0.5))
    bench.log("epoch", epoch=0)
    assert read_log(tmp_path / "log.jsonl") == [
        {"event": "fact", "name": "猫\u2028\x85\n", "rate": 0.5},
        {"event": "epoch", "epoch": 0},
    ]
    assert read_log(tmp_path / "none.jsonl") == []


def test_a_file_name_that_is_no_text_does_not_stop_the_log(tmp_path: Path) -> None:
    Bench(tmp_path).log("fact", name="\udcff")
    assert read_log(tmp_path / "log.jsonl") == [{"event": "fact", "name": "\udcff"}]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_line_is_left_out_and_the_next_is_not_lost(tmp_path: Path, cut: int) -> None:
    bench, path = Bench(tmp_path), tmp_path / "log.jsonl"
    bench.log("first")
    whole = path.stat().st_size
    bench.log("second", name="猫猫猫猫")
    with open(path, "r+b") as stream:
        stream.truncate(whole + cut)
    assert read_log(path) == [{"event": "first"}]
    bench.log("third")
    assert read_log(path) == [{"event": "first"}, {"event": "third"}]


def test_trimming_keeps_what_is_wanted(tmp_path: Path) -> None:
    bench, path = Bench(tmp_path), tmp_path / "log.jsonl"
    for epoch in range(4):
        bench.log("epoch", epoch=epoch, loss=float("inf"))
    trim_log(path, lambda event: event["epoch"] < 2)
    assert [event["epoch"] for event in read_log(path)] == [0, 1]
    trim_log(tmp_path / "none.jsonl", lambda event: True)
    assert not (tmp_path / "none.jsonl").exists()


def test_silence_and_cores() -> None:
    with Silent().bar("x", 3) as bar:
        bar.advance(2, note="y")
    assert cores() >= 1
