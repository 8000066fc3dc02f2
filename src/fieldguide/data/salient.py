"""Which part of a picture stands out: regions that differ from what lies along the border, after the border's own rule.

The picture is cut into a grid of cells. Background is what is tied to the border: for each cell, how much of the border it reaches
without a step of colour, set against how large an area it reaches (boundary connectivity, W. Zhu, S. Liang, Y. Wei and J. Sun,
"Saliency Optimization from Robust Background Detection", CVPR 2014). Thus a subject that touches the border on one side is not
mistaken for background. Own code; nothing is learnt, and nothing is known of the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse.csgraph import floyd_warshall
from scipy.spatial.distance import cdist

#: Cells of the grid, about: the way of every cell to every other is looked for, which takes the third power of this.
CELLS = 160
#: Steps of colour (in L*a*b* units) below which two cells are of one area; and the same for a share of the border that counts.
_ALIKE, _TIED = 10.0, 1.0
#: How far, as a share of the longer side, background tells of a cell that it differs.
_NEAR = 0.4
#: Least mean step of colour, in L*a*b* units, from what surrounds it, of a region that stands out.
_LEAST_STEP = 4.0
#: Regions that count beside the largest: at least this share of its size.
_BESIDE = 0.25
#: Smaller regions are specks.
_SPECK = 3
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Salient:
    """`subject` is the share of the picture that the largest region covers, `cut` the share of its outline on the border.

    `parts` counts the regions of at least a quarter of the largest; `mask` is the largest region, ``"rows columns"`` of the grid.
    """

    subject: float
    cut: float
    parts: int
    mask: NDArray[np.bool_]


def salient(lab: Floats) -> Salient:
    """Return what stands out in ``"height width 3"`` L*a*b*."""
    cells = _cells(lab)
    rows, columns = cells.shape[:2]
    strength = saliency(cells)
    stands = strength >= max(_otsu(strength), _LEAST_STEP)
    labels, count = ndimage.label(ndimage.binary_fill_holes(stands))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if not count or sizes.max() < _SPECK:
        return Salient(0.0, 0.0, 0, np.zeros((rows, columns), dtype=bool))
    # The main subject is the region with the most weight: how large it is, times how strongly it stands out.
    weights = ndimage.sum_labels(strength, labels, np.arange(1, count + 1))
    largest = int(np.argmax(weights))
    mask = labels == largest + 1
    parts = int((sizes >= max(_SPECK, _BESIDE * sizes[largest])).sum())
    return Salient(float(mask.mean()), _cut(mask), parts, mask)


def saliency(cells: Floats) -> Floats:
    """Return how strongly each cell of ``"rows columns 3"`` stands out, ``"rows columns"``, in L*a*b* units."""
    rows, columns = cells.shape[:2]
    flat = cells.reshape(-1, 3)
    apart = cdist(flat, flat)
    ways = _ways(apart, rows, columns)
    tied = np.exp(-(ways**2) / (2 * _ALIKE**2))
    border = np.zeros((rows, columns), dtype=bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    connectivity = tied[:, border.ravel()].sum(axis=1) / np.sqrt(tied.sum(axis=1))
    background = 1 - np.exp(-(connectivity**2) / (2 * _TIED**2))
    y, x = np.divmod(np.arange(rows * columns), columns)
    far = np.hypot(y[:, None] - y[None], x[:, None] - x[None]) / max(rows, columns)
    weight = np.exp(-(far**2) / (2 * _NEAR**2)) * background
    contrast = (apart * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9) * (1 - background)
    # Cells of one area stand out alike: each takes the mean of those it reaches without a step.
    even = tied @ contrast / tied.sum(axis=1)
    return np.asarray(even).reshape(rows, columns)


def _ways(apart: Floats, rows: int, columns: int) -> Floats:
    """Return the sum of the steps of colour along the easiest way between every two cells, ``"cells cells"``."""
    index = np.arange(rows * columns).reshape(rows, columns)
    pairs = (
        (index[:, :-1], index[:, 1:]),
        (index[:-1], index[1:]),
        (index[:-1, :-1], index[1:, 1:]),
        (index[:-1, 1:], index[1:, :-1]),
    )
    one = np.concatenate([a.ravel() for a, _ in pairs])
    other = np.concatenate([b.ravel() for _, b in pairs])
    steps = apart[one, other]
    # Noise and slow changes of light would add up over a long way: the smallest step that each cell has around it is no step.
    least = np.full(rows * columns, np.inf)
    np.minimum.at(least, one, steps)
    np.minimum.at(least, other, steps)
    steps = np.maximum(steps - float(least[np.isfinite(least)].mean() if len(steps) else 0.0), 0.0)
    ways = np.full(apart.shape, np.inf)
    ways[one, other] = ways[other, one] = steps
    np.fill_diagonal(ways, 0.0)
    found: Floats = floyd_warshall(ways, directed=False, overwrite=True)
    return found


def _cells(lab: Floats) -> Floats:
    """Return the mean colour of each cell of the grid, ``"rows columns 3"``; small pictures have a cell for each pixel."""
    height, width = lab.shape[:2]
    rows = min(height, max(3, round((CELLS * height / width) ** 0.5)))
    columns = min(width, max(3, round(CELLS / max(rows, 1))))
    down = np.linspace(0, height, rows + 1).astype(int)
    across = np.linspace(0, width, columns + 1).astype(int)
    sums = np.add.reduceat(np.add.reduceat(lab, down[:-1], axis=0), across[:-1], axis=1)
    return np.asarray(sums / (np.diff(down)[:, None] * np.diff(across)[None])[..., None])


def _otsu(values: Floats) -> float:
    """Return the threshold that parts `values` into two groups with the least spread within them (N. Otsu, 1979)."""
    ordered = np.sort(values.ravel())
    n = len(ordered)
    below = np.arange(1, n)
    sums = np.cumsum(ordered)
    low, high = sums[:-1] / below, (sums[-1] - sums[:-1]) / (n - below)
    between = below * (n - below) * (high - low) ** 2
    place = int(np.argmax(between)) if n > 1 else 0
    return float((ordered[place] + ordered[min(place + 1, n - 1)]) / 2)


def _cut(mask: NDArray[np.bool_]) -> float:
    """Return the share of the outline of `mask`, in sides of cells, that lies on the border of the picture."""
    padded = np.pad(mask, 1)
    outline = sum(int((padded & ~np.roll(padded, step, axis)).sum()) for axis in (0, 1) for step in (-1, 1))
    at_border = int(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())
    return at_border / outline if outline else 0.0
