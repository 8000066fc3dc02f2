"""What the terminal shows of a sweep over image : text ratios: a table in the form of the experiment it repeats, and the sentences."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldguide import terminal
from fieldguide.asked import TextRatio
from fieldguide.bench import Progress
from fieldguide.errors import plain
from fieldguide.settings import build
from fieldguide.study import redraw
from fieldguide.text_ratio import RESULT, TABLE, dry_run, text_ratio

Column = tuple[str, str | None, str | None]


def read_asked(given: Mapping[str, Any]) -> TextRatio:
    """Return the settings that the options of the command line mean."""
    values = {name: value for name, value in given.items() if value not in (None, (), [])}
    return build(TextRatio, values, "The command")


def run(study: Path, asked: TextRatio, *, online: bool, progress: Progress) -> None:
    """Sweep and print what was found."""
    show(text_ratio(study, asked, online=online, progress=progress))
    redraw(study, progress=progress)
    terminal.say(f"Written: {study / RESULT} and {study / TABLE}. Drawn: {study / 'report.html'}", "dim")


def show_costs(study: Path, asked: TextRatio, *, online: bool) -> None:
    """Print what would be done, and about how long it takes on this machine as it is now."""
    costs = dry_run(study, asked, online=online)
    terminal.say(
        f"{costs.pictures:,} pictures to look at, about {terminal.duration(costs.encode_seconds)}; {costs.lines:,} lines to read; "
        "what is in the study's store already is not encoded again."
    )
    for what, fits, seconds in (
        ("in closed form", costs.closed, costs.closed_seconds),
        ("trained softmax heads", costs.softmax, costs.softmax_seconds),
    ):
        if fits:
            terminal.say(f"About {fits:,} fits {what}: {terminal.duration(seconds)}.")


def show(result: Mapping[str, Any]) -> None:
    """Print one table a selection, of the head that validation prefers with all pictures, and the sentences."""
    head = preferred(result)
    for selection in result["selections"]:
        terminal.say(f"Test accuracy %, head {head}, selection {selection}, {len(result['seeds'])} seeds", "bold")
        _tables(result, head, selection)
    if len(result["heads"]) > 1:
        terminal.say(f"{head} does best on validation pictures without texts; all heads stand in {TABLE}.", "dim")
    for entry in result["worth"]:
        if entry["head"] == head and entry["image"] == 0:
            terminal.say(f"{_before(result, entry)}{entry['sentence']}")
    if result["headline"]:
        terminal.say(result["headline"], "bold")
    for note in result["notes"]:
        terminal.say(note, "dim")


def preferred(result: Mapping[str, Any]) -> str:
    """Return the head whose validation accuracy on most pictures, without text, is best."""
    alone = [cell for cell in result["cells"] if cell["curve"] == "pictures"]
    most = max(cell["image"] for cell in alone)
    means: dict[str, float] = {
        head: statistics.fmean(cell["val_accuracy"] for cell in alone if cell["head"] == head and cell["image"] == most)
        for head in result["heads"]
    }
    return max(means, key=lambda head: means[head])


def _before(result: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    return f"{entry['selection']}: " if len(result["selections"]) > 1 else ""


def _tables(result: Mapping[str, Any], head: str, selection: str) -> None:
    """Print a table for each source and translator: the three curves side by side, by the ratio image:text."""
    mine = [entry for entry in result["summary"] if (entry["head"], entry["selection"]) == (head, selection)]
    found = {((entry["curve"], entry["source"], entry["translator"]), entry["image"]): entry for entry in mine}
    real = {
        ((entry["curve"], entry["source"], entry["translator"]), entry["image"]): "▲" if entry["difference"] > 0 else "▼"
        for entry in result["differences"]
        if (entry["head"], entry["selection"]) == (head, selection) and entry["p_adjusted"] <= 0.05
    }
    cells = [cell for cell in result["cells"] if (cell["head"], cell["selection"]) == (head, selection)]
    for source, translator in dict.fromkeys((source, translator) for (_, source, translator), _ in found if source):
        terminal.say(f"Texts: {plain(source, 60)}; translator: {translator}")
        columns: list[Column] = [("pictures", None, None), ("mix", source, translator), ("weighted", source, translator)]
        _table(result, cells, columns, found, real)
    if real:
        terminal.say("▲ ▼ differ from as many pictures without texts (p at most 0.05 after Holm).", "dim")


def _table(
    result: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    found: Mapping[tuple[Column, float], Mapping[str, Any]],
    real: Mapping[tuple[Column, float], str],
) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for title in ("ratio", "classes", "each"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("pictures only", "mix", "weighted"):
        table.add_column(title, justify="right", no_wrap=True)
    for image in result["ratios"]:
        row = [Text(f"{image:g}:{100 - image:g}"), *map(Text, _coverage(cells, image))]
        for column in columns:
            entry = found.get((column, image))
            row.append(Text("" if entry is None else f"{_percent(entry)}{real.get((column, image), ' ')}"))
        table.add_row(*row)
    terminal.out.print(table)


def _percent(entry: Mapping[str, Any]) -> str:
    return f"{100 * entry['mean']:.1f} [{100 * entry['low']:.1f}-{100 * entry['high']:.1f}]"


def _coverage(cells: Sequence[Mapping[str, Any]], image: float) -> tuple[str, str]:
    """Return how many classes have pictures, and the fewest and most a class, on average over seeds."""
    here = [cell for cell in cells if cell["image"] == image]
    if not here:
        return "", ""
    present, fewest, most = (statistics.fmean(cell[name] for cell in here) for name in ("classes_present", "fewest", "most"))
    return f"{present:.0f}", f"{fewest:.0f}" if fewest == most else f"{fewest:.0f}-{most:.0f}"
