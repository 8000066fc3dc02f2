"""What the terminal shows of a translation score card: a table of the measures that decide, and the sentences of the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldguide import terminal
from fieldguide.asked import Translation
from fieldguide.bench import Progress
from fieldguide.errors import plain
from fieldguide.report.text_card import Card, cards
from fieldguide.scorecarding import RESULT, scorecard
from fieldguide.settings import build
from fieldguide.study import redraw


def read_asked(given: Mapping[str, Any]) -> Translation:
    """Return the settings that the options of the command line mean."""
    return build(Translation, {name: value for name, value in given.items() if value not in (None, (), [])}, "The command")


def run(study: Path, asked: Translation, *, online: bool, progress: Progress) -> None:
    """Score and print what was found."""
    show(scorecard(study, asked, online=online, progress=progress))
    redraw(study, progress=progress)
    terminal.say(f"Written: {study / RESULT}. Drawn: {study / 'report.html'}", "dim")


def show(result: Mapping[str, Any]) -> None:
    """Print one table a source, and what it says in words."""
    for card in cards(result):
        terminal.say(f"{card.source}: {card.about}", "bold")
        if card.lines:
            _table(card)
        for sentence in card.sentences:
            terminal.say(sentence)
        for note in card.notes:
            terminal.say(note, "dim")


def _table(card: Card) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("measure", no_wrap=True)
    for column in card.columns:
        table.add_column(Text(column.role or plain(column.name, 30)), justify="right", overflow="fold")
    table.add_column("guessing", justify="right")
    for line in card.lines:
        values = [Text(f"{'● ' if at in line.best else ''}{value.text}") for at, value in enumerate(line.values)]
        table.add_row(Text(line.title), *values, Text(line.chance))
    terminal.out.print(table)
    terminal.say("● best translator by that measure; intervals stand in the report.", "dim")
