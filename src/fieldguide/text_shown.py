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
from fieldguide.text_ratio import RESULT, TABLE, dry_run, text_ratio

Column = tuple[str, str | None, str | None]


def read_asked(given: Mapping[str, Any]) -> TextRatio:
    """Return the settings that the options of the command line mean."""
    values = {name: value for name, value in given.items() if value not in (None, (), [])}
    return build(TextRatio, values, "The command")


def run(study: Path, asked: TextRatio, *, online: bool, progress: Progress) -> None:
    """Sweep and print what was found."""
    show(text_ratio(study, asked, online=online, progress=progress))
    terminal.say(f"Written: {study / RESULT} and {study / TABLE}. `fieldguide report {plain(study)}` draws them.", "dim")


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
        _table(result, head, selection)
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


def _table(result: Mapping[str, Any], head: str, selection: str) -> None:
    from rich.table import Table
    from rich.text import Text

    found = {
        ((entry["curve"], entry["source"], entry["translator"]), entry["image"]): entry
        for entry in result["summary"]
        if (entry["head"], entry["selection"]) == (head, selection)
    }
    columns = list(dict.fromkeys(column for column, _ in found))
    cells = [cell for cell in result["cells"] if (cell["head"], cell["selection"]) == (head, selection)]
    real = {
        ((entry["curve"], entry["source"], entry["translator"]), entry["image"]): entry["difference"]
        for entry in result["differences"]
        if (entry["head"], entry["selection"]) == (head, selection) and entry["p_adjusted"] <= 0.05
    }
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("image : text", no_wrap=True)
    table.add_column("classes, pictures each", justify="right", no_wrap=True)
    for column in columns:
        table.add_column(_title(column, result), justify="right", overflow="fold")
    for image in result["ratios"]:
        row = [Text(f"{image:g} : {100 - image:g}"), Text(_coverage(cells, image))]
        for column in columns:
            entry = found.get((column, image))
            mark = {True: "▲", False: "▼", None: ""}[real[column, image] > 0 if (column, image) in real else None]
            row.append(Text("" if entry is None else f"{_percent(entry)}{mark}"))
        table.add_row(*row)
    terminal.out.print(table)
    if real:
        terminal.say("▲ ▼ differ from as many pictures without texts (p at most 0.05 after Holm).", "dim")


def _title(column: Column, result: Mapping[str, Any]) -> str:
    curve, source, translator = column
    if source is None:
        return "pictures only"
    through = f", {translator}" if len(result["translators"]) > 1 else ""
    return f"{'mix' if curve == 'mix' else 'weighted'}: {plain(source, 40)}{through}"


def _percent(entry: Mapping[str, Any]) -> str:
    return f"{100 * entry['mean']:.1f} [{100 * entry['low']:.1f}-{100 * entry['high']:.1f}]"


def _coverage(cells: Sequence[Mapping[str, Any]], image: float) -> str:
    here = [cell for cell in cells if cell["image"] == image]
    if not here:
        return ""
    present, fewest, most = (statistics.fmean(cell[name] for cell in here) for name in ("classes_present", "fewest", "most"))
    return f"{present:.0f}, {fewest:.0f}-{most:.0f}"
