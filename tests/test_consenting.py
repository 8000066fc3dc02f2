"""No picture leaves this machine before somebody agreed to where it goes and what that costs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console

from fieldguide import terminal
from fieldguide.bench import Silent
from fieldguide.consenting import line, require
from fieldguide.errors import USAGE, UsageProblem
from fieldguide.records import Sending

AWAY = Sending("api.example.org", 300, 240_000, 900, 0.1234, 4, "gpt")


class Told(Silent):
    """Notes what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[Any]:
        raise AssertionError("no bar stands above a question")
        yield


def nobody(question: str) -> None:
    """Stand for a script: there is no terminal."""


def test_host_number_tokens_and_money_are_told() -> None:
    assert line(AWAY) == (
        "gpt: 300 pictures to api.example.org, each with 4 training pictures as examples: "
        "about 240,000 tokens in and 900 out, 0.1234 at the prices given."
    )
    assert line(Sending("h", 1, 9, 9)) == "1 picture to h: about 9 tokens in and 9 out; no price was given."


@pytest.mark.parametrize("sendings", [[], [None], [Sending("h", 0, 0, 0)]])
def test_what_stays_here_asks_nobody(sendings: list[Sending | None]) -> None:
    def never(question: str) -> bool:
        raise AssertionError(question)

    require(sendings, False, Silent(), never)


def test_yes_agrees_and_is_told_what_to() -> None:
    told = Told()
    require([AWAY, None], True, told, nobody)
    assert told.lines == [line(AWAY)]


def test_a_person_may_agree() -> None:
    asked = []
    require([AWAY], False, Told(), lambda question: not asked.append(question))
    assert asked == ["Send 300 pictures to api.example.org?"]


@pytest.mark.parametrize(("confirm", "why"), [(nobody, "nobody agreed"), (lambda _: False, "refused")])
def test_without_consent_it_stops(confirm: Any, why: str) -> None:
    with pytest.raises(UsageProblem, match=why) as raised:
        require([AWAY], False, Told(), confirm)
    assert raised.value.code == USAGE
    assert "api.example.org" in raised.value.given and "0.1234" in raised.value.given
    assert "--yes" in raised.value.next


def test_a_script_has_no_terminal() -> None:
    with pytest.raises(UsageProblem, match="nobody agreed"):
        require([AWAY], False, Told())


@pytest.mark.parametrize(("said", "answer"), [("y\n", True), ("YES\n", True), ("\n", False), ("yess\n", False), ("", False)])
def test_a_person_at_the_terminal_has_to_say_yes(said: str, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin, shown = io.StringIO(said), io.StringIO()
    stdin.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(terminal, "err", Console(file=shown, force_terminal=True))
    assert terminal.confirm("Send 3 pictures to a[bold]b?") is answer
    assert "a[bold]b? [y/N]" in shown.getvalue()
    monkeypatch.setattr(terminal, "err", Console(file=shown))
    assert terminal.confirm("Send?") is None, "an answer nobody saw the question of"
