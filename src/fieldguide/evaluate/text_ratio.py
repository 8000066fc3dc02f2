"""What a sweep over image : text ratios found: accuracies with intervals, differences from pictures alone, and what texts are worth.

A cell was fitted once for each seed, and a seed draws which pictures a share keeps, which texts fill it up and the start of training;
test pictures are the same throughout. So an accuracy has two doubts, other test pictures and other draws, and every interval here holds both: the
variance over test pictures of the mean over seeds, and that of the mean over seeds, added as in a two-way layout without the part
that both contain, with a t quantile whose degrees of freedom follow F. E. Satterthwaite (1946). With one seed the second is missing.
Accuracies get Wilson's interval at the number of pictures that such a variance stands for, differences a symmetric one and its p.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from fieldguide.evaluate.pairs import holm

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cell:
    """One fit. `image` is the per cent of pictures, `right` says which test pictures it has right, ``"test"``.

    `source` and `translator` are `None` on the curve of pictures alone; `weight` is that of the texts, where one was chosen.
    """

    curve: str
    selection: str
    source: str | None
    translator: str | None
    head: str
    image: float
    seed: int
    right: NDArray[np.bool_]
    val_accuracy: float | None
    weight: float | None
    pictures: int
    texts: int
    classes_present: int
    fewest: int
    most: int

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``text_ratio.json``."""
        told = {key: value for key, value in vars(self).items() if key != "right"}
        return {**told, "accuracy": float(self.right.mean())}


class Key(NamedTuple):
    """What the cells of several seeds have in common."""

    curve: str
    selection: str
    source: str | None
    translator: str | None
    head: str
    image: float


Groups = Mapping[Key, Sequence[Cell]]


def grouped(cells: Iterable[Cell]) -> dict[Key, list[Cell]]:
    """Return cells by what they have in common, those of one group in the order of their seeds."""
    found: dict[Key, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[Key(cell.curve, cell.selection, cell.source, cell.translator, cell.head, cell.image)].append(cell)
    return {key: sorted(those, key=lambda cell: cell.seed) for key, those in found.items()}


def two_way(values: Floats, ground: float = 0.0) -> tuple[float, float, float]:
    """Return mean, its variance and the degrees of freedom of that, of ``"seeds pictures"``; seeds and pictures are both samples.

    `ground` is added to the sum of squares over pictures, as for two pictures more: what was never seen to vary is not
    known to be constant.
    """
    seeds, n = values.shape
    pictures, each = values.mean(axis=0), values.mean(axis=1)
    mean = float(each.mean())
    first = (float(((pictures - mean) ** 2).sum()) + ground) / (max(n - 1, 1) + (2 if ground else 0)) / n
    if seeds == 1:
        return mean, first, max(n - 1, 1)
    second = float(each.var(ddof=1)) / seeds * shrunk(values) ** 2
    total = first + second
    freedom = total**2 / (first**2 / max(n - 1, 1) + second**2 / (seeds - 1)) if total else n - 1
    return mean, total, max(freedom, 1.0)


def shrunk(values: Floats) -> float:
    """Return by how much the means of seeds, ``"seeds pictures"``, lie apart because of the seeds: a factor of 0 to 1.

    The rest is that few pictures were seen, which is in the variance over pictures already.
    """
    seeds, n = values.shape
    each = values.mean(axis=1)
    spread = float(each.var(ddof=1)) if seeds > 1 else 0.0
    if not spread:
        return 0.0
    rest = values - values.mean(axis=0) - each[:, None] + each.mean()
    both = float((rest**2).sum()) / max((n - 1) * (seeds - 1), 1) / n
    return math.sqrt(max(1 - both / spread, 0.0))


def correct(cells: Sequence[Cell]) -> Floats:
    """Return ``"seeds test"`` of 0 and 1."""
    return np.array([cell.right for cell in cells], np.float64)


def interval(values: Floats) -> tuple[float, float, float]:
    """Return mean and 95 % interval of an accuracy from ``"seeds pictures"`` of 0 and 1: Wilson's, for the variance that was found."""
    mean, variance, freedom = two_way(values)
    spread = mean * (1 - mean)
    n = spread / variance if spread > 0 and variance > 0 else float(values.shape[1])
    z2 = float(student.ppf(0.975, freedom)) ** 2 / n
    middle, half = (mean + z2 / 2) / (1 + z2), math.sqrt(mean * (1 - mean) * z2 + z2**2 / 4) / (1 + z2)
    return mean, max(0.0, min(middle - half, mean)), min(1.0, max(middle + half, mean))


def summary(groups: Groups) -> list[dict[str, Any]]:
    """Return the accuracy of each group with its interval, and how many seeds are under it."""
    found = []
    for key, cells in groups.items():
        mean, low, high = interval(correct(cells))
        found.append({**key._asdict(), "mean": mean, "low": low, "high": high, "seeds": len(cells)})
    return found


def differences(groups: Groups) -> list[dict[str, Any]]:
    """Return how each cell with texts differs from pictures alone at the same number of pictures, paired by picture and seed.

    p is corrected after Holm over the shares of one curve; the intervals are not corrected.
    """
    families: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for key, cells in groups.items():
        alone = groups.get(Key("pictures", key.selection, None, None, key.head, key.image))
        if key.curve != "pictures" and alone is not None:
            families[key[:-1]].append({**key._asdict(), **_difference(cells, alone)})
    found = []
    for family in families.values():
        for entry, p in zip(family, holm([entry["p"] for entry in family]), strict=True):
            found.append({**entry, "p_adjusted": p})
    return found


def _difference(cells: Sequence[Cell], alone: Sequence[Cell]) -> dict[str, float]:
    own = {cell.seed: cell.right.astype(np.float64) for cell in alone}
    gaps = np.array([cell.right - own[cell.seed] for cell in cells if cell.seed in own])
    mean, variance, freedom = two_way(gaps, ground=1.0)
    root = math.sqrt(variance)
    half = float(student.ppf(0.975, freedom)) * root
    p = float(2 * student.sf(abs(mean) / root, freedom)) if root else 1.0
    return {"difference": mean, "low": max(-1.0, mean - half), "high": min(1.0, mean + half), "p": min(p, 1.0)}
