"""What an examination tells: one small function for each check, each with a state even where there is nothing to tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fieldguide.data.sources import Source
from fieldguide.records import ManifestRow
from fieldguide.tasks.classify import fold

FindingState = Literal["found", "fine", "not applicable", "skipped"]

#: Examples a finding shows at most.
_SHOWN = 8
#: Largest class over smallest from which a data set is called imbalanced.
IMBALANCE = 3.0
#: A class with fewer usable pictures cannot be in train, validation and test.
FEWEST = 3
#: Shorter side, in pixels, under which a picture is called tiny.
TINY = 32


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    `count` is the number of pictures (or classes, or files) concerned, `examples` are the first of their names.
    """

    code: str
    state: FindingState
    title: str
    count: int = 0
    detail: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Facts:
    rows: Sequence[ManifestRow]
    source: Source
    pixels: Mapping[str, str | None]

    @property
    def usable(self) -> list[ManifestRow]:
        return [row for row in self.rows if row.excluded is None]

    def counts(self) -> Counter[str]:
        """Usable pictures of every class the source names, also of those that have none."""
        counts = Counter(dict.fromkeys(self.source.classes, 0))
        counts.update(row.label for row in self.usable)
        return counts


def find(rows: Sequence[ManifestRow], source: Source, pixels: Mapping[str, str | None]) -> tuple[Finding, ...]:
    """Run every check. `pixels` maps a row's path to the hash of its decoded pixels."""
    facts = _Facts(rows, source, pixels)
    return tuple(check(facts) for check in _CHECKS)


def _outcome(code: str, title: str, names: Sequence[str], detail: str, fine: str) -> Finding:
    if not names:
        return Finding(code, "fine", title, 0, fine)
    return Finding(code, "found", title, len(names), detail, tuple(names[:_SHOWN]))


def _unreadable(facts: _Facts) -> Finding:
    lost = [row for row in facts.rows if row.excluded is not None and row.format is None]
    reasons = Counter(str(row.excluded).partition(":")[0] for row in lost)
    detail = "Excluded: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) + "."
    return _outcome(
        "unreadable",
        "Files that cannot be read",
        [f"{row.path}: {row.excluded}" for row in lost],
        detail,
        "Every file decodes.",
    )


def _converted(facts: _Facts) -> Finding:
    changed = [(row, note) for row in facts.rows for note in row.notes if not note.startswith("extension says")]
    kinds = Counter("first frame only" if note.startswith("first of") else note for _, note in changed)
    names = list(dict.fromkeys(row.path for row, _ in changed))
    detail = "Read with a conversion: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + "."
    return _outcome(
        "converted",
        "Pictures that needed a conversion",
        names,
        detail,
        "Every picture is upright 8-bit colour or gray as it is.",
    )


def _duplicates(facts: _Facts) -> Finding:
    copies = [f"{row.path}: {row.excluded}" for row in facts.rows if str(row.excluded).startswith("duplicate of ")]
    same = _same_pixels(facts)
    extra = (
        f" {sum(map(len, same))} more hold the same pixels in different files; they are kept, on one side of the split."
        if same
        else ""
    )
    names = [*copies, *(f"{together[0].path} = {row.path}" for together in same for row in together[1:])]
    detail = f"{len(copies)} exact copies are excluded, one of each stays.{extra}"
    return _outcome("duplicate", "Duplicate pictures", names, detail, "No picture is there twice.")


def _two_classes(facts: _Facts) -> Finding:
    same = [f"{row.path}: {row.excluded}" for row in facts.rows if str(row.excluded).startswith("same picture in two classes")]
    alike = [
        f"{together[0].path} ({together[0].label}) = {row.path} ({row.label})"
        for together in _same_pixels(facts)
        for row in together[1:]
        if row.label != together[0].label
    ]
    detail = f"{len(same)} files with the same bytes under different labels are excluded: no answer to them would be right."
    if alike:
        detail += f" {len(alike)} with the same pixels in different files are kept; look at them."
    return _outcome("two-classes", "The same picture in two classes", [*same, *alike], detail, "No picture has two labels.")


def _same_pixels(facts: _Facts) -> list[list[ManifestRow]]:
    places: dict[str, list[ManifestRow]] = {}
    for row in facts.usable:
        key = facts.pixels.get(row.path)
        if key is not None:
            places.setdefault(key, []).append(row)
    return [together for together in places.values() if len(together) > 1]


