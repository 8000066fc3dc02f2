"""Published figures beside measured ones, and the means of chosen groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluate.intervals import Interval, gap_interval

Standing = Literal["inside", "above", "below"]
Hits = NDArray[np.bool_]


def standing(published: float, low: float, high: float) -> Standing:
    """Tell where a published share lies: inside a measured interval, its bounds included, or above or below it."""
    return "inside" if low <= published <= high else "above" if published > high else "below"


@dataclass(frozen=True, slots=True)
class Means:
    """Mean accuracy of group `a` and of group `b`, and a - b with its interval over pictures.

    `least` and `most` are what the difference becomes where any one contestant is left out.
    """

    a: float
    b: float
    difference: float
    bounds: Interval
    least: float
    most: float


def means(a: Hits, b: Hits) -> Means:
    """Compare two groups that answered for the same pictures; both ``"contestants pictures"``, with one contestant at least.

    The interval speaks of new pictures for these very contestants. Which networks a group holds was chosen by people, and no interval
    covers that.
    """
    each_a, each_b = a.mean(axis=1), b.mean(axis=1)
    without = [
        *(float(np.delete(each_a, at).mean() - each_b.mean()) for at in range(len(each_a)) if len(each_a) > 1),
        *(float(each_a.mean() - np.delete(each_b, at).mean()) for at in range(len(each_b)) if len(each_b) > 1),
    ]
    difference = float(each_a.mean() - each_b.mean())
    bounds = gap_interval(a.mean(axis=0) - b.mean(axis=0))
    moved = [*without, difference]
    return Means(float(each_a.mean()), float(each_b.mean()), difference, bounds, min(moved), max(moved))
