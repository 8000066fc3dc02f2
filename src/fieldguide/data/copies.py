"""Copies of pictures: which are left out, which stay on one side of the split, and which are marked.

Same bytes, same pixels, near copies and bursts are found by what `examine` saw of each file; here it is decided what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fieldguide.bench import Progress
from fieldguide.data.alike import Groups, Pair, Sketch, alike
from fieldguide.data.bursts import bursts
from fieldguide.records import ManifestRow, SplitName

#: Beginnings of reasons for an exclusion that are not the loader's.
DUPLICATE, TWO_CLASSES, LEAKED = "duplicate of", "same picture in two classes", "also in the"
TWO_COUNTS = "same picture with two counts"

#: Which copy of a picture is kept when the source itself made the split: the one that is scored.
_RANK: Mapping[SplitName | None, int] = {"test": 0, "val": 1, "train": 2, None: 2}

Group = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one file; all of it `None` where it could not be read.

    `pixels_key` is a hash of its decoded pixels and size, `spread` the largest standard deviation of a colour (in levels of 255),
    `sketch` what it is compared by, `taken` when by its EXIF tag.
    """

    pixels_key: str | None = None
    spread: float | None = None
    sketch: Sketch | None = None
    taken: str | None = None


@dataclass(frozen=True, slots=True)
class Care:
    """What is done about copies. `leaks`: training copies of test pictures of a given split are dropped, or kept.

    `alike`: near copies and bursts stay together on one side of a split that is made, or the split is free of them.
    """

    leaks: Literal["drop", "keep"] = "drop"
    alike: Literal["together", "free"] = "together"


#: Of a file that could not be read; what is done about copies unless something else is asked for.
UNSEEN, USUAL_CARE = Look(), Care()


@dataclass(frozen=True)
class Copies:
    """Positions of rows that belong together; `near` are verified pairs that are not the same pixels, `together` what was done."""

    same_bytes: tuple[Group, ...]
    same_pixels: tuple[Group, ...]
    near: tuple[Pair, ...]
    bursts: tuple[Group, ...]
    together: bool


def find_copies(rows: Sequence[ManifestRow], looks: Sequence[Look], care: Care, progress: Progress | None = None) -> Copies:
    """Return what belongs together among `rows`; only the first of several with the same pixels is compared with others."""
    same_bytes = tuple(_same([row.key if row.excluded is None else None for row in rows]))
    # Bytes that are equal have equal pixels; of those the first speaks for all.
    speaks = _speakers(len(rows), same_bytes)
    same_pixels = tuple(_same([look.pixels_key if at in speaks else None for at, look in enumerate(looks)]))
    speaks = speaks & _speakers(len(rows), same_pixels)
    sketches = [look.sketch if at in speaks else None for at, look in enumerate(looks)]
    near = alike(sketches, progress)
    runs = bursts([row.path for row in rows], [look.taken for look in looks], sketches)
    return Copies(same_bytes, same_pixels, near, runs, care.alike == "together")


def settle(rows: Sequence[ManifestRow], copies: Copies, care: Care) -> list[ManifestRow]:
    """Return `rows` with copies excluded, groups joined and marks set.

    Of the same bytes one stays, and none where classes disagree. Of the same pixels and of near copies all stay, except on the
    training side where the source itself put one of them into its test or validation split (unless `care.leaks` keeps them).
    """
    settled = list(rows)
    _exclude_same_bytes(settled, copies, care)
    marks: dict[int, set[str]] = {}
    kin = [*copies.same_pixels, *((pair.a, pair.b) for pair in copies.near)]
    for together in (*copies.same_bytes, *_joined(len(rows), kin)):
        _settle_kin(settled, together, care, marks)
    for together in copies.bursts:
        _mark_burst(settled, together, marks)
    marked = (replace(row, marks=tuple(sorted(marks.get(at, ())))) for at, row in enumerate(settled))
    return _grouped(list(marked), copies)


