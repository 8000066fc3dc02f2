"""Texts of a study: bring them in, list them with what they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fieldguide import terminal
from fieldguide.bench import Progress
from fieldguide.data.classes import read_classes
from fieldguide.data.tables import read_manifest
from fieldguide.data.texts import fingerprint, folder_of, lacking, names, read_texts, write_texts
from fieldguide.data.texts.importing import import_texts, name_of
from fieldguide.data.texts.matching import Matched, described
from fieldguide.errors import UsageProblem, plain
from fieldguide.files import sweep
from fieldguide.locked import Locked
from fieldguide.records import ClassInfo, Manifest, Texts
from fieldguide.study import redraw, require_study


@dataclass(frozen=True)
class Covered:
    """What a source tells of a study: `lines` are those of each class with any; `strange` are lines and captions of nobody in it.

    `pictures` with captions out of `all_pictures`; `training` of those are training pictures.
    """

    name: str
    classes: int
    all_classes: int
    lines: tuple[int, ...]
    pictures: int
    all_pictures: int
    training: int
    captions: int
    strange: int
    texts: Texts

    @property
    def spread(self) -> str:
        """Lines a class, least, median and most."""
        return f"{min(self.lines)} / {median(self.lines):g} / {max(self.lines)}" if self.lines else "-"


@dataclass(frozen=True)
class Added:
    """A source that was brought in; `again`: it was there already, word for word."""

    study: Path
    covered: Covered
    matched: Matched
    again: bool


def add(study: Path, path: Path, name: str | None = None) -> Added:
    """Bring the texts of `path` into a study as `name` (the file's own if not given), and return what was taken.

    The same texts again are fine. Raises `UsageProblem` where the name holds other texts, or nothing can be matched.
    """
    require_study(study)
    name = name_of(path, name)
    with Locked(study):
        manifest, classes = _lists(study)
        texts, matched = import_texts(path, manifest, classes, name)
        again = name in names(study)
        if again:
            _require_same(study, texts)
        else:
            sweep(folder_of(study))
            write_texts(study, texts)
    return Added(study, covered(texts, manifest), matched, again)


def sources(study: Path, wanted: Sequence[str] = ()) -> tuple[Covered, ...]:
    """Return what each source (or those `wanted`) covers; raises `UsageProblem` for one that the study does not have."""
    require_study(study)
    for name in wanted:
        problem = lacking(study, name)
        if problem is not None:
            raise problem
    manifest, _ = _lists(study)
    return tuple(covered(read_texts(study, name), manifest) for name in wanted or names(study))


def examine(
    study: Path, wanted: Sequence[str], model: str | None, *, online: bool = False, progress: Progress | None = None
) -> None:
    """Let the description doctor examine the sources `wanted`, or all that say something of classes, and print what it found."""
    from fieldguide import doctoring

    every = sources(study, wanted)
    chosen = [one.name for one in every if wanted or one.lines]
    if not chosen:
        raise UsageProblem(
            "The study has no texts about its classes.",
            "The doctor examines lines about classes; captions of pictures are not examined.",
            f"fieldguide texts {plain(study)} --add FILE   brings some in.",
        )
    for name in chosen:
        doctoring.show(study, doctoring.examine(study, name, model, online=online, progress=progress))
    redraw(study, progress=progress)


def covered(texts: Texts, manifest: Manifest) -> Covered:
    """Return what `texts` tell of the classes and pictures of a manifest."""
    rows = {row.key: row for row in manifest.part()}
    known = {id: said for id, said in texts.classes.items() if id in manifest.classes and said}
    spoken = {key: said for key, said in texts.captions.items() if key in rows and said}
    taken = sum(map(len, known.values())) + sum(map(len, spoken.values()))
    return Covered(
        texts.name,
        len(known),
        len(manifest.classes),
        tuple(map(len, known.values())),
        len(spoken),
        len(rows),
        sum(rows[key].split == "train" for key in spoken),
        sum(map(len, spoken.values())),
        sum(map(len, [*texts.classes.values(), *texts.captions.values()])) - taken,
        texts,
    )


def _lists(study: Path) -> tuple[Manifest, tuple[ClassInfo, ...]]:
    manifest = read_manifest(study / "manifest.parquet")
    return manifest, read_classes(study / "classes.toml", manifest.classes)


def _require_same(study: Path, texts: Texts) -> None:
    """Raise `UsageProblem` where the study's source of this name says something else."""
    have = read_texts(study, texts.name)
    if fingerprint(have) == fingerprint(texts):
        return
    old, new = (sum(map(len, [*one.classes.values(), *one.captions.values()])) for one in (have, texts))
    raise UsageProblem(
        f"The study has other texts called {texts.name!r}: {old:,} there, {new:,} here"
        f"{', and they are not the same' if old == new else ''}.",
        "A name stands for one set of texts; what was edited in the study is never written over.",
        f"Add --as ANOTHER-NAME, or delete {plain(folder_of(study) / texts.name)}.jsonl first.",
    )


def show_added(added: Added) -> None:
    """Print what was taken from a file, and every kind of text that was not."""
    one, matched = added.covered, added.matched
    verb = "is in the study already, word for word" if added.again else f"was brought in ({matched.format})"
    terminal.say(f"{one.name} {verb}.", "bold")
    show((one,))
    if matched.lost:
        terminal.say(
            f"Not matched: {matched.lost:,} texts of {len(matched.unmatched):,} names: {described(matched.unmatched)}.",
            "yellow",
        )
    if matched.silent:
        shown = ", ".join(plain(id, 60) for id in matched.silent[:5])
        more = f" and {len(matched.silent) - 5} more" if len(matched.silent) > 5 else ""
        terminal.say(f"Nothing is said of {len(matched.silent)} classes: {shown}{more}.", "yellow")
    for number, what in (
        (matched.repeated, "captions that their picture had already, kept once"),
        (matched.blank, "blank ones"),
        (matched.apart, "captions of pictures that take no part in the study"),
    ):
        if number:
            terminal.say(f"Left out: {number:,} {what}.", "dim")
    place = folder_of(added.study) / f"{one.name}.jsonl"
    terminal.say(f"Lines can be edited in {place}; contestants use them by texts={one.name}.", "dim")


def show(found: Sequence[Covered]) -> None:
    """Print a table of sources."""
    if not found:
        terminal.say("The study has no texts. fieldguide texts STUDY/ --add FILE brings some in.")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("texts", overflow="fold", min_width=12)
    for title in ("classes", "lines", "a class*", "captions", "pictures", "unmatched"):
        table.add_column(title, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            Text(plain(one.name, 80)),
            Text(f"{one.classes}/{one.all_classes}"),
            Text(f"{sum(one.lines):,}"),
            Text(one.spread),
            Text(f"{one.captions:,}"),
            Text(f"{one.pictures:,}/{one.all_pictures:,}"),
            Text(one.texts.made.get("unmatched texts", "0")),
        )
    terminal.out.print(table)
    terminal.say("* Least / median / most lines of the classes that are told of.", "dim")
    for one in found:
        if one.captions:
            terminal.say(f"{one.name}: {one.training:,} of the pictures with captions are training pictures.", "dim")
        if one.strange:
            terminal.say(
                f"{one.name}: {one.strange:,} texts are of classes or pictures that the study does not have.", "yellow"
            )