def _leaks(facts: _Facts) -> Finding:
    title = "Pictures in two of the given splits"
    if len({row.split for row in facts.rows}) < 2:
        return Finding("leak", "not applicable", title, 0, "The source names no splits; fieldguide keeps copies on one side.")
    copies = [f"{row.path}: {row.excluded}" for row in facts.rows if str(row.excluded).startswith("also in the ")]
    sides: dict[str, set[str]] = {}
    for row in facts.usable:
        if row.group is not None and row.split is not None:
            sides.setdefault(row.group, set()).add(row.split)
    across = [f"group {group}: {', '.join(sorted(splits))}" for group, splits in sorted(sides.items()) if len(splits) > 1]
    detail = f"{len(copies)} copies of test or validation pictures are excluded from where models learn."
    if across:
        detail += f" {len(across)} groups lie on both sides of the given split, which is kept as it is."
    return _outcome("leak", title, [*copies, *across], detail, "The given splits share no picture and no group.")


def _extensions(facts: _Facts) -> Finding:
    wrong = [f"{row.path}: {note}" for row in facts.rows for note in row.notes if note.startswith("extension says")]
    detail = "Read by content, which is what counts; other programs may fail on them."
    return _outcome("extension", "Extensions that lie", wrong, detail, "Every extension fits its content.")


def _imbalance(facts: _Facts) -> Finding:
    title = "Class imbalance"
    counts = {label: count for label, count in facts.counts().items() if count}
    if len(counts) < 2:
        return Finding("imbalance", "not applicable", title, 0, "Fewer than two classes have usable pictures.")
    most, fewest = max(counts, key=lambda label: (counts[label], label)), min(counts, key=lambda label: (counts[label], label))
    ratio = counts[most] / counts[fewest]
    detail = f"{most} has {counts[most]} pictures, {ratio:.1f} times as many as {fewest} with {counts[fewest]}."
    if ratio < IMBALANCE:
        return Finding("imbalance", "fine", title, 0, detail)
    small = sorted(label for label, count in counts.items() if counts[most] / count >= IMBALANCE)
    return Finding(
        "imbalance", "found", title, len(small), f"{detail} Read balanced accuracy and macro-F1.", tuple(small[:_SHOWN])
    )


def _tiny_classes(facts: _Facts) -> Finding:
    small = [f"{label}: {count}" for label, count in sorted(facts.counts().items()) if count < FEWEST]
    small += [f"{name}: 0" for name, reason in facts.source.ignored if reason == "class folder without pictures"]
    detail = f"Classes with fewer than {FEWEST} usable pictures cannot be in train, validation and test."
    return _outcome(
        "tiny-class", "Classes with hardly any pictures", small, detail, f"Every class has at least {FEWEST} usable pictures."
    )


def _tiny_pictures(facts: _Facts) -> Finding:
    small = [
        f"{row.path}: {row.width} x {row.height}" for row in facts.usable if min(row.width or TINY, row.height or TINY) < TINY
    ]
    detail = f"Their shorter side has fewer than {TINY} pixels; networks made for 224 see them blurred."
    return _outcome(
        "tiny-picture", "Tiny pictures", small, detail, f"Every picture has at least {TINY} pixels on its shorter side."
    )


def _names(facts: _Facts) -> Finding:
    folded: dict[str, list[str]] = {}
    for label in facts.source.classes:
        folded.setdefault(fold(label), []).append(label)
    collide = [" = ".join(labels) for labels in folded.values() if len(labels) > 1]
    joined = [note for note in facts.source.notes if note.startswith("The folder ")]
    detail = (
        f"{len(collide)} sets of class names differ only in case, Unicode form or separators: probably one class written twice."
    )
    if joined:
        detail += f" {len(joined)} folder names were brought into one Unicode form."
    return _outcome("class-names", "Class names that collide", [*collide, *joined], detail, "Class names are distinct.")


def _ignored(facts: _Facts) -> Finding:
    reasons = Counter(reason for _, reason in facts.source.ignored)
    detail = "Passed over: " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) + "."
    names = [f"{name}: {reason}" for name, reason in facts.source.ignored]
    return _outcome("ignored", "Files that are no candidates", names, detail, "Every file in the source is a candidate.")


_CHECKS: tuple[Callable[[_Facts], Finding], ...] = (
    _unreadable,
    _converted,
    _duplicates,
    _two_classes,
    _leaks,
    _extensions,
    _imbalance,
    _tiny_classes,
    _tiny_pictures,
    _names,
    _ignored,
)
