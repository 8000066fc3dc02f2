"""From a source to a frozen manifest: examine, split, freeze; and later, what has changed since."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldguide.asked import Asked, fractions, worths
from fieldguide.bench import Progress
from fieldguide.data import budget
from fieldguide.data.classes import propose, read_classes, write_classes
from fieldguide.data.copies import Care
from fieldguide.data.examine import Examination, examine, findings_json
from fieldguide.data.images import MISSING, UNREADABLE, read_file
from fieldguide.data.loose import read_original
from fieldguide.data.sources import Source, open_counts, open_source
from fieldguide.data.split import SplitRule, divide
from fieldguide.data.store import Originals, Store, size_class
from fieldguide.data.strata import bare, stratified
from fieldguide.data.tables import freeze, read_manifest, write_manifest
from fieldguide.errors import DataProblem, EnvironmentProblem, PictureError, Problem, UsageProblem, allowed_names, plain
from fieldguide.files import PASSING, read_json, read_own, read_toml, write_json, write_toml
from fieldguide.records import SCHEMA_VERSION, Manifest, ManifestRow, SplitName
from fieldguide.tasks.classify import Classify
from fieldguide.tasks.count import Count, Task


@dataclass(frozen=True)
class Change:
    """How a source differs from the frozen list, by content: names of new, missing and relabelled pictures."""

    new: tuple[str, ...]
    missing: tuple[str, ...]
    relabelled: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.relabelled)

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {word} (such as {plain(names[0])})"
            for word, names in (("new", self.new), ("missing", self.missing), ("with another label", self.relabelled))
            if names
        ]
        return ", ".join(parts)


def rule_of(asked: Asked) -> SplitRule:
    """Return the split rule that was asked for."""
    return SplitRule(fractions(asked.split), asked.seed, asked.folds, asked.split == "test-only")


def care_of(asked: Asked) -> Care:
    """Return what is to be done about copies."""
    return Care(asked.leaks, asked.alike)


def source_of(asked: Asked, folder: Path, online: bool, labelled: bool = True) -> Source:
    """Open the source; archives and hub data sets are unpacked below the study. `labelled`: it has to have classes, or counts."""
    if asked.task == "count":
        return open_counts(asked.source, folder / "unpacked", asked.count)
    return open_source(asked.source, folder / "unpacked", online=online, labelled=labelled)


def require_source(asked: Asked, folder: Path) -> None:
    """Raise for a source that is not there, before a study folder is made that could be taken for a misspelt one."""
    if not asked.source.startswith("hf:") and not os.path.exists(asked.source):
        source_of(asked, folder, online=False)


def gather(source: Source, asked: Asked, folder: Path, sizes: Sequence[int], *, extend: bool, progress: Progress) -> Manifest:
    """Return the frozen manifest of a study: read where it exists and still fits the source, else made now.

    Raises `UsageProblem` where the source has changed since and `extend` is not set; with it, new pictures get a split and old
    ones stay where they are.
    """
    _require_values(source, asked, folder)
    target = folder / "manifest.parquet"
    listing = _listing(source)
    if target.exists():
        old = read_manifest(target)
        if _as_it_was(folder, listing):
            return old
        examination = _examined(source, asked, folder, sizes, progress)
        change = difference(old, examination)
        if not change:
            manifest = _moved(old, examination)
        elif extend:
            manifest = _frozen(examination, source, asked, settled=old)
        else:
            raise UsageProblem(
                f"The pictures have changed since {folder} was made: {change}.",
                "Scores of two lists cannot be compared. Allowed: the same list, --extend (new pictures get a split, old ones stay put), "
                "or a new study.",
                f"fieldguide compare {plain(asked.source)} --out {folder} --extend",
            )
        if change:
            _retire(folder)
    else:
        examination = _examined(source, asked, folder, sizes, progress)
        manifest = _frozen(examination, source, asked)
    write_json(folder / "findings.json", findings_json(examination, source))
    if set(manifest.classes) - _known_classes(folder):
        write_classes(folder / "classes.toml", _merged_classes(folder, manifest))
    # Before the manifest, so that a frozen list always stands beside the rule that made it.
    write_toml(folder / "study.toml", asked.model_dump(mode="json"))
    write_manifest(target, manifest)
    write_json(folder / "source.json", {"schema": SCHEMA_VERSION, "kind": source.kind, "files": listing})
    return manifest


def _require_values(source: Source, asked: Asked, folder: Path) -> None:
    """Raise where a value is given for a class that the source does not count, before anything is written down."""
    known = _known_classes(folder)
    named = {info.name for info in read_classes(folder / "classes.toml", sorted(known))} if known else set()
    known = {*source.counted, *named} if asked.task == "count" else set()
    for name, number in worths(asked.worth).items():
        if name not in known:
            raise UsageProblem(
                f"There is no class {plain(name)!r} that could be worth {number:g}.",
                allowed_names(name, known, most=20) if known else "Only what is counted has a value: task = count.",
                "Correct --worth.",
            )


def _examined(source: Source, asked: Asked, folder: Path, sizes: Sequence[int], progress: Progress) -> Examination:
    """Examine, and keep the decoded pixels in the same pass."""
    classes = {size_class(size) for size in sizes}
    needs = budget.sampled([file.path for file in source.files], classes) - budget.stored(folder / "store", classes)
    budget.require_room(folder / "store", needs, _most_bytes(asked))
    store = Store(folder / "store", most_bytes=_most_bytes(asked))
    examination = examine(source, progress=progress, store=store, sizes=sizes, care=care_of(asked))
    store.flush()
    _require_answer(source, examination)
    return examination


def _require_answer(source: Source, examination: Examination) -> None:
    """Raise `EnvironmentProblem` where pictures failed because the disk or share that holds them does: the list is frozen for good.

    One bad place on a disk costs its own picture. Where a picture that was read a moment ago fails now, or one that failed is read
    now, it was not the picture's fault.
    """
    passing = {f"{UNREADABLE}: {os.strerror(number)}" for number in PASSING}
    failed = {row.path for row in examination.rows if row.excluded in passing}
    if not failed:
        return
    good = {row.path for row in examination.rows if row.excluded is None}
    bad_files = [file for file in source.files if file.name in failed]
    good_files = [file for file in source.files if file.name in good]
    for file, was_read in [
        *((file, False) for file in bad_files),
        *((file, True) for file in (*good_files[:1], *good_files[-1:])),
    ]:
        if _reads(file.path) != was_read:
            raise EnvironmentProblem(
                f"The disk or share that holds the pictures failed for {len(failed)} of them (such as {plain(sorted(failed)[0])}).",
                "A disk or share that answers; what it held back would be missing from the list for good, so no list is made.",
                "Look after the disk or the share, then run the same command again.",
            )


def _reads(path: Path) -> bool:
    try:
        read_file(path)
    except PictureError:
        return False
    return True


def task_of(folder: Path, manifest: Manifest) -> Task:
    """Return the task with the class names of ``classes.toml``."""
    classes = read_classes(folder / "classes.toml", manifest.classes)
    return Count(classes) if manifest.task == "count" else Classify(classes)


def labelled(folder: Path) -> Manifest:
    """Return the manifest of a study of classes; raises `UsageProblem` for a study of counts, whose pictures have no label."""
    manifest = read_manifest(folder / "manifest.parquet")
    if manifest.task == "count":
        raise UsageProblem(
            f"{plain(folder)} is a study of counts, and its pictures have no class.",
            "Only a study of classes can be asked this.",
            f"fieldguide report {plain(folder)}   draws what there is of counts.",
        )
    return manifest


def proposed_task(manifest: Manifest) -> Task:
    """Return the task with the names that the classes would get."""
    named = {info.id: info for info in propose(manifest.classes)}
    classes = tuple(named[id] for id in manifest.classes)
    return Count(classes) if manifest.task == "count" else Classify(classes)


def _most_bytes(asked: Asked) -> int | None:
    return None if asked.store_gb is None else round(asked.store_gb * 1e9)


def store_bytes(manifest: Manifest, sizes: Sequence[int]) -> int:
    """Return what the pictures that take part need in the store at `sizes` (shorter side, in pixels), in bytes."""
    pictures = ((row.width, row.height) for row in manifest.part() if row.width and row.height)
    return budget.needed(pictures, (size_class(size) for size in sizes))


def require_room(asked: Asked, folder: Path, manifest: Manifest, sizes: Sequence[int]) -> None:
    """Raise `EnvironmentProblem` where what the store still lacks at `sizes` would not fit."""
    store = folder / "store"
    lacking = store_bytes(manifest, sizes) - budget.stored(store, (size_class(size) for size in sizes))
    budget.require_room(store, lacking, _most_bytes(asked))


def store_of(source: Source, asked: Asked, folder: Path, manifest: Manifest, progress: Progress) -> Store:
    """Return the store of a study; what it lacks it decodes from the files of `source` that still hold what was hashed."""
    return Store(folder / "store", _originals(source, manifest), progress, _most_bytes(asked))


def originals_of(folder: Path, manifest: Manifest) -> Originals:
    """Return how the pictures of a study are read from its source, which is opened at the first picture that is asked for.

    It raises `PictureError` where the source is gone, or would have to be unpacked for it.
    """

    @functools.cache
    def opened() -> Originals | None:
        try:
            there = (folder / "unpacked").is_dir() or read_json(folder / "source.json")["kind"] in ("folder", "table")
            asked = Asked(**read_toml(folder / "study.toml"))
            return _originals(source_of(asked, folder, online=False), manifest) if there else None
        except (Problem, OSError, ValueError, KeyError):
            return None

    def original(key: str) -> bytes:
        found = opened()
        if found is None:
            raise PictureError(MISSING, "the source of the study is not at hand")
        return found(key)

    return original


def _originals(source: Source, manifest: Manifest) -> Originals:
    by_name: dict[str, list[Path]] = {}
    for file in source.files:
        by_name.setdefault(file.name, []).append(file.path)
    places: dict[str, list[Path]] = {}
    for row in manifest.rows:
        places.setdefault(row.key, []).extend(by_name.get(row.path, ()))
    return lambda key: read_original(key, places.get(key, ()))


def difference(old: Manifest, examination: Examination) -> Change:
    """Return what is new, missing or labelled otherwise, decided by content: a renamed file is the same picture."""
    had = {_known(row) for row in old.rows}
    have = {_known(row) for row in examination.rows}
    old_keys, keys = {known[0] for known in had}, {known[0] for known in have}
    return Change(
        tuple(sorted(row.path for row in examination.rows if row.key not in old_keys)),
        tuple(sorted(row.path for row in old.rows if row.key not in keys)),
        tuple(sorted(row.path for row in examination.rows if row.key in old_keys and _known(row) not in had)),
    )


def _known(row: ManifestRow) -> tuple[str, str, tuple[tuple[str, int], ...] | None]:
    """Return what a picture is and what is known of it."""
    return row.key, row.label, None if row.counts is None else tuple(sorted(row.counts))


def _frozen(examination: Examination, source: Source, asked: Asked, settled: Manifest | None = None) -> Manifest:
    rows = examination.rows
    given = sorted({row.split for row in rows if row.split in ("val", "test")})
    if asked.folds and given:
        raise UsageProblem(
            f"{plain(asked.source)} names its own {' and '.join(given)} pictures, and --folds would mix them with the others.",
            "Allowed: the source's own split, or cross-validation of a source that has none.",
            "Leave --folds out, or point at the training pictures alone.",
        )
    usable: Sequence[str] = sorted({row.label for row in rows if row.excluded is None})
    if asked.task == "count" and usable:  # whatever they show; without a usable picture it is refused as other sources are
        usable = source.counted
    elif len(usable) < 2:
        excluded = sum(row.excluded is not None for row in rows)
        raise DataProblem(
            f"{plain(asked.source)} has {len(usable)} {'class' if len(usable) == 1 else 'classes'} with usable pictures"
            f"{f' ({excluded} pictures were excluded)' if excluded else ''}.",
            "A comparison needs at least two classes with pictures that can be read.",
            f"fieldguide look {plain(asked.source)}   shows every finding and the reason for every exclusion.",
        )
    places: dict[str, SplitName | int] = {}
    for row in settled.part() if settled else ():
        if row.fold is not None:
            places[row.key] = row.fold
        elif row.split is not None:
            places[row.key] = row.split
    manifest = _listed(rows, usable, asked, places)
    if asked.split != "test-only" and not manifest.folds:
        _check_parts(manifest, asked)
    return manifest


def _check_parts(manifest: Manifest, asked: Asked) -> None:
    for split in ("train", "test"):
        if not manifest.part(split):
            raise DataProblem(
                f"{plain(asked.source)} leaves no picture for {split} ({len(manifest.part())} usable pictures).",
                "Every class needs at least two pictures, better twenty.",
                "Add pictures, or use --folds 5 on small sets.",
            )


def _moved(old: Manifest, examination: Examination) -> Manifest:
    """Return the same list with the paths of today."""
    today: dict[tuple[str, str], str] = {(row.key, row.label): row.path for row in reversed(examination.rows)}
    return freeze(
        (dataclasses.replace(row, path=today.get((row.key, row.label), row.path)) for row in old.rows),
        old.classes,
        old.seed,
        old.task,
    )


def _retire(folder: Path) -> None:
    """Move runs of the old list aside: their scores belong to another denominator, but nothing is lost."""
    runs = folder / "runs"
    if runs.exists():
        number = 1
        while (folder / f"runs-before-extension-{number}").exists():
            number += 1
        runs.rename(folder / f"runs-before-extension-{number}")


def _as_it_was(folder: Path, listing: list[list[Any]]) -> bool:
    """Tell whether the source lists what it did when it was examined, and the findings of that are there; what is damaged is made again."""
    try:
        read_own(folder / "findings.json")
        return bool(read_own(folder / "source.json").get("files") == listing)
    except (FileNotFoundError, DataProblem):
        return False


def _known_classes(folder: Path) -> set[str]:
    path = folder / "classes.toml"
    try:
        known = read_toml(path).get("classes", {}) if path.exists() else {}
    except ValueError:  # cut, or no UTF-8; it may hold what people have written, so it is not written over
        known = {info.id: info for info in read_classes(path, ())}
    return set(known) if isinstance(known, dict) else set()


def _merged_classes(folder: Path, manifest: Manifest) -> list[Any]:
    """Keep what people have edited, propose the rest."""
    known = _known_classes(folder)
    kept = {info.id: info for info in read_classes(folder / "classes.toml", sorted(known))} if known else {}
    return [kept.get(info.id, info) for info in propose({*manifest.classes, *kept})]


def _listing(source: Source) -> list[list[Any]]:
    """Return what changes when a file changes: name, label, split, group, bytes and time of change."""
    listing: list[list[Any]] = []
    for file in source.files:
        try:
            status = file.path.stat()
            stamp: list[int | None] = [status.st_size, status.st_mtime_ns]
        except (OSError, ValueError):  # ValueError: a zero byte in a path a table names
            stamp = [None, None]
        counts = [] if file.counts is None else [[list(pair) for pair in file.counts]]
        listing.append([file.name, file.label, file.split, file.group, *stamp, *counts])
    return listing


def shape_rows(rows: Sequence[ManifestRow], asked: Asked, counted: Sequence[str] = ()) -> Manifest:
    """Return the manifest that would be made of `rows` (for `look`); `counted` are the classes of a source that counts."""
    usable = counted or sorted({row.label for row in rows if row.excluded is None})
    return _listed(rows, usable, asked, {})


def _listed(
    rows: Sequence[ManifestRow], classes: Sequence[str], asked: Asked, places: Mapping[str, SplitName | int]
) -> Manifest:
    """Return the frozen list of `rows`, divided as `asked`; `places` are where pictures of an older list stay."""
    return freeze(bare(divide(stratified(rows), rule_of(asked), places)), classes, asked.seed, asked.task)
