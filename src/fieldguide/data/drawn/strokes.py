"""Digits as a pen writes them: a few ways to write each, as lines of points in a unit square, bent and slanted by lot.

The ways (a one with or without a flag and a foot, a seven with or without a bar, an open or a closed four, an eight of one stroke or of
two rings ...) are our own; no written digit of any data set was traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def arc(x: float, y: float, wide: float, high: float, start: float, end: float) -> Points:
    """Return points of an ellipse round (x, y) from `start` to `end` degrees; 0 is to the right, 90 is down. ``"points 2"``."""
    angles = np.radians(np.linspace(start, end, max(4, int(abs(end - start) / 18))))
    return np.stack([x + wide * np.cos(angles), y + high * np.sin(angles)], axis=1)


def line(*points: tuple[float, float]) -> Points:
    """Return points along straight lines, close enough together to be bent. ``"points 2"``."""
    corners = np.array(points)
    steps = [np.linspace(a, b, 5) for a, b in pairwise(corners)]
    return np.concatenate(steps)


def joined(*pieces: Points) -> Points:
    """Return one stroke out of several pieces."""
    return np.concatenate(pieces)


def _eight() -> Points:
    turn = np.linspace(0, 2 * np.pi, 40)
    upper = np.cos(turn) < 0
    return np.stack([0.5 + np.where(upper, 0.24, 0.28) * np.sin(2 * turn), 0.5 + 0.5 * -np.cos(turn) * -1], axis=1)


#: Ways to write each digit, from zero on; a way is a list of strokes.
WAYS: tuple[tuple[tuple[Points, ...], ...], ...] = (
    (
        (arc(0.5, 0.5, 0.3, 0.5, -90, 270),),
        (arc(0.5, 0.5, 0.34, 0.48, -60, 300),),
        (arc(0.5, 0.5, 0.24, 0.5, -120, 235),),
        (arc(0.5, 0.5, 0.4, 0.5, -90, 280),),
    ),
    (
        (line((0.5, 0.0), (0.5, 1.0)),),
        (line((0.3, 0.22), (0.55, 0.0), (0.55, 1.0)),),
        (line((0.25, 0.35), (0.55, 0.0), (0.55, 1.0)),),
        (line((0.3, 0.22), (0.52, 0.0), (0.52, 1.0)), line((0.25, 1.0), (0.8, 1.0))),
        (line((0.62, 0.0), (0.4, 1.0)),),
        (line((0.15, 0.45), (0.6, 0.0), (0.6, 1.0)),),
    ),
    (
        (joined(arc(0.48, 0.28, 0.32, 0.28, -170, 30), line((0.75, 0.45), (0.15, 1.0), (0.85, 1.0))),),
        (
            joined(
                arc(0.45, 0.28, 0.3, 0.28, -150, 45),
                line((0.6, 0.55), (0.15, 0.97)),
                line((0.15, 0.97), (0.5, 0.93), (0.85, 1.0)),
            ),
        ),
        (joined(arc(0.5, 0.3, 0.32, 0.3, -180, 50), arc(0.28, 0.87, 0.16, 0.12, -20, -330), line((0.4, 0.9), (0.85, 1.0))),),
        (joined(line((0.15, 0.03), (0.75, 0.03), (0.2, 1.0), (0.85, 0.97))),),
        (joined(arc(0.5, 0.27, 0.3, 0.27, -190, 60), line((0.6, 0.5), (0.2, 0.9), (0.2, 1.0), (0.9, 1.0))),),
    ),
    (
        (joined(arc(0.45, 0.25, 0.33, 0.25, -150, 90), arc(0.45, 0.74, 0.38, 0.26, -90, 150)),),
        (joined(arc(0.42, 0.24, 0.34, 0.24, -130, 80), arc(0.42, 0.73, 0.4, 0.27, -80, 130)),),
        (joined(line((0.18, 0.02), (0.78, 0.02), (0.42, 0.4)), arc(0.42, 0.7, 0.38, 0.3, -90, 140)),),
        (
            joined(
                arc(0.4, 0.25, 0.36, 0.22, -140, 70), line((0.55, 0.45), (0.35, 0.48)), arc(0.4, 0.75, 0.42, 0.25, -100, 120)
            ),
        ),
    ),
    (
        (line((0.45, 0.0), (0.12, 0.62), (0.88, 0.62)), line((0.65, 0.3), (0.6, 1.0))),
        (line((0.68, 1.0), (0.68, 0.0), (0.1, 0.68), (0.92, 0.68)),),
        (line((0.2, 0.0), (0.18, 0.5), (0.8, 0.5)), line((0.8, 0.0), (0.76, 1.0))),
        (line((0.55, 0.0), (0.1, 0.55), (0.9, 0.5)), line((0.62, 0.28), (0.5, 1.0))),
        (joined(arc(0.52, 0.1, 0.4, 0.45, 190, 90), line((0.52, 0.56), (0.85, 0.5))), line((0.82, 0.1), (0.7, 1.0))),
    ),
    (
        (joined(line((0.8, 0.02), (0.3, 0.02), (0.25, 0.45)), arc(0.45, 0.68, 0.36, 0.32, -130, 140)),),
        (joined(line((0.28, 0.05), (0.25, 0.42)), arc(0.42, 0.7, 0.38, 0.3, -120, 130)), line((0.28, 0.04), (0.85, 0.02))),
        (
            joined(
                arc(0.62, 0.22, 0.36, 0.22, -60, -180), line((0.26, 0.3), (0.5, 0.45)), arc(0.45, 0.72, 0.34, 0.28, -80, 150)
            ),
        ),
        (joined(line((0.85, 0.0), (0.35, 0.05), (0.28, 0.4), (0.6, 0.42)), arc(0.48, 0.7, 0.34, 0.3, -60, 130)),),
    ),
    (
        (joined(arc(0.75, 0.55, 0.55, 0.55, -100, -180), arc(0.48, 0.7, 0.28, 0.3, 180, -180)),),
        (joined(line((0.6, 0.0), (0.25, 0.6)), arc(0.5, 0.72, 0.28, 0.28, 200, -170)),),
        (joined(line((0.32, 0.0), (0.22, 0.65)), arc(0.48, 0.74, 0.27, 0.26, 190, -180)),),
        (joined(arc(0.8, 0.5, 0.6, 0.5, -110, -190), arc(0.5, 0.72, 0.32, 0.26, 160, -140)),),
    ),
    (
        (line((0.12, 0.03), (0.85, 0.03), (0.4, 1.0)),),
        (line((0.12, 0.05), (0.85, 0.03), (0.42, 1.0)), line((0.3, 0.52), (0.82, 0.48))),
        (joined(line((0.15, 0.18), (0.18, 0.03), (0.85, 0.03)), arc(1.0, 0.95, 0.55, 0.9, -110, -180)),),
        (
            joined(line((0.1, 0.1), (0.5, 0.02), (0.82, 0.1)), line((0.82, 0.1), (0.6, 0.5), (0.5, 1.0))),
            line((0.25, 0.5), (0.85, 0.5)),
        ),
        (line((0.2, 0.03), (0.8, 0.03), (0.68, 1.0)),),
    ),
    (
        (_eight(),),
        (arc(0.5, 0.25, 0.25, 0.25, 90, 450), arc(0.5, 0.74, 0.31, 0.26, -90, 270)),
        (
            joined(
                arc(0.5, 0.24, 0.27, 0.24, -30, -270), arc(0.48, 0.74, 0.3, 0.26, -90, 190), line((0.25, 0.66), (0.72, 0.16))
            ),
        ),
        (arc(0.52, 0.27, 0.2, 0.25, 90, 450), arc(0.48, 0.75, 0.24, 0.25, -90, 270)),
    ),
    (
        (joined(arc(0.48, 0.28, 0.28, 0.28, 0, -360), line((0.76, 0.28), (0.72, 1.0))),),
        (joined(arc(0.48, 0.28, 0.3, 0.28, -20, -350), arc(0.3, 0.45, 0.48, 0.55, -15, 90)),),
        (joined(arc(0.5, 0.27, 0.26, 0.27, 10, -350), line((0.76, 0.25), (0.74, 0.75)), arc(0.48, 0.78, 0.27, 0.22, 0, 130)),),
        (joined(arc(0.5, 0.27, 0.27, 0.27, -10, -360), line((0.77, 0.27), (0.4, 1.0))),),
    ),
)


def written(digit: int, random: np.random.Generator, wildness: float = 1.0) -> list[Points]:
    """Return the strokes of a digit written once, each ``"points 2"``, in a box of height 1 round (0.5, 0.5); y goes down."""
    return penned(WAYS[digit], random, wildness)


def penned(ways: Sequence[Sequence[Points]], random: np.random.Generator, wildness: float = 1.0) -> list[Points]:
    """Return strokes as a pen draws one of `ways`, each ``"points 2"``, in a box of height 1 round (0.5, 0.5); y goes down.

    The way, slant, width, a shift of every eighth of a stroke and a smooth bending of the whole are drawn; `wildness` scales them.
    """
    strokes = [stroke - 0.5 for stroke in ways[int(random.integers(len(ways)))]]
    slant, turn = random.normal(0.06, 0.16 * wildness), random.normal(0, 0.08 * wildness)
    wide = float(np.exp(random.normal(0, 0.2 * wildness)))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array([[wide, -slant], [0.0, 1.0]])
    waves = random.normal(0, 0.035 * wildness, (2, 3, 2))
    phases = random.uniform(0, 2 * np.pi, (2, 3))
    bent = []
    for stroke in strokes:
        shifts = random.normal(0, 0.025 * wildness, (len(stroke) // 4 + 2, 2))
        places = np.linspace(0, len(shifts) - 1, len(stroke))
        jitter = np.stack([np.interp(places, np.arange(len(shifts)), shifts[:, axis]) for axis in (0, 1)], axis=1)
        moved = stroke + jitter
        for axis in (0, 1):
            for wave in range(3):
                along = stroke @ waves[axis, wave] / 0.035
                moved[:, axis] += 0.035 * wildness * np.sin((wave + 1) * np.pi * along + phases[axis, wave])
        bent.append(moved @ matrix.T + 0.5)
    return bent
