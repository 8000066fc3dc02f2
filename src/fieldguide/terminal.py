"""What the terminal shows: progress bars, the leaderboard, findings. Text from files is shown as text, never as markup."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from fieldguide.errors import Problem, plain

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
#: Where bars cannot be drawn, in a file or a pipe, a line tells how far the innermost work is, once in so many seconds.
LINE_EVERY = 60.0


class _RichBar:
    def __init__(self, bars: RichProgress, task: Any) -> None:
        self.bars, self.task = bars, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        if note:
            self.bars.update(self.task, advance=steps, note=plain(note, 40))
        else:
            self.bars.update(self.task, advance=steps)


class _Line:
    """Work that tells how far it is in lines of text; `bars` knows when the last one was written."""

    def __init__(self, bars: Bars, what: str, total: int) -> None:
        self.bars, self.what, self.total, self.done, self.start = bars, what, total, 0, time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        now = time.monotonic()
        if now - self.bars.told >= LINE_EVERY:
            self.bars.told = now
            rest = f" ({note})" if note else ""
            self.bars.say(f"{self.what}: {self.done:,} of {self.total:,} after {duration(now - self.start)}{rest}")


class Bars:
    """A `Progress` that draws bars with an estimate on standard error, nested ones below each other; lines where it is no terminal."""

    def __init__(self) -> None:
        self.bars: RichProgress | None = None
        self.open = 0
        self.told = time.monotonic()

    @contextmanager
    def bar(self, what: str, total: int) -> Iterator[_RichBar | _Line]:
        """Draw one bar while the block runs."""
        if not err.is_terminal:
            yield _Line(self, what, total)
            return
        if self.bars is None:
            self.bars = RichProgress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=err,
                transient=True,
            )
        if self.open == 0:
            self.bars.start()
        self.open += 1
        task = self.bars.add_task(plain(what, 30).ljust(14), total=total, note="")
        try:
            yield _RichBar(self.bars, task)
        finally:
            self.open -= 1
            self.bars.remove_task(task)
            if self.open == 0:
                self.bars.stop()
                self.bars = None

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        err.print(Text(plain(text, 2000), style="dim"), soft_wrap=True)


def show_problem(problem: Problem) -> None:
    """Print three breaths on standard error."""
    for line, style in ((problem.given, "bold red"), (problem.allowed, ""), (problem.next, "bold")):
        err.print(Text(plain(line, 2000), style=style), soft_wrap=True)


def confirm(question: str) -> bool | None:
    """Ask the person at the terminal and return whether the answer was yes; `None` where nobody sits there."""
    import sys

    if not (sys.stdin is not None and sys.stdin.isatty() and err.is_terminal):
        return None
    err.print(Text(f"{plain(question, 2000)} [y/N] ", style="bold"), end="")
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def say(text: str, style: str = "") -> None:
    """Print a line of text."""
    out.print(Text(plain(text, 4000), style=style), soft_wrap=True)


def percent(score: Mapping[str, Any] | None, interval: bool = True) -> str:
    """Return ``94.1 [92.0-95.7]``, or the state of a score that has no value."""
    if score is None:
        return "-"
    if score.get("value") is None:
        return str(score.get("state", "-"))
    text = f"{100 * score['value']:.1f}"
    if interval and score.get("low") is not None:
        text += f" [{100 * score['low']:.1f}-{100 * score['high']:.1f}]"
    return text


def duration(seconds: float | None) -> str:
    """Return ``1.2 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: float | None) -> str:
    """Return bytes as ``12 MB``."""
    if count is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit in ("B", "kB", "MB") else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def cleaned(done: Any, dry_run: bool) -> None:
    """Print what was removed, or would be, by kind and in total, and what was kept and why."""
    for kind, count in done.freed.items():
        say(f"{size(count):>8}  {kind}")
    for kind, why in done.kept.items():
        say(f"    kept  {kind}: {why}", "dim")
    say(f"{size(done.total)} {'would be' if dry_run else 'were'} freed in {plain(done.folder)}.", "bold")
    if done.freed:
        say("The same compare makes them again and ends in the same numbers.", "dim")


def drawn(done: Any) -> None:
    """Print where figures and the folder edition lie, and what is to be known about them."""
    for name, place in (("Figures", done.figures), ("Folder edition", done.folder)):
        if place is not None:
            say(f"{name}: {place.resolve()}")
    for note in done.notes:
        say(note, "dim")


def tell(study: Any) -> None:
    """Tell what came out of a study: what was re-used, its leaderboard, its verdict, and where the report is."""
    reused = [name for name, outcome in study.outcomes.items() if outcome == "reused"]
    if reused:
        say(f"Re-used, whole from before: {', '.join(reused)}.", "dim")
    if study.store_hits or study.store_misses:
        say(f"Store: {study.store_misses:,} pictures decoded, {study.store_hits:,} reads served from it.", "dim")
    if study.comparison:
        leaderboard(study)
        taught(study)
    else:
        for name, outcome in study.outcomes.items():
            failure = study.failure(name)
            say(f"{name}: {outcome}. {failure.get('given', '')} {failure.get('next', '')}", "red")
    for sentence in study.left_open:
        say(sentence, "yellow")
    say(study.verdict, "bold")
    say(f"Report: {study.report.resolve()}")
    drawn(study.drawn)


def taught(study: Any) -> None:
    """Say what teaching changed in language models that were asked the same before; nothing where none was."""
    from fieldguide.before_after import told_of

    for sentence in told_of(study.folder):
        say(sentence, "dim")


