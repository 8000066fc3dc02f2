"""What the split of a study of counts is balanced by: how many things a picture shows in all, in a few steps of about equal size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fieldguide.records import ManifestRow

#: Steps at most, and pictures that each should have.
_MOST, _EACH = 5, 12


def stratified(rows: Sequence[ManifestRow]) -> tuple[ManifestRow, ...]:
    """Return `rows` with the step of their total as the label, so that a split can be balanced by it; rows of classes as they are."""
    totals = {total(row) for row in rows if row.counts is not None}
    if not totals:
        return tuple(rows)
    edges = _edges(sorted(total(row) for row in rows if row.excluded is None and row.counts is not None))
    return tuple(replace(row, label=_step(total(row), edges)) if row.counts is not None else row for row in rows)


def bare(rows: Sequence[ManifestRow]) -> tuple[ManifestRow, ...]:
    """Return `rows` of counts without the label that they were split by."""
    return tuple(replace(row, label="") if row.counts is not None else row for row in rows)


def total(row: ManifestRow) -> int:
    """Return how many things a picture shows, all classes together."""
    return sum(count for _, count in row.counts or ())


def _edges(totals: Sequence[int]) -> list[int]:
    """Return where each step but the first begins; a step holds every picture of one total."""
    steps = min(_MOST, len(totals) // _EACH)
    return sorted({totals[len(totals) * step // steps] for step in range(1, steps)} - {totals[0]}) if steps > 1 else []


def _step(total: int, edges: Sequence[int]) -> str:
    at = sum(total >= edge for edge in edges)
    if not edges:
        return "any number"
    if at == 0:
        return f"below {edges[0]:,} things"
    return f"{edges[-1]:,} things and more" if at == len(edges) else f"{edges[at - 1]:,} to {edges[at] - 1:,} things"
