"""A part of the training pictures that stands for all of them: nested, stratified, decided by content.

What fewer pictures would have been worth says what more of them may be worth. So that this is a question of number alone, a picture
of the 10 % is also among the 25 %, every class keeps its share, and no class is lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from fieldguide.files import digest
from fieldguide.records import ManifestRow


def portion(rows: Sequence[ManifestRow], fraction: float, seed: int) -> tuple[ManifestRow, ...]:
    """Return `fraction` (0 to 1) of `rows`, in their order: of each class its share, rounded, and one picture at least.

    Which pictures is decided by their content hashes and `seed`, not by names or order. For two fractions and the same `seed`, the
    smaller part lies within the larger one.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"a fraction is above 0 and at most 1, not {fraction}")
    by_class: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        by_class[row.label].append(at)
    kept: set[int] = set()
    for places in by_class.values():
        drawn = sorted(places, key=lambda at: digest("portion", seed, rows[at].key))
        # Half a picture counts as a whole one; Python's own rounding goes to the even number, which is not even steps.
        kept.update(drawn[: max(1, int(fraction * len(places) + 0.5))])
    return tuple(row for at, row in enumerate(rows) if at in kept)
