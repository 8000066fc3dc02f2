"""What descriptions are worth to an encoder: each line against the pictures of its class, and all of them against words drawn at random.

Everything here is arithmetic on features. Whoever calls says where those of lines come from: the text half of an image-text model, or
any map into the space of pictures. A map that was learned without a class draws its lines towards the classes that taught it; so classes
come in groups, ``"classes"``, and are compared within theirs alone. An image-text model has one group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, mannwhitneyu, norm

from fieldguide.evaluate.distances import unit
from fieldguide.evaluate.intervals import gap_interval, mean_interval, wilson

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
#: Fewer pictures than this of a class, or of its rival, are too few to tell.
FEW = 5
#: Share of wrong alarms among the lines that are said to contradict their pictures.
ALPHA = 0.05
#: Ways to give descriptions to other classes that are averaged where that costs no reading.
DERANGEMENTS = 20
_Z = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Seen:
    """Pictures of one part: features ``"pictures features"`` of length one, and the position of each one's class ``"pictures"``."""

    rows: Floats
    labels: Places

    def of(self, place: int) -> Floats:
        """Return the pictures of one class."""
        return np.asarray(self.rows[self.labels == place])


@dataclass(frozen=True)
class Read:
    """Lines: features ``"lines features"`` of length one in the space of pictures, and the position of each one's class ``"lines"``."""

    rows: Floats
    owners: Places

    def vectors(self, classes: int) -> Floats:
        """Return each class's mean line ``"classes features"``: the mean of similarities is the similarity to it. NaN without a line."""
        vectors = np.full((classes, self.rows.shape[1]), np.nan)
        for place in np.unique(self.owners):
            vectors[place] = self.rows[self.owners == place].mean(axis=0)
        return vectors


@dataclass(frozen=True)
class Worth:
    """How well one line separates its class from its nearest rival on training pictures.

    `auc` is the chance that a picture of the class (of `own`) is more like the line than one of the `rival` (of `against`), with its
    95 % interval; `rest` is the same against the pictures of all other classes. `p` is one-sided, for 0.5 or more; `contradicts` after
    Benjamini and Hochberg. All are `None` where there are too few pictures to tell.
    """

    rival: int | None = None
    own: int = 0
    against: int = 0
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    rest: float | None = None
    p: float | None = None
    contradicts: bool | None = None


def rivals(seen: Seen, groups: Places) -> list[int | None]:
    """Return for each class the one of its group whose mean picture is nearest, seen from the mean of all; `None` where there is none."""
    there = np.array([place for place in range(len(groups)) if np.any(seen.labels == place)], np.int64)
    if len(there) < 2:
        return [None] * len(groups)
    means = np.stack([seen.of(place).mean(axis=0) for place in there.tolist()])
    means = unit(means - means.mean(axis=0))
    alike = np.where(groups[there][:, None] == groups[there][None], means @ means.T, -np.inf)
    np.fill_diagonal(alike, -np.inf)
    nearest = {
        place: int(there[row.argmax()]) for place, row in zip(there.tolist(), alike, strict=True) if np.isfinite(row.max())
    }
    return [nearest.get(place) for place in range(len(groups))]


def worths(seen: Seen, read: Read, groups: Places) -> list[Worth]:
    """Return what each line is worth, in the order of `read`.

    A line's similarity is taken less the picture's similarity to the mean line of all classes of the group (where several have
    lines): some pictures are more like any text.
    """
    nearest, vectors = rivals(seen, groups), read.vectors(len(groups))
    found: list[Worth] = [Worth()] * len(read.owners)
    for place in np.unique(read.owners).tolist():
        mates = np.flatnonzero(groups == groups[place])
        told = vectors[mates][~np.isnan(vectors[mates, 0])]
        middle = told.mean(axis=0) if len(told) > 1 else np.zeros(read.rows.shape[1])
        at = np.flatnonzero(read.owners == place)
        rival, lines = nearest[place], (read.rows[at] - middle).T
        others = seen.rows[np.isin(seen.labels, mates) & (seen.labels != place)] @ lines
        own, against = seen.of(place) @ lines, seen.of(rival) @ lines if rival is not None else others[:0]
        here = _measured(own, against, others, rival) if min(len(own), len(against)) >= FEW else None
        for number, line in enumerate(at):
            found[line] = here[number] if here else Worth(rival, len(own), len(against))
    return _corrected(found)


def _measured(own: Floats, against: Floats, others: Floats, rival: int | None) -> list[Worth]:
    """Return the worth of lines from their similarities, each ``"pictures lines"``, to three sets of pictures."""
    told = mannwhitneyu(own, against, alternative="less", axis=0, method="asymptotic")
    rest = mannwhitneyu(own, others, axis=0, method="asymptotic").statistic / (len(own) * len(others))
    auc = told.statistic / (len(own) * len(against))
    low, high = auc_interval(auc, len(own), len(against))
    return [
        Worth(rival, len(own), len(against), float(value), float(least), float(most), float(other), float(p))
        for value, least, most, other, p in zip(auc, low, high, rest, told.pvalue, strict=True)
    ]


