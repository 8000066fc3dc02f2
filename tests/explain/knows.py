"""Contestants that can be seen through: they answer by one place of the picture, so what a map should show is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fieldguide.records import Image, Pixels, Prediction

Place = tuple[int, int, int, int]


@dataclass(frozen=True)
class Watcher:
    """Answers ``bright`` the surer, the brighter the picture is within `place` (top, left, bottom, right, of 48 pixels)."""

    place: Place = (6, 30, 18, 42)
    size: int = 48
    probabilities: bool = True

    def predict(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """Yield probabilities of bright, dark and other."""
        for image in images:
            pixels = image.pixels(self.size).astype(float)
            top, left, bottom, right = self.place
            bright = (pixels[top:bottom, left:right].mean() - 128) / 16
            logits = np.array([bright, -bright, -3.0])
            soft = np.exp(logits - logits.max())
            soft /= soft.sum()
            label = ("bright", "dark", "other")[int(soft.argmax())]
            yield Prediction(image.key, label, tuple(soft.tolist()) if self.probabilities else None)

    def save(self, folder: Path) -> None:
        """Nothing to keep."""


def picture(place: Place = (6, 30, 18, 42), size: int = 48, seed: int = 0) -> Pixels:
    """Return grey noise with a white patch at `place`."""
    pixels = np.random.default_rng(seed).integers(60, 120, (size, size, 3)).astype(np.uint8)
    top, left, bottom, right = place
    pixels[top:bottom, left:right] = 250
    return pixels
