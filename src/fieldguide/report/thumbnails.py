"""Small WebP pictures as data URIs. Each is embedded once in a section; a picture that cannot be read says why instead."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image as Pillow

from fieldguide.errors import PictureError
from fieldguide.records import Pixels
from fieldguide.report.say import clean

#: Longer side of a thumbnail in pixels, and WebP quality: about 5 kB as base64 for a photograph.
LONGEST, QUALITY = 160, 75
#: Originals whose longer side is at most this are drawn enlarged with hard pixel edges.
TINY = 64


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture for the page; `uri` is `None` where it could not be read, and `reason` says why."""

    uri: str | None
    width: int = LONGEST
    height: int = LONGEST
    tiny: bool = False
    reason: str = ""


class Pictures(Protocol):
    """Gives pixels by content hash, as `fieldguide.data.store.Store` does."""

    def read(self, key: str, at_least: int) -> Pixels:
        """Return ``"height width 3"`` uint8 RGB; raises `PictureError` where there is nothing to read."""
        ...


def thumbnail(reader: Pictures, key: str, longest: int = LONGEST) -> Thumbnail:
    """Return the thumbnail of the picture `key`; never raises for a picture that cannot be read."""
    try:
        pixels = reader.read(key, at_least=longest)
    except PictureError as error:
        return Thumbnail(None, reason=clean(error.detail, 120))
    except (OSError, KeyError, ValueError) as error:
        return Thumbnail(None, reason=clean(f"not in the store ({type(error).__name__})", 120))
    return encode(pixels, longest)


def encode(pixels: Pixels, longest: int = LONGEST) -> Thumbnail:
    """Return the thumbnail of ``"height width 3"`` uint8 pixels, its longer side at most `longest` pixels."""
    height, width = pixels.shape[:2]
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    scale = longest / max(width, height)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = picture.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=2.0)
    tiny = max(width, height) <= TINY
    stream = io.BytesIO()
    # Lossy coding smears a picture of a few pixels, and without loss it is just as small.
    picture.save(stream, "WEBP", quality=QUALITY, lossless=tiny, method=4)
    uri = "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return Thumbnail(uri, picture.width, picture.height, tiny)
