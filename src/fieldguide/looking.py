"""Looking without training: what is in a source, what would run, which families there are."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from fieldguide import families, suspecting, terminal
from fieldguide.bench import Progress
from fieldguide.consenting import line
from fieldguide.errors import UsageProblem, allowed_names, plain
from fieldguide.gather import care_of, rule_of, shape_rows, source_of
from fieldguide.settings import type_name
from fieldguide.study import DryRun, read_asked


@dataclass(frozen=True)
class Look:
    """What is in a source: its examination, the manifest that would be frozen, and the shape of its split.

    `shape` is `None` for pictures without labels, such as those of a set for detection. `suspicion` says
    which labels a contestant doubts, where one was asked (`fieldguide.suspecting.Suspicion`).
    """

    origin: str
    kind: str
    examination: Any
    manifest: Any
    shape: Any
    suspicion: Any = None


def look(
    source: str | Path,
    *,
    online: bool = False,
    progress: Progress | None = None,
    suspects: str | None = None,
    **given: Any,
) -> Look:
    """Examine pictures without keeping anything, and without training unless `suspects` names a contestant that doubts labels.

    `given` are `fieldguide.asked.Asked` fields such as ``split``, ``folds`` and ``seed``. Raises `DataProblem` where no comparison could be
    made from the source.
    """
    from fieldguide.bench import Silent
    from fieldguide.data.examine import examine, require_two_classes
    from fieldguide.data.split import shape
    from fieldguide.data.tables import freeze

    asked, _ = read_asked(str(source), None, **given)
    if suspects and asked.task == "count":
        raise UsageProblem(
            "Labels are doubted in a study of classes, and this one is of counts.",
            "Allowed with --task count: everything but --suspects.",
            "Leave --suspects out.",
        )
    if suspects:
        suspecting.require_contestant(suspects, online=online)
    with tempfile.TemporaryDirectory() as scratch:
        found = source_of(asked, Path(scratch), online, labelled=False)
        examination = examine(found, progress=progress or Silent(), care=care_of(asked))
    if found.counted:
        manifest = shape_rows(examination.rows, asked, found.counted)
        return Look(found.origin, found.kind, examination, manifest, shape(manifest, rule_of(asked)))
    if not any(found.classes):
        rows = [replace(row, split=row.split or "test") if row.excluded is None else row for row in examination.rows]
        return Look(found.origin, found.kind, examination, freeze(rows, (), asked.seed), None)
    require_two_classes(examination, found)
    manifest = shape_rows(examination.rows, asked)
    seen = Look(found.origin, found.kind, examination, manifest, shape(manifest, rule_of(asked)))
    return _doubted(seen, str(source), suspects, online=online, progress=progress, **given) if suspects else seen


def _doubted(seen: Look, source: str, spec: str, **given: Any) -> Look:
    """Return `seen` with what the contestant `spec` doubts in the place of the finding that nobody was asked."""
    suspicion = suspecting.suspect(source, spec, seen.examination.rows, **given)
    others = [finding for finding in seen.examination.findings if finding.code != suspecting.CODE]
    findings = sorted([*others, suspecting.suspects_finding(suspicion)], key=lambda finding: finding.code)
    return replace(seen, examination=replace(seen.examination, findings=tuple(findings)), suspicion=suspicion)


def show(seen: Look) -> None:
    """Print what `look` found: classes, sizes, findings and the split that would be made."""
    rows = seen.examination.rows
    usable = seen.manifest.part()
    classes = f"{len(seen.manifest.classes)} classes" if seen.shape else "no labels"
    terminal.say(f"{plain(seen.origin)} ({seen.kind}): {len(rows):,} pictures, {len(usable):,} usable, {classes}", "bold")
    _show_pixels(usable)
    if seen.shape:
        _show_classes(seen)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("code", "finding", "", "what"):
        table.add_column(title, overflow="fold", no_wrap=title == "code")
    for finding in seen.examination.findings:
        mark = {"found": "yellow", "fine": "green"}.get(finding.state, "dim")
        more = (
            f" Such as: {', '.join(plain(name, 160) for name in finding.examples[:3])}"
            if finding.examples and finding.state == "found"
            else ""
        )
        table.add_row(
            finding.code, Text(finding.title), Text(finding.state, style=mark), Text(plain(finding.detail, 400) + more)
        )
    terminal.out.print(table)
    terminal.say("What a code means: fieldguide checks CODE", "dim")
    _show_suspects(seen)
    if seen.shape:
        _show_split(seen.shape)


def _show_suspects(seen: Look, most: int = 40) -> None:
    suspects = seen.suspicion.suspects if seen.suspicion else ()
    if not suspects:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("labels to look at", overflow="fold")
    for title in ("given", "perhaps", "quality"):
        table.add_column(title, justify="right" if title == "quality" else "left", overflow="fold")
    for one in suspects[:most]:
        names = (Text(plain(one.given, 60)), Text(plain(one.suggested, 60)))
        table.add_row(Text(plain(one.path, 200)), *names, Text(f"{one.quality:.2f}"))
    terminal.out.print(table)
    if len(suspects) > most:
        terminal.say(f"... and {len(suspects) - most} more; look(..., suspects=...) in Python returns all", "dim")


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
    if seen.manifest.task == "count":
        things = Counter(dict.fromkeys(seen.manifest.classes, 0))
        for row in seen.manifest.part():
            things.update(dict(row.counts or ()))
        terminal.say(f"Counted: {', '.join(f'{plain(label, 60)} {count:,}' for label, count in things.most_common(most))}.")
    table.add_column("on a picture" if seen.manifest.task == "count" else "class")
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
    """Print what would run, with time, memory and disk; raises the first `UsageProblem` where nothing ever could."""
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
    for sending in run.sendings:
        terminal.say(f"Would be sent: {line(sending)}", "yellow")
    if run.done:
        terminal.say(f"Whole from before, and re-used: {', '.join(run.done)}.", "dim")
    seconds = [planned.estimate.seconds for planned in run.planned if planned.estimate.seconds is not None]
    disk = sum(planned.estimate.disk_bytes or 0 for planned in run.planned) + run.store_bytes
    together = terminal.duration(sum(seconds) if seconds else None)
    terminal.say(
        f"Together about {together} at most (early stopping may end sooner), store {terminal.size(run.store_bytes)}, "
        f"disk {terminal.size(disk)}."
    )
    usage = [planned.problem for planned in run.planned if isinstance(planned.problem, UsageProblem)]
    if usage and len(usage) == len(run.planned):
        raise usage[0]


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


def show_models(pattern: str) -> None:
    """Print the networks whose names match a shell pattern, with size, licence and cost; raises `UsageProblem` where none does."""
    from fieldguide.craft.encoders import recommended
    from fieldguide.craft.zoo import catalogue

    found, readers = catalogue.find(pattern), recommended.matching(pattern)
    if not found.matched and not found.architectures and not readers:
        raise UsageProblem(
            f"No network is called {plain(pattern)!r}.",
            allowed_names(pattern.strip("*?"), catalogue.known()),
            "A pattern such as 'swin*' finds more; any hf/OWNER/NAME of the hub and hf/FOLDER works without being listed.",
        )
    if found.rows:
        terminal.out.print(_table_of_models(found.rows))
    if found.matched > len(found.rows):
        terminal.say(f"... and {found.matched - len(found.rows):,} more; a narrower pattern shows them", "dim")
    if found.architectures:
        terminal.say(
            f"transformers has the architectures {', '.join(found.architectures)}: any network of them on the hub is hf/OWNER/NAME, "
            "and one in a folder hf/FOLDER."
        )
    if readers:
        terminal.out.print(_table_of_encoders(readers))
    if found.rows:
        terminal.say(
            "GMACs: 10^9 multiply-adds a picture, as the library says or counts; training costs about three times as much.",
            "dim",
        )


def _table_of_encoders(rows: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("image-text encoder", "params", "pixels", "licence", "what it is"):
        justify: Any = "right" if title in ("params", "pixels") else "left"
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title == "image-text encoder")
    for row in rows:
        millions = "not stated" if row.millions is None else f"{row.millions:.1f} M"
        size = "its own" if row.size is None else str(row.size)
        table.add_row(Text(row.name), millions, size, Text(row.licence or "not stated"), Text(row.why))
    return table


def _table_of_models(rows: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "library", "params", "pixels", "GMACs", "licence", "weights"):
        justify: Any = "right" if title in ("params", "pixels", "GMACs") else "left"
        table.add_column(title, justify=justify, overflow="fold", no_wrap=title == "name")
    for row in rows:
        table.add_row(
            Text(plain(row.name, 100)),
            row.library,
            "unknown" if row.parameters is None else f"{row.parameters / 1e6:.1f} M",
            "unknown" if row.size is None else str(row.size),
            "unknown" if row.macs is None else f"{row.macs / 1e9:.2f}",
            Text(plain(row.licence or "not stated", 60)),
            "here" if row.here else "not here",
        )
    return table


def show_checks(code: str | None = None) -> None:
    """Print the catalogue of health checks, or one of them in full; raises `UsageProblem` for an unknown code."""
    from fieldguide.data.checks import CHECKS

    if code is None:
        for check in CHECKS:
            terminal.say(f"{check.code}  {check.title}", "bold")
            terminal.say(f"       {' '.join(check.text.partition(chr(10) * 2)[0].replace('``', '').split())}")
        return
    known = {check.code: check for check in CHECKS}
    if code.upper() not in known:
        raise UsageProblem(f"There is no check {plain(code)}.", allowed_names(code, known), "fieldguide checks   lists them.")
    check = known[code.upper()]
    terminal.say(f"{check.code} {check.title}", "bold")
    for paragraph in check.text.split("\n\n"):
        terminal.say(" ".join(paragraph.replace("``", "").split()))
