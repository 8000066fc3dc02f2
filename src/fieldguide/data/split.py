"""The split: seeded, stratified, decided by content hash. Groups first, then largest remainder.

File order and file names do not matter: pictures are ordered by a hash of seed and content. Pictures of one group (the
user's groups, and files that hold the same picture) stay on one side. What the source has already split stays as it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

from fieldguide.data.strata import stratified
from fieldguide.records import SPLITS, Manifest, ManifestRow, SplitName

Part = Hashable
#: Who gets a picture first where a class has fewer pictures than there are parts.
_PRIORITY: tuple[SplitName, ...] = ("train", "test", "val")


@dataclasses.dataclass(frozen=True)
class SplitRule:
    """How pictures are divided. `fractions` are of train, val and test; `folds` > 0 cross-validates instead; `test_only` tests all."""

    fractions: tuple[float, float, float] = (0.70, 0.15, 0.15)
    seed: int = 42
    folds: int = 0
    test_only: bool = False


def divide(
    rows: Sequence[ManifestRow], rule: SplitRule, settled: Mapping[str, SplitName | int] | None = None
) -> tuple[ManifestRow, ...]:
    """Return `rows` with `split` (and `fold`) filled in; excluded rows are passed through.

    A split the source has given is kept; what is missing is cut from train, never from test. `settled` maps content
    hashes to the split or fold they already have (of an older study that is extended): those stay put.
    """
    active = [row for row in rows if row.excluded is None]
    kept: set[str] = set()
    if rule.test_only:
        places: dict[str, Part] = {row.key: "test" for row in active}
    elif rule.folds:
        parts: list[Part] = list(range(rule.folds))
        places = _assign(active, parts, [1 / rule.folds] * rule.folds, rule.seed, settled or {})
    else:
        given = {row.split for row in active if row.split is not None}
        fixed = _fixed(active)
        kept = set(fixed)
        missing = [name for name in SPLITS if name == "train" or name not in given]
        share = dict(zip(SPLITS, rule.fractions, strict=True))
        total = sum(share[name] for name in missing)
        open_rows = [row for row in active if row.key not in fixed]
        wanted = [share[name] / total for name in missing]
        places = {**_assign(open_rows, list(missing), wanted, rule.seed, settled or {}), **fixed}

    def place(row: ManifestRow) -> ManifestRow:
        if row.excluded is not None:
            return dataclasses.replace(row, split=None, fold=None)
        # A training copy that was asked to stay beside the test picture of the same bytes.
        part = "train" if row.split == "train" and row.key in kept else places[row.key]
        if isinstance(part, int):
            return dataclasses.replace(row, split="test", fold=part)
        return dataclasses.replace(row, split=cast(SplitName, part))

    return tuple(place(row) for row in rows)


def _fixed(active: Sequence[ManifestRow]) -> dict[str, Part]:
    """Return what the source itself has put aside; a picture without a split follows the rest of its group there."""
    fixed: dict[str, Part] = {}
    for name in ("val", "test"):
        there = [row for row in active if row.split == name]
        groups = {row.group for row in there if row.group is not None}
        followers = [row for row in active if row.split is None and row.group in groups]
        fixed |= {row.key: name for row in [*there, *followers]}
    return fixed


def _assign(
    rows: Sequence[ManifestRow], parts: list[Part], fractions: Sequence[float], seed: int, settled: Mapping[str, Part]
) -> dict[str, Part]:
    """Return the part of each content hash. Groups are placed first, largest first; single pictures then fill the rest."""
    units: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        units[row.group or row.key].append(row)
    need = _targets(rows, parts, fractions)
    places: dict[str, Part] = {}

    def settle(unit: Iterable[ManifestRow], part: Part) -> None:
        for row in unit:
            here = settled.get(row.key, part)
            places[row.key] = here = here if here in parts else part
            need[row.label][here] -= 1

    waiting = []
    for name, unit in units.items():
        known = sorted(row.key for row in unit if settled.get(row.key) in parts)
        if known:
            settle(unit, settled[known[0]])
        else:
            waiting.append((name, unit))
    for _, unit in sorted(
        (pair for pair in waiting if len(pair[1]) > 1), key=lambda pair: (-len(pair[1]), _order(seed, pair[0]))
    ):
        labels = Counter(row.label for row in unit)
        settle(unit, max(parts, key=lambda part: _welcome(part, labels, need, parts)))
    singles: dict[str, list[ManifestRow]] = defaultdict(list)
    for _, unit in waiting:
        if len(unit) == 1:
            singles[unit[0].label].append(unit[0])
    for label, pictures in singles.items():
        pictures.sort(key=lambda row: _order(seed, row.key))
        room = [max(0, need[label][part]) for part in parts]
        counts = apportion(len(pictures), room if sum(room) else list(fractions))
        start = 0
        for part, count in zip(parts, counts, strict=True):
            for row in pictures[start : start + count]:
                places[row.key] = part
            start += count
    return places


def _welcome(
    part: Part, labels: Mapping[str, int], need: Mapping[str, Mapping[Part, int]], parts: Sequence[Part]
) -> tuple[float, int, int]:
    """Rank a part for a group: how many of its pictures are still needed there, then the largest open need, then order."""
    fits = sum(min(max(0, need[label][part]), count) for label, count in labels.items())
    return fits, sum(need[label][part] for label in labels), -parts.index(part)


def _order(seed: int, key: str) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()


def _targets(rows: Sequence[ManifestRow], parts: Sequence[Part], fractions: Sequence[float]) -> dict[str, dict[Part, int]]:
    """Return how many pictures of each class each part should get: largest remainder, ties to the part that lags overall."""
    sizes = Counter(row.label for row in rows)
    first = {label: min(row.key for row in rows_of) for label, rows_of in _by_label(rows).items()}
    lag = [0.0] * len(parts)
    targets: dict[str, dict[Part, int]] = {}
    for label in sorted(sizes, key=lambda label: first[label]):
        counts = apportion(sizes[label], fractions, lag)
        if parts[0] in _PRIORITY:
            counts = _at_least_one(counts, parts, fractions)
        lag = [behind + sizes[label] * share - count for behind, share, count in zip(lag, fractions, counts, strict=True)]
        targets[label] = dict(zip(parts, counts, strict=True))
    return targets


def _by_label(rows: Iterable[ManifestRow]) -> dict[str, list[ManifestRow]]:
    table: dict[str, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        table[row.label].append(row)
    return table


def apportion(total: int, weights: Sequence[float], lag: Sequence[float] | None = None) -> list[int]:
    """Return `total` seats divided by `weights` with the largest-remainder rule; ties go to the larger `lag`, then the first."""
    whole = sum(weights)
    quotas = [total * weight / whole for weight in weights]
    counts = [int(quota + 1e-9) for quota in quotas]
    behind = lag or [0.0] * len(weights)
    rank = sorted(range(len(weights)), key=lambda i: (-round(quotas[i] - counts[i], 9), -round(behind[i], 9), i))
    for i in rank[: total - sum(counts)]:
        counts[i] += 1
    return counts


def _at_least_one(counts: Sequence[int], parts: Sequence[Part], fractions: Sequence[float]) -> list[int]:
    """Give every part that was asked for one picture where the class has enough; with too few, train comes before test before val."""
    rank = sorted((i for i, share in enumerate(fractions) if share), key=lambda i: _PRIORITY.index(cast(SplitName, parts[i])))
    counts = list(counts)
    for i in rank[: sum(counts)]:
        if counts[i] == 0:
            counts[max(rank, key=lambda j: (counts[j], rank.index(j)))] -= 1
            counts[i] = 1
    return counts


@dataclasses.dataclass(frozen=True)
class SplitShape:
    """What a split came out as. `deviation` is the largest distance, in pictures, of any class and part from what was asked."""

    sizes: dict[str, int]
    per_class: dict[str, dict[str, int]]
    deviation: float
    lacking: dict[str, tuple[str, ...]]
    kept_together: int
    kind: Literal["split", "folds", "test-only"]


def shape(manifest: Manifest, rule: SplitRule) -> SplitShape:
    """Return the sizes of a split and how far it is from the fractions asked for; of counts, by steps of their total."""
    active = stratified(manifest.part())
    classes = tuple(sorted({row.label for row in active})) if manifest.task == "count" else manifest.classes
    names: list[Any] = list(range(rule.folds)) if rule.folds else ["test"] if rule.test_only else list(SPLITS)
    share = dict(
        zip(names, [1 / rule.folds] * rule.folds if rule.folds else [1.0] if rule.test_only else rule.fractions, strict=True)
    )
    table = {label: dict.fromkeys(names, 0) for label in classes}
    for row in active:
        table[row.label][row.fold if rule.folds else row.split] += 1
    sizes = {str(name): sum(counts[name] for counts in table.values()) for name in names}
    off = [abs(counts[name] - share[name] * sum(counts.values())) for counts in table.values() for name in names]
    lacking = {str(name): tuple(label for label, counts in table.items() if not counts[name]) for name in names}
    grouped = Counter(row.group for row in active if row.group is not None)
    return SplitShape(
        sizes,
        {label: {str(name): count for name, count in counts.items()} for label, counts in table.items()},
        max(off, default=0.0),
        {name: labels for name, labels in lacking.items() if labels},
        sum(count for count in grouped.values() if count > 1),
        "folds" if rule.folds else "test-only" if rule.test_only else "split",
    )
