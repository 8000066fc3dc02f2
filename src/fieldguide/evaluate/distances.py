"""How far two sets of rows lie apart: kernel MMD, Fréchet distance, a linear classifier between them, effective rank.

Rows are features, ``"rows features"`` float64; row n of the one set belongs to row n of the other. All are fixed by their input: what
is drawn is drawn from a fixed seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from fieldguide.evaluate.intervals import SEED, Floats

#: Random signs under the permutation floor of the kernel distance, and folds of the classifier.
SIGNS, FOLDS = 1000, 5
#: Principal components of real pictures in which covariances are compared: more need more rows than a validation part has.
COMPONENTS = 64


def unit(rows: NDArray[np.floating]) -> Floats:
    """Return rows of length one; a row of zeros, or of what rounding left of them, is zeros."""
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(np.where(lengths > 1e-9, rows / np.maximum(lengths, 1e-9), 0.0))


def mmd(one: Floats, two: Floats) -> tuple[float, float]:
    """Return the squared maximum mean discrepancy and the 95 % quantile of what chance alone gives.

    Unbiased, with a Gaussian kernel whose width is the median distance of all rows (Gretton et al., JMLR 13, 2012), so it can be below
    zero. A row is not compared with the one it belongs to. Chance: the two of every pair swapped or not by a coin.
    """
    n = len(one)
    squares = _squares(np.concatenate([one, two]))
    width = float(np.median(squares[np.triu_indices(2 * n, 1)])) or 1.0
    kernel = np.exp(-squares / width)
    inner = kernel[:n, :n] + kernel[n:, n:] - kernel[:n, n:] - kernel[n:, :n]
    np.fill_diagonal(inner, 0.0)
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), size=(n, SIGNS))
    drawn = np.einsum("ns,ns->s", signs, inner @ signs) / (n * (n - 1))
    return float(inner.sum() / (n * (n - 1))), float(np.quantile(drawn, 0.95))


def _squares(rows: Floats) -> Floats:
    lengths = (rows**2).sum(axis=1)
    return np.asarray(np.maximum(lengths[:, None] + lengths[None] - 2 * rows @ rows.T, 0.0))


def principal(rows: Floats) -> Floats:
    """Return the first principal components of `rows`, ``"features components"``: `COMPONENTS`, or a quarter of the rows."""
    centred = rows - rows.mean(axis=0)
    width = rows.shape[1]
    most = max(1, min(COMPONENTS, width, len(rows) // 4))
    _, vectors = eigh(centred.T @ centred, subset_by_index=(width - most, width - 1))
    return np.asarray(vectors)


def frechet(one: Floats, two: Floats, components: Floats) -> float:
    """Return the squared Fréchet distance of two normal distributions with the means and covariances of the rows.

    As in the FID of Heusel et al. (2017). Means are compared in all features, covariances in `components` ``"features components"``
    alone: a full covariance of few rows would tell of their number first.
    """
    mean = float(((one.mean(axis=0) - two.mean(axis=0)) ** 2).sum())
    a, b = (np.atleast_2d(np.cov(rows @ components, rowvar=False)) for rows in (one, two))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0.0)).sum()
    return max(0.0, mean + float(np.trace(a) + np.trace(b) - 2 * shared))


def effective_rank(rows: Floats) -> float:
    """Return the exponential of the entropy of the shares of variance (Roy and Vetterli, 2007); 0 where nothing varies."""
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    total = values.sum()
    if total <= 1e-12 * max(1.0, float((rows**2).sum())):
        return 0.0
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def placements(one: Floats, two: Floats) -> tuple[Floats, Floats] | None:
    """Return for each row of `one` the share of `two` that a linear classifier puts below it, and for each of `two` the share above.

    The mean of either is the area under the classifier's ROC curve: 0.5 where it cannot tell one from two, as of everything that has
    the right mean, however little it varies. Ridge regression on standardised features, its penalty chosen within the training folds.
    A pair never falls apart, and folds are drawn across classes: what was learned from some classes alone would point away from the
    others, and the area would fall far below 0.5. `None` where there are too few pairs for folds.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    n = len(one)
    if n < 2 * FOLDS:
        return None
    below, above = np.zeros(n), np.zeros(n)
    for learned, judged in KFold(FOLDS, shuffle=True, random_state=SEED).split(one):
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 4, 5)))
        model.fit(np.concatenate([one[learned], two[learned]]), np.repeat([1, 0], len(learned)))
        mine, theirs = (np.round(model.decision_function(rows[judged]), 9) for rows in (one, two))
        wins = (mine[:, None] > theirs[None]) + 0.5 * (mine[:, None] == theirs[None])
        below[judged], above[judged] = wins.mean(axis=1), wins.mean(axis=0)
    return below, above
