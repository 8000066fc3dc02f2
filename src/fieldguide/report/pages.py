"""The folder edition: the same page with all wrong pictures, as files beside it. It opens by a double click, without a network.

report/index.html
report/pictures/<first two characters>/<content hash>.webp, and <content hash>-<pixels>.webp where it is shown in another size, too
"""

from __future__ import annotations

import base64
import functools
import re
import sys
from dataclasses import replace
from pathlib import Path

from fieldguide.files import building, digest
from fieldguide.report.build import Edition, draw_page
from fieldguide.report.read import Study
from fieldguide.report.thumbnails import LONGEST, Pictures, Thumbnail, thumbnail

FOLDER = "report"
#: What may lie in the folder: everything else is somebody else's.
OWN = re.compile(r"index\.html|pictures")
_HASH = re.compile(r"[0-9a-f]{16,128}")


def write(target: Path, study: Study, reader: Pictures) -> None:
    """Write the folder `target`, whole or not at all; an older one is replaced."""
    with building(target) as place:
        picture = functools.cache(functools.partial(placed, reader, place))
        page = draw_page(study, picture, sys.maxsize, Edition(folder=True))
        (place / "index.html").write_text(page, encoding="utf-8", newline="\n")


def placed(reader: Pictures, place: Path, key: str, longest: int = LONGEST) -> Thumbnail:
    """Write the thumbnail of the picture `key` below `place`; its address in the page is relative, made of hex digits and its size alone."""
    small = thumbnail(reader, key, longest)
    if small.uri is None:
        return small
    name = key if _HASH.fullmatch(key) else digest(key)
    path = place / "pictures" / name[:2] / f"{name}{'' if longest == LONGEST else f'-{longest}'}.webp"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(small.uri.partition(",")[2]))
    return replace(small, uri=path.relative_to(place).as_posix())
