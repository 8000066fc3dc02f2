"""What happens to the answer when a window of the picture is covered: the one map that every family can be asked for.

Zeiler and Fergus, arXiv 1311.2901. Windows of two by two cells overlap, so each cell is covered four times, once with each of its
neighbours; its value is the mean fall of the gap over these four.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fieldguide.explain.covering import Cells, Mask
from fieldguide.explain.maps import Maps, Target
from fieldguide.records import Pixels

#: Cells on a side, if not asked for otherwise.
GRID = 8

Ask = Callable[[Sequence[Pixels]], NDArray[np.float64]]


def windows(rows: int, columns: int) -> list[Mask]:
    """Return every window of two by two cells that holds a cell of the grid, those at its edge in part: ``(rows + 1) * (columns + 1)``."""
    found = []
    for y in range(rows + 1):
        for x in range(columns + 1):
            mask = np.zeros((rows, columns), bool)
            mask[max(0, y - 1) : y + 1, max(0, x - 1) : x + 1] = True
            found.append(mask)
    return found


def passes(rows: int, columns: int) -> int:
    """Return how many pictures are asked about."""
    return (rows + 1) * (columns + 1) + 1


def occlusion(ask: Ask, cells: Cells, target: Target) -> Maps:
    """Return the map, ``"1 rows columns"``, signed: how many nats of the gap are lost where a cell is covered."""
    masks = windows(cells.rows, cells.columns)
    scores = ask([cells.pixels, *(cells.covered(mask) for mask in masks)])
    gaps = scores[:, target.answer] - scores[:, target.against]
    lost = gaps[0] - gaps[1:]
    values = sum(fall * mask for fall, mask in zip(lost, masks, strict=True)) / 4
    return Maps("occlusion", ("covered windows",), np.asarray(values, np.float32)[None], signed=True)
