"""What translators choose, they choose on pairs that were held out: of other pictures, and of other classes where pairs have classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.translators import Pairs, Rows

#: One part in so many is held out to choose on.
PARTS = 5
#: Pairs that are looked at to choose; more tell no more.
MOST = 2000


def units(pairs: Pairs) -> NDArray[np.int64]:
    """Return what must stay together, one number a pair: its class, and of a pair without class its picture."""
    contiguous = np.ascontiguousarray(pairs.pictures)
    rows = contiguous.view(np.dtype((np.void, contiguous.dtype.itemsize * contiguous.shape[1]))).ravel()
    same: NDArray[np.int64] = np.unique(rows, return_inverse=True)[1].astype(np.int64)
    return np.where(pairs.groups >= 0, pairs.groups, pairs.groups.max(initial=-1) + 1 + same)


def halves(pairs: Pairs, seed: int, val: Pairs | None = None) -> tuple[Pairs, Pairs] | None:
    """Return pairs to learn from and pairs to choose on, or `None` where there are too few to divide."""
    random = np.random.default_rng((seed, 101))
    if val is not None:
        return (pairs, _some(val, random)) if len(val) else None
    whole = units(pairs)
    kinds = np.unique(whole)
    if len(kinds) < 2:
        return None
    held = random.permutation(kinds)[: max(1, len(kinds) // PARTS)]
    out = np.isin(whole, held)
    return pairs.take(np.flatnonzero(~out)), _some(pairs.take(np.flatnonzero(out)), random)


def _some(pairs: Pairs, random: np.random.Generator) -> Pairs:
    return pairs if len(pairs) <= MOST else pairs.take(np.sort(random.choice(len(pairs), MOST, replace=False)))


def agreement(translated: Rows, pictures: Rows, centre: Rows) -> float:
    """Return the mean cosine of translated lines and their pictures around `centre`: direction alone."""
    a, b = translated.astype(np.float64) - centre, pictures.astype(np.float64) - centre
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean((a * b).sum(axis=1) / np.maximum(lengths, 1e-12)))


def explained(translated: Rows, pictures: Rows, centre: Rows) -> float:
    """Return the share of the pictures' spread around `centre` that translated lines explain (R2): lengths matter, too.

    A cosine would not see that a large penalty draws all lines to the centre.
    """
    wrong = np.square(translated.astype(np.float64) - pictures).sum()
    return float(1 - wrong / max(np.square(pictures.astype(np.float64) - centre).sum(), 1e-12))


def best(values: Sequence[float], scores: Sequence[float]) -> float:
    """Return the value with the highest score; of equal ones the first."""
    return values[int(np.argmax(scores))]
