"""Translators in closed form, all of them affine: identity, mean shift, Procrustes with scale and translation, ridge regression.

The mean shift takes the mean of each modality off, as C3 does (Zhang, Sui, Yeung-Levy: Connect, Collapse, Corrupt, ICLR 2024,
arXiv 2401.08567; code MIT), without its noise. The rotation is the orthogonal Procrustes problem (Schönemann 1966) as SciPy solves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes, svd

from fieldguide.craft.translators import Pairs, Rows, Said
from fieldguide.craft.translators.choosing import explained, halves

Array = NDArray[np.float64]
#: Penalties of ridge regression that are tried, in units of the mean variance of the directions that lines have. Beyond the largest,
#: all lines would become the mean picture.
PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0)
#: The one that is taken where there are too few pairs to choose.
PENALTY = 1.0
#: Rows that are brought to float64 at a time.
_AT_ONCE = 8192


@dataclass(frozen=True)
class Affine:
    """``lines @ weights + bias``: `weights` ``"width features"`` (`None`: left as they are) and `bias` ``"features"``."""

    name: str
    weights: Array | None
    bias: Array | None
    told: dict[str, Any] = field(default_factory=dict)

    def __call__(self, lines: Said) -> Rows:
        """Return ``"lines features"`` float32."""
        rows = lines.pooled if self.weights is None else lines.pooled.astype(np.float64) @ self.weights
        return np.asarray(rows if self.bias is None else rows + self.bias, np.float32)


def identity() -> Affine:
    """Return the translator that leaves lines as they are."""
    return Affine("identity", None, None)


def shift(pairs: Pairs) -> Affine:
    """Learn the way from the mean line to the mean picture."""
    return Affine("shift", None, _mean(pairs.pictures) - _mean(pairs.lines.pooled))


def procrustes(pairs: Pairs) -> Affine:
    """Learn a rotation, a scale and a translation.

    Where lines have more or fewer features than pictures, the rotation is the semi-orthogonal matrix under which centred lines and
    pictures agree most (their cross-covariance with all singular values set to one), and the scale is the best one for it.
    """
    lines, pictures = _mean(pairs.lines.pooled), _mean(pairs.pictures)
    square, cross = _products(pairs, lines, pictures)
    if cross.shape[0] == cross.shape[1]:
        # Of the identity and a matrix, the nearest rotation is that of lines and pictures whose products the matrix holds.
        turn, trace = orthogonal_procrustes(np.eye(len(cross)), cross)
    else:
        left, values, right = svd(cross, full_matrices=False)
        turn, trace = left @ right, values.sum()
    length = float(np.einsum("wf,wv,vf->", turn, square, turn, optimize=True))
    scale = float(trace) / length if length > 0 else 1.0
    return _around("procrustes", scale * turn, lines, pictures, {"scale": scale})


def ridge(pairs: Pairs, seed: int, val: Pairs | None = None) -> Affine:
    """Learn a linear map with an intercept; its penalty is the one under which pairs that were held out are explained best.

    One eigendecomposition gives all penalties: of the smaller of the two products of centred lines. The penalty draws the map towards
    nothing, or, where lines are as wide as pictures and that explains more, towards leaving lines as they are: in a space that texts
    and pictures share, a few classes cannot teach the directions that only others use.
    """
    parts = halves(pairs, seed, val)
    if parts is None:
        return _ridge(pairs, (PENALTY,))[0]
    learning, choosing = parts
    centre = _mean(learning.pictures).astype(np.float32)
    square = pairs.lines.pooled.shape[1] == pairs.pictures.shape[1]
    tried = [
        (explained(one(choosing.lines), choosing.pictures, centre), anchor, penalty)
        for anchor in ((0, 1) if square else (0,))
        for penalty, one in zip(PENALTIES, _ridge(learning, PENALTIES, bool(anchor)), strict=True)
    ]
    # Of equals the first: towards nothing, with the smaller penalty.
    most, anchor, penalty = max(tried, key=lambda one: one[0])
    chosen = _ridge(pairs, (penalty,), bool(anchor))[0]
    return Affine(chosen.name, chosen.weights, chosen.bias, {**chosen.told, "held_out": len(choosing), "r2": most})


def _ridge(pairs: Pairs, penalties: tuple[float, ...], anchored: bool = False) -> list[Affine]:
    """Return one map a penalty; an `anchored` one is the identity and a map to what it leaves over."""
    if anchored:
        rest = _ridge(Pairs(pairs.lines, pairs.pictures - pairs.lines.pooled, pairs.groups), penalties)
        told = {"towards": "identity"}
        return [
            Affine(one.name, np.eye(len(one.weights)) + one.weights, one.bias, {**one.told, **told})
            for one in rest
            if one.weights is not None
        ]
    lines, pictures = _mean(pairs.lines.pooled), _mean(pairs.pictures)
    n, width = pairs.lines.pooled.shape
    if n >= width:
        square, cross = _products(pairs, lines, pictures)
        values, vectors = np.linalg.eigh(square)
        turned = vectors.T @ cross
    else:
        rows, seen = pairs.lines.pooled.astype(np.float64) - lines, pairs.pictures.astype(np.float64) - pictures
        values, own = np.linalg.eigh(rows @ rows.T)
        vectors, turned = rows.T @ own, own.T @ seen
    values = np.maximum(values, 0.0)
    unit = values.mean() or 1.0
    return [
        _around(
            "ridge", vectors @ (turned / (values + penalty * unit)[:, None]), lines, pictures, {"penalty": penalty, "pairs": n}
        )
        for penalty in penalties
    ]


def _around(name: str, weights: Array, lines: Array, pictures: Array, told: dict[str, Any]) -> Affine:
    """Return the affine map that takes the mean line to the mean picture."""
    return Affine(name, weights, pictures - lines @ weights, told)


def _mean(rows: Rows) -> Array:
    return np.asarray(rows.mean(axis=0, dtype=np.float64))


def _products(pairs: Pairs, lines: Array, pictures: Array) -> tuple[Array, Array]:
    """Return sums of outer products around the means: lines with lines, and lines with pictures."""
    width, features = len(lines), len(pictures)
    square, cross = np.zeros((width, width)), np.zeros((width, features))
    for a, b in _parts(pairs):
        rows, seen = a - lines, b - pictures
        square += rows.T @ rows
        cross += rows.T @ seen
    return square, cross


def _parts(pairs: Pairs) -> Iterator[tuple[Array, Array]]:
    for start in range(0, len(pairs), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield pairs.lines.pooled[part].astype(np.float64), pairs.pictures[part].astype(np.float64)
