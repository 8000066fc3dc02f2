"""Loads files one by one, each in a fork of its own, and prints what each cost: run as a script by the T1 tests.

The parent has imported the loader and nothing else, so that a fork has what `import fieldguide.data.images` takes, and the
memory of its parent counts as its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from PIL import Image

from fieldguide.data import images
from fieldguide.errors import PictureError

SIZE = 224


def load(path: Path) -> str:
    try:
        return f"loaded {images.load(images.read_file(path), SIZE).pixels.shape}"
    except PictureError as error:
        return error.code


def measured(path: Path) -> dict[str, object]:
    """Return what loading `path` said, its processor and wall seconds, and the largest resident memory in bytes."""
    reading, writing = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, load(path).encode())
            os._exit(0)
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}"[:500].encode())
            os._exit(1)
    os.close(writing)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    return {
        "file": path.name,
        "said": said,
        "exit": os.waitstatus_to_exitcode(status),
        "cpu": used.ru_utime + used.ru_stime,
        "wall": seconds,
        "bytes": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


if __name__ == "__main__":
    Image.init()
    print(json.dumps([measured(Path(word)) for word in sys.argv[1:]]))
