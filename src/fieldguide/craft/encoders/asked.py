"""Questions with known answers for an image-text model: drawn colours, shapes and digits, and the lines that name them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fieldguide.records import Pixels

#: Side of a drawn picture, in pixels; no encoder sees more of it.
SIDE = 224
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 25, 30),
    "green": (30, 150, 60),
    "blue": (30, 70, 215),
    "yellow": (245, 220, 35),
    "orange": (250, 135, 20),
    "purple": (130, 40, 160),
    "black": (12, 12, 12),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "star")
DIGITS = ("zero", "one", "three", "four", "seven", "eight")
#: Grey of the ground behind a figure, for each of the two pictures of a colour.
_GREYS = (120, 165)
#: Radius of a figure and how far it lies from the middle, in parts of the side, for each picture of a shape.
_PLACED = ((0.36, 0.0, 0.0), (0.26, -0.07, 0.06), (0.28, 0.08, -0.05))


@dataclass(frozen=True)
class Question:
    """`lines`, one for each possible answer; `pictures`, and for each the number of the line that names it."""

    what: str
    lines: tuple[str, ...]
    pictures: tuple[Pixels, ...]
    answers: tuple[int, ...]


@cache
def questions() -> tuple[Question, ...]:
    """Return colours (2 pictures each), shapes (3 each) and digits (1 each): 34 pictures, of 8, 4 and 6 possible answers."""
    return _colours(), _shapes(), _digits()


def _colours() -> Question:
    pictures = [_figure("square", rgb, 0.34, (0.0, 0.0), grey) for rgb in COLOURS.values() for grey in _GREYS]
    answers = [at for at in range(len(COLOURS)) for _ in _GREYS]
    return Question("colours", tuple(f"a {colour} square" for colour in COLOURS), tuple(pictures), tuple(answers))


def _shapes() -> Question:
    rgbs = (COLOURS["red"], COLOURS["blue"], COLOURS["black"])
    pictures = [
        _figure(shape, rgb, radius, (x, y), 238) for shape in SHAPES for rgb, (radius, x, y) in zip(rgbs, _PLACED, strict=True)
    ]
    answers = [at for at in range(len(SHAPES)) for _ in _PLACED]
    return Question("shapes", tuple(f"a picture of a {shape}" for shape in SHAPES), tuple(pictures), tuple(answers))


def _digits() -> Question:
    numbers = {"zero": 0, "one": 1, "three": 3, "four": 4, "seven": 7, "eight": 8}
    lines = tuple(f"the digit {word}" for word in DIGITS)
    return Question("digits", lines, tuple(_printed(str(numbers[word])) for word in DIGITS), tuple(range(len(DIGITS))))


def _figure(shape: str, rgb: tuple[int, int, int], radius: float, shift: tuple[float, float], grey: int) -> Pixels:
    """Return ``"side side 3"``: one figure on a grey ground, drawn at twice its size and brought down."""
    big = 2 * SIDE
    image = Image.new("RGB", (big, big), (grey,) * 3)
    draw = ImageDraw.Draw(image)
    x, y, r = big * (0.5 + shift[0]), big * (0.5 + shift[1]), big * radius
    if shape == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=rgb)
    elif shape == "square":
        draw.rectangle((x - 0.85 * r, y - 0.85 * r, x + 0.85 * r, y + 0.85 * r), fill=rgb)
    else:
        corners = 3 if shape == "triangle" else 10
        turns = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
        reach = np.where(np.arange(corners) % 2, 0.42, 1.0) if shape == "star" else np.ones(corners)
        draw.polygon(list(zip(x + r * reach * np.cos(turns), y + r * reach * np.sin(turns), strict=True)), fill=rgb)
    return np.asarray(image.reduce(2))


def _printed(text: str) -> Pixels:
    """Return ``"side side 3"``: dark print on a light ground, in the type that comes with Pillow."""
    image = Image.new("RGB", (SIDE, SIDE), (245, 245, 245))
    font = ImageFont.load_default(size=0.75 * SIDE)
    ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), text, fill=(20, 20, 20), font=font, anchor="mm")
    return np.asarray(image)
