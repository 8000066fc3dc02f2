"""Names beside marks that do not lie on each other: each goes to the first free place around its mark, farther out on a thin line."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Height of a line of text and width of a narrow and of a wide letter, in SVG units at 12 px.
LINE, NARROW, WIDE = 14.0, 6.7, 12.5
#: Directions in the order in which they are tried, and how far out.
_AROUND = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1))
_BETWEEN = ((0.5, -1), (0.5, 1), (-0.5, -1), (-0.5, 1), (1, -0.5), (1, 0.5), (-1, -0.5), (-1, 0.5))
_FAR = (0.0, 10.0, 20.0, 30.0, 42.0, 56.0, 72.0)
_GAP = 10.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle that is taken."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Tell whether two boxes overlap."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom

    def inside(self, other: Box) -> bool:
        """Tell whether this box lies within `other`."""
        return other.left <= self.left and self.right <= other.right and other.top <= self.top and self.bottom <= other.bottom


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name stands: its baseline and anchor, and the end of the line that leads to it where it stands far from its mark."""

    x: float
    y: float
    anchor: str
    leader: tuple[float, float] | None = None


def width_of(text: str) -> float:
    """Return about how wide `text` is; East Asian letters are wide."""
    return sum(WIDE if unicodedata.east_asian_width(letter) in "WF" else NARROW for letter in text)


def placed(
    marks: Sequence[tuple[float, float]], texts: Sequence[Sequence[str]], taken: Sequence[Box], frame: Box
) -> list[tuple[str, Place] | None]:
    """Return text and place for each mark, clear of all marks, of what is `taken` and of each other; `None` where none is free.

    `texts` are what a mark may be called, the best first: a shorter one is taken where a longer one finds no place.
    """
    filled = [*taken, *(Box(x - 8, y - 8, x + 8, y + 8) for x, y in marks)]
    found: list[tuple[str, Place] | None] = []
    for (x, y), names in zip(marks, texts, strict=True):
        seats = ((text, place, box) for text in names for place, box in _around(x, y, width_of(text)))
        free = next((seat for seat in seats if seat[2].inside(frame) and not _hits(seat[2], filled)), None)
        if free:
            filled.append(free[2])
        found.append((free[0], free[1]) if free else None)
    return found


def _hits(box: Box, filled: Sequence[Box]) -> bool:
    return any(box.meets(other) for other in filled)


def _around(x: float, y: float, width: float) -> Iterator[tuple[Place, Box]]:
    for far in _FAR:
        for across, down in (*_AROUND, *_BETWEEN) if far else _AROUND:
            centre_x, centre_y = x + across * (_GAP + far), y + down * (_GAP + 4 + far)
            side = (across > 0) - (across < 0)
            left = centre_x - (width, width / 2, 0.0)[side + 1]
            box = Box(left, centre_y - LINE / 2, left + width, centre_y + LINE / 2)
            leader = (round(centre_x - side * 2, 1), round(centre_y - ((down > 0) - (down < 0)) * LINE / 2, 1)) if far else None
            yield Place(round(centre_x, 1), round(centre_y + 4, 1), ("end", "middle", "start")[side + 1], leader), box
