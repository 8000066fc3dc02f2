"""Drawn coins to be counted: on a grid, or placed freely, never one upon another; all from a seed.

Colour tells a penny, size alone a dime from a nickel from a quarter, as with the coins of the United States (their sizes are exaggerated
here). A set is written in the layout of labelling tools, with one list of boxes for each split:

    train/_annotations.coco.json, 0000.png ...    and so valid/ and test/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldguide.files import building, write_json
from fieldguide.records import Pixels

Placement = Literal["grid", "free"]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coin:
    """A denomination: its colour (sRGB), its radius as a part of a grid's cell, and what it is worth, in cents."""

    colour: tuple[int, int, int]
    radius: float
    worth: int


COINS: Mapping[str, Coin] = {
    "penny": Coin((196, 112, 58), 0.36, 1),
    "dime": Coin((205, 208, 214), 0.25, 10),
    "quarter": Coin((205, 208, 214), 0.46, 25),
    "nickel": Coin((205, 208, 214), 0.355, 5),
}
#: Those that a set shows where nothing else is said.
KINDS = ("penny", "dime", "quarter")
#: Coins that lie anywhere are smaller by this, or they would not find places; how often a place is tried before coins are drawn anew.
_SMALLER, _TRIES = 0.85, 200


@dataclass(frozen=True, slots=True)
class Lying:
    """A coin on a picture: which, its centre, and its radius, in pixels."""

    name: str
    x: float
    y: float
    radius: float

    @property
    def box(self) -> list[float]:
        """Left, top, width, height, as COCO has them."""
        return [round(value, 2) for value in (self.x - self.radius, self.y - self.radius, 2 * self.radius, 2 * self.radius)]


def lay(
    random: np.random.Generator,
    placement: Placement = "grid",
    kinds: Sequence[str] = KINDS,
    cells: int = 3,
    side: int = 64,
) -> tuple[Lying, ...]:
    """Lay coins by lot on a picture of `side` pixels: none to one for each of `cells` x `cells` places, each kind as probable as another.

    On a grid each lies in a cell of its own, a little off its middle; else anywhere, with a pixel at least between two, and a
    choice of coins for which no place is found is drawn anew.
    """
    places, cell = cells * cells, side / cells
    while True:
        number = int(random.integers(0, places + 1))
        names = [kinds[int(at)] for at in random.integers(0, len(kinds), number)]
        if placement == "grid":
            chosen = random.permutation(places)[:number]
            off = random.uniform(-0.04, 0.04, (number, 2)) * cell
            return tuple(
                Lying(name, (at % cells + 0.5) * cell + dx, (at // cells + 0.5) * cell + dy, COINS[name].radius * cell)
                for name, at, (dx, dy) in zip(names, chosen.tolist(), off.tolist(), strict=True)
            )
        # The largest first: what is small finds a place between them.
        found = _freely(random, sorted(((_SMALLER * COINS[name].radius * cell, name) for name in names), reverse=True), side)
        if found is not None:
            return found


def _freely(random: np.random.Generator, radii: Sequence[tuple[float, str]], side: int) -> tuple[Lying, ...] | None:
    """Lay coins anywhere; `None` where no place is found for one of them."""
    lying: list[Lying] = []
    for radius, name in radii:
        for _ in range(_TRIES):
            x, y = random.uniform(radius, side - radius, 2).tolist()
            if all(np.hypot(x - one.x, y - one.y) > radius + one.radius + 1 for one in lying):
                lying.append(Lying(name, x, y, radius))
                break
        else:
            return None
    return tuple(lying)


def draw(lying: Sequence[Lying], random: np.random.Generator, side: int = 64) -> Pixels:
    """Return a picture of coins on cloth, ``"side side 3"`` uint8, with soft edges, a darker rim and light from one side."""
    y, x = np.mgrid[0:side, 0:side] + 0.5
    ground = random.uniform(20, 70, 3) + random.normal(0, 4, (side, side, 3))
    ground += ((x + y) / side - 1)[..., None] * random.uniform(-12, 12)
    for one in lying:
        far: Floats = np.hypot(x - one.x, y - one.y)
        inside = np.clip(one.radius - far + 0.5, 0, 1)[..., None]
        light = 1 + 0.12 * ((one.x - x) + (one.y - y)) / (2 * one.radius) - 0.2 * (far > 0.8 * one.radius)
        metal = np.array(COINS[one.name].colour) * random.uniform(0.92, 1.05) * light[..., None]
        ground = ground * (1 - inside) + metal * inside
    pixels: Pixels = np.clip(ground, 0, 255).round().astype(np.uint8)
    return pixels


def write_coins(
    target: Path,
    each: Mapping[str, int],
    placement: Placement = "grid",
    kinds: Sequence[str] = KINDS,
    cells: int = 3,
    seed: int = 0,
) -> Path:
    """Write a set, whole or not at all, with as many pictures in a split as `each` says; what is there is kept. Returns `target`."""
    if target.exists():
        return target
    with building(target) as folder:
        for split, number in each.items():
            (folder / split).mkdir()
            images: list[dict[str, Any]] = []
            boxes: list[dict[str, Any]] = []
            for at in range(number):
                random = np.random.default_rng((seed, *split.encode(), at))
                lying = lay(random, placement, kinds, cells)
                pixels = draw(lying, random)
                Image.fromarray(pixels).save(folder / split / f"{at:04}.png")
                images.append({"id": at, "file_name": f"{at:04}.png", "height": pixels.shape[0], "width": pixels.shape[1]})
                boxes += [_boxed(one, len(boxes) + more, at, kinds) for more, one in enumerate(lying)]
            write_json(folder / split / "_annotations.coco.json", _listed(images, boxes, kinds))
    return target


def _boxed(one: Lying, number: int, image: int, kinds: Sequence[str]) -> dict[str, Any]:
    box = one.box
    own = {"id": number, "image_id": image, "category_id": 1 + kinds.index(one.name), "bbox": box}
    return {**own, "area": round(box[2] * box[3], 2), "segmentation": [], "iscrowd": 0}


def _listed(images: list[dict[str, Any]], boxes: list[dict[str, Any]], kinds: Sequence[str]) -> dict[str, Any]:
    """Return a list as labelling tools export it, with a parent of all categories that no box has."""
    categories = [{"id": 0, "name": "coins", "supercategory": "none"}]
    categories += [{"id": 1 + at, "name": name, "supercategory": "coins"} for at, name in enumerate(kinds)]
    info = {"description": "Drawn coins of fieldguide", "version": "1"}
    return {"info": info, "licenses": [], "categories": categories, "images": images, "annotations": boxes}
