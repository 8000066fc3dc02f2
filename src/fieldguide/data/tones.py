"""From what a decoder gives to 8-bit RGB of the wanted size, tile by tile: no second copy of a large picture is held.

How values of more than 8 bits become 8 (`16-bit scaled`, `32-bit scaled`, `float scaled`):

- whole numbers from 0 to 65535 are divided by the full range of the smallest of 8, 12 and 16 bits that holds the
  picture's largest value. Many 16-bit files hold the 12 bits of a camera; divided by 65535 they would be nearly black;
- other whole numbers (32 bits, or negative) run from the picture's smallest to its largest value;
- fractions that lie in [0, 1] are multiplied by 255, others run from smallest to largest; NaN and minus infinity count
  as the smallest finite value, plus infinity as the largest.

Colour profiles (ICC) are not applied: neither do the loaders that published networks were trained with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms

from fieldguide.data.wholeness import BROKEN
from fieldguide.errors import PictureError

#: Anything is reduced by box to this multiple of the wanted size, and the rest is bicubic.
_GAP = 2.0
#: Pixels of one tile: some megabytes in the widest of the types below.
_TILE = 1 << 18

Box = tuple[float, float, float, float]
Convert = Callable[[Image.Image], Image.Image]


def canonical(image: Image.Image, size: tuple[int, int], box: Box | None, notes: list[str]) -> Image.Image:
    """Return 8-bit RGB of `size` (width, height) of a decoded picture and add to `notes` what changed more than the storage.

    `box` is the part of `image` that is the picture, where a decoder that reduced it left a margin. Raises `PictureError` (broken)
    for a picture of fractions none of which is finite.
    """
    if image.mode == "L" and not image.has_transparency_data:
        return _resized(image, size, box).convert("RGB")
    if image.mode == "RGB" and not image.has_transparency_data:
        return _resized(image, size, box)
    convert = _conversion(image, notes)
    whole = box or (0.0, 0.0, float(image.width), float(image.height))
    across, down = (max(1, int((whole[2 + axis] - whole[axis]) / size[axis] / _GAP)) for axis in (0, 1))
    small: Image.Image | None = None
    for left, top, tile in _tiles(image, across, down):
        part = convert(tile)
        if (across, down) != (1, 1):
            part = part.reduce((across, down))
        if small is None:
            small = Image.new(part.mode, (-(-image.width // across), -(-image.height // down)))
        small.paste(part, (left // across, top // down))
    assert small is not None
    return _resized(small, size, (whole[0] / across, whole[1] / down, whole[2] / across, whole[3] / down)).convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int], box: Box | None) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=_GAP)


def _tiles(image: Image.Image, across: int = 1, down: int = 1) -> Iterator[tuple[int, int, Image.Image]]:
    """Yield (left, top, tile) in rows; all but the last tiles have sides that are divided by `across` and `down`."""
    columns = min(across * max(1, _TILE // (across * down)), image.width)
    rows = down * max(1, _TILE // (columns * down))
    for top in range(0, image.height, rows):
        for left in range(0, image.width, columns):
            yield left, top, image.crop((left, top, min(left + columns, image.width), min(top + rows, image.height)))


def _conversion(image: Image.Image, notes: list[str]) -> Convert:
    """Return what turns a tile of `image` into RGB or gray."""
    mode = image.mode
    if mode.startswith(("I", "F")):
        return _scaling(image, notes)
    if mode == "CMYK":
        notes.append("CMYK converted")
        if getattr(image, "format", None) in ("JPEG", "MPO") and "adobe" not in image.info:
            # Adobe's programs write inks upside down and leave their marker; Pillow turns every CMYK JPEG, also one without it.
            return lambda tile: ImageChops.invert(tile).convert("RGB")
    elif mode in ("LAB", "HSV", "YCbCr"):
        notes.append(f"{mode} converted")
    if mode == "LAB":
        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return lambda tile: _applied(transform, tile)
    if image.has_transparency_data:
        return lambda tile: _on_white(tile, notes)
    return lambda tile: tile.convert("L" if mode == "1" else "RGB")


def _applied(transform: ImageCms.ImageCmsTransform, tile: Image.Image) -> Image.Image:
    converted = ImageCms.applyTransform(tile, transform)
    assert converted is not None
    return converted


def _on_white(tile: Image.Image, notes: list[str]) -> Image.Image:
    if tile.mode in ("La", "RGBa"):
        tile = tile.convert("LA" if tile.mode == "La" else "RGBA")
    with_alpha = tile.convert("RGBA")
    lowest, _ = with_alpha.getchannel("A").getextrema()
    if lowest == 255:
        return with_alpha.convert("RGB")
    notes.append("alpha on white")
    return Image.alpha_composite(Image.new("RGBA", tile.size, "white"), with_alpha).convert("RGB")


def _scaling(image: Image.Image, notes: list[str]) -> Convert:
    """Return the rule at the top of this file, set to the whole picture's smallest and largest value."""
    if image.mode == "F":
        notes.append("float scaled")
        low, high = _finite_range(image)
        first, span = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high - low if high > low else 1.0)
        return lambda tile: _gray((np.nan_to_num(_floats(tile), nan=low, neginf=low, posinf=high) - first) / span * 255)
    ranges = [(int(values.min()), int(values.max())) for values in (np.asarray(tile) for _, _, tile in _tiles(image))]
    least, most = min(low for low, _ in ranges), max(high for _, high in ranges)
    if least < 0 or most > 65535:
        notes.append("32-bit scaled")
        return lambda tile: _gray((_floats(tile) - least) / max(most - least, 1) * 255)
    notes.append("16-bit scaled")
    top = next(2**bits - 1 for bits in (8, 12, 16) if most < 2**bits)
    table = ((np.arange(top + 1, dtype=np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    return lambda tile: Image.fromarray(table[np.asarray(tile)])


def _finite_range(image: Image.Image) -> tuple[float, float]:
    ranges = []
    for _, _, tile in _tiles(image):
        values = np.asarray(tile)
        known = values[np.isfinite(values)]
        if known.size:
            ranges.append((float(known.min()), float(known.max())))
    if not ranges:
        raise PictureError(BROKEN, "it holds no finite value")
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _floats(tile: Image.Image) -> NDArray[np.float64]:
    return np.asarray(tile).astype(np.float64)


def _gray(values: NDArray[Any]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8))
