"""What one picture may cost: a file takes at most 2 seconds and 300 MB, or is refused with a reason before it is decoded.

The limits are on what a decoder holds and does, which depends on the format, not on a number of pixels alone. Pillow holds a
colour pixel in four bytes and a gray one in one; a progressive JPEG is held as coefficients; a WebP, AVIF or HEIC picture is held
several times over, and may take 600 MB and 4 seconds: phones save 24 and 48 megapixels that way. Measured on one core of a small
server at a wanted size of 224 pixels.
"""

from __future__ import annotations

import re
from typing import Any

from PIL import Image

from fieldguide.data import wholeness
from fieldguide.data.wholeness import BROKEN
from fieldguide.errors import PictureError

TOO_LARGE = "too large"

#: Bytes of the file and of what its decoder holds, together. The libraries themselves take 40 MB, the reduced picture some more.
MOST_MEMORY = 244_000_000
#: The same for formats whose decoders hold a picture several times: 50 megapixels of HEIC, 45 of AVIF, 31 of WebP.
MOST_MEMORY_OF = dict.fromkeys(("HEIF", "AVIF", "WEBP"), 510_000_000)
#: Bytes a file may have: it is held whole.
MOST_BYTES = MOST_MEMORY
#: Bytes a JPEG may have: its codes are read one by one, 70 MB a second.
MOST_JPEG_BYTES = 100_000_000
#: Pixels a picture may have: what Pillow itself refuses beyond. A phone's 16,000 x 4,000 panorama passes.
MOST_PIXELS = 178_956_970
#: Pixels times scans of a progressive JPEG: each of its scans, ten as a rule, visits all pixels.
MOST_SCANNED = 900_000_000
#: A picture of more than `BOMB_PIXELS` with more than `BOMB_RATIO` pixels for each byte of its file is a bomb; a photograph
#: has about one.
BOMB_PIXELS, BOMB_RATIO = 32_000_000, 1_000
#: Values that are read one by one in Python (text PPM, PPM with an odd maximum, run-length BMP), and bytes of such a file.
MOST_SLOW_VALUES, MOST_SLOW_BYTES = 3_000_000, {"PPM": 12_000_000, "BMP": 2_000_000}
#: Frames that are counted; only the first is read.
MOST_FRAMES = 10_000

#: Bytes Pillow holds for a pixel of a mode; all others take four.
_HELD = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
#: Bytes for a pixel that a format's own library holds besides (libwebp: two canvases and a copy; AVIF and HEIC: planes and a copy).
_BESIDES = {"WEBP": 12, "AVIF": 7, "HEIF": 6}
_SLOW = ("ppm", "ppm_plain", "bmp_rle")
_WHITE = rb"(?:[ \t\n\v\f\r]+|#[^\r\n]*[\r\n])+"
_PPM = re.compile(rb"P[1-6]" + _WHITE + rb"\d+" + _WHITE + rb"\d+")
_LONGEST_HEADER = 65_536
_COMPRESSION, _SAMPLES, _ROWS, _TILE_WIDTH, _TILE_HEIGHT, _BITS = 259, 277, 278, 322, 323, 258


def check_bytes(data: bytes, kind: str) -> None:
    """Raise `PictureError` where a file of format `kind` is too long, or its header is, which is read byte by byte."""
    most = MOST_JPEG_BYTES if kind == "JPEG" else MOST_BYTES
    if len(data) > most:
        raise PictureError(TOO_LARGE, f"the file has {len(data) / 1e6:,.0f} MB; allowed: {most / 1e6:,.0f} MB. Save it smaller")
    if kind == "PPM":
        header = _PPM.match(data)
        if header is None or header.end() > _LONGEST_HEADER:
            raise PictureError(BROKEN, "it begins like PPM, but its header cannot be read")


def check(image: Image.Image, data: bytes) -> None:
    """Raise `PictureError` (too large) where decoding `image`, opened from `data` and not yet loaded, would take too much."""
    area = image.width * image.height
    size = f"{image.width:,} x {image.height:,} pixels"
    if area > MOST_PIXELS:
        raise PictureError(TOO_LARGE, f"{size}; allowed: {MOST_PIXELS / 1e6:,.0f} million. Save it smaller")
    if area > BOMB_PIXELS and area > BOMB_RATIO * len(data):
        raise PictureError(
            TOO_LARGE, f"{size} in {len(data):,} bytes: no picture is that empty, it may be a decompression bomb"
        )
    slow = [tile for tile in getattr(image, "tile", ()) if tile[0] in _SLOW]
    values = area * len(image.getbands())
    if slow and (values > MOST_SLOW_VALUES or len(data) > MOST_SLOW_BYTES.get(image.format or "", 0)):
        raise PictureError(TOO_LARGE, f"{size} in a slow kind of {image.format}, one value after the other. Save it as PNG")


