"""Paired memory: a line becomes a weighted mean of known pictures, by how alike their lines are to it.

DeCap (Li, Zhu, Wen, Yang, ICLR 2023, arXiv 2303.03032) brings pictures to texts by a memory of texts; this is the other way round,
with a memory of pairs. What comes out is always a mean of real pictures, so it never leaves the room they span.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fieldguide.craft.translators import Pairs, Rows, Said
from fieldguide.craft.translators.choosing import best, explained, halves

#: Temperatures that are tried: differences of the cosine that count as one.
TEMPERATURES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
#: The one that is taken where there are too few pairs to choose.
TEMPERATURE = 0.1
#: Pairs that are remembered; of more, so many are drawn.
MOST = 20_000
#: Lines that are compared with the memory at a time.
_AT_ONCE = 256


@dataclass(frozen=True)
class Memory:
    """Known `lines` ``"pairs width"`` of unit length around `centre` ``"width"``, and their `pictures` ``"pairs features"``."""

    lines: Rows
    centre: Rows
    pictures: Rows
    temperature: float
    name: str = "memory"
    told: dict[str, Any] = field(default_factory=dict)

    def __call__(self, lines: Said) -> Rows:
        """Return ``"lines features"``: convex combinations of the pictures."""
        found = []
        for start in range(0, len(lines.pooled), _AT_ONCE):
            alike = _unit(lines.pooled[start : start + _AT_ONCE] - self.centre) @ self.lines.T / self.temperature
            weights = np.exp(alike - alike.max(axis=1, keepdims=True))
            found.append((weights / weights.sum(axis=1, keepdims=True)) @ self.pictures)
        return np.concatenate(found) if found else np.zeros((0, self.pictures.shape[1]), np.float32)


def memory(pairs: Pairs, seed: int, val: Pairs | None = None) -> Memory:
    """Remember `pairs`; the temperature is the one under which pairs that were held out are explained best."""
    parts = halves(pairs, seed, val)
    if parts is None:
        return _remember(pairs, seed, TEMPERATURE, {})
    learning, choosing = parts
    centre = learning.pictures.mean(axis=0)
    tried = [
        explained(_remember(learning, seed, temperature, {})(choosing.lines), choosing.pictures, centre)
        for temperature in TEMPERATURES
    ]
    return _remember(pairs, seed, best(TEMPERATURES, tried), {"held_out": len(choosing), "r2": max(tried)})


def _remember(pairs: Pairs, seed: int, temperature: float, told: dict[str, Any]) -> Memory:
    if len(pairs) > MOST:
        pairs = pairs.take(np.sort(np.random.default_rng((seed, 102)).choice(len(pairs), MOST, replace=False)))
    centre = pairs.lines.pooled.mean(axis=0, dtype=np.float64).astype(np.float32)
    told = {"temperature": temperature, "pairs": len(pairs), **told}
    return Memory(_unit(pairs.lines.pooled - centre), centre, pairs.pictures, temperature, told=told)


def _unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
