"""Compact letters: contestants that share a letter cannot be told apart.

Insert-and-absorb, H.-P. Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", Journal of
Computational and Graphical Statistics 13 (2004) 456-466.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence


def letters(order: Sequence[str], different: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return letters for each name of `order`, best first, given the pairs that are significantly `different`.

    Two names share a letter exactly where they are not different. Letters run from the group nearest the top, so the first
    name always has ``a``.
    """
    rank = {name: index for index, name in enumerate(order)}
    columns = [frozenset(rank.values())] if rank else []
    for left, right in different:
        columns = _split(columns, rank[left], rank[right])
    groups = [(_token(index), column) for index, column in enumerate(sorted(columns, key=sorted))]
    return {name: "".join(token for token, column in groups if rank[name] in column) for name in order}


def _split(columns: list[frozenset[int]], left: int, right: int) -> list[frozenset[int]]:
    """Insert: a column that holds both becomes two, each without one. Absorb: a column inside another says nothing new."""
    parted: set[frozenset[int]] = set()
    for column in columns:
        parted.update((column - {left}, column - {right}) if {left, right} <= column else (column,))
    return [column for column in parted if not any(column < other for other in parted)]


def _token(index: int) -> str:
    return string.ascii_letters[index] if index < len(string.ascii_letters) else f"({index + 1})"
