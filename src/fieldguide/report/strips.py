"""Maps as pictures to take away: the picture, and beside it every layer of a map over it, titled with class and probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from fieldguide.records import Pixels
from fieldguide.report.explained import Explanation, Map
from fieldguide.report.overlay import coloured, scaled
from fieldguide.report.say import NBSP, clean, percent

#: Longer side of one picture of the strip, margins and letters, in pixels.
SIDE, GAP, LETTERS = 320, 12, 15
#: Share of the map in the mixture with the picture.
OPACITY = 0.6
PAPER, INK, WARN = (250, 249, 245), (27, 33, 38), (143, 61, 0)


def strip(pixels: Pixels, told: Explanation, drawn: Map, name: str, names: dict[str, str]) -> Pillow.Image:
    """Return one row: the picture ``"height width 3"``, then every layer of `drawn` over it; what was not seen is dimmed.

    `name` is whose answer it is, `names` gives the display name of a class id. A map that is no better than random says so.
    """
    small = _small(pixels)
    tiles = [(small, "the picture", INK)]
    for layer, words in enumerate(drawn.layers):
        check = drawn.check(layer)
        doubt = check is not None and check.better is False
        tiles.append(
            (_over(small, told, drawn, layer), f"{words}{': no better than random' if doubt else ''}", WARN if doubt else INK)
        )
    sure = "" if told.probability is None else f" {percent(told.probability)}"
    title = f"{name}: {names.get(told.answer, told.answer)}{sure}, rather than {names.get(told.runner_up, told.runner_up)} · {drawn.title}"
    return _row(tiles, clean(title, 240).replace(NBSP, " "))  # the font has no such sign


def _small(pixels: Pixels) -> Pillow.Image:
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Pillow.Resampling.LANCZOS if scale < 1 else Pillow.Resampling.NEAREST)


def _over(picture: Pillow.Image, told: Explanation, drawn: Map, layer: int) -> Pillow.Image:
    colours = Pillow.fromarray(coloured(scaled(drawn, layer), drawn.signed))
    left, top, right, bottom = (round(part * side) for part, side in zip(told.seen, picture.size * 2, strict=True))
    box = (max(1, right - left), max(1, bottom - top))
    ground: NDArray[np.float64] = np.asarray(picture, np.float64) * 0.35
    ground[top:bottom, left:right] = np.asarray(picture, np.float64)[top:bottom, left:right]
    map_: NDArray[np.float64] = np.asarray(colours.resize(box, Pillow.Resampling.BILINEAR), np.float64)
    seen = ground[top : top + box[1], left : left + box[0]]
    part = OPACITY * map_[: seen.shape[0], : seen.shape[1], 3:] / 255
    seen[:] = seen * (1 - part) + map_[: seen.shape[0], : seen.shape[1], :3] * part
    return Pillow.fromarray(ground.round().clip(0, 255).astype(np.uint8))


def _row(tiles: list[tuple[Pillow.Image, str, tuple[int, int, int]]], title: str) -> Pillow.Image:
    wide, tall = tiles[0][0].size
    head, foot = 2 * GAP + LETTERS, GAP + LETTERS
    step = max(wide, SIDE // 2) + GAP
    sheet = Pillow.new("RGB", (GAP + step * len(tiles), head + tall + foot + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    pen.text((GAP, GAP), _fitting(title, font, sheet.width - 2 * GAP), INK, font)
    for number, (picture, words, colour) in enumerate(tiles):
        x = GAP + number * step
        sheet.paste(picture, (x, head))
        pen.text((x, head + tall + GAP // 2), _fitting(words, font, step - GAP // 2), colour, font)
    return sheet


def _fitting(words: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """Return `words`, cut with an ellipsis where they are wider than `width` pixels."""
    if font.getlength(words) <= width:
        return words
    while words and font.getlength(words + "…") > width:
        words = words[:-1]
    return words + "…"
