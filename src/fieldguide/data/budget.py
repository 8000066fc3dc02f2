"""The disk budget of the store: what it will need is told before it is built, and no shard is begun that would fill the disk.

A picture of known size takes a known number of bytes. Before pictures were examined, a sample of their headers tells how large
they are; afterwards the manifest does. What is decoded does not depend on the budget: it stops a run, it changes no number.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from fieldguide.data.images import FORMATS, final_size
from fieldguide.errors import EnvironmentProblem, plain
from fieldguide.files import free_bytes

#: Bytes the store leaves free on its volume, for checkpoints, models, answers and the report.
RESERVE_BYTES = 256_000_000
#: Headers that are read to learn how large the pictures of a source are.
SAMPLE = 256
#: Width and height that stand for pictures of which no header could be read.
_USUAL = (4032, 3024)


def needed(pictures: Iterable[tuple[int, int]], classes: Iterable[int]) -> int:
    """Return the bytes that `pictures`, (width, height) in pixels, take in the store in all of `classes` (size classes, in pixels)."""
    every = tuple(set(classes))
    return sum(_bytes(width, height, size) for width, height in pictures for size in every)


def sampled(paths: Sequence[Path], classes: Iterable[int]) -> int:
    """Return about how many bytes the pictures at `paths` will take, judged by the headers of up to `SAMPLE` of them."""
    chosen = paths[:: max(1, len(paths) // SAMPLE)]
    sizes = [size for path in chosen if (size := _header(path)) is not None] or [_USUAL]
    return round(needed(sizes, classes) / len(sizes) * len(paths))


def stored(store: Path, classes: Iterable[int] | None = None) -> int:
    """Return the bytes of the shards below `store`; only those of `classes`, where given."""
    folders = [store / str(size) for size in set(classes)] if classes is not None else list(store.glob("[0-9]*"))
    total = 0
    for shard in (shard for folder in folders for shard in folder.glob("*.safetensors")):
        with contextlib.suppress(FileNotFoundError):  # another thread has just given it its final name
            total += shard.stat().st_size
    return total


def require_room(store: Path, needs: int, most_bytes: int | None = None) -> None:
    """Raise `EnvironmentProblem` where `needs` more bytes do not fit: on the volume of `store`, or into a budget of `most_bytes`."""
    if needs <= 0:
        return
    free, have = free_bytes(store), stored(store)
    about = f"The store needs about {amount(needs)} at {plain(store)}"
    if most_bytes is not None and have + needs > most_bytes:
        more = f", {amount(have)} are there already" if have else ""
        raise EnvironmentProblem(
            f"{about}{more}; store_gb = {most_bytes / 1e9:g} allows {amount(most_bytes)}.",
            f"Allowed: a budget of at least {(have + needs) / 1e9:.1f} GB, or smaller pictures. A budget changes no number.",
            "Raise --store-gb, or choose a smaller image_size.",
        )
    if needs + RESERVE_BYTES > free:
        raise EnvironmentProblem(
            f"{about}, {amount(free)} are free there.",
            f"Allowed: what is free less {amount(RESERVE_BYTES)}, which are kept for models and answers.",
            "Make room (`fieldguide clean` on a finished study), choose another --out, or a smaller image_size.",
        )


def amount(count: int) -> str:
    """Return bytes as ``3.1 GB`` or ``12 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"


def _bytes(width: int, height: int, size: int) -> int:
    wide, tall = final_size(width, height, size)
    return 3 * wide * tall


def _header(path: Path) -> tuple[int, int] | None:
    """Return width and height as the header says, without decoding; `None` where that is not to be had."""
    try:
        with warnings.catch_warnings():
            # What is wrong with a picture is told when it is examined.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                return image.size
    except Exception:
        return None
