"""Looking without training: what is in a source, what would run, which families there are."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from fieldguide import families, terminal
from fieldguide.bench import Progress
from fieldguide.errors import plain
from fieldguide.gather import rule_of, shape_rows, source_of
from fieldguide.settings import type_name
from fieldguide.study import DryRun, read_asked


@dataclass(frozen=True)
class Look:
    """What is in a source: its examination, the manifest that would be frozen, and the shape of its split."""

    origin: str
    kind: str
    examination: Any
    manifest: Any
    shape: Any


def look(source: str | Path, *, online: bool = False, progress: Progress | None = None, **given: Any) -> Look:
    """Examine pictures without training and without keeping anything.

    `given` are `fieldguide.asked.Asked` fields such as ``split``, ``folds`` and ``seed``. Raises `DataProblem` where no comparison could be
    made from the source.
    """
    from fieldguide.bench import Silent
    from fieldguide.data.examine import examine, require_two_classes
    from fieldguide.data.split import shape

    asked, _ = read_asked(str(source), None, **given)
    with tempfile.TemporaryDirectory() as scratch:
        found = source_of(asked, Path(scratch), online)
        examination = examine(found, progress=progress or Silent())
    require_two_classes(examination, found)
    manifest = shape_rows(examination.rows, asked)
    return Look(found.origin, found.kind, examination, manifest, shape(manifest, rule_of(asked)))


def show(seen: Look) -> None:
    """Print what `look` found: classes, sizes, findings and the split that would be made."""
    rows = seen.examination.rows
    usable = seen.manifest.part()
    terminal.say(
        f"{plain(seen.origin)} ({seen.kind}): {len(rows):,} pictures, {len(usable):,} usable, {len(seen.manifest.classes)} classes",
        "bold",
    )
    _show_pixels(usable)
    _show_classes(seen)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("finding", "", "what"):
        table.add_column(title, overflow="fold")
    for finding in seen.examination.findings:
        mark = {"found": "yellow", "fine": "green"}.get(finding.state, "dim")
        more = (
            f" Such as: {', '.join(plain(name, 80) for name in finding.examples[:3])}"
            if finding.examples and finding.state == "found"
            else ""
        )
        table.add_row(Text(finding.title), Text(finding.state, style=mark), Text(plain(finding.detail, 400) + more))
    terminal.out.print(table)
    _show_split(seen.shape)


def _show_pixels(rows: Any) -> None:
    sides = sorted(min(row.width, row.height) for row in rows if row.width and row.height)
    formats = Counter(row.format for row in rows if row.format)
    if sides:
        terminal.say(
            f"Shorter side: {sides[0]} to {sides[-1]} pixels, half of them below {sides[len(sides) // 2]}. "
            f"Formats: {', '.join(f'{name} {count:,}' for name, count in formats.most_common())}. "
            f"{terminal.size(sum(row.bytes or 0 for row in rows))} on disk."
        )


def _show_classes(seen: Look, most: int = 40) -> None:
    columns = list(seen.shape.sizes)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("class")
    for title in ("pictures", *columns):
        table.add_column(f"fold {title}" if seen.shape.kind == "folds" else title, justify="right")
    classes = list(seen.shape.per_class.items())
    for label, counts in classes[:most]:
        table.add_row(Text(plain(label, 60)), str(sum(counts.values())), *(str(counts[name]) for name in columns))
    terminal.out.print(table)
    if len(classes) > most:
        terminal.say(f"... and {len(classes) - most} more classes", "dim")


def _show_split(shape: Any) -> None:
    parts = ", ".join(f"{'fold ' if shape.kind == 'folds' else ''}{name} {count:,}" for name, count in shape.sizes.items())
    terminal.say(f"Split that would be made: {parts}.", "bold")
    terminal.say(
        f"No class is further than {shape.deviation:.1f} pictures from what was asked"
        + (f"; {shape.kept_together} pictures stay together in groups." if shape.kept_together else ".")
    )
    for name, labels in shape.lacking.items():
        terminal.say(
            f"{len(labels)} classes have no picture in {name}: {', '.join(plain(label, 40) for label in labels[:5])}", "yellow"
        )


def show_plan(run: DryRun) -> None:
    """Print what would run, with time, memory and disk."""
    parts = ", ".join(f"{name} {count:,}" for name, count in run.shape.sizes.items())
    terminal.say(f"Would write {run.folder}/ and change nothing else. Split: {parts}.", "bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("contestant", "family", "time", "memory", "disk", "money", "note"):
        table.add_column(title, justify="right" if title in ("time", "memory", "disk", "money") else "left", overflow="fold")
    for planned in run.planned:
        estimate, problem = planned.estimate, planned.problem
        table.add_row(
            Text(plain(planned.contestant.name, 60)),
            planned.contestant.family,
            "-" if problem else terminal.duration(estimate.seconds),
            "-" if problem else terminal.size(estimate.memory_bytes),
            "-" if problem else terminal.size(estimate.disk_bytes),
            "none" if estimate.money is None else f"{estimate.money:.2f}",
            Text(plain(f"{problem.given} {problem.next}") if problem else "", style="red"),
        )
    terminal.out.print(table)
    seconds = [planned.estimate.seconds for planned in run.planned if planned.estimate.seconds is not None]
    disk = sum(planned.estimate.disk_bytes or 0 for planned in run.planned) + run.store_bytes
    terminal.say(
        f"Together about {terminal.duration(sum(seconds))} at most (early stopping may end sooner), store {terminal.size(run.store_bytes)}, "
        f"disk {terminal.size(disk)}."
    )


def show_families(name: str | None = None) -> None:
    """Print families and their settings, drawn from Settings."""
    for family in [name] if name else families.names():
        room: Any = families.family(family)
        summary = (room.__doc__ or "").strip().splitlines()[0]
        terminal.say(f"{family}{'/NAME' if room.Settings.NAME_FIELD else ''}", "bold")
        terminal.say(f"  {summary}")
        for key, field in room.Settings.model_fields.items():
            default = "no default" if field.is_required() else f"{field.default!s}"
            star = " (the NAME)" if key == room.Settings.NAME_FIELD else ""
            words = " ".join((field.description or "").replace("``", "").split())
            terminal.say(f"    {key} = {default}   [{type_name(field.annotation)}]{star} {words}")
