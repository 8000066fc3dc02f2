"""Looks drawn as pictures: figures filled with a texture, and digits in ink, on a ground, under a little noise.

Whatever a look does not say (angle, exact tint, place, grain, noise, the pen) is drawn by lot from the generator that is passed in, so
a look and a seed make one picture. Shapes are polygons that Pillow fills at three times the size.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fieldguide.data.drawn.letters import LETTER_WAYS
from fieldguide.data.drawn.looks import COUNTS, DIGITS, Look
from fieldguide.data.drawn.strokes import Points, arc, penned, written
from fieldguide.records import Pixels

Floats = NDArray[np.float64]
#: Figures and how many of each.
Kinds = Sequence[tuple[str, int]]
_OVER = 3
#: Hue in degrees, saturation and lightness (HSV value) of each colour, each with how far it may stray.
INKS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((358, 6), (0.9, 0.1), (0.82, 0.12)),
    "orange": ((29, 5), (0.95, 0.05), (0.97, 0.03)),
    "yellow": ((55, 5), (0.85, 0.12), (0.96, 0.04)),
    "green": ((125, 20), (0.75, 0.2), (0.6, 0.15)),
    "blue": ((222, 14), (0.8, 0.15), (0.78, 0.15)),
    "purple": ((280, 10), (0.7, 0.15), (0.6, 0.12)),
    "pink": ((335, 10), (0.42, 0.1), (0.97, 0.03)),
    "brown": ((25, 6), (0.7, 0.1), (0.45, 0.07)),
    "black": ((0, 180), (0.1, 0.1), (0.07, 0.06)),
    "white": ((0, 180), (0.02, 0.02), (0.97, 0.03)),
}
#: Half the height of a figure, in parts of the picture's shorter side, by size.
REACHES = {"small": (0.13, 0.18), "middling": (0.22, 0.29), "large": (0.35, 0.42)}
#: The same by number, where there are several; so that they do not touch.
CROWDS = {"two": (0.16, 0.22), "three": (0.15, 0.19), "four": (0.13, 0.17), "five": (0.125, 0.155)}


def draw(look: Look, random: np.random.Generator, side: int = 64, noise: float = 8.0, kinds: Kinds = ()) -> Pixels:
    """Return a picture of a look, ``"side side 3"`` uint8; `noise` is the largest standard deviation, in grey levels.

    `kinds` are figures of several kinds and how many of each, drawn instead of the look's own thing.
    """
    ground, ink, second = _tints(look, random)
    few = int(random.choice((8, 8, 8, 12, 16, 28))) if look.written and random.random() < 0.45 else 0
    if few:
        ground, noise = np.where(ground > 128, 255.0, 0.0) if random.random() < 0.6 else ground, noise / 2
    if kinds:
        inside, filled = _mixed(kinds, random, side), ink[None, None]
    elif look.written:
        inside = _sign(look, random, side, few == 8)
        filled = ink[None, None]
    else:
        inside = _figures(look, random, side)
        pattern = _pattern(look, random, side)[..., None]
        filled = ink * (1 - pattern) + second * pattern
    slope = np.linspace(-1, 1, side) if not few else np.zeros(side)
    shade = slope[:, None] * random.normal(0, 6) + slope[None, :] * random.normal(0, 6)
    picture = ground + inside[..., None] * (filled - ground) + shade[..., None]
    picture += random.normal(0, random.uniform(0, noise), picture.shape)
    pixels: Pixels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return _coarse(pixels, random, few) if few else pixels


def outline(figure: str, random: np.random.Generator) -> tuple[Points, Points | None]:
    """Return the border of a figure of reach 1 round (0, 0) and that of what is cut out of it, each ``"points 2"``."""
    if figure in ("circle", "ring"):
        hole = random.uniform(0.5, 0.62)
        return arc(0, 0, 1, 1, 0, 360), arc(0, 0, hole, hole, 0, 360) if figure == "ring" else None
    if figure == "moon":
        return arc(0, 0, 1, 1, 0, 360), arc(random.uniform(0.45, 0.55), 0, 0.85, 0.85, 0, 360)
    if figure == "heart":
        turn = np.linspace(0, 2 * np.pi, 40)
        across = np.sin(turn) ** 3
        down = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)) / 15
        return np.stack([across, down], axis=1), None
    if figure == "star":
        turn = np.radians(np.arange(10) * 36 - 90)
        far = np.where(np.arange(10) % 2 == 0, 1.1, random.uniform(0.42, 0.5))
        return np.stack([far * np.cos(turn), far * np.sin(turn)], axis=1), None
    if figure == "cross":
        thin = random.uniform(0.26, 0.36)
        quarter = np.array([(thin, -1.0), (thin, -thin), (1.0, -thin), (1.0, thin)])
        quarters = [quarter[:3]]
        for _ in range(3):
            quarters.append(quarters[-1] @ np.array([[0, 1], [-1, 0]]))
        return np.concatenate(quarters), None
    if figure == "arrow":
        thin, neck = random.uniform(0.2, 0.28), random.uniform(0.0, 0.2)
        return np.array([(-1, -thin), (neck, -thin), (neck, -0.75), (1.05, 0), (neck, 0.75), (neck, thin), (-1, thin)]), None
    corners = {
        "square": [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)],
        "triangle": [(0, -1.05), (1.0, 0.75), (-1.0, 0.75)],
        "diamond": [(0, -1.15), (0.68, 0), (0, 1.15), (-0.68, 0)],
    }[figure]
    return np.array(corners, dtype=float), None


def _figures(look: Look, random: np.random.Generator, side: int) -> Floats:
    """Return how much of each pixel the figures cover, ``"side side"`` in 0 to 1."""
    canvas = Image.new("L", (side * _OVER, side * _OVER))
    pen = ImageDraw.Draw(canvas)
    tilt = 180.0 if look.thing in ("ring", "circle") else 25.0 if look.thing in ("arrow", "moon", "star") else 14.0
    for x, y, reach in _places(look, random):
        turn = np.radians(random.uniform(-tilt, tilt))
        matrix = reach * side * _OVER * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        border, hole = outline(look.thing, random)
        centre = np.array([x, y]) * side * _OVER
        pen.polygon([tuple(point) for point in border @ matrix.T + centre], fill=255)
        if hole is not None:
            pen.polygon([tuple(point) for point in hole @ matrix.T + centre], fill=0)
    return np.asarray(canvas.reduce(_OVER), dtype=np.float64) / 255


def _mixed(kinds: Kinds, random: np.random.Generator, side: int) -> Floats:
    """Return how much of each pixel figures of several kinds cover, each in one of nine fields, ``"side side"`` in 0 to 1."""
    canvas = Image.new("L", (side * _OVER, side * _OVER))
    pen = ImageDraw.Draw(canvas)
    things = [figure for figure, number in kinds for _ in range(number)]
    for thing, field in zip(things, random.permutation(9)[: len(things)], strict=True):
        reach = random.uniform(0.115, 0.145)
        stray = random.uniform(-1, 1, 2) * (0.16 - reach) / 2
        centre = (np.array([field % 3, field // 3]) * 2 + 1) / 6 + stray
        turn = np.radians(random.uniform(-8, 8))
        matrix = reach * side * _OVER * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        border, _ = outline(thing, random)
        pen.polygon([tuple(point) for point in border @ matrix.T + centre * side * _OVER], fill=255)
    return np.asarray(canvas.reduce(_OVER), dtype=np.float64) / 255


def _places(look: Look, random: np.random.Generator) -> list[tuple[float, float, float]]:
    """Draw centre and reach of each figure, in parts of the side: inside the picture, and apart from each other."""
    number = 1 + COUNTS.index(look.count)
    low, high = CROWDS.get(look.count, REACHES[look.size]) if number > 1 else REACHES[look.size]
    reach = random.uniform(low, high)
    if number == 1:
        x, y = _spot(look.place, reach, random)
        return [(x, y, reach)]
    while True:
        spots: list[tuple[float, float]] = []
        for _ in range(60):
            x, y = random.uniform(1.08 * reach, 1 - 1.08 * reach, 2)
            if all(np.hypot(x - a, y - b) > 2.5 * reach for a, b in spots):
                spots.append((x, y))
            if len(spots) == number:
                return [(x, y, reach * random.uniform(0.93, 1.0)) for x, y in spots]
        reach = max(0.95 * reach, 0.115)


def _spot(place: str, reach: float, random: np.random.Generator) -> tuple[float, float]:
    """Draw the centre of a single figure."""
    edge, inner = 1.08 * reach, 0.34
    free = random.uniform(edge, 1 - edge, 2) if edge < 0.5 else np.array([0.5, 0.5])
    near, centred = random.uniform(min(edge, 0.27), 0.27), random.uniform(0.42, 0.58, 2)
    across = random.uniform(inner, 1 - inner)
    spots = {
        "left": (near, across),
        "right": (1 - near, across),
        "top": (across, near),
        "bottom": (across, 1 - near),
        "middle": (centred[0], centred[1]),
    }
    return spots.get(place, (free[0], free[1]))


def _pattern(look: Look, random: np.random.Generator, side: int) -> Floats:
    """Return where the second ink lies, ``"side side"`` in 0 to 1; the grain follows the size of a figure."""
    if look.texture == "plain":
        return np.zeros((side, side))
    reach = CROWDS[look.count][0] if look.count != "one" else REACHES[look.size][0]
    period = side * max(reach, 0.16) * random.uniform(0.5, 0.62) * (1.15 if look.texture == "checked" else 1.0)
    turn = random.uniform(0, np.pi)
    y, x = np.mgrid[0:side, 0:side] * (2 * np.pi / period)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    along, across = along + random.uniform(0, 6.28), across + random.uniform(0, 6.28)
    if look.texture == "striped":
        wave = np.sin(along) - 0.25
    elif look.texture == "dotted":
        wave = (np.sin(along) + np.sin(across)) / 2 - 0.35
    else:
        wave = 2 * np.sin(along) * np.sin(across)
    # A soft border about a pixel wide, as the figures have.
    pattern: Floats = np.clip(0.5 + wave * period / 6, 0, 1)
    return pattern


def _tints(look: Look, random: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Draw ground, ink and second ink, each three grey levels."""
    hue, strong, bright = (middle + random.uniform(-stray, stray) for middle, stray in INKS[look.colour])
    ink = 255 * np.array(colorsys.hsv_to_rgb(hue / 360 % 1, min(strong, 1), min(bright, 1)))
    level = {"light": random.uniform(205, 255), "dark": random.uniform(0, 45), "grey": random.uniform(105, 150)}[look.ground]
    ground = np.clip(level + random.normal(0, 7, 3), 0, 255)
    if look.colour in ("black", "white"):
        second = np.full(3, random.uniform(110, 140) if look.colour == "black" else random.uniform(115, 150))
    else:
        light = ink @ np.array([0.3, 0.6, 0.1]) < random.uniform(90, 150)
        second = np.full(3, random.uniform(225, 250) if light else random.uniform(5, 35))
    return ground, ink, second


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _sign(look: Look, random: np.random.Generator, side: int, scanned: bool) -> Floats:
    """Return how much ink a digit or a letter lays on each pixel, ``"side side"`` in 0 to 1; a scanned one is as high as the picture."""
    sign, big = str(DIGITS.index(look.thing)) if look.digit else look.thing, side * _OVER
    canvas = Image.new("L", (big, big))
    pen = ImageDraw.Draw(canvas)
    if look.hand == "printed":
        size = int(random.integers(big * 10 // 16, big * 19 // 16)) // 8 * 8
        bold = int(random.integers(0, big // 24))
        pen.text((big / 2, big / 2), sign, fill=255, font=_font(size), anchor="mm", stroke_width=bold)
        canvas = canvas.rotate(random.normal(0, 6), Image.Resampling.BILINEAR)
        return np.asarray(canvas.reduce(_OVER), dtype=np.float64) / 255
    strokes = written(int(sign), random) if look.digit else penned(LETTER_WAYS[sign], random, 0.8)
    points = np.concatenate(strokes)
    least, most = points.min(axis=0), points.max(axis=0)
    width = big * (0.035 + random.beta(2, 3) * 0.16)
    height = big * (random.uniform(0.96, 1.06) if scanned else random.uniform(0.55, 0.98)) - width
    scale = min(height / (most[1] - least[1]), (big - width) / max(most[0] - least[0], 0.01))
    room = np.maximum((big - (most - least) * scale - width) / 2, 0)
    centre = big / 2 + random.uniform(-1, 1, 2) * room * (0.7 if random.random() < 0.2 else 0.15)
    for stroke in strokes:
        path = [tuple(point) for point in (stroke - (least + most) / 2) * scale + centre]
        pen.line(path, fill=255, width=round(width), joint="curve")
        for x, y in (path[0], path[-1]):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    return np.asarray(canvas.reduce(_OVER), dtype=np.float64) / 255


def _coarse(pixels: Pixels, random: np.random.Generator, few: int) -> Pixels:
    """Return the picture as if it had been scanned with `few` pixels a side and enlarged again."""
    side = len(pixels)
    small = Image.fromarray(pixels).resize((few, few), Image.Resampling.BOX)
    how = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BILINEAR, Image.Resampling.NEAREST)
    return np.asarray(small.resize((side, side), how[int(random.integers(4))]))
