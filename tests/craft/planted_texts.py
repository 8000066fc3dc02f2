"""Made features in which texts tell a part of what pictures do, in another place: what is true of them is known beforehand."""

from __future__ import annotations

import numpy as np

from fieldguide.craft.ratios import Bed, Rows

SHARES = (1.0, 0.5, 0.2, 0.0)


def planted(turn: float = 1.0, classes: int = 20, width: int = 48, seed: int = 0) -> tuple[Bed, Rows]:
    """Return pictures of 32 factors and texts that see 12 of these and put a part `turn` of them elsewhere, all of length one."""
    random = np.random.default_rng(seed)
    ways, other = random.normal(size=(2, 32, width)) / np.sqrt(32)
    centres, gap = random.normal(size=(classes, 32)), 0.25 * random.normal(size=width)

    def rows(each: int, text: bool = False) -> Rows:
        labels = np.repeat(np.arange(classes), each)
        factors = (2.0 if text else 1.0) * centres[labels] + 1.6 * random.normal(size=(len(labels), 32))
        factors[:, 12:] *= not text
        features = factors @ ((1 - turn) * ways + turn * other if text else ways) + text * gap
        features += 0.2 * random.normal(size=features.shape)
        return Rows(features / np.linalg.norm(features, axis=1, keepdims=True), labels)

    return Bed(rows(15), rows(20), rows(40), classes, SHARES), rows(12, text=True)
