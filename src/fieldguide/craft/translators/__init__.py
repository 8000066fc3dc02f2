"""Translators: from features of a line to what an encoder would have made of a picture of it, learned from pairs.

A translator is learned by `fitted(name, pairs, seed)` and maps ``"lines width"`` to ``"lines features"``. Which pairs it was learned
from is part of what it is: `crossed` learns one for each fold of classes, so that what it says of a class was learned from other classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Said:
    """Lines as an encoder reads them: pooled ``"lines width"``.

    Where a translator needs them, also tokens ``"lines tokens width"`` and their mask ``"lines tokens"``.
    """

    pooled: Rows
    tokens: Any = None
    mask: Any = None

    def take(self, places: NDArray[np.integer]) -> Said:
        """Return the lines at `places`."""
        more = (None, None) if self.tokens is None else (self.tokens[places], self.mask[places])
        return Said(self.pooled[places], *more)


@dataclass(frozen=True)
class Pairs:
    """Line n belongs to picture n: `lines`, `pictures` ``"pairs features"``, and the class of each pair ``"pairs"`` (-1 where none)."""

    lines: Said
    pictures: Rows
    groups: NDArray[np.int64]

    def take(self, places: NDArray[np.integer]) -> Pairs:
        """Return the pairs at `places`."""
        return Pairs(self.lines.take(places), self.pictures[places], self.groups[places])


class Translator(Protocol):
    """What was learned; frozen."""

    name: str

    def __call__(self, lines: Said) -> Rows:
        """Return ``"lines features"`` float32 in the space of pictures, not normalised."""
        ...
