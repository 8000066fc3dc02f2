"""The box "can I trust this?": what was split how, what was found, what was left out, and what it ran on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fieldguide.data.checks import CHECKS
from fieldguide.data.copies import DUPLICATE, LEAKED
from fieldguide.data.split import SplitRule, shape
from fieldguide.records import SPLITS, ManifestRow
from fieldguide.report import say
from fieldguide.report.read import Json, Study

MOST_LISTED = 40
_STATES = {"found": "!", "fine": "✓", "not applicable": "–", "skipped": "○"}
_EXPLAINED = {
    check.code: tuple(" ".join(paragraph.replace("``", "").split()) for paragraph in check.text.split("\n\n"))
    for check in CHECKS
}
_SPOKEN = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the split: pictures, its share of all, classes seen, and the smallest and largest class."""

    name: str
    pictures: str
    share: str
    classes: str
    least: str
    most: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One health check; `sign` repeats its state in form, `help` is what it means, in paragraphs, where something was found."""

    code: str
    state: str
    sign: str
    title: str
    count: str
    detail: str
    examples: tuple[str, ...]
    help: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """Everything in the box; lists are bounded and say how many they leave out."""

    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    findings_known: bool
    left_out: tuple[tuple[str, int], ...]
    listed: tuple[tuple[str, str], ...]
    listed_more: int
    conversions: tuple[tuple[str, int], ...]
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    power: str


def trust(study: Study) -> Trust:
    """Return what the box shows for `study`."""
    found = study.findings
    checks = [_finding(_answered(entry, study.suspects)) for entry in (found or {}).get("findings", [])]
    left_out = [(row.path, row.excluded or "") for row in study.manifest.excluded]
    left_out += [(str(path), str(reason)) for path, reason in (found or {}).get("ignored", [])]
    return Trust(
        parts=_parts(study),
        notes=tuple(_notes(study)),
        findings=tuple(sorted(checks, key=lambda finding: finding.state != "found")),
        findings_known=found is not None,
        left_out=_common(_kind(reason) for _, reason in left_out),
        listed=tuple(left_out[:MOST_LISTED]),
        listed_more=max(0, len(left_out) - MOST_LISTED),
        conversions=_common(note for row in study.manifest.part() for note in row.notes),
        facts=tuple(_facts(study)),
        versions=tuple(
            sorted((str(name), str(version)) for name, version in ((study.environment or {}).get("versions") or {}).items())
        ),
        power=say.glued(str(((study.comparison or {}).get("power") or {}).get("sentence", say.NOT_RECORDED))),
    )


def _parts(study: Study) -> tuple[Part, ...]:
    total = len(study.manifest.part()) or 1
    parts = []
    for split in SPLITS:
        rows = study.manifest.part(split)
        sizes = _by_class(rows, study)
        parts.append(
            Part(
                name=_SPOKEN[split],
                pictures=say.count(len(rows)),
                share=say.percent(len(rows) / total),
                classes=say.count(sum(size > 0 for size in sizes.values())),
                least=say.count(min(sizes.values())),
                most=say.count(max(sizes.values())),
            )
        )
    return tuple(parts)


def _notes(study: Study) -> Iterable[str]:
    """Yield what a reader should know of the split: folds, missing classes, uneven shares, groups."""
    manifest = study.manifest
    if manifest.folds:
        yield (
            f"{manifest.folds} folds: every picture is tested once, by a model that was not trained on it. "
            "The folds' answers are pooled."
        )
    tested = _by_class(manifest.part("test"), study)
    absent = [study.names[label] for label, size in tested.items() if not size]
    if absent:
        yield f"No test picture of {say.count(len(absent))} classes: {', '.join(absent[:5])}{' …' if len(absent) > 5 else ''}."
    if (rule := _rule(study)) is not None:
        off = shape(manifest, rule).deviation
        asked = f"{rule.folds} even folds" if rule.folds else str(study.asked["split"])
        yield f"Asked for {asked}; the furthest that any class is from that, in any part, is {off:.1f} pictures."
    yield from _one_seed(study)
    yield from (str(note) for note in (study.findings or {}).get("notes", []))
    sides: dict[str, set[object]] = {}
    for row in manifest.part():
        if row.group is not None:
            sides.setdefault(row.group, set()).add((row.split, row.fold))
    kept = sum(len(parts) == 1 for parts in sides.values())
    if kept:
        yield f"{say.count(kept)} groups of pictures that belong together are on one side of the split."
    if len(sides) > kept:
        yield f"{say.count(len(sides) - kept)} groups are on both sides of it."
    keys = Counter(row.key for row in manifest.part())
    if (doubles := sum(number - 1 for number in keys.values())) > 0:
        yield f"{say.count(doubles)} pictures are exact copies of another one in the same part."


def _one_seed(study: Study) -> Iterable[str]:
    """Yield that chance in training was not measured, where it played a part and nothing repeated it."""
    moved = [contestant for contestant in study.scored if (contestant.cost or {}).get("by_chance")]
    if moved and not study.manifest.folds and not any(contestant.spread for contestant in moved):
        yield (
            f"One seed ({study.manifest.seed}) was run: how far another one would move a score that rests on chance is not known here. "
            "The same command with --seeds 3 measures it."
        )


def _rule(study: Study) -> SplitRule | None:
    """Return the split that was asked for, where ``study.toml`` tells it."""
    manifest, split = study.manifest, str(study.asked.get("split", ""))
    if manifest.folds:
        return SplitRule(seed=manifest.seed, folds=manifest.folds)
    shares = re.fullmatch(r"([\d.]+)/([\d.]+)/([\d.]+)", split)
    if shares is None:
        return None
    train, val, test = (float(share) / 100 for share in shares.groups())
    return SplitRule((train, val, test), manifest.seed)


def _by_class(rows: Iterable[ManifestRow], study: Study) -> dict[str, int]:
    sizes = Counter(row.label for row in rows)
    if study.manifest.task == "count":  # then a class has the pictures that show it
        sizes = Counter(label for row in rows for label, number in row.counts or () if number)
    return {info.id: sizes.get(info.id, 0) for info in study.classes}


def _answered(entry: Json, suspects: Json | None) -> Json:
    """Return the finding about label suspects as the contestants have answered it since; every other one as it is."""
    if entry.get("code") != "FG014" or suspects is None:
        return entry
    names = {"found": "Listed with their pictures under “With and without”.", "fine": "No label is doubted by the contestants."}
    why = str(suspects.get("why") or "")
    detail = " ".join(
        part for part in (names.get(str(suspects["state"]), ""), f"{why[:1].upper()}{why[1:]}." if why else "") if part
    )
    return {**entry, "state": suspects["state"], "count": len(suspects["suspects"]), "detail": detail}


def _finding(entry: Json) -> Finding:
    state = str(entry.get("state", say.NOT_RECORDED))
    count = entry.get("count")
    return Finding(
        code=str(entry.get("code") or ""),
        state=state,
        sign=_STATES.get(state, "○"),
        title=str(entry.get("title") or entry.get("code") or say.NOT_RECORDED),
        count="" if not count else say.count(count),
        detail=str(entry.get("detail") or ""),
        examples=tuple(str(path) for path in (entry.get("examples") or [])[:5]),
        help=_EXPLAINED.get(str(entry.get("code")), ()) if state == "found" else (),
    )


def _facts(study: Study) -> Iterable[tuple[str, str]]:
    environment: Mapping[str, object] = study.environment or {}
    costs = [contestant.cost or {} for contestant in study.scored]
    yield "Manifest hash", study.manifest.hash
    yield "Seed", str(study.manifest.seed)
    yield "Classes", say.count(len(study.classes))
    yield "Device", ", ".join(sorted({str(cost["device"]) for cost in costs if cost.get("device")})) or say.NOT_RECORDED
    yield (
        "Precision",
        ", ".join(sorted({str(cost["precision"]) for cost in costs if cost.get("precision")})) or say.NOT_APPLICABLE,
    )
    for key, label in (
        ("platform", "Platform"),
        ("cores", "CPU cores"),
        ("gpu", "GPU"),
        ("memory_bytes", "Memory"),
        ("python", "Python"),
    ):
        value = environment.get(key)
        if value is not None or key in ("platform", "cores", "python"):
            yield (
                label,
                say.NOT_RECORDED if value is None else say.size(float(str(value))) if key == "memory_bytes" else str(value),
            )


def _kind(reason: str) -> str:
    """Return why a picture was left out, without the name of the other one: that stands in the list of files."""
    if reason.startswith(f"{LEAKED} "):
        return reason.partition(":")[0]
    return f"{DUPLICATE} another picture" if reason.startswith(f"{DUPLICATE} ") else reason


def _common(words: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(Counter(words).items(), key=lambda item: (-item[1], item[0])))[:MOST_LISTED]
