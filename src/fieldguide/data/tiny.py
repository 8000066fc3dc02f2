"""A tiny set of made pictures: figures that are filled with a texture, at any place, size, angle and colour, under noise.

A class is a figure and a texture together, so neither alone is enough; place, size and angle tell nothing, and the colour of the
ground leans a little towards the class, as habitats do. A few hundred of them can be learned by small networks in seconds, and not by
all of them equally well.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldguide.files import building
from fieldguide.records import Pixels

Floats = NDArray[np.float64]
FIGURES = ("disc", "bar", "cross", "ring")
TEXTURES = ("striped", "spotted", "plain")
#: How far the ground leans towards the hue of its class, in grey levels; by chance each of its three colours moves by up to 45.
LEAN = 55.0
#: Names of the classes, in the order in which a set takes them: the first six hold three figures and two textures.
CLASSES = tuple(
    f"{texture}-{figure}"
    for textures, figures in ((TEXTURES[:2], FIGURES[:3]), (TEXTURES[:2], FIGURES[3:]), (TEXTURES[2:], FIGURES))
    for figure, texture in product(figures, textures)
)


def write_figures(target: Path, classes: int = 6, each: int = 30, seed: int = 0) -> Path:
    """Write ``target/<class>/<number>.png``, whole or not at all; what is there is kept. Returns `target`."""
    if target.exists():
        return target
    with building(target) as folder:
        for label, name in enumerate(CLASSES[:classes]):
            (folder / name).mkdir()
            for number in range(each):
                random = np.random.default_rng((seed, label, number))
                Image.fromarray(draw(name, random)).save(folder / name / f"{number:03d}.png")
    return target


def draw(name: str, random: np.random.Generator, noise: float = 16.0) -> Pixels:
    """Return one picture of the class `name`, ``"height width 3"`` uint8, 44 to 60 pixels a side."""
    texture, figure = name.split("-")
    height, width = random.integers(44, 61, 2)
    y, x = np.mgrid[0:height, 0:width] / min(height, width)
    angle, reach = random.uniform(0, np.pi), random.uniform(0.3, 0.42)
    x, y = x - random.uniform(0.4, 0.6) * x.max(), y - random.uniform(0.4, 0.6) * y.max()
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    inside = _inside(figure, along / reach, across / reach)[..., None]
    ground, dark, light = _colours(random, CLASSES.index(name) / len(CLASSES))
    filled = np.where(_ink(texture, along, across, random)[..., None], dark, light)
    slope = (x * random.normal() + y * random.normal())[..., None] * 40
    picture = np.where(inside, filled, ground) + slope + random.normal(0, noise, (height, width, 3))
    pixels: Pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


def _inside(figure: str, along: Floats, across: Floats) -> NDArray[np.bool_]:
    """Tell which pixels belong to a figure of reach 1."""
    far = np.hypot(along, across)
    if figure == "disc":
        return far < 1
    if figure == "ring":
        return (far < 1.15) & (far > 0.55)
    bar = (np.abs(along) < 1.25) & (np.abs(across) < 0.5)
    return bar if figure == "bar" else bar | ((np.abs(across) < 1.25) & (np.abs(along) < 0.5))


def _ink(texture: str, along: Floats, across: Floats, random: np.random.Generator) -> NDArray[np.bool_]:
    """Tell which pixels of a texture are dark; its grain is drawn."""
    if texture == "plain":
        return np.zeros(along.shape, dtype=np.bool_)
    grain, shift = random.uniform(34, 46), random.uniform(0, np.pi)
    stripes: Floats = np.sin(grain * along + shift)
    if texture == "striped":
        return stripes > 0
    dots: Floats = stripes + np.sin(grain * across + shift)
    return dots > 0.4


def _colours(random: np.random.Generator, hue: float) -> Floats:
    """Return three colours, ``"3 3"``: ground and two inks, which differ in lightness; the ground leans towards `hue`, 0 to 1."""
    level = random.permutation((60.0, 130.0, 200.0))
    colours: Floats = level[:, None] + random.uniform(-45, 45, (3, 3))
    colours[0] += LEAN * np.cos(2 * np.pi * (hue + np.arange(3) / 3))
    return colours
