"""What a check is given and what it tells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from fieldguide.data.copies import Copies, Look
from fieldguide.data.sources import Source
from fieldguide.records import ManifestRow

FindingState = Literal["found", "fine", "not applicable", "skipped"]

#: Examples a finding shows at most.
SHOWN = 8


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


@dataclass(frozen=True, slots=True)
class Told:
    """What a check function answers; code and title are added by the catalogue."""

    state: FindingState
    detail: str
    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Everything that was seen: `rows` as they stand in the manifest and, in the same order, how each picture looks."""

    rows: Sequence[ManifestRow]
    source: Source
    looks: Sequence[Look]
    copies: Copies

    @cached_property
    def usable(self) -> list[ManifestRow]:
        """Rows that take part."""
        return [row for row in self.rows if row.excluded is None]

    @cached_property
    def labelled(self) -> bool:
        """Whether the pictures carry classes at all."""
        return any(row.label for row in self.rows)

    @cached_property
    def counts(self) -> Counter[str]:
        """Usable pictures of every class the source names, also of those that have none."""
        counts = Counter(dict.fromkeys(self.source.classes, 0))
        counts.update(row.label for row in self.usable)
        return counts


def outcome(names: Sequence[str], detail: str, fine: str) -> Told:
    """Return "found" with the first of `names`, or "fine" where there are none."""
    if not names:
        return Told("fine", fine)
    return Told("found", detail, len(names), tuple(names[:SHOWN]))


def counted(kinds: Sequence[str]) -> str:
    """Return ``3 truncated, 1 not a picture``: the commonest first."""
    return ", ".join(
        f"{count:,} {kind}" for kind, count in sorted(Counter(kinds).items(), key=lambda item: (-item[1], item[0]))
    )


NO_LABELS = Told("not applicable", "The pictures carry no labels.")
