"""Linear heads on features: in closed form from sums that add up, so that a head on any union of parts costs no second look at rows.

Ridge regression on one-hot targets; Gaussian discriminant analysis with one shared covariance (the training-free baseline of
arXiv 2402.04087). Both need no more than the number, the sum and the outer products of rows, of pictures and texts alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Normal = Literal["none", "l2", "centre+l2", "standardise"]


@dataclass(frozen=True)
class Normalised:
    """How features are brought to one footing before a head: ``centre`` and ``scale`` are ``"features"``, from training pictures."""

    how: Normal
    centre: Array
    scale: Array

    def __call__(self, features: NDArray[np.floating]) -> Array:
        """Return ``"rows features"`` float64."""
        rows = np.asarray(features, np.float64)
        if self.how == "none":
            return rows
        if self.how == "standardise":
            return np.asarray((rows - self.centre) / self.scale)
        return unit(rows - self.centre if self.how == "centre+l2" else rows)


def normalised(how: Normal, features: NDArray[np.floating]) -> Normalised:
    """Learn a normalisation from rows of one kind; pictures and texts each have their own centre."""
    rows = np.asarray(features, np.float64)
    width = rows.shape[1]
    centre = rows.mean(axis=0) if len(rows) else np.zeros(width)
    return Normalised(how, centre, rows.std(axis=0) + 1e-6 if len(rows) else np.ones(width))


def unit(rows: Array) -> Array:
    """Return rows of length one; a row of zeros stays."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


@dataclass(frozen=True)
class Head:
    """`weights` ``"features classes"`` and `bias` ``"classes"``; a class that has no row at all gets a bias of -1e9."""

    weights: Array
    bias: Array

    def __call__(self, rows: Array) -> Array:
        """Return logits ``"rows classes"`` of normalised features."""
        return np.asarray(rows @ self.weights + self.bias)


@dataclass(frozen=True)
class Sums:
    """What closed forms need of rows: `n` ``"classes"``, `first` ``"classes features"`` and `second` ``"features features"``.

    `within` is the sum over classes of outer products around each class's own mean only after `Sums` are complete, so it is not
    kept: it follows from the three. Sums add up and can be weighted.
    """

    n: Array
    first: Array
    second: Array

    def __add__(self, other: Sums) -> Sums:
        """Return the sums of both sets of rows."""
        return Sums(self.n + other.n, self.first + other.first, self.second + other.second)

    def times(self, weight: float) -> Sums:
        """Return the sums as if every row counted `weight`."""
        return Sums(self.n * weight, self.first * weight, self.second * weight)


def sums(rows: Array, labels: NDArray[np.integer], classes: int) -> Sums:
    """Return the sums of ``"rows features"`` with class positions ``"rows"``."""
    which = np.zeros((classes, len(rows)))
    which[labels, np.arange(len(rows))] = 1.0
    return Sums(which.sum(axis=1), which @ rows, rows.T @ rows)


def ridge(of: Sums, penalties: Iterable[float]) -> list[Head]:
    """Return ridge regression on one-hot targets with an intercept, one head a penalty (in units of the mean eigenvalue).

    One eigendecomposition gives all penalties.
    """
    total = of.n.sum()
    mean, target = of.first.sum(axis=0) / total, of.n / total
    covariance = of.second / total - np.outer(mean, mean)
    cross = of.first.T / total - np.outer(mean, target)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 0.0)
    turned, unit_of_penalty = vectors.T @ cross, values.mean() or 1.0
    heads = []
    for penalty in penalties:
        weights = vectors @ (turned / (values + penalty * unit_of_penalty)[:, None])
        heads.append(_without_empty(Head(weights, target - mean @ weights), of.n))
    return heads


def gda(of: Sums, shrinkages: Iterable[float]) -> list[Head]:
    """Return Gaussian discriminant analysis with one covariance and equal priors, one head a shrinkage (0 to 1, towards a sphere)."""
    total = of.n.sum()
    means = of.first / np.maximum(of.n, 1e-12)[:, None]
    scatter = (of.second - (means * of.n[:, None]).T @ means) / total
    values, vectors = np.linalg.eigh((scatter + scatter.T) / 2)
    values = np.maximum(values, 0.0)
    sphere = values.mean() or 1.0
    heads = []
    for shrinkage in shrinkages:
        inverse = 1.0 / ((1 - shrinkage) * values + shrinkage * sphere + 1e-12)
        weights = vectors @ (inverse[:, None] * (vectors.T @ means.T))
        heads.append(_without_empty(Head(weights, -0.5 * np.einsum("cf,fc->c", means, weights)), of.n))
    return heads


def _without_empty(head: Head, n: Array) -> Head:
    return Head(head.weights, np.where(n > 0, head.bias, -1e9))


def accuracy(logits: Array, labels: Sequence[int] | NDArray[np.integer]) -> float:
    """Return the share of rows whose largest logit is their label; of no rows, 0."""
    return float(np.mean(logits.argmax(axis=1) == np.asarray(labels))) if len(logits) else 0.0