def _corrected(found: list[Worth]) -> list[Worth]:
    """Say which lines contradict their pictures, all of them tested together."""
    tested = [place for place, worth in enumerate(found) if worth.p is not None]
    adjusted = np.atleast_1d(false_discovery_control([found[place].p for place in tested])) if tested else np.zeros(0)
    for place, p in zip(tested, adjusted.tolist(), strict=True):
        found[place] = dataclasses.replace(found[place], contradicts=bool(p <= ALPHA))
    return found


def auc_interval(auc: Floats, own: int, against: int) -> tuple[Floats, Floats]:
    """Return 95 % intervals of areas under the ROC curve, ``"..."`` each.

    Newcombe's score-like interval (Statistics in Medicine 25, 2006, part 2, method 5): the areas whose own standard error, by Hanley
    and McNeil's formula, just reaches what was found. It keeps a width at 0 and 1.
    """
    many = (own + against) / 2 - 1

    def too_far(area: Floats) -> NDArray[np.bool_]:
        spread = area * (1 - area) * (1 + many * (1 - area) / (2 - area) + many * area / (1 + area)) / (own * against)
        return np.asarray(np.abs(area - auc) > _Z * np.sqrt(spread))

    ends = []
    for outer in (0.0, 1.0):
        near, far = np.array(auc, float), np.full_like(auc, outer)
        for _ in range(50):
            middle = (near + far) / 2
            beyond = too_far(middle)
            near, far = np.where(beyond, near, middle), np.where(beyond, middle, far)
        ends.append(near)
    return ends[0], ends[1]


@dataclass(frozen=True)
class Rights:
    """How often a way to answer was right on each picture, 0 to 1 ``"pictures"``, over `draws` drawings of what is random in it."""

    rows: Floats
    draws: int = 1

    @property
    def value(self) -> float:
        """Accuracy."""
        return float(self.rows.mean())

    def as_dict(self) -> dict[str, float | int]:
        """Return accuracy with its interval over pictures, and the numbers under it."""
        n = len(self.rows)
        # A mean over draws is no count; Wilson's interval keeps its width where all are right.
        low, high = wilson(round(float(self.rows.sum())), n) if self.draws == 1 else mean_interval(self.rows)
        return {"value": self.value, "low": low, "high": high, "n": n, "draws": self.draws}


def zero_shot(seen: Seen, vectors: Floats, groups: Places, fallback: Floats | None = None) -> Floats:
    """Return 1.0 where the most similar class vector of its group is the picture's class, ``"pictures"``.

    `vectors` is ``"classes features"``; a class without one (NaN) takes the `fallback`'s, or is never answered.
    """
    silent = np.isnan(vectors[:, 0])
    full = np.where(silent[:, None], 0.0 if fallback is None else fallback, vectors)
    scores = np.where(groups[seen.labels][:, None] == groups[None], seen.rows @ full.T, -np.inf)
    if fallback is None:
        scores[:, silent] = -np.inf
    right = (scores.argmax(axis=1) == seen.labels) & np.isfinite(scores.max(axis=1))
    return np.asarray(right, np.float64)


def deranged(classes: Sequence[int], groups: Places, random: np.random.Generator) -> dict[int, int]:
    """Return whose descriptions each class is given: those of another one of its group, drawn at random, each one's once."""
    given: dict[int, int] = {}
    for group in np.unique(groups).tolist():
        order = random.permutation(np.array([place for place in classes if groups[place] == group], np.int64))
        given |= dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return given


def permuted(seen: Seen, vectors: Floats, groups: Places, seed: int) -> Rights:
    """Return how often the descriptions are right when each class has another one's."""
    random = np.random.default_rng(seed)
    told = [place for place, vector in enumerate(vectors) if not np.isnan(vector).any()]
    rows = np.zeros(len(seen.labels))
    for _ in range(DERANGEMENTS):
        mixed = vectors.copy()
        for place, other in deranged(told, groups, random).items():
            mixed[place] = vectors[other]
        rows += zero_shot(seen, mixed, groups)
    return Rights(rows / DERANGEMENTS, DERANGEMENTS)


def random_words(lines: Sequence[str], owners: Places, random: np.random.Generator) -> list[str]:
    """Return as many words for each line, drawn from the words of all lines; the nth lines of all classes begin alike.

    As in WaffleCLIP (Roth et al. 2023, arXiv 2306.07282) every class gets the same ones: words of its own would be noise beside its name.
    """
    pool = np.array([word for line in lines for word in line.split()])
    most = max((len(line.split()) for line in lines), default=0)
    begun: dict[int, list[str]] = {}
    count: dict[int, int] = {}
    drawn = []
    for line, owner in zip(lines, owners.tolist(), strict=True):
        at = count[owner] = count.get(owner, -1) + 1
        words = begun.setdefault(at, random.choice(pool, most).tolist() if at not in begun else [])
        drawn.append(" ".join(words[: len(line.split())]))
    return drawn


def difference(rows: Mapping[str, Rights], first: str, second: str) -> dict[str, object]:
    """Return by how much the first way is more often right than the second, on the same pictures, with its paired interval."""
    gaps = rows[first].rows - rows[second].rows
    low, high = gap_interval(gaps)
    return {"first": first, "second": second, "value": float(gaps.mean()), "low": low, "high": high}