def _exclude_same_bytes(rows: list[ManifestRow], copies: Copies, care: Care) -> None:
    for together in copies.same_bytes:
        labels = sorted({_known(rows[at]) for at in together})
        if len(labels) > 1 and any(rows[at].counts is not None for at in together):
            for at in together:
                rows[at] = replace(rows[at], excluded=f"{TWO_COUNTS}: {'; '.join(labels)}"[:500])
            continue
        if len(labels) > 1:
            for at in together:
                rows[at] = replace(rows[at], excluded=f"{TWO_CLASSES}: {', '.join(labels)}")
            continue
        first, *others = sorted(together, key=lambda at: _preferred(rows[at]))
        stays = {first}
        if care.leaks == "keep" and rows[first].split is not None:
            # One training copy stays beside the one that is scored; validation and test never share bytes.
            stays |= set(next(([at] for at in others if rows[at].split == "train" != rows[first].split), []))
        for at in together:
            if at not in stays:
                rows[at] = replace(rows[at], excluded=_copy_reason(rows[first], rows[at]))


def _known(row: ManifestRow) -> str:
    """Return what is known of a picture, in words: its class, or how many of each class it shows."""
    return row.label if row.counts is None else ", ".join(f"{count} {label}" for label, count in sorted(row.counts) if count)


def _settle_kin(rows: list[ManifestRow], together: Group, care: Care, marks: dict[int, set[str]]) -> None:
    """Mark the members that are scored and have a copy elsewhere, and drop the copies that are learned from."""
    by_rank: dict[int, list[int]] = {}
    for at in sorted(together, key=lambda at: _preferred(rows[at])):
        told = str(rows[at].excluded or "")
        if not told or told.startswith((DUPLICATE, LEAKED)):
            by_rank.setdefault(_RANK[rows[at].split], []).append(at)
    best = min(by_rank, default=0)
    for rank, members in by_rank.items():
        left = [at for at in members if rows[at].excluded is None]
        for at in left[1:]:
            marks.setdefault(at, set()).add("repeated")
        if any(other > rank for other in by_rank):
            for at in left:
                marks.setdefault(at, set()).add("leaked")
        if rank > best and care.leaks == "drop":
            for at in left:
                rows[at] = replace(rows[at], excluded=_copy_reason(rows[by_rank[best][0]], rows[at]))
                marks.pop(at, None)


def _mark_burst(rows: Sequence[ManifestRow], together: Group, marks: dict[int, set[str]]) -> None:
    """Mark all but the first of a scene in each split, and that one too where the scene goes on in a split that is learned from."""
    left = sorted((at for at in together if rows[at].excluded is None), key=lambda at: _preferred(rows[at]))
    ranks = [_RANK[rows[at].split] for at in left]
    for place, at in enumerate(left):
        if ranks[place] in ranks[:place] or ranks[-1] > ranks[place]:
            marks.setdefault(at, set()).add("burst")


def _preferred(row: ManifestRow) -> tuple[int, str]:
    return _RANK[row.split], row.path


def _copy_reason(kept: ManifestRow, copy: ManifestRow) -> str:
    if _RANK[copy.split] > _RANK[kept.split]:
        return f"{LEAKED} {kept.split} split: {kept.path}"
    return f"{DUPLICATE} {kept.path}"


def _same(keys: Sequence[str | None]) -> Iterator[Group]:
    """Yield the positions that share a key, for keys that occur more than once."""
    places: dict[str, list[int]] = {}
    for at, key in enumerate(keys):
        if key is not None:
            places.setdefault(key, []).append(at)
    yield from (tuple(together) for together in places.values() if len(together) > 1)


def _speakers(rows: int, groups: Iterable[Group]) -> set[int]:
    return set(range(rows)) - {at for group in groups for at in group[1:]}


def _joined(rows: int, groups: Iterable[Sequence[int]]) -> tuple[Group, ...]:
    """Return `groups` with those that share a member joined."""
    joined = Groups(rows)
    for first, *others in groups:
        for at in others:
            joined.join(first, at)
    return joined.several()


def _grouped(rows: list[ManifestRow], copies: Copies) -> list[ManifestRow]:
    """Give the user's groups and pictures that belong together one name each, so that a split keeps them on one side."""
    named = _same([row.group for row in rows])
    tied = [*copies.same_bytes, *copies.same_pixels]
    if copies.together:
        tied += [*((pair.a, pair.b) for pair in copies.near), *copies.bursts]
    grouped = list(rows)
    for together in _joined(len(rows), [*named, *tied]):
        given = [group for at in together if (group := rows[at].group) is not None]
        left = [rows[at] for at in together if rows[at].excluded is None]
        if not given and len(left) < 2:
            continue
        name = min(given) if given else f"alike {min(row.key for row in left)[:12]}"
        for at in together:
            grouped[at] = replace(rows[at], group=name)
    return grouped
