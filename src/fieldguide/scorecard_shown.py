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


#: Measures of the terminal's table by their titles in the report, where all stand with their intervals, and its short words for them.
_SHOWN = {
    "Pictures by class means of texts": "pictures",
    "Classes by real centroids": "classes",
    "Text to image, R@1": "R@1",
    "Cosine, paired minus shuffled": "cosine",
    "R²": "R²",
    "Variance ratio": "variance",
    "AUC, real against translated": "AUC",
}


def _table(card: Card) -> None:
    """Print one row a translator or reference; the report has the other measures."""
    from rich.table import Table
    from rich.text import Text

    lines = [line for line in card.lines if line.title in _SHOWN]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("translator", overflow="fold")
    for line in lines:
        table.add_column(_SHOWN[line.title], justify="right", no_wrap=True)
    for at, column in enumerate(card.columns):
        name = plain(column.name, 30) + (f" ({column.role})" if column.role else "")
        values = [line.values[at] for line in lines]
        cells = [
            Text("–" if value.absent else f"{'● ' if at in line.best else ''}{value.text}")
            for line, value in zip(lines, values, strict=True)
        ]
        table.add_row(Text(name), *cells)
    table.add_row(Text("guessing", style="dim"), *(Text(line.chance, style="dim") for line in lines))
    terminal.out.print(table)
    words = (
        "pictures: nearest to the mean text of their class; classes: mean text nearest to its class's pictures; ● best translator. "
        "More measures and all intervals stand in the report."
    )
    terminal.say(words, "dim")
