"""A picture as it is sent to a server: made smaller, encoded once, and nothing with it.

The longer side is at most so many pixels; nothing is made larger. PNG, to the last bit, where that is small: up to 128 pixels (digits,
thumbnails), or up to 256 colours (drawings, screens). JPEG of quality 95 for everything else, which are photographs, and where PNG
would be five times as large. Neither holds a name, a date or any other word: pixels come in, and pixels go out.
"""

from __future__ import annotations

import base64
import io
import zlib
from dataclasses import dataclass

from fieldguide.records import Pixels

#: Pixels of the longer side where nothing else is said.
USUAL_SIZE = 1024
_SMALL, _COLOURS, _QUALITY = 128, 256, 95
#: How pictures are encoded, for whoever names what an answer depends on.
ENCODING = f"png up to {_SMALL} px or {_COLOURS} colours, else jpeg {_QUALITY}"


@dataclass(frozen=True, slots=True)
class Sent:
    """An encoded picture: its media type, and its bytes in base64."""

    kind: str
    text: str

    @property
    def url(self) -> str:
        """The picture as a ``data:`` address."""
        return f"data:{self.kind};base64,{self.text}"


def sent(pixels: Pixels, longest: int = USUAL_SIZE) -> Sent:
    """Return the picture ``"height width 3"``, uint8 RGB, as it is sent, with a longer side of at most `longest` pixels."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    if max(picture.size) > longest:
        scale = longest / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    stream = io.BytesIO()
    exact = max(picture.size) <= _SMALL or picture.getcolors(_COLOURS) is not None
    if exact:
        picture.save(stream, "PNG", compress_level=1, compress_type=zlib.Z_RLE)  # half the time, and no larger
    else:
        picture.save(stream, "JPEG", quality=_QUALITY)
    return Sent("image/png" if exact else "image/jpeg", base64.b64encode(stream.getbuffer()).decode("ascii"))