def leaderboard(study: Any) -> None:
    """Print contestants by test accuracy with tie groups, and the chance line among them."""
    comparison = study.comparison
    if comparison.get("task") == "count":
        counts(study)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("contestant", overflow="fold", min_width=12)
    table.add_column("tie", no_wrap=True)
    spreads = comparison.get("seeds", {}).get("runs", {})
    over = ("over seeds",) if spreads else ()
    for title in ("test accuracy %", *over, "F1", "val %", "failed", "fit", "ms each"):
        table.add_column(title, justify="right", no_wrap=True)
    chance = comparison["chance"]["accuracy"]
    drawn = False
    for name in comparison["order"]:
        scores, cost = study.scores(name)["parts"], study.cost(name)
        test = scores["test"]
        if not drawn and test["metrics"]["accuracy"]["value"] < chance:
            _chance_row(table, chance)
            drawn = True
        seeds = [Text(_over_seeds(spreads.get(name)))] if spreads else []
        milliseconds = cost.get("ms_per_image")
        table.add_row(
            Text(plain(name, 60)),
            Text(comparison["letters"].get(name, "")),
            Text(percent(test["metrics"]["accuracy"])),
            *seeds,
            Text(percent(test["metrics"]["macro_f1"], interval=False)),
            Text(percent(scores["val"]["metrics"]["accuracy"], interval=False) if scores["val"] else "-"),
            Text(str(test["failed"]), style="red" if test["failed"] else ""),
            Text(duration(cost.get("fit_seconds"))),
            Text("-" if milliseconds is None else f"{milliseconds:.2f}"),
        )
    if not drawn:
        _chance_row(table, chance)
    out.print(table)
    for told in comparison.get("seeds", {}).get("neighbours", []):
        say(told["sentence"], "dim")
    _with_and_without(comparison)
    for told in comparison.get("fractions", []):
        points = (f"{point['pictures']:,} pictures {percent(point['accuracy'])}" for point in told["points"])
        say(f"{told['name']}: {', '.join(points)}")
        say(told["sentence"], "bold")
    for name, outcome in study.outcomes.items():
        if outcome in ("failed", "not run"):
            failure = study.failure(name)
            say(f"{name}: {outcome}. {failure.get('given', '')} {failure.get('next', '')}", "red")


def counts(study: Any) -> None:
    """Print contestants that count: how often exact, how far off and which way, and how many answers could be read."""
    comparison = study.comparison
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("contestant", overflow="fold", min_width=12)
    table.add_column("tie", no_wrap=True)
    for title in ("exact %", "error", "bias", "val", "read %", "fit"):
        table.add_column(title, justify="right", no_wrap=True)
    for name in comparison["order"]:
        parts = study.scores(name)["parts"]
        found = parts["test"]["metrics"]
        values = [found["mae"], found["bias"], parts["val"]["metrics"]["mae"] if parts["val"] else {"value": None}]
        table.add_row(
            Text(plain(name, 60)),
            Text(comparison["letters"].get(name, "")),
            Text(percent(found["exact"])),
            *(Text(_error(value)) for value in values),
            Text(percent(found["parsed"], interval=False)),
            Text(duration(study.cost(name).get("fit_seconds"))),
        )
    out.print(table)
    for row in comparison.get("errors", []):
        if row["outcome"] in ("a nearer", "b nearer"):
            near, far = (row["a"], row["b"]) if row["outcome"] == "a nearer" else (row["b"], row["a"])
            say(f"{near} is nearer than {far}: by {abs(row['difference']):.2f} in a count (p = {row['p_holm']:.2g}).", "dim")
    for told in (line for part in ("seeds", "seeds_mae") for line in comparison.get(part, {}).get("neighbours", [])):
        say(told["sentence"], "dim")
    for exact, error in zip(comparison.get("fractions", []), _in_order(comparison), strict=True):
        points = zip(exact["points"], error["points"], strict=True)
        shown = (f"{one['pictures']:,} pictures {percent(one['exact'])}, error {_error(other['mae'])}" for one, other in points)
        say(f"{exact['name']}: {'; '.join(shown)}")
        say(exact["sentence"], "bold")
        say(error["sentence"], "bold")
    for name, outcome in study.outcomes.items():
        if outcome in ("failed", "not run"):
            failure = study.failure(name)
            say(f"{name}: {outcome}. {failure.get('given', '')} {failure.get('next', '')}", "red")


def _in_order(comparison: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is told of errors on fewer pictures, in the order of exact answers."""
    by_name = {line["name"]: line for line in comparison.get("fractions_mae", [])}
    return [by_name[line["name"]] for line in comparison.get("fractions", [])]


def _error(entry: Mapping[str, Any]) -> str:
    return "-" if entry["value"] is None else f"{entry['value']:.2f}"


def _with_and_without(comparison: Mapping[str, Any]) -> None:
    """Say what scores are without doubtful pictures; all of these together only where there is more than one kind."""
    found = [entry for entry in comparison.get("subsets", []) if entry["state"] in ("found", "not applicable")]
    for entry in found:
        if entry["code"] != "all" or len(found) > 2:
            say(entry["sentence"], "yellow")


def _over_seeds(spread: Mapping[str, Any] | None) -> str:
    return "" if spread is None else f"{100 * spread['mean']:.1f} ± {100 * spread['sd']:.1f} ({spread['n']})"


def _chance_row(table: Table, chance: float) -> None:
    rest = [""] * (len(table.columns) - 3)
    table.add_row(Text("chance", style="dim italic"), "", Text(f"{100 * chance:.1f}", style="dim italic"), *rest)