def check_memory(image: Image.Image, data: bytes, full: tuple[int, int], *, turned: bool = False) -> None:
    """Raise `PictureError` (too large) where the file and its decoder would hold more than `MOST_MEMORY`.

    A JPEG has its draft size already; `full` is its own (width, height). `turned`: the decoder makes a second copy to turn the
    picture upright.
    """
    row = (
        -(-image.width * _HELD.get(image.mode, 4) // 4) * 4 + 8
    )  # rows begin at multiples of four bytes, and each has an address
    held = image.height * row * (2 if turned else 1) + image.width * image.height * _BESIDES.get(image.format or "", 0)
    if image.format in ("JPEG", "MPO"):
        frame = wholeness.jpeg_frame(data)
        held += frame.coefficient_bytes
        if frame.area * frame.scans > MOST_SCANNED:
            raise PictureError(
                TOO_LARGE, f"{frame.scans} scans of {frame.area / 1e6:,.0f} million pixels each. Save it as a baseline JPEG"
            )
    elif image.format == "TIFF":
        held += _tiff_buffer(image)
    most = MOST_MEMORY_OF.get(image.format or "", MOST_MEMORY)
    if held + len(data) > most:
        raise PictureError(
            TOO_LARGE,
            f"{full[0]:,} x {full[1]:,} pixels take {(held + len(data)) / 1e6:,.0f} MB in this kind of {image.format}; "
            f"allowed: {most / 1e6:,.0f} MB. Save it smaller, or as a baseline JPEG, which is reduced while it is read",
        )


def _tiff_buffer(image: Image.Image) -> int:
    """Return the bytes of the largest strip or tile of a compressed TIFF, which is held beside the picture."""
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    if tags.get(_COMPRESSION, 1) == 1:
        return 0
    bits = tags.get(_BITS, (8,))
    depth = max(bits if isinstance(bits, tuple) else (bits,)) * int(tags.get(_SAMPLES, 1))
    width = int(tags.get(_TILE_WIDTH, image.width))
    height = int(tags.get(_TILE_HEIGHT, 0)) or min(int(tags.get(_ROWS, image.height)), image.height)
    return int(width * height * depth // 8)


def frames(image: Image.Image, data: bytes) -> int:
    """Return how many frames a file holds, at most `MOST_FRAMES` + 1; frames behind the first are not parsed."""
    if image.format == "GIF":
        return _gif_frames(data)
    if image.format == "TIFF":
        return _tiff_frames(data)
    return min(int(getattr(image, "n_frames", 1)), MOST_FRAMES + 1)


def _gif_frames(data: bytes) -> int:
    """Walk the blocks (GIF89a specification, Appendix A) and count image descriptors."""
    count, at = 0, 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at + 1 < len(data) and count <= MOST_FRAMES:
        block = data[at]
        if block == 0x2C and at + 10 < len(data):
            count += 1
            table = data[at + 9]
            at += 11 + (3 << (table & 7) + 1 if table & 0x80 else 0)
        elif block == 0x21:
            at += 2
        elif block == 0x3B:
            break
        else:
            at += 1
            continue
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
    return max(count, 1)


def _tiff_frames(data: bytes) -> int:
    """Follow the chain of directories (TIFF 6.0, section 2; BigTIFF has wider fields) until it ends or leads back."""
    order: Any = "little" if data[:2] == b"II" else "big"
    big = 43 in data[2:4]
    count_bytes, entry, pointer = (8, 20, 8) if big else (2, 12, 4)
    at, seen = int.from_bytes(data[8:16] if big else data[4:8], order), set[int]()
    while at and at not in seen and at + count_bytes <= len(data) and len(seen) <= MOST_FRAMES:
        seen.add(at)
        end = at + count_bytes + entry * int.from_bytes(data[at : at + count_bytes], order)
        at = int.from_bytes(data[end : end + pointer], order)
    return max(len(seen), 1)
