"""Pictures and texts in every ratio: the cells of a sweep, with heads in closed form from sums that are taken once.

Three curves over the share of pictures. ``pictures``: that share and nothing else. ``mix``: what is missing of a class's pictures is
filled up with as many of its texts, as in the experiment that is repeated here (fixed total). ``weighted``: the share of pictures, and
all texts at a weight that validation chooses, 0 among the choices. In ``weighted`` the texts of a class together count `weight` times
as much as its pictures at the full share, however many they are.

A share's rows are those of the next smaller share and some more. So second moments are taken once for each step between shares and
once for the texts; every cell is a sum of them, a weight is a multiplication, and no cell looks at rows again. Each pair of cell and
penalty is then one Cholesky factorisation, which costs less than its part of an eigendecomposition does, because the products that
follow are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from threadpoolctl import threadpool_limits

from fieldguide.bench import cores
from fieldguide.craft import selections
from fieldguide.craft.heads import Array, Head, Sums, sums
from fieldguide.craft.selections import Labels
from fieldguide.data.store import in_threads

Curve = Literal["pictures", "mix", "weighted"]
#: Penalties of ridge regression in units of the mean eigenvalue, and shrinkages of the discriminant analysis; validation chooses.
PENALTIES = (0.003, 0.03, 0.3, 3.0, 30.0)
SHRINKAGES = (0.01, 0.1, 0.3, 0.6, 0.9)
#: Weights of all texts of a class together, in units of its training pictures; 0 is always among them.
WEIGHTS = (0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Rows:
    """`features` ``"rows features"`` on one footing, and `labels` ``"rows"``, positions of classes."""

    features: Array
    labels: Labels


@dataclass(frozen=True)
class Bed:
    """What all cells of a sweep share: pictures of three parts, the number of classes, shares (1 to 0, falling) and weights."""

    train: Rows
    val: Rows
    test: Rows
    classes: int
    shares: tuple[float, ...]
    weights: tuple[float, ...] = WEIGHTS

    @property
    def each(self) -> Array:
        """Training pictures of each class, ``"classes"``."""
        return np.bincount(self.train.labels, minlength=self.classes).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Scored:
    """One cell: what it was fitted on, what was chosen on validation, and which test pictures it has `right`, ``"test"`` bool.

    `weight` is that of the texts in a weighted cell (`None` elsewhere, and where there is nothing but texts); `present`, `fewest` and
    `most` tell of the pictures of a class, `texts` counts repetitions.
    """

    curve: Curve
    share: float
    val_accuracy: float
    right: NDArray[np.bool_]
    weight: float | None
    chosen: float
    pictures: int
    texts: int
    present: int
    fewest: int
    most: int


@dataclass(frozen=True)
class Mixture:
    """The rows of one cell: which training pictures, and how much each text counts, ``"texts"`` (repetitions, or weights)."""

    curve: Curve
    share: float
    mask: NDArray[np.bool_]
    counted: Array
    weight: float | None = None

    def coverage(self, bed: Bed) -> tuple[int, int, int, int, int]:
        """Return pictures, texts, classes that have a picture, fewest and most pictures a class."""
        each = np.bincount(bed.train.labels[self.mask], minlength=bed.classes)
        texts = int(self.counted.sum()) if self.curve == "mix" else int((self.counted > 0).sum())
        return int(each.sum()), texts, int((each > 0).sum()), int(each.min()), int(each.max())

    def scored(self, bed: Bed, val: float, right: NDArray[np.bool_], chosen: float) -> Scored:
        """Return the cell with what came of it."""
        return Scored(self.curve, self.share, val, right, self.weight, chosen, *self.coverage(bed))


def evenly(texts: Rows, bed: Bed) -> Array:
    """Return how much each text counts, ``"texts"``, so that those of a class together count as much as its training pictures."""
    have = np.bincount(texts.labels, minlength=bed.classes)
    return np.asarray((bed.each / np.maximum(have, 1))[texts.labels])


def mixtures(bed: Bed, chosen: Sequence[NDArray[np.bool_]], texts: Rows | None, seed: int) -> list[Mixture]:
    """Return the cells of one selection, seed and source of texts (those of pictures alone where `texts` is `None`).

    There is no cell without rows; a weighted cell stands once for each weight above 0, and once for texts alone.
    """
    none = np.zeros(0 if texts is None else len(texts.labels))
    alone = [Mixture("pictures", share, mask, none) for share, mask in zip(bed.shares, chosen, strict=True) if mask.any()]
    if texts is None:
        return alone
    found = []
    for share, mask in zip(bed.shares, chosen, strict=True):
        missing = np.bincount(bed.train.labels[~mask], minlength=bed.classes)
        taken = selections.filling(texts.labels, missing, seed).astype(np.float64)
        if taken.any():
            found.append(Mixture("mix", share, mask, taken))
    full = evenly(texts, bed)
    for share, mask in zip(bed.shares, chosen, strict=True):
        weights = bed.weights if mask.any() else (1.0,)
        found += [Mixture("weighted", share, mask, weight * full, weight if mask.any() else None) for weight in weights]
    return found


def best(bed: Bed, candidates: Sequence[Scored], alone: Sequence[Scored]) -> list[Scored]:
    """Return the cells of `candidates` with one weight each, that of the best validation accuracy; of equals the smallest.

    Weight 0 is the cell of `alone`, pictures and nothing else, at the same share.
    """
    found = [cell for cell in candidates if cell.curve != "weighted"]
    nothing = {cell.share: cell for cell in alone}
    for share in bed.shares:
        those = [cell for cell in candidates if cell.curve == "weighted" and cell.share == share]
        if share in nothing and those:
            zero = nothing[share]
            told = (zero.val_accuracy, zero.right, 0.0, zero.chosen, zero.pictures, those[0].texts)
            those = [Scored("weighted", share, *told, zero.present, zero.fewest, zero.most), *those]
        if those:
            found.append(max(those, key=lambda cell: cell.val_accuracy))  # the first of equals
    return found


def closed(
    bed: Bed,
    head: Literal["ridge", "gda"],
    cells: Sequence[Mixture],
    texts: Rows | None,
    tick: Callable[[], None] = lambda: None,
) -> list[Scored]:
    """Return every cell with the penalty that validation chose; `tick` is called after each.

    Cells go side by side, each on one core: matrices of this size are too small for several cores to share.
    """
    grid = PENALTIES if head == "ridge" else SHRINKAGES
    val, test = bed.val.features.astype(np.float32), bed.test.features.astype(np.float32)

    def scored(one: tuple[Mixture, Sums]) -> Scored:
        cell, of = one
        tried = heads(head, of, grid)
        accuracies = [_accuracy(head_of, val, bed.val.labels) for head_of in tried]
        place = int(np.argmax(accuracies))
        right = _logits(tried[place], test).argmax(axis=1) == bed.test.labels
        return cell.scored(bed, accuracies[place], right, grid[place])

    found = []
    with threadpool_limits(1, user_api="blas"):
        for _, done in in_threads(scored, zip(cells, added(bed, cells, texts), strict=True), ahead=2 * cores()):
            found.append(done)
            tick()
    return found


def added(bed: Bed, cells: Sequence[Mixture], texts: Rows | None) -> Iterator[Sums]:
    """Yield the sums of each cell; rows are looked at once for each step between two cells of one curve, texts of a weight once."""
    pictures = dict(
        zip(_shares(cells), _stepwise(bed.train, [_of(cells, share) for share in _shares(cells)], bed), strict=True)
    )
    if texts is None:
        yield from (pictures[cell.share] for cell in cells)
        return
    mixed = [cell for cell in cells if cell.curve == "mix"]
    taken = _stepwise(texts, [cell.counted for cell in mixed], bed)
    filled = {cell.share: of for cell, of in zip(mixed, taken, strict=True)}
    full = sums(texts.features, texts.labels, bed.classes, evenly(texts, bed))
    for cell in cells:
        rest = filled[cell.share] if cell.curve == "mix" else full.times(1.0 if cell.weight is None else cell.weight)
        yield pictures[cell.share] + rest


def _shares(cells: Sequence[Mixture]) -> list[float]:
    return sorted({cell.share for cell in cells})


def _of(cells: Sequence[Mixture], share: float) -> Array:
    return next(cell.mask for cell in cells if cell.share == share).astype(np.float64)


def _stepwise(rows: Rows, counted: Sequence[Array], bed: Bed) -> list[Sums]:
    """Return the sums for each of `counted`, ``"rows"``, which contain each other; in their order."""
    width = rows.features.shape[1]
    total = Sums(np.zeros(bed.classes), np.zeros((bed.classes, width)), np.zeros((width, width)))
    before, found = np.zeros(len(rows.labels)), {}
    for place in sorted(range(len(counted)), key=lambda place: float(counted[place].sum())):
        more = counted[place] - before
        used = np.flatnonzero(more)
        total = total + sums(rows.features[used], rows.labels[used], bed.classes, more[used])
        before, found[place] = counted[place], total
    return [found[place] for place in range(len(counted))]


def heads(kind: Literal["ridge", "gda"], of: Sums, grid: Sequence[float]) -> list[Head]:
    """Return what `fieldguide.craft.heads.ridge` and `gda` do, by a Cholesky factorisation for each penalty or shrinkage."""
    total, there = of.n.sum(), of.n > 0
    width = len(of.second)
    if kind == "ridge":
        mean, target = of.first.sum(axis=0) / total, of.n / total
        spread = of.second / total - np.outer(mean, mean)
        right = of.first.T / total - np.outer(mean, target)
    else:
        means = of.first / np.maximum(of.n, 1e-12)[:, None]
        spread = (of.second - (means * of.n[:, None]).T @ means) / total
        right = means.T
    unit = float(np.trace(spread)) / width
    found = []
    for step in grid:
        shrunk, ground = (1.0, step * (unit or 1.0)) if kind == "ridge" else (1 - step, step * unit + 1e-12)
        matrix = (shrunk * spread).T  # symmetric, and in the order of columns that LAPACK writes over without a copy
        matrix[np.diag_indices(width)] += ground
        weights = linalg.cho_solve(
            linalg.cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False), right, check_finite=False
        )
        bias = target - mean @ weights if kind == "ridge" else -0.5 * np.einsum("cf,fc->c", means, weights)
        found.append(Head(weights, np.where(there, bias, -1e9)))
    return found


def _logits(head: Head, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows @ head.weights.astype(np.float32) + head.bias.astype(np.float32))


def _accuracy(head: Head, rows: NDArray[np.float32], labels: Labels) -> float:
    return float(np.mean(_logits(head, rows).argmax(axis=1) == labels))
