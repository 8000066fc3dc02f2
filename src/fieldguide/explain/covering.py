"""Covering parts of a picture: which cells there are, and what a picture looks like when some of them are covered.

What is covered shows the picture heavily blurred. Black or grey squares are pictures that no contestant has ever seen, and would
be answered for by their edges; a blur takes the detail away and leaves the light as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

from fieldguide.explain.scores import Box
from fieldguide.records import Pixels

#: Radius of the blur as a part of the longer side.
BLUR = 0.15

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Cells:
    """A grid of `rows` x `columns` cells over the part `box` of a picture ``"height width 3"``."""

    pixels: Pixels
    box: Box
    rows: int
    columns: int

    @classmethod
    def over(cls, pixels: Pixels, box: Box, most: int) -> Cells:
        """Return `most` x `most` cells, fewer where the picture has not that many pixels."""
        height, width = pixels.shape[:2]
        tall, wide = (box[3] - box[1]) * height, (box[2] - box[0]) * width
        return cls(pixels, box, max(1, min(most, int(tall))), max(1, min(most, int(wide))))

    @property
    def count(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    @cached_property
    def blurred(self) -> Pixels:
        """The picture without its detail."""
        picture = Pillow.fromarray(np.ascontiguousarray(self.pixels))
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(BLUR * max(picture.size))))

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The row of cells of each row of pixels, and the column of each column; -1 outside the box."""
        height, width = self.pixels.shape[:2]
        return _places(height, self.box[1], self.box[3], self.rows), _places(width, self.box[0], self.box[2], self.columns)

    def covered(self, mask: Mask) -> Pixels:
        """Return the picture with the cells of `mask` ``"rows columns"`` covered."""
        down, across = self._places
        # What lies outside the box is not seen, so it may stay as it is.
        padded = np.pad(mask, ((0, 1), (0, 1)))
        hidden = padded[down[:, None], across[None, :]]
        return np.where(hidden[..., None], self.blurred, self.pixels)


def _places(length: int, start: float, end: float, cells: int) -> NDArray[np.int64]:
    middle = (np.arange(length) + 0.5) / length
    place = np.floor((middle - start) / (end - start) * cells).astype(np.int64)
    return np.where((place < 0) | (place >= cells), -1, place)
