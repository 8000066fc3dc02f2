"""Which pictures are among the first: nested choices, so that a larger share always contains the smaller ones.

    balanced        of every class the same share of its pictures, half a picture counting as a whole one, and one at least
    uniform         pictures as they come, whatever their class: small shares lose classes
    long-tail(50)   the last class keeps a fiftieth of the share of the first, those between them lie on an exponential (classes are
                    put in a random order); the profile of Y. Cui et al., CVPR 2019
    class-drop(0.2) a fifth of the classes comes last: it is missing until all pictures of the others are used

Except for rounding in ``balanced`` a share always means the same number of pictures, whichever classes they come from; so curves of two
selections differ in coverage alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import UsageProblem, allowed_names, plain

Kind = Literal["balanced", "uniform", "long-tail", "class-drop"]
KINDS: tuple[Kind, ...] = ("balanced", "uniform", "long-tail", "class-drop")
#: What a selection that takes a number means where none is given.
_USUAL: dict[str, float] = {"long-tail": 50.0, "class-drop": 0.2}
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """One way to choose; `strength` is the ratio of a long tail (above 1) or the part of classes that is dropped (0 to 1)."""

    kind: Kind
    strength: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind}({self.strength:g})" if self.kind in _USUAL else self.kind


def read(words: str) -> Selection:
    """Read ``balanced``, ``uniform``, ``long-tail(50)`` or ``class-drop(0.2)``; raises `UsageProblem` for anything else."""
    found = re.fullmatch(r"\s*([a-z-]+)\s*(?:\(\s*([0-9.]+)\s*\))?\s*", words)
    kind = next((one for one in KINDS if found and one == found[1]), None)
    number = found[2] if found else None
    try:
        strength = float(number) if number is not None else _USUAL.get(kind or "", 0.0)
    except ValueError:
        kind, strength = None, 0.0
    takes = kind in _USUAL
    fits = {"long-tail": strength > 1, "class-drop": 0 < strength < 1}.get(kind or "", True)
    if kind is None or not fits or (number is not None and not takes):
        shown = ["balanced", "uniform", "long-tail(50)", "class-drop(0.2)"]
        raise UsageProblem(
            f"--selection {plain(words)} is no way to choose pictures.",
            f"{allowed_names(words, shown)} A long tail is above 1, a dropped part of the classes between 0 and 1.",
            "--selection balanced",
        )
    return Selection(kind, strength)


def masks(selection: Selection, labels: Labels, classes: int, shares: Sequence[float], seed: int) -> list[NDArray[np.bool_]]:
    """Return which pictures each of `shares` (0 to 1) takes, ``"pictures"`` each, nested; `labels` are class positions.

    A class's pictures are shuffled once for a `seed`, the same way for every selection.
    """
    moments, first = _moments(selection, labels, classes, seed)
    order = np.argsort(moments, kind="stable")
    found = []
    for share in shares:
        if selection.kind == "balanced":
            mask = (moments <= share + 1e-9) | (first & (share > 0))
        else:
            mask = np.zeros(len(labels), bool)
            mask[order[: int(share * len(labels) + 0.5)]] = True
        found.append(mask)
    return found


def _moments(selection: Selection, labels: Labels, classes: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return when each picture comes, ``"pictures"``, and whether it is the first of its class."""
    random = np.random.default_rng([seed, 0])
    shuffled = random.permutation(len(labels))
    if selection.kind == "uniform":
        moments = np.empty(len(labels))
        moments[shuffled] = (np.arange(len(labels)) + 0.5) / max(len(labels), 1)
        return moments, np.zeros(len(labels), bool)
    rank, counts = within(labels[shuffled], classes)
    moments, first = np.empty(len(labels)), np.empty(len(labels), bool)
    moments[shuffled] = (rank + 0.5) / np.maximum(counts, 1)[labels[shuffled]]
    first[shuffled] = rank == 0
    places = np.random.default_rng([seed, 1]).permutation(classes)
    if selection.kind == "long-tail":
        moments /= (selection.strength ** (-places / max(classes - 1, 1)))[labels]
    elif selection.kind == "class-drop":
        moments += 2.0 * (places < round(selection.strength * classes))[labels]
    return moments, first


def within(labels: Labels, classes: int) -> tuple[Labels, Labels]:
    """Return the place of each row among the rows of its class, ``"rows"``, and how many rows a class has, ``"classes"``."""
    counts = np.bincount(labels, minlength=classes)
    order = np.argsort(labels, kind="stable")
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank, counts


def filling(labels: Labels, needed: Labels, seed: int) -> Labels:
    """Return how often each text is taken, ``"texts"``, where a class needs `needed` of them, ``"classes"``.

    A class's texts are shuffled once for a `seed` and taken in that order; where there are too few the list begins anew, so that
    a need that grows only ever adds. A class without texts gets none.
    """
    shuffled = np.random.default_rng([seed, 2]).permutation(len(labels))
    rank, counts = within(labels[shuffled], len(needed))
    whole, rest = np.divmod(needed, np.maximum(counts, 1))
    taken = np.zeros(len(labels), np.int64)
    taken[shuffled] = whole[labels[shuffled]] + (rank < rest[labels[shuffled]])
    return taken
