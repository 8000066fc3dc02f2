"""Small pictures that can be learned but not by everyone: stripes whose angle is the class, under noise, at random phase and colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def stripes(label: int, random: np.random.Generator, size: int = 24, noise: float = 60.0) -> np.ndarray:
    """Return ``"size size 3"`` uint8; `label` sets the angle, everything else is drawn."""
    y, x = np.mgrid[0:size, 0:size] / size
    angle = label * np.pi / 4 + random.normal(0, 0.15)
    wave = np.sin(2 * np.pi * (3 * (np.cos(angle) * x + np.sin(angle) * y) + random.random()))
    picture = 128 + 70 * wave[..., None] * random.uniform(0.4, 1.0, 3) + random.normal(0, noise, (size, size, 3))
    return picture.clip(0, 255).astype(np.uint8)


def write_folder(
    root: Path, classes: tuple[str, ...] = ("cat", "dog", "eel"), each: int = 14, seed: int = 0, **kind: float
) -> Path:
    """Write ``root/<class>/<number>.png`` and return `root`."""
    random = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            Image.fromarray(stripes(label, random, **kind)).save(folder / f"{number:03d}.png")  # type: ignore[arg-type]
    return root


def scene(random: np.random.Generator, hue: float = 0.0, width: int = 128, height: int = 96, tint: float = 24.0) -> np.ndarray:
    """Return ``"height width 3"`` uint8 with structure at every scale, as photographs have; `hue` in 0..1 tints it a little."""
    picture = np.zeros((height, width, 3))
    for grid in (2, 4, 8, 16, 32, 64):
        coarse = Image.fromarray(random.integers(0, 256, (grid, grid, 3), dtype=np.uint8))
        picture += (np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=float) - 128) / grid**0.5
    colour = tint * np.cos(2 * np.pi * (hue + np.arange(3) / 3))
    return (128 + picture + colour).clip(0, 255).astype(np.uint8)
