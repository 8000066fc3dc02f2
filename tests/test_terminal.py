"""Progress where no bar can be drawn: lines, now and then."""

from __future__ import annotations

import io

import pytest

from fieldguide import terminal


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(terminal, "err", terminal.Console(file=stream, highlight=False, width=200))
    return stream


def test_a_file_gets_a_line_once_in_a_while(written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 25))
    monkeypatch.setattr(terminal.time, "monotonic", lambda: float(next(clock)))
    bars = terminal.Bars()
    with bars.bar("contestants", 3), bars.bar("train", 2000) as inner:
        for step in range(8):
            inner.advance(note=f"epoch {step}")
    assert written.getvalue().splitlines() == [
        "train: 1 of 2,000 after 25.0 s (epoch 0)",
        "train: 4 of 2,000 after 1 min 40 s (epoch 3)",
        "train: 7 of 2,000 after 2 min 55 s (epoch 6)",
    ]


def test_short_work_writes_nothing_into_a_file(written: io.StringIO) -> None:
    bars = terminal.Bars()
    with bars.bar("look", 2) as bar:
        bar.advance()
        bar.advance()
    assert written.getvalue() == ""


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(terminal, "err", terminal.Console(file=stream, force_terminal=True, width=100))
    with terminal.Bars().bar("look", 2) as bar:
        bar.advance()
    assert "look" in stream.getvalue()
