"""Cross-fitting by class: what is said of a class is translated by what was learned from the pairs of other classes.

Pairs of the same class would show the translator what the class looks like, and its texts would then carry pictures: "text only"
would be no text only any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.craft.translators import NotApplicable, Pairs, Rows, Said, Translator, Work, fitted


@dataclass(frozen=True)
class Crossed:
    """One translator a fold; `fold_of` gives the fold of each class that has pairs, which that fold's translator has not seen."""

    name: str
    by_fold: tuple[Translator, ...]
    fold_of: dict[int, int]
    told: dict[str, Any] = field(default_factory=dict)

    def __call__(self, lines: Said, groups: NDArray[np.integer]) -> Rows:
        """Return ``"lines features"`` of lines that speak of the classes `groups` ``"lines"``.

        A class that no pair is of taught none of the translators; it gets the mean of what they say.
        """
        folds = np.array([self.fold_of.get(int(group), -1) for group in groups], np.int64)
        found: Rows | None = None
        for fold, translator in enumerate(self.by_fold):
            here = np.flatnonzero((folds == fold) | (folds < 0))
            said = translator(lines.take(here))
            if found is None:
                found = np.zeros((len(folds), said.shape[1]), np.float32)
            found[here] += said * np.where(folds[here] < 0, 1 / len(self.by_fold), 1.0).astype(np.float32)[:, None]
        assert found is not None
        return found


def crossed(name: str, pairs: Pairs, folds: int, seed: int, work: Work) -> Crossed | NotApplicable:
    """Learn one translator a fold; with fewer classes than folds, one a class. Pairs without a class teach all of them."""
    classes = np.unique(pairs.groups[pairs.groups >= 0])
    if len(classes) < 2:
        return NotApplicable(
            name, f"the pairs are of {len(classes)} {'class' if len(classes) == 1 else 'classes'}, and it takes two"
        )
    number = max(2, min(folds, len(classes)))
    order = np.random.default_rng((seed, 103)).permutation(classes)
    fold_of = {int(group): place % number for place, group in enumerate(order)}
    learned = []
    for fold in range(number):
        out = np.array([fold_of.get(int(group)) == fold for group in pairs.groups])
        one = fitted(name, pairs.take(np.flatnonzero(~out)), seed, None, work)
        if isinstance(one, NotApplicable):
            return one
        learned.append(one)
    told = {"folds": number, "classes": len(classes), "pairs": len(pairs), "each": [one.told for one in learned]}
    return Crossed(name, tuple(learned), fold_of, told)
