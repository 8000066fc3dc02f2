"""Does a map tell the truth? Two checks that every map carries, and the sentence they come to.

Deletion and insertion (Petsiuk et al., RISE, arXiv 1806.07421): cells of the picture are covered, what the map marks most first, and the gap between
answer and runner-up should fall early; shown one after the other on a covered picture, it should rise early. The score is the area
under the second curve minus that under the first, in nats. Alone it says little, because any way to damage a picture lowers the
gap; so random orders are scored, too. They are orders of smoothed noise: a map marks regions, and single cells strewn about
damage a picture in another way than a region does. Each stands beside its reverse, whose curves are the same pictures the other way round:
it costs nothing, and a random map beats n such pairs with a chance of 1 / (2n + 2), which is below the level.

Shuffled weights (after Adebayo et al., arXiv 1810.03292): the map of a network whose every tensor was shuffled should be another one; if it is
not, the map shows the picture and not what was learned.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from torch.nn import functional as F

from fieldguide.craft.sight import Sight
from fieldguide.explain.covering import Cells
from fieldguide.explain.maps import Target
from fieldguide.explain.occlusion import Ask
from fieldguide.records import Pixels

#: Random orders: with 19 of them a map that beats all has p = 0.05.
ORDERS = 19
#: Steps from the whole picture to the covered one.
STEPS = 10
LEVEL = 0.05
#: Width of the noise of a random order, as a part of the grid.
SMOOTH = 0.12
#: Rank correlation with the map of shuffled weights from which on a map is called the same.
SAME = 0.5
#: Spread, as a part of the largest value, under which a map is flat.
_FLAT = 1e-6

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """What is known of one map. `deletion` and `insertion` are gaps in nats at 0, 1/`STEPS`, ... 1 of the cells.

    `p` is the share of orders, the map's own among the random ones, that score as well or better. `control` is the rank correlation
    with the map of shuffled weights, `None` where there are no weights to shuffle.
    """

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    score: float
    random: tuple[float, ...]
    p: float
    flat: bool = False
    control: float | None = None

    @property
    def better(self) -> bool:
        """Whether the map beats random orders at the level `LEVEL`."""
        return not self.flat and self.p <= LEVEL + 1e-9

    @property
    def moved(self) -> bool | None:
        """Whether shuffled weights give another map, as they should; one that is turned about is another one."""
        return None if self.control is None else self.control < SAME

    @property
    def sentence(self) -> str:
        """Return what the checks come to."""
        return " ".join(part for part in (self._order(), self._weights()) if part)

    def _order(self) -> str:
        orders, as_good = len(self.random), sum(score >= self.score for score in self.random)
        if self.flat:
            return "The map is flat: it marks nothing."
        if self.better:
            return (
                f"Better than random: covering what it marks first lowers the gap faster than each of {orders} random orders."
            )
        many = "order does" if as_good == 1 else "orders do"
        return f"No better than random: {as_good} of {orders} random {many} as well."

    def _weights(self) -> str:
        if self.control is None or self.flat:
            return ""
        if self.moved:
            return f"With shuffled weights the map is another one (rank correlation {self.control:.2f}), as it should be."
        return (
            f"It hardly changes when the weights are shuffled (rank correlation {self.control:.2f}): "
            "it shows the picture more than what was learned."
        )


@dataclass(frozen=True, eq=False)
class Examiner:
    """Checks maps of one picture; what random orders score is computed once for all of them."""

    ask: Ask
    cells: Cells
    target: Target
    orders: int = ORDERS
    seed: int = 0

    def check(self, values: Values) -> Check:
        """Check one map ``"height width"`` that lies over the box of the cells."""
        on_cells = resampled(values, self.cells.rows, self.cells.columns)
        deletion, insertion = self._curve(self._order(on_cells))
        score = _score(deletion, insertion)
        random = tuple(self._random)
        as_good = sum(other >= score for other in random)
        return Check(deletion, insertion, score, random, (1 + as_good) / (1 + len(random)), flat(values))

    @cached_property
    def _random(self) -> list[float]:
        random = np.random.default_rng(self.seed)
        shape = (self.cells.rows, self.cells.columns)
        width = [max(0.5, SMOOTH * side) for side in shape]
        noise = [gaussian_filter(random.standard_normal(shape), width, mode="reflect") for _ in range((self.orders + 1) // 2)]
        scores = [_score(*self._curve(self._order(field))) for field in noise]
        return [*scores, *(-score for score in scores)][: self.orders]

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The gap of the whole picture and of the covered one."""
        everything = np.ones((self.cells.rows, self.cells.columns), bool)
        whole, covered = self._gaps([self.cells.pixels, self.cells.covered(everything)]).tolist()
        return whole, covered

    def _order(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the cells, largest value first; equal ones in a seeded order, so that a flat map is a random one."""
        shuffled = np.random.default_rng(self.seed + 1).permutation(values.size)
        return shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]

    def _curve(self, order: NDArray[np.int64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the deletion and the insertion curve of one order, whose pictures are in memory at a time."""
        pictures = []
        for step in range(1, STEPS):
            mask = np.zeros((self.cells.rows, self.cells.columns), bool)
            mask.flat[order[: round(step / STEPS * len(order))]] = True
            pictures += [self.cells.covered(mask), self.cells.covered(~mask)]
        gaps, (whole, covered) = self._gaps(pictures), self._ends
        return (whole, *gaps[0::2].tolist(), covered), (covered, *gaps[1::2].tolist(), whole)

    def _gaps(self, pictures: Sequence[Pixels]) -> NDArray[np.float64]:
        scores = self.ask(pictures)
        gaps: NDArray[np.float64] = scores[:, self.target.answer] - scores[:, self.target.against]
        return gaps


def passes(orders: int, maps: int) -> int:
    """Return how many pictures the checks of so many maps ask about."""
    return 2 + 2 * (STEPS - 1) * ((orders + 1) // 2 + maps)


def _score(deletion: tuple[float, ...], insertion: tuple[float, ...]) -> float:
    return float(np.trapezoid(np.array(insertion) - np.array(deletion), dx=1 / STEPS))


def flat(values: Values) -> bool:
    """Tell whether a map marks nothing."""
    return float(np.ptp(values)) <= _FLAT * max(float(np.abs(values).max()), _FLAT)


def resampled(values: Values, rows: int, columns: int) -> NDArray[np.float64]:
    """Return a map ``"height width"`` on another grid: means where it gets coarser, straight lines between where it gets finer."""
    grid = torch.from_numpy(np.array(values, np.float64))[None, None]
    coarser = rows <= grid.shape[2] and columns <= grid.shape[3]
    moved = (
        F.interpolate(grid, (rows, columns), mode="area") if coarser else F.interpolate(grid, (rows, columns), mode="bilinear")
    )
    return np.asarray(moved[0, 0].numpy())


def with_control(check: Check, values: Values, shuffled: Values) -> Check:
    """Return `check` with how alike the map ``"height width"`` and that of `shuffled` weights are; flat ones are not alike."""
    if flat(values) or flat(shuffled) or values.shape != shuffled.shape:
        return replace(check, control=0.0)
    return replace(check, control=float(spearmanr(values.ravel(), shuffled.ravel()).statistic))


def shuffled(sight: Sight, seed: int = 0) -> Sight:
    """Return the same network with the numbers of every weight tensor in random order: as large as they were, and nothing learned."""
    network = copy.deepcopy(sight.network)
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            order = torch.randperm(parameter.numel(), generator=dice)
            parameter.copy_(parameter.detach().cpu().reshape(-1)[order].reshape(parameter.shape))
    return replace(sight, network=network)
